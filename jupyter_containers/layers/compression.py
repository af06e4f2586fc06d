"""Compressed layers: recognized by their first bytes, written by name.

gzip goes through isal where it is installed (twice as fast to read, ten times to write), zstd through the standard
library's ``compression.zstd`` (Python 3.14) or its backport. Imports are made on first use: the worker process starts
without site-packages.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeAlias, cast

from jupyter_containers.errors import LayerCorrupt, Unsupported

if TYPE_CHECKING:
    from types import ModuleType

    from _typeshed import WriteableBuffer

    from jupyter_containers.layers.base import Sink

Kind: TypeAlias = Literal["plain", "gzip", "zstd", "bzip2", "xz"]

_BUFFER: Final = 1 << 20
_MAGIC: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
)
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"


def detect(start: bytes) -> Kind:
    """The compression of a stream that begins with ``start`` (6 bytes are enough)."""
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    # zstd:chunked and other tools may begin with a skippable frame (RFC 8878 section 3.1.2).
    return "zstd" if start[1:4] == _ZSTD_SKIPPABLE and start[0] >> 4 == 5 else "plain"  # noqa: PLR2004 - 0x50 to 0x5F


def decompressor(raw: BinaryIO) -> BinaryIO:
    """A stream of the plain bytes of ``raw``, whatever its compression.

    The result cannot seek; reading it raises LayerCorrupt when ``raw`` is damaged or cut off. Closing it leaves ``raw``
    open.

    Raises
    ------
    Unsupported
        for zstd where no library for it is installed.
    """
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw), _BUFFER)
    kind = detect(buffered.peek(6)[:6])
    if kind == "plain":
        return cast("BinaryIO", buffered)
    source = cast("BinaryIO", buffered)
    opened: BinaryIO
    match kind:
        case "gzip":
            opened = cast("BinaryIO", _gzip_module().GzipFile(fileobj=source, mode="rb"))
        case "zstd":
            opened = cast("BinaryIO", _zstd_module().ZstdFile(source, mode="r"))
        case "bzip2":
            opened = cast("BinaryIO", bz2.BZ2File(source))
        case "xz":
            opened = cast("BinaryIO", lzma.LZMAFile(source))  # noqa: SIM115 - it is read through the guard below
    return cast("BinaryIO", io.BufferedReader(_Guard(opened, kind), _BUFFER))


def compressor(out: Sink, kind: Literal["gzip", "zstd"], *, level: int | None = None) -> BinaryIO:
    """A stream whose plain bytes go to ``out`` compressed. Closing it ends the compressed stream, not ``out``.

    ``level`` is that of the library; its default is fast. gzip's header holds no time and no name, so that the same
    library gives the same bytes.
    """
    target = cast("BinaryIO", _Forward(out))
    if kind == "zstd":
        return cast("BinaryIO", _zstd_module().ZstdFile(target, mode="w", level=3 if level is None else level))
    module = _gzip_module()
    fast = 1 if module is not gzip else 6
    compressed = module.GzipFile(
        fileobj=target, mode="wb", filename="", mtime=0, compresslevel=fast if level is None else level
    )
    return cast("BinaryIO", compressed)


def _gzip_module() -> ModuleType:
    try:
        return importlib.import_module("isal.igzip")
    except ImportError:
        return gzip


def _zstd_module() -> ModuleType:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise Unsupported("no library for zstd is installed", hint="pip install backports.zstd, or use Python 3.14")


class _Guard(io.RawIOBase):
    """Turns the errors of the decompression libraries into LayerCorrupt."""

    def __init__(self, opened: BinaryIO, kind: Kind) -> None:
        super().__init__()
        self._opened = opened
        self._kind = kind
        self._errors: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
        if kind == "zstd":
            self._errors += (cast("type[Exception]", _zstd_module().ZstdError),)
        elif kind == "gzip" and (module := _gzip_module()) is not gzip:
            self._errors += (cast("type[Exception]", importlib.import_module("isal.isal_zlib").error),)
            self._errors += (cast("type[Exception]", module.BadGzipFile),)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data = self._opened.read(len(view))
        except self._errors as error:
            raise LayerCorrupt(f"{self._kind} data is damaged or cut off: {error}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            # bz2 reports damage as an OSError without a number.
            raise LayerCorrupt(f"{self._kind} data is damaged: {error}") from error
        view[: len(data)] = data
        return len(data)


class _Forward(io.RawIOBase):
    """What a compression library writes to; closing it closes nothing."""

    def __init__(self, out: Sink) -> None:
        super().__init__()
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        piece = bytes(memoryview(cast("bytes", data)))
        self._out.write(piece)
        return len(piece)
