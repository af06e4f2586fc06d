"""A layer made from a list of entries: what COPY, ADD and WORKDIR add, and the layers of starter images."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final

from jupyter_containers.errors import InvalidInput
from jupyter_containers.layers.base import Item, ViewSource, Written
from jupyter_containers.layers.disk import WHITEOUT_PREFIX, get_xattrs
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.layers.tar.entry import NANOSECONDS
from jupyter_containers.layers.view import LayerView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jupyter_containers.layers.base import Progress, Sink

_CHUNK: Final = 1 << 20


def write_items(
    items: Iterable[Item], out: Sink, *, timestamp: int | None = None, progress: Progress | None = None
) -> Written:
    """Write a deterministic layer: entries sorted by name, the last of several with one name.

    Parent directories that are not listed are not written; extraction gives them the attributes they have in the
    layers below, or 0755 of root. Hard links come after all other entries.

    Parameters
    ----------
    timestamp
        No modification time is later than this (seconds since the epoch).

    Raises
    ------
    InvalidInput
        for a name that leaves the root, or that would be read as a whiteout (``.wh.``).
    NotFound, PermissionDenied, Conflict
        when a source is not there, may not be read, or changes while it is read.
    """
    unique = {_name(item.name): item for item in items}
    order = sorted(unique.items(), key=lambda pair: (pair[1].kind == "link", pair[0].split(b"/")))
    writer = TarWriter(out)
    content = 0
    with ExitStack() as stack:
        views: dict[tuple[Path, ...], LayerView] = {}
        for name, item in order:
            seconds = item.mtime if timestamp is None else min(item.mtime, timestamp)
            entry = Entry(name, item.kind, item.mode & 0o7777, item.uid, item.gid, mtime=seconds * NANOSECONDS)
            entry.xattrs = {os.fsencode(key): value for key, value in item.xattrs.items()} or None
            entry.major, entry.minor = item.device
            if item.kind in {"symlink", "link"}:
                entry.target = os.fsencode(item.target) if item.kind == "symlink" else _name(item.target)
            if item.kind == "file":
                if isinstance(item.source, ViewSource) and item.source.dirs not in views:
                    views[item.source.dirs] = stack.enter_context(LayerView(item.source.dirs))
                _add_file(writer, entry, item, views)
                content += entry.size
            else:
                writer.add(entry)
            if progress is not None:
                progress(writer.size)
        digest = writer.close()
    return Written(digest, writer.size, writer.entries, content)


def _add_file(writer: TarWriter, entry: Entry, item: Item, views: dict[tuple[Path, ...], LayerView]) -> None:
    source = item.source
    if isinstance(source, bytes):
        entry.size = len(source)
        writer.add(entry, source)
        return
    if isinstance(source, ViewSource):
        opened = views[source.dirs].open(source.path)
        found = get_xattrs(opened.fileno())
        entry.xattrs = {**found, **(entry.xattrs or {})} or None
    else:
        opened = _open_host(source)
    with opened:
        entry.size = os.fstat(opened.fileno()).st_size
        writer.add(entry, _pieces(opened))


def _pieces(opened: BinaryIO) -> Iterator[bytes]:
    while data := opened.read(_CHUNK):
        yield data


def _open_host(path: Path) -> BinaryIO:
    try:
        # NONBLOCK: opening a fifo that took the place of the file must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise failure(error, f"reading {path}") from error
    opened = open(fd, "rb", buffering=0)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        opened.close()
        raise InvalidInput(f"{path} is not a regular file")
    return opened


def _name(name: str) -> bytes:
    """The name as it stands in the archive: relative, clean."""
    parts = [part for part in os.fsencode(name).split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise InvalidInput(f"{name!r} leaves the root of the layer")
    if any(part.startswith(WHITEOUT_PREFIX) for part in parts):
        raise InvalidInput(
            f"{name!r} cannot be stored in a layer: names that begin with .wh. mark what a layer removes"
        )
    return b"/".join(parts)
