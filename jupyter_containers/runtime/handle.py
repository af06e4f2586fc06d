"""A running process, for threads of the engine: wait for it, signal it, resize its terminal."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from jupyter_containers.errors import Conflict, ContainerNotRunning, InvalidInput, StartFailed
from jupyter_containers.interrupts import ATTENTION
from jupyter_containers.runtime import failures, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.runtime.protocol import ExecRequest, ExitStatus

CONTROL = "control.sock"
_HALTS = {"created": "go", "stage": "next"}
_KILLED = 137
_SETTLING = 1.0
_SIGKILL = 9


class StartWatcher(Protocol):
    """Who watches a start: see ``watched.py``."""

    def halted(self, message: dict[str, Any]) -> None:
        """It waits after a stage (``name``); ``look`` is what procfs shows of it, ``steps`` what it has done."""

    def started(self, steps: list[Any], *, running: bool) -> None:
        """It runs, or has failed, after these steps."""


class Process:
    """A container's process, or that of an exec.

    All methods may be called from several threads at once. Closing it lets a process that is tied to its owner be
    killed.

    Attributes
    ----------
    pid
        As this process sees it.
    start_time
        Clock ticks after boot; with the pid it names the process for ever.
    terminal
        What was attached to has a terminal.
    created_mountpoints
        Paths that had to be made in the root file system so that something could be mounted there.
    """

    def __init__(self, channel: socket.socket, lost: Callable[[], ExitStatus] | None = None) -> None:
        self._channel = channel
        self._lost = lost
        self._lock = threading.Lock()
        self._status: ExitStatus | None = None
        self._final = False
        self.pid = 0
        self.start_time = 0
        self.terminal = False
        self.created_mountpoints: list[str] = []

    def await_start(self, created: Callable[[int], None] | None = None, watcher: StartWatcher | None = None) -> None:
        """Wait until the program runs.

        Parameters
        ----------
        created
            For a start that holds: called with the pid when the namespaces are there; the start goes on when it
            returns, and the process is killed when it raises.
        watcher
            For a start that is watched: told of its stages, after each of which it goes on when that returns, and of
            its steps at the end.

        Raises
        ------
        StartFailed
            Or its kinds CommandNotFound and CommandNotExecutable.
        """
        message = self._receive()
        while message is not None and message["kind"] in _HALTS:
            try:
                if message["kind"] == "stage":
                    assert watcher is not None
                    watcher.halted(message)
                elif created is not None:
                    created(message["pid"])
            except BaseException:
                self.kill()
                self._receive()
                raise
            self._tell({"kind": _HALTS[message["kind"]]})
            message = self._receive()
        if message is not None and watcher is not None:
            watcher.started(message.get("steps", []), running=message["kind"] == "started")
        if message is None:
            self._channel.close()
            raise failures.exception(
                {"what": "failed", "step": "monitor", "errno": 0, "detail": "its monitor ended unexpectedly"}
            )
        if message["kind"] == "failed":
            self._final = bool(message.get("final"))
            self.close()
            raise failures.exception(cast("Any", message))
        if message["kind"] == "refused":
            self._channel.close()
            raise _refusal(message["detail"])
        if message["kind"] == "exited":  # watched only after its end
            self._status = message["status"]
            return
        self.pid = message["pid"]
        self.start_time = message["start_time"]
        self.terminal = bool(message.get("terminal"))
        self.created_mountpoints = message["stubs"]

    def wait(self, timeout: float | None = None) -> ExitStatus | None:
        """How it ended, or None if it still runs after ``timeout`` seconds.

        Where its monitor was killed, the status says so: the kernel has then killed the container too.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            return self._status
        try:
            while self._status is None:
                left = ATTENTION if deadline is None else max(0.0, deadline - time.monotonic())
                poll = select.poll()
                poll.register(self._channel.fileno(), select.POLLIN)
                if poll.poll(min(left, ATTENTION) * 1000):
                    self._take()
                elif left <= 0:
                    return None
            return self._status
        finally:
            self._lock.release()

    def _receive(self) -> dict[str, Any] | None:
        """The next message; None when the monitor is gone."""
        message, descriptors = wire.receive(self._channel)
        wire.close_all(descriptors)
        return message

    def _take(self) -> None:
        message = self._receive()
        if message is None:
            self._status = self._lost() if self._lost is not None else monitor_killed()
        elif message["kind"] == "exited":
            self._status = message["status"]
            self._final = bool(message.get("final"))

    def settle(self) -> None:
        """Once a container has ended: wait until its monitor has taken down what is left, a second at most."""
        if not self._final or self._channel.fileno() < 0:
            return
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        deadline = time.monotonic() + _SETTLING
        while self._final:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return  # somebody does not read its output; it will be done then
            self._final = self._receive() is not None

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs."""
        return self.wait(0)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process has ended."""
        return self._channel.fileno()

    def signal(self, number: int, *, final: bool = False) -> None:
        """Send a signal, through the monitor. Nothing happens when the process has ended.

        ``final``: it is to end by it, and its restart policy does not start it again.
        """
        self._tell({"kind": "signal", "number": int(number), "final": final})

    def kill(self) -> None:
        """SIGKILL, for good."""
        self.signal(_SIGKILL, final=True)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, in characters. Nothing happens without a terminal."""
        most = 65535
        if not (0 < rows <= most and 0 < columns <= most):
            raise InvalidInput(f"not a terminal size: {rows} rows, {columns} columns")
        self._tell({"kind": "resize", "rows": rows, "columns": columns})

    def close_stdin(self) -> None:
        """End its standard input."""
        self._tell({"kind": "close-stdin"})

    def leave(self, *, untie: bool = False) -> None:
        """Take back what was given as its input, which is not its end; ``untie``: have it outlive this process.

        To be closed afterwards.
        """
        self._tell({"kind": "untie" if untie else "leave"})

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request that has an answer.

        Raises
        ------
        Conflict
            The container is not in a state for it.
        ContainerNotRunning
            It has just ended.
        """
        with self._lock:
            self._tell(message)
            while self._status is None:
                answer = self._receive()
                if answer is None:
                    break
                if answer["kind"] == "refused":
                    raise _refusal(answer["detail"])
                if answer["kind"] == "exited":
                    self._status = answer["status"]
                elif answer["kind"] != "started":  # a restart may have come between
                    return answer
        raise ContainerNotRunning("the container has just ended")

    def _tell(self, message: dict[str, Any]) -> None:
        if self._status is not None:
            return
        try:
            wire.send(self._channel, message)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended; wait() has the rest

    def close(self) -> None:
        """Let go of it; of a container that has ended, once nothing of it is left. Idempotent."""
        self.settle()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _refusal(detail: str) -> Conflict:
    """The exception for a request that does not go with the container's state."""
    what, colon, hint = detail.partition(": ")
    kind = ContainerNotRunning if "not running" in what else Conflict
    return kind(what, hint=hint if colon else None)


def monitor_killed(started_at: int = 0, *, rebooted: bool = False) -> ExitStatus:
    """What is known of a container whose monitor was killed before it could write down the end."""
    return {
        "code": _KILLED,
        "signal": _SIGKILL,
        "oom_killed": False,
        "cause": "the machine went down" if rebooted else "its monitor was killed",
        "started_at": started_at,
        "finished_at": time.time_ns(),
        "usage": {},
    }


def _dial(run_dir: str) -> socket.socket:
    """A connection to a container's monitor, however long the path of its socket is."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    directory = -1
    try:
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        channel.connect(f"/proc/self/fd/{directory}/{CONTROL}")
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        channel.close()
        raise ContainerNotRunning(f"no running container has its control socket in {run_dir}") from None
    except BaseException:
        channel.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return channel


def _ask(run_dir: str, message: dict[str, Any], stdio: Sequence[int | None]) -> Process:
    present = [descriptor is not None and descriptor >= 0 for descriptor in stdio]
    descriptors = [descriptor for descriptor in stdio if descriptor is not None and descriptor >= 0]
    channel = _dial(run_dir)
    process = Process(channel)
    try:
        wire.send(channel, {**message, "stdio": present}, descriptors)
        process.await_start()
    except BaseException as error:
        channel.close()
        gone = isinstance(error, StartFailed) and error.step == "monitor"
        if gone or isinstance(error, (BrokenPipeError, ConnectionResetError)):
            raise ContainerNotRunning(f"the container of {run_dir} has just ended") from None
        raise
    return process


def connect(run_dir: str) -> Process:
    """A handle on a running container, from whatever process started it. Closing it has no effect on the container.

    Raises
    ------
    ContainerNotRunning
        No monitor answers in that directory.
    """
    return _ask(run_dir, {"kind": "watch"}, ())


def execute(
    run_dir: str, request: ExecRequest, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None
) -> Process:
    """Start another process in a running container, with the descriptors given as its own (None: /dev/null).

    With ``request["process"]["terminal"]`` they are clients of its terminal. Unless ``request["detach"]`` is true it is
    killed when the handle is closed.

    Raises
    ------
    ContainerNotRunning
        No monitor answers in that directory.
    StartFailed
        Or its kinds CommandNotFound and CommandNotExecutable.
    """
    return _ask(run_dir, {"kind": "exec", "request": cast("dict[str, Any]", request)}, (stdin, stdout, stderr))


def attach(run_dir: str, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None) -> Process:
    """Connect descriptors to the streams of a running container, from now on; they may be closed afterwards.

    What is read from ``stdin`` goes to the container until :meth:`Process.leave`; its end ends the container's input
    where one client's end is to do that.

    Raises
    ------
    ContainerNotRunning
        No monitor answers in that directory.
    Conflict
        The container waits for its next start.
    """
    return _ask(run_dir, {"kind": "attach"}, (stdin, stdout, stderr))
