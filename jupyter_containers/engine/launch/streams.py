"""Between a container's output and whoever listens: pipes read as they fill, each piece told at once."""

from __future__ import annotations

import os
import selectors
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from jupyter_containers.interrupts import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.events import Stream

CHUNK = 1 << 16
CAPTURE_LIMIT = 64 << 20


class Capture:
    """Keeps what was printed, of more than ``limit`` bytes the last pieces that fit; ``dropped`` counts the others."""

    def __init__(self, limit: int = CAPTURE_LIMIT) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.dropped = 0

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._chunks.append(data)
        self._size += len(data)
        while self._size > self._limit:
            first = self._chunks.popleft()
            self._size -= len(first)
            self.dropped += len(first)

    def bytes(self) -> bytes:
        """All that is kept."""
        return b"".join(self._chunks)


class OutputPipes:
    """The pipes of stdout and stderr: write ends for the container, read ends for :meth:`pump`."""

    def __init__(self) -> None:
        self.readers: dict[int, Stream] = {}
        self._writers: list[int] = []
        for stream in ("stdout", "stderr"):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.readers[reader] = "stdout" if stream == "stdout" else "stderr"
            self._writers.append(writer)

    @property
    def stdout(self) -> int:
        """The descriptor the container writes its standard output to."""
        return self._writers[0]

    @property
    def stderr(self) -> int:
        """The descriptor the container writes its standard error to."""
        return self._writers[1]

    def close_writers(self) -> None:
        """Once the container has its copies, so that the end of its output is seen."""
        while self._writers:
            os.close(self._writers.pop())

    def pump(self, on_output: Callable[[Stream, bytes], None]) -> None:
        """Read until both ends are closed, telling each piece in order."""
        with selectors.DefaultSelector() as selector:
            for reader in self.readers:
                selector.register(reader, selectors.EVENT_READ)
            while selector.get_map():
                for key, _events in selector.select(ATTENTION):
                    data = os.read(key.fd, CHUNK)
                    if data:
                        on_output(self.readers[key.fd], data)
                    else:
                        selector.unregister(key.fd)

    def close(self) -> None:
        """Close what is still open. Idempotent."""
        self.close_writers()
        while self.readers:
            os.close(self.readers.popitem()[0])


class InputFeed:
    """Standard input for a container from bytes or a binary file; ``descriptor`` is what the container reads."""

    def __init__(self, source: bytes | BinaryIO | None) -> None:
        self._thread: threading.Thread | None = None
        self.descriptor = -1
        if source is None:
            self.descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        elif not isinstance(source, bytes | bytearray) and (number := _fileno(source)) is not None:
            self.descriptor = os.dup(number)
        else:
            self.descriptor, writer = os.pipe2(os.O_CLOEXEC)
            self._thread = threading.Thread(target=_feed, args=(source, writer), name="container-stdin", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Close the container's end: the feeding thread ends when nobody reads any more. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _fileno(source: BinaryIO) -> int | None:
    try:
        return source.fileno()
    except (OSError, AttributeError):
        return None


def _feed(source: bytes | BinaryIO, writer: int) -> None:
    with suppress(BrokenPipeError), os.fdopen(writer, "wb", buffering=0) as pipe:
        if isinstance(source, bytes | bytearray):
            view = memoryview(source)
            while view:
                view = view[pipe.write(view) or 0 :]
        else:
            while data := source.read(CHUNK):
                pipe.write(data)
