"""What clients ask of a running container, over the launch channel and over ``control.sock``.

The requests: ``watch`` (answered by ``started``, later ``exited``), ``go`` (after ``created``, for a start that holds),
``next`` (after ``stage``, for a start that is stepped), ``attach`` (the container's streams from now on, and its end),
``exec`` (another process; the connection then speaks of it), ``execs`` (what became of those), ``signal``, ``pause``,
``streams`` (which pipes are the container's), ``resize``, ``close-stdin``, ``leave`` (take back the client's input),
``untie`` (the container is to outlive its owner), ``update``.
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

    @property
    def job(self) -> Job:
        """See the class."""
        return self._exec or self.monitor.job

    def __init__(self, monitor: Monitor, channel: socket, *, lost: Callable[[], None] | None = None) -> None:
        self.monitor = monitor
        self.channel = channel
        self._exec: Job | None = None
        self._input = -1
        self._lost = lost
        monitor.connections.add(self)
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
        self.monitor.connections.discard(self)
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

    def proceed(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """Let a stepped start go on after a stage."""
        self.monitor.starter.proceed()

    def attach(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Relay the container's streams from now on, and say later how it ended."""
        clients = spread(message["stdio"], descriptors)
        job = self.monitor.job
        if job.status is not None:
            close_all(clients)
            self.tell({"kind": "refused", "detail": "the container is restarting: wait until it runs"})
            return
        if clients[0] >= 0 and job.input is not None:
            self.took_input(clients[0])
            job.input.add(clients[0])
        elif clients[0] >= 0:
            os.close(clients[0])
        for name, client in zip(("stdout", "stderr"), clients[1:], strict=True):
            if client < 0:
                continue
            output = job.outputs.get(name)
            if output is None:
                os.close(client)
            else:
                output.add(client)
        job.watchers.append(self)
        self.tell({**started(job), "terminal": job.terminal})

    def took_input(self, descriptor: int) -> None:
        """Remember which descriptor the client's input comes from."""
        self._input = descriptor

    def leave(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """Let go of the client's input, which is not the end of the container's."""
        if self.job.input is not None and self._input >= 0:
            self.job.input.release(self._input)
        self._input = -1
        self._lost = None

    def untie(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Let the client go and have the container outlive it."""
        self.leave(message, descriptors)
        if self._exec is None:
            self.monitor.untie()

    def execute(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Start another process in the container."""
        detached = bool(message["request"].get("detach"))
        clients = spread(message["stdio"], descriptors)
        self.took_input(clients[0])
        self._exec = self.monitor.execute(message["request"], clients, self)
        if not detached:
            self._lost = lambda: self.job.signal(_SIGKILL)

    def execs(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """Say what is known of the processes that were started by ``exec``."""
        self.tell({"kind": "execs", "execs": self.monitor.execs.list()})

    def pause(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """Stop the container's processes where they are, or let them go on."""
        why = self.monitor.why_no_exec() if message["paused"] else ""
        if message["paused"] == self.monitor.paused:
            why = "the container is already paused" if message["paused"] else "the container is not paused"
        if not why:
            self.monitor.pause(paused=message["paused"])
        self.tell({"kind": "refused", "detail": why} if why else {"kind": "done"})

    def streams(self, _message: dict[str, Any], _descriptors: list[int]) -> None:
        """Say which pipes are its streams, after all that it has written was logged: also what is no whole line."""
        self.tell({"kind": "streams", "streams": self.monitor.job.streams()})

    def update(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """Take over what was changed of the container's settings."""
        self.monitor.update(message)
        self.tell({"kind": "done"})

    def signal(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """Send a signal to the process; ``final`` when no restart policy is to undo what comes of it."""
        if self._exec is not None:
            self._exec.signal(message["number"])
        else:
            self.monitor.signal(message["number"], final=bool(message.get("final")))

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
    "execs": Connection.execs,
    "leave": Connection.leave,
    "next": Connection.proceed,
    "pause": Connection.pause,
    "signal": Connection.signal,
    "streams": Connection.streams,
    "untie": Connection.untie,
    "update": Connection.update,
    "resize": Connection.resize,
    "close-stdin": Connection.close_stdin,
}


def started(job: Job) -> dict[str, Any]:
    """The message that says a process runs."""
    return {"kind": "started", "pid": job.pid, "start_time": job.start_time, "stubs": job.stubs}


def failure(step: str, errno: int, detail: str) -> dict[str, Any]:
    """The message that says why a process was not started."""
    return {"kind": "failed", "what": "failed", "step": step, "errno": errno, "detail": detail}


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
