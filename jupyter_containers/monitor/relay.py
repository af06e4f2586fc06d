"""Output from the container to its log and its clients, input from its clients to the container.

The container never waits for a client that has a log beside it: what a client does not take is kept for it, in memory
first and then in a file without a name. Without a log, a container whose client has stopped reading waits at 64 MiB, as
a program waits for a full pipe. A client that is gone is forgotten; nobody else notices.
"""

from __future__ import annotations

import os
import stat
from _socket import MSG_DONTWAIT, MSG_NOSIGNAL, socket

from jupyter_containers.monitor.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.monitor.loop import Loop

CHUNK = 65536
_IN_MEMORY = 1 << 20
_MOST_WITHOUT_LOG = 64 << 20
_PIPE_ATOMIC = 4096


class Backlog:
    """Bytes that wait, in the order they came; a file without a name holds what is too much for memory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._memory = bytearray()
        self._file = -1
        self._read_at = 0
        self._end = 0

    def __len__(self) -> int:
        return len(self._memory) + self._end - self._read_at

    def put(self, data: bytes) -> None:
        """Add bytes at the end."""
        if self._file < 0:
            if len(self._memory) + len(data) <= _IN_MEMORY:
                self._memory += data
                return
            self._file = self._open()
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, self._end)
            self._end += written
            view = view[written:]

    def _open(self) -> int:
        try:
            return os.open(self._directory or "/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)  # noqa: S108 - has no name
        except OSError:  # a file system without O_TMPFILE
            return os.memfd_create("backlog", os.MFD_CLOEXEC)

    def peek(self, most: int) -> bytes:
        """The first bytes, without taking them."""
        if self._memory:
            return bytes(self._memory[:most])
        return os.pread(self._file, most, self._read_at) if self._file >= 0 else b""

    def take(self, count: int) -> None:
        """Forget the first bytes."""
        if self._memory:
            del self._memory[:count]
            return
        self._read_at += count
        if self._read_at == self._end:
            self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._read_at = self._end = 0


class Sink:
    """One client's descriptor for output, which never makes the monitor wait."""

    def __init__(self, loop: Loop, descriptor: int, spill: str, drained: Callable[[], None]) -> None:
        self._loop = loop
        self._drained = drained
        self._ending = False
        self.closed = False
        self.backlog = Backlog(spill)
        self._socket: socket | None = None
        self._blocking = False
        self._descriptor = self._own(descriptor)

    def _own(self, descriptor: int) -> int:
        """A description of our own that does not block: changing the client's would change it for the client too."""
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = socket(fileno=descriptor)
            return descriptor
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:
                own = os.open(f"/proc/self/fd/{descriptor}", flags)
            except OSError:  # another user's terminal, or a pipe nobody reads: small writes when poll allows them
                self._blocking = True
                return descriptor
            os.close(descriptor)
            return own
        return descriptor  # a regular file, whose offset is shared on purpose

    def write(self, data: bytes) -> None:
        """Pass on output, now or later."""
        if self.closed:
            return
        if not self.backlog and not self._blocking:
            data = data[self._send(data) :]
            if not data or self.closed:
                return
        self.backlog.put(data)
        if not self._loop.watches(self._descriptor):
            self._loop.watch(self._descriptor, WRITE, self._flush)

    def _send(self, data: bytes) -> int:
        """How many bytes went; closes when the client is gone."""
        try:
            if self._socket is not None:
                return self._socket.send(data, MSG_DONTWAIT | MSG_NOSIGNAL)
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:  # EPIPE, EIO, ENOSPC: this client gets no more
            self.close()
            return 0

    def _flush(self) -> None:
        self.backlog.take(self._send(self.backlog.peek(_PIPE_ATOMIC if self._blocking else CHUNK)))
        if self.closed or self.backlog:
            return
        self._loop.forget(self._descriptor)
        self._drained()
        if self._ending:
            self.close()

    def finish(self) -> None:
        """No more output comes: close once everything went."""
        self._ending = True
        if not self.backlog:
            self.close()

    def close(self) -> None:
        """Let the client go."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self._descriptor)
        self.backlog.close()
        self.backlog = Backlog("")
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._descriptor)
        self._drained()


class Output:
    """One stream of the container, to its log and its clients."""

    def __init__(self, loop: Loop, descriptor: int, name: str, log: Any, spill: str) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._name = name
        self._log = log
        self._spill = spill
        self._sinks: list[Sink] = []
        self.ended = False
        os.set_blocking(descriptor, False)
        loop.watch(descriptor, READ, self._read)

    def add(self, descriptor: int) -> None:
        """Give the output from now on to a client, whose descriptor this takes over."""
        sink = Sink(self._loop, descriptor, self._spill, self._resume)
        if self.ended:
            sink.finish()
        else:
            self._sinks.append(sink)

    def _read(self) -> None:
        self._read_some()
        if not self._log and any(len(sink.backlog) > _MOST_WITHOUT_LOG for sink in self._sinks):
            self._loop.forget(self._descriptor)

    def _read_some(self) -> bool:
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process let go of the terminal
            data = b""
        if not data:
            self.end()
            return False
        if self._log:
            self._log.write(self._name, data)
        for sink in self._sinks:
            sink.write(data)
        return True

    def _resume(self) -> None:
        self._sinks = [sink for sink in self._sinks if not sink.closed]
        if not self.ended and not self._loop.watches(self._descriptor):
            self._loop.watch(self._descriptor, READ, self._read)

    def busy(self) -> bool:
        """Whether output waits for a client, or more may come."""
        return not self.ended or any(not sink.closed for sink in self._sinks)

    def take(self) -> None:
        """Take what is there now, and log also what has no newline."""
        while not self.ended and self._read_some():
            pass
        if self._log:
            self._log.end(self._name)

    def inode(self) -> int:
        """That of its pipe; 0 once it has ended."""
        return 0 if self.ended else os.fstat(self._descriptor).st_ino

    def drain(self) -> None:
        """The container has ended: take what is still there, then end."""
        while not self.ended and self._read_some():
            pass
        self.end()

    def end(self) -> None:
        """Nothing more comes."""
        if self.ended:
            return
        self.ended = True
        self._loop.forget(self._descriptor)
        os.close(self._descriptor)
        if self._log:
            self._log.end(self._name)
        for sink in list(self._sinks):
            sink.finish()


class Input:
    """The container's standard input, from any number of clients.

    Parameters
    ----------
    descriptor
        The writing end of its pipe, or the terminal.
    once
        Close it when the first client has ended its input.
    terminal
        The descriptor is a terminal: the end of a client's input is not the end of the container's.
    """

    def __init__(self, loop: Loop, descriptor: int, *, once: bool, terminal: bool) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._once = once
        self._terminal = terminal
        self._sources: list[int] = []
        self._waiting = bytearray()
        self._closing = False
        self.closed = False
        if not terminal:
            os.set_blocking(descriptor, False)

    def add(self, descriptor: int) -> None:
        """Read from a client's descriptor, which this takes over."""
        if self.closed or self._closing:
            os.close(descriptor)
            return
        self._sources.append(descriptor)
        self._listen(descriptor)

    def _listen(self, descriptor: int) -> None:
        self._loop.watch(descriptor, READ, lambda: self._read(descriptor))

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # its terminal is gone
            data = b""
        if data:
            self._put(data)
            return
        # Only after the next look at all descriptors: the client may have said just before that it leaves.
        self._loop.forget(descriptor)
        self._loop.after(_end(descriptor), 0.0, lambda: self._end_of(descriptor))

    def _end_of(self, descriptor: int) -> None:
        """A client has ended its input, if it has not left before."""
        if descriptor not in self._sources:
            return
        self._drop(descriptor)
        if self._once and not self._terminal:
            self.close()
        elif self._terminal and self._once:
            self._put(b"\x04")  # what a terminal's user types to end input

    def _put(self, data: bytes) -> None:
        self._waiting += data
        self._write()
        if self._closing and not self._waiting:
            self.abandon()
            return
        if self._waiting and not self.closed:
            for source in self._sources:  # until the container has read
                self._loop.forget(source)
            if not self._loop.watches(self._descriptor) and not self._terminal:
                self._loop.watch(self._descriptor, WRITE, self._flush)
            elif self._terminal:
                self._loop.after("terminal input", 0.01, self._flush)

    def _write(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting)]
        except BlockingIOError:
            return
        except OSError:  # the container closed its input
            self._waiting.clear()
            self._closing = True

    def _flush(self) -> None:
        if self.closed:
            return
        self._write()
        if self._waiting:
            if self._terminal:
                self._loop.after("terminal input", 0.01, self._flush)
            return
        if not self._terminal:
            self._loop.forget(self._descriptor)
        if self._closing:
            self.abandon()
            return
        for source in self._sources:
            if not self._loop.watches(source):
                self._listen(source)

    def _drop(self, descriptor: int) -> None:
        self._loop.forget(descriptor)
        self._loop.cancel(_end(descriptor))  # the next client's may get the same number
        self._sources.remove(descriptor)
        os.close(descriptor)

    def inode(self) -> int:
        """That of its pipe."""
        return os.fstat(self._descriptor).st_ino

    def release(self, descriptor: int) -> None:
        """Let a client go that has not ended its input. Nothing happens for one that is gone already."""
        if descriptor in self._sources:
            self._drop(descriptor)

    def close(self) -> None:
        """End the container's input once all that waits was read."""
        self._closing = True
        if not self._waiting:
            self.abandon()

    def abandon(self) -> None:
        """End it now and let the clients go."""
        if self.closed:
            return
        self.closed = True
        self._waiting.clear()
        for source in list(self._sources):
            self._drop(source)
        if not self._terminal:  # the terminal belongs to the output side
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)


def _end(descriptor: int) -> str:
    return f"end of input {descriptor}"
