"""One process the monitor started: the container's own, or that of an exec.

A job is starting until its program runs (the synchronization socket is closed by execve), then running, then ended. It
has the standard descriptors, relayed or passed on as they are, and the connections that want to know of its end.
"""

from __future__ import annotations

import fcntl
import os
from _socket import MSG_DONTWAIT
from time import time_ns

from jupyter_containers.linux import namespaces, syscalls
from jupyter_containers.monitor.loop import READ
from jupyter_containers.monitor.relay import Input, Output
from jupyter_containers.runtime.wire import receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.monitor.control import Connection
    from jupyter_containers.monitor.loop import Loop

_TIOCSWINSZ = 0x5414
_SIGNALLED = 128
_NANO = 1_000_000_000
_KIBI = 1024


class Job:
    """A process, its streams, and who watches it.

    Parameters
    ----------
    loop
        The monitor's.
    log
        Where output is kept as well (what a Log can do), or None.
    spill
        A directory for output a client does not take.
    ended
        Called once, when the process was reaped.
    """

    def __init__(self, loop: Loop, log: Any, spill: str, ended: Callable[[Job], None]) -> None:
        self._loop = loop
        self._log = log
        self._spill = spill
        self._ended = ended
        self.pid = 0
        self.pidfd = -1
        self.start_time = 0
        self.started_at = 0
        self.running = False
        self.released = False
        self.failure: dict[str, Any] | None = None
        self.stubs: list[str] = []
        self.status: dict[str, Any] | None = None
        self.watchers: list[Connection] = []
        self.outputs: dict[str, Output] = {}
        self.input: Input | None = None
        self._master = -1
        self._mounted = False
        self.terminal = False
        self._terminal_clients: list[int] = []
        self._stdin_once = True
        self.on_running: Callable[[], None] = lambda: None
        self.executed: Callable[[], bool] = lambda: True  # known of a start that is watched; it announces that it will
        self.on_stage: Callable[[dict[str, Any]], None] = lambda _message: None
        self._sync: socket | None = None
        self._release: Callable[[], None] | None = None

    # -- standard descriptors ------------------------------------------------------------------------------------

    def connect(self, request: dict[str, Any], clients: list[int], *, terminal: bool) -> list[int]:
        """Set up the streams; returns the three descriptors for the process, which the caller closes after the clone.

        ``clients`` are descriptors of a client for input, output and errors, -1 where it has none; they are taken over.
        """
        self._stdin_once = bool(request.get("stdin_once", True))
        self.terminal = terminal
        if terminal:
            self._terminal_clients = clients
            return [_null() for _ in clients]
        if request.get("direct"):
            return [descriptor if descriptor >= 0 else _null() for descriptor in clients]
        child = [self._connect_input(clients[0], bool(request.get("open_stdin")))]
        for name, client in zip(("stdout", "stderr"), clients[1:], strict=True):
            reading, writing = os.pipe()
            output = self.outputs[name] = Output(self._loop, reading, name, self._log, self._spill)
            if client >= 0:
                output.add(client)
            child.append(writing)
        return child

    def _connect_input(self, client: int, keep_open: bool) -> int:
        if client < 0 and not keep_open:
            return _null()
        reading, writing = os.pipe()
        self.input = Input(self._loop, writing, once=self._stdin_once, terminal=False)
        if client >= 0:
            self.input.add(client)
        return reading

    def _connect_terminal(self, master: int) -> None:
        self._master = master
        stdin, stdout, stderr = self._terminal_clients
        self._terminal_clients = []
        output = self.outputs["stdout"] = Output(self._loop, master, "stdout", self._log, self._spill)
        self.input = Input(self._loop, master, once=self._stdin_once, terminal=True)
        if stdout >= 0:
            output.add(stdout)
        if stdin >= 0:
            self.input.add(stdin)
        if stderr >= 0:  # a terminal has one output
            os.close(stderr)

    # -- start ---------------------------------------------------------------------------------------------------

    def began(self, pid: int, pidfd: int, sync: socket, release: Callable[[], None]) -> None:
        """The process exists: note who it is and wait for what it says by ``sync``.

        ``release`` lets it do its steps, for which it waits; it is called once, also if the process is never let go.
        """
        self.pid, self.pidfd = pid, pidfd
        self.start_time = namespaces.start_time(pid)
        self.started_at = time_ns()
        self._sync = sync
        self._release = release
        self._loop.watch(sync.fileno(), READ, self._on_sync)
        self._loop.watch(pidfd, READ, self._reap)

    def go(self) -> None:
        """Let it do its steps. A process that died meanwhile shows at its pidfd."""
        self.released = True
        if self._release is not None:
            release, self._release = self._release, None
            release()

    def _on_sync(self) -> None:
        self._hear()

    def _hear(self, flags: int = 0) -> bool:
        """One message of the starting process; returns whether there can be more."""
        if self._sync is None:
            return False
        try:
            message, descriptors = receive(self._sync, flags)
        except BlockingIOError:
            return False
        if message is None:
            self._close_sync()
            if self._mounted and self.failure is None and self.executed():
                self.running = True
                self.on_running()
            return False
        if message["kind"] == "failed":
            self.failure = message
        elif message["kind"] == "stage":
            self.on_stage(message)
        else:
            self._mounted = True
            self.stubs = message["stubs"]
            if descriptors:
                self._connect_terminal(descriptors.pop())
        return True

    # -- while it runs -------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.status is not None or self.pidfd < 0:
            return
        try:
            syscalls.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return  # ended, and about to be reaped

    def streams(self) -> dict[str, int]:
        """The inodes of its pipes. What was written into them is taken, and logged, first."""
        for output in self.outputs.values():
            output.take()
        ends = {name: output.inode() for name, output in self.outputs.items()}
        return ends | ({"stdin": self.input.inode()} if self.input is not None and not self.input.closed else {})

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, in characters."""
        if self._master >= 0 and not self.outputs["stdout"].ended:
            size = rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4)
            fcntl.ioctl(self._master, _TIOCSWINSZ, size)

    # -- end -----------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while self._hear(MSG_DONTWAIT):
            pass
        _pid, status, usage = os.wait4(self.pid, 0)
        self._loop.forget(self.pidfd)
        code, signal = _decode(status)
        if not (self._mounted and self.executed()) and self.failure is None:
            how = f"was killed by signal {signal}" if signal else f"ended with exit status {code}"
            detail = f"its init process {how}"
            self.failure = {"kind": "failed", "what": "failed", "step": "start", "errno": 0, "detail": detail}
        self._end(code, signal, usage)

    def abort(self, failure: dict[str, Any]) -> None:
        """Give up a start: kill the process, or if there is none yet, end at once."""
        self.failure = failure
        if self.pid:
            self.signal(9)
            return
        self._end(0, 0, None)

    def discard(self) -> None:
        """Give back the descriptors of a job that will not be started."""
        for output in self.outputs.values():
            output.end()

    def _close_sync(self) -> None:
        if self._sync is not None:
            self._loop.forget(self._sync.fileno())
            self._sync.close()
            self._sync = None

    def _end(self, code: int, signal: int, usage: resource.struct_rusage | None) -> None:
        self.status = {
            "code": code,
            "signal": signal,
            "oom_killed": False,
            "cause": "",
            "started_at": self.started_at,
            "finished_at": time_ns(),
            "usage": {
                "cpu_user_ns": int(usage.ru_utime * _NANO),
                "cpu_system_ns": int(usage.ru_stime * _NANO),
                "memory_peak": usage.ru_maxrss * _KIBI,
            }
            if usage
            else {},
        }
        self.go()  # gives back what was kept for a process that was never let go
        self._close_sync()
        if self.input is not None:
            self.input.abandon()
        for output in self.outputs.values():
            output.drain()
        for descriptor in self._terminal_clients:
            if descriptor >= 0:
                os.close(descriptor)
        self._terminal_clients = []
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self._ended(self)


def _decode(status: int) -> tuple[int, int]:
    """A wait status as exit status and signal, wait(2)."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return _SIGNALLED + number, number
    return os.WEXITSTATUS(status), 0


def _null() -> int:
    return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
