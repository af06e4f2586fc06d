"""A running process, for threads of the engine: wait for it, signal it, resize its terminal."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self, cast

from jupyter_containers.errors import ContainerNotRunning, InvalidInput
from jupyter_containers.runtime import failures, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.runtime.protocol import ExecRequest, ExitStatus

CONTROL = "control.sock"
_KILLED = 137
_SIGKILL = 9


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
    created_mountpoints
        Paths that had to be made in the root file system so that something could be mounted there.
    """

    def __init__(self, channel: socket.socket, lost: Callable[[], ExitStatus] | None = None) -> None:
        self._channel = channel
        self._lost = lost
        self._lock = threading.Lock()
        self._status: ExitStatus | None = None
        self.pid = 0
        self.start_time = 0
        self.created_mountpoints: list[str] = []

    def await_start(self, created: Callable[[int], None] | None = None) -> None:
        """Wait until the program runs.

        Parameters
        ----------
        created
            For a start that holds: called with the pid when the namespaces are there; the start goes on when it
            returns, and the process is killed when it raises.

        Raises
        ------
        StartFailed
            Or its kinds CommandNotFound and CommandNotExecutable.
        """
        message = self._receive()
        if message is not None and message["kind"] == "created":
            try:
                if created is not None:
                    created(message["pid"])
            except BaseException:
                self.kill()
                self._receive()
                raise
            self._tell({"kind": "go"})
            message = self._receive()
        if message is None:
            self._channel.close()
            raise failures.exception(
                {"what": "failed", "step": "monitor", "errno": 0, "detail": "its monitor ended unexpectedly"}
            )
        if message["kind"] == "failed":
            self._channel.close()
            raise failures.exception(cast("Any", message))
        if message["kind"] == "exited":  # watched only after its end
            self._status = message["status"]
            return
        self.pid = message["pid"]
        self.start_time = message["start_time"]
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
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                poll = select.poll()
                poll.register(self._channel.fileno(), select.POLLIN)
                if not poll.poll(None if left is None else left * 1000):
                    return None
                self._take()
            return self._status
        finally:
            self._lock.release()

    def _receive(self) -> dict[str, Any] | None:
        """The next message; None when the monitor is gone."""
        try:
            message, descriptors = wire.receive(self._channel)
        except ConnectionResetError:
            return None
        wire.close_all(descriptors)
        return message

    def _take(self) -> None:
        message = self._receive()
        if message is None:
            self._status = self._lost() if self._lost is not None else monitor_killed()
        elif message["kind"] == "exited":
            self._status = message["status"]

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs."""
        return self.wait(0)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process has ended."""
        return self._channel.fileno()

    def signal(self, number: int) -> None:
        """Send a signal, through the monitor. Nothing happens when the process has ended."""
        self._tell({"kind": "signal", "number": int(number)})

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(_SIGKILL)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, in characters. Nothing happens without a terminal."""
        most = 65535
        if not (0 < rows <= most and 0 < columns <= most):
            raise InvalidInput(f"not a terminal size: {rows} rows, {columns} columns")
        self._tell({"kind": "resize", "rows": rows, "columns": columns})

    def close_stdin(self) -> None:
        """End its standard input."""
        self._tell({"kind": "close-stdin"})

    def _tell(self, message: dict[str, Any]) -> None:
        if self._status is not None:
            return
        try:
            wire.send(self._channel, message)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended; wait() has the rest

    def close(self) -> None:
        """Let go of it."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def monitor_killed() -> ExitStatus:
    """What is known of a container whose monitor was killed before it could write down the end."""
    return {
        "code": _KILLED,
        "signal": _SIGKILL,
        "oom_killed": False,
        "cause": "its monitor was killed",
        "started_at": 0,
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
    except (BrokenPipeError, ConnectionResetError):
        channel.close()
        raise ContainerNotRunning(f"the container of {run_dir} has just ended") from None
    except BaseException:
        channel.close()
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


def attach(run_dir: str, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None) -> None:
    """Connect descriptors to the streams of a running container, from now on; they may be closed afterwards.

    Raises
    ------
    ContainerNotRunning
        No monitor answers in that directory.
    """
    channel = _dial(run_dir)
    present = [descriptor is not None and descriptor >= 0 for descriptor in (stdin, stdout, stderr)]
    descriptors = [descriptor for descriptor in (stdin, stdout, stderr) if descriptor is not None and descriptor >= 0]
    try:
        wire.send(channel, {"kind": "attach", "stdio": present}, descriptors)
        message, _ = wire.receive(channel)
    except (BrokenPipeError, ConnectionResetError):
        message = None
    finally:
        channel.close()
    if message is None:
        raise ContainerNotRunning(f"the container of {run_dir} has just ended")
