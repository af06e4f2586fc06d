"""Reading, decompressing and hashing a layer in a second thread while the first one creates files.

Both spend their time in the kernel or in C without the interpreter's lock, so two processors are used.
"""

from __future__ import annotations

import hashlib
import io
import threading
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from jupyter_containers.errors import LayerCorrupt, size_text
from jupyter_containers.layers.compression import decompressor
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from jupyter_containers.layers.base import Progress

_CHUNK: Final = 1 << 20
_AHEAD: Final = 8
_POLL: Final = 0.1


class ReadAhead:
    """The plain bytes of a compressed stream, with their digest; has the ``read`` that TarReader needs.

    ``progress`` is called by ``read`` with the bytes taken from ``raw``. Close it: that ends the thread.
    """

    def __init__(self, raw: BinaryIO, *, max_bytes: int | None = None, progress: Progress | None = None) -> None:
        self._counted = _Counted(raw)
        self._max = max_bytes
        self._progress = progress
        self._queue: Queue[tuple[bytes, int] | Exception] = Queue(_AHEAD)
        self._stopped = threading.Event()
        self._buffer = b""
        self._at = 0
        self._ended = False
        self._hash = hashlib.sha256()
        self.size = 0
        """Plain bytes handed out so far."""
        self._thread = threading.Thread(target=self._produce, name="layer-read-ahead", daemon=True)
        self._thread.start()

    @property
    def digest(self) -> Digest:
        """The digest of the plain bytes; complete once ``read`` returned nothing."""
        return Digest(f"sha256:{self._hash.hexdigest()}")

    def read(self, count: int) -> bytes:
        """``count`` bytes, fewer at the end only. Raises LayerCorrupt, and what ``progress`` raises."""
        end = self._at + count
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        self._buffer, self._at = b"", 0
        while have < count and self._next():
            piece = self._buffer[: count - have]
            self._at = len(piece)
            have += len(piece)
            parts.append(piece)
        return b"".join(parts)

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=_POLL)
            except Empty:
                continue
        self._thread.join()

    def _next(self) -> bool:
        """Take the next chunk as the buffer; False at the end."""
        if self._ended:
            return False
        item = self._queue.get()
        if isinstance(item, Exception):
            self._ended = True
            raise item
        self._buffer, taken = item
        self._at = 0
        self.size += len(self._buffer)
        self._ended = not self._buffer
        if self._max is not None and self.size > self._max:
            raise LayerCorrupt(f"layer has more than the {size_text(self._max)} allowed")
        if self._progress is not None:
            self._progress(taken)
        return not self._ended

    def _produce(self) -> None:
        """The thread: chunks, then an empty one or the error."""
        try:
            plain = decompressor(cast("BinaryIO", io.BufferedReader(self._counted, _CHUNK)))
            while not self._stopped.is_set():
                data = plain.read(_CHUNK)
                self._hash.update(data)
                self._put((data, self._counted.count))
                if not data:
                    return
        except Exception as error:  # noqa: BLE001 - raised again in the reading thread
            self._put(error)

    def _put(self, item: tuple[bytes, int] | Exception) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
                return
            except Full:
                continue


class _Counted(io.RawIOBase):
    """Counts what is read from a stream."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__()
        self._raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._raw.read(len(view))
        view[: len(data)] = data
        self.count += len(data)
        return len(data)
