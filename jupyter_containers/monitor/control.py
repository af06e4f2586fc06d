"""What clients ask of a running container, over the launch channel and over ``control.sock``.

The requests: ``watch`` (answered by ``started``, later ``exited``), ``go`` (after ``created``, for a start that holds),
``attach`` (the container's streams from now on), ``exec`` (another process; the connection then speaks of it),
``signal``, ``resize``, ``close-stdin``.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, socket

from jupyter_containers.monitor.loop import READ
from jupyter_containers.runtime.wire import close_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.monitor.job import Job
    from jupyter_containers.monitor.process import Monitor

SOCKET_NAME = "control.sock"
_QUEUE = 64
_SIGKILL = 9


class Connection:
    """One client.

    Attributes
    ----------
    job
        What its requests are about: the container's process, or after ``exec`` that of the exec.
    """

    def __init__(self, monitor: Monitor, channel: socket, *, lost: Callable[[], None] | None = None) -> None:
        self.monitor = monitor
        self.channel = channel
        self.job: Job = monitor.job
        self._lost = lost
        monitor.loop.watch(channel.fileno(), READ, self._hear)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; a client that does not listen misses it, one that is gone has died."""
        if self.channel.fileno() < 0:
            return
        try:
            send(self.channel, message, flags=MSG_DONTWAIT)
        except BlockingIOError:
            self.close()
        except OSError:
            self._gone()

    def _hear(self) -> None:
        try:
            message, descriptors = receive(self.channel)
        except OSError:
            message, descriptors = None, []
        if message is None:
            self._gone()
            return
        handler = _HANDLERS.get(message["kind"])
        if handler is None:
            close_all(descriptors)
            self.tell({"kind": "refused", "detail": f"unknown request {message['kind']}"})
            return
        handler(self, message, descriptors)

    def _gone(self) -> None:
        self.close()
        if self._lost is not None:
            self._lost()

    def close(self) -> None:
        """Let the client go."""
        if self.channel.fileno() >= 0:
            self.monitor.loop.forget(self.channel.fileno())
            self.channel.close()

    # -- requests ------------------------------------------------------------------------------------------------

    def watch(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """Say who the process is, and later how it ended."""
        self.job.watchers.append(self)
        if self.job.running:
            self.tell(started(self.job))

    def go(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """Let a process that is held back do its steps."""
        self.job.go()

    def attach(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Relay the container's streams from now on."""
        clients = spread(message["stdio"], descriptors)
        job = self.monitor.job
        if clients[0] >= 0:
            if job.input is None:
                os.close(clients[0])
            else:
                job.input.add(clients[0])
        for name, client in zip(("stdout", "stderr"), clients[1:], strict=True):
            if client < 0:
                continue
            output = job.outputs.get(name)
            if output is None:
                os.close(client)
            else:
                output.add(client)
        self.tell({"kind": "attached"})

    def execute(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Start another process in the container."""
        detached = bool(message["request"].get("detach"))
        self.job = self.monitor.execute(message["request"], spread(message["stdio"], descriptors), self)
        if not detached:
            self._lost = lambda: self.job.signal(_SIGKILL)

    def signal(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """Send a signal to the process."""
        self.job.signal(message["number"])

    def resize(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """Set the size of its terminal."""
        self.job.resize(message["rows"], message["columns"])

    def close_stdin(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """End its standard input."""
        if self.job.input is not None:
            self.job.input.close()


_HANDLERS: dict[str, Callable[[Connection, dict[str, Any], list[int]], None]] = {
    "watch": Connection.watch,
    "go": Connection.go,
    "attach": Connection.attach,
    "exec": Connection.execute,
    "signal": Connection.signal,
    "resize": Connection.resize,
    "close-stdin": Connection.close_stdin,
}


def started(job: Job) -> dict[str, Any]:
    """The message that says a process runs."""
    return {"kind": "started", "pid": job.pid, "start_time": job.start_time, "stubs": job.stubs}


def accept(listener: socket) -> int:
    """A descriptor of the next client's connection, close-on-exec, accept(2)."""
    descriptor, _address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what socket.accept is made of
    return int(descriptor)


def answer(channel: socket, message: dict[str, Any]) -> None:
    """Send a message and close; a client that is gone misses it."""
    try:
        send(channel, message, flags=MSG_DONTWAIT)
    except OSError:
        return
    finally:
        channel.close()


def spread(present: list[bool], descriptors: list[int]) -> list[int]:
    """Descriptors that came with a message, put to the places they are for; -1 where there is none."""
    rest = iter(descriptors)
    return [next(rest, -1) if there else -1 for there in present]


def listen(run_dir: str) -> socket:
    """The control socket in a run directory, whose path may be longer than a socket address holds."""
    channel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK)
    os.chdir(run_dir)
    try:
        if os.path.lexists(SOCKET_NAME):
            os.unlink(SOCKET_NAME)  # of a monitor that was killed
        channel.bind(SOCKET_NAME)
    finally:
        os.chdir("/")
    channel.listen(_QUEUE)
    return channel
