"""Local archives that ADD extracts: recognised by content, whatever their name."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, BinaryIO, Final

from jupyter_containers.errors import InvalidInput, LayerCorrupt, size_text
from jupyter_containers.layers.base import Item
from jupyter_containers.layers.compression import decompressor
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.tar.entry import BLOCK, NANOSECONDS
from jupyter_containers.layers.tar.reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.layers.tar.entry import Entry

MEMORY_LIMIT: Final = 16 << 20
"""Bytes of files of one archive that are held in memory; what goes beyond is put in files."""

LARGE_FILE: Final = 64 << 10
EXPANSION: Final = 200
"""How many times its own size an archive may expand to before it is taken for one made to fill the disk."""
ALWAYS_ALLOWED: Final = 1 << 30
"""Bytes that every archive may expand to."""


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, plain or compressed, with at least one entry."""
    with open(path, "rb") as raw:
        try:
            return TarReader(_reader(raw)).next() is not None
        except LayerCorrupt:
            return False


def expansion_limit(size: int) -> int:
    """Bytes that an archive of ``size`` bytes may expand to."""
    return max(ALWAYS_ALLOWED, EXPANSION * size)


def _reader(raw: BinaryIO) -> BinaryIO:
    return decompressor(raw)


def read_items(path: Path, destination: str, spool: Path) -> Iterator[Item]:
    """The entries of an archive as entries of a layer, below ``destination`` (relative to the root).

    Large files are put in the directory ``spool``, which must exist until the entries were written.

    Raises
    ------
    InvalidInput
        when the archive is damaged, an entry would be outside of the destination, or it expands beyond all measure.
    SystemFailure, PermissionDenied
        when a file cannot be written.
    """
    try:
        with open(path, "rb") as raw:
            yield from _entries(TarReader(_reader(raw)), path, destination, spool)
    except LayerCorrupt as error:
        raise InvalidInput(f"the archive {path.name} is damaged: {error.message}") from error
    except OSError as error:
        raise failure(error, f"extracting {path.name}") from error


def _entries(reader: TarReader, path: Path, destination: str, spool: Path) -> Iterator[Item]:
    memory = MEMORY_LIMIT
    limit = left = expansion_limit(path.stat().st_size)
    for number, entry in enumerate(reader):
        left -= BLOCK + entry.size
        if left < 0:
            raise InvalidInput(
                f"the archive {path.name} expands to more than {size_text(limit)}",
                hint="if that is meant, extract it outside of the build and COPY the files",
            )
        name = _name(entry.name, path)
        if not name:
            if entry.kind != "dir":
                raise InvalidInput(f"the archive {path.name} has a {entry.kind} in place of its root")
            continue
        source: bytes | Path = b""
        if entry.kind == "file":
            if entry.sparse is not None or entry.size > min(LARGE_FILE, memory):
                source = spool / str(number)
                _spool(reader, entry, source)
            else:
                source = reader.read()
                memory -= entry.size
        yield _item(entry, posixpath.join(destination, name), source, destination, path)


def _item(entry: Entry, name: str, source: bytes | Path, destination: str, path: Path) -> Item:
    target = os.fsdecode(entry.target)
    if entry.kind == "link":
        target = posixpath.join(destination, _name(entry.target, path))
    return Item(
        name,
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        max(0, entry.mtime // NANOSECONDS),
        source=source,
        target=target,
        device=(entry.major, entry.minor),
        xattrs={os.fsdecode(key): value for key, value in (entry.xattrs or {}).items()},
    )


def _name(raw: bytes, path: Path) -> str:
    parts = [part for part in os.fsdecode(raw).split("/") if part not in {"", "."}]
    if ".." in parts:
        raise InvalidInput(f"the archive {path.name} has an entry outside of itself: {os.fsdecode(raw)!r}")
    return "/".join(parts)


def _spool(reader: TarReader, entry: Entry, target: Path) -> None:
    with open(target, "xb", buffering=0) as file:
        for offset, data in reader.chunks():
            file.seek(offset)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        file.truncate(entry.size)
