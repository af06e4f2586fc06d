"""A layer made from a list of entries: what COPY, ADD and WORKDIR add, and the layers of starter images."""

from __future__ import annotations

import os
import re
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol

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

    from jupyter_containers.layers.base import HashingSink, Progress, Sink
    from jupyter_containers.layers.earlier import EarlierArchive
    from jupyter_containers.layers.tar.writer import Content

_CHUNK: Final = 1 << 20
_UNCLEAN: Final = re.compile(rb"(?:^|/)(?:\.|/|$)")
"""What a name may have that needs a closer look: an empty component, one that begins with a dot."""


def write_items(
    items: Iterable[Item], out: Sink | HashingSink, *, timestamp: int | None = None, progress: Progress | None = None
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
    writer = TarWriter(out)
    content = add_items(items, writer, timestamp=timestamp, progress=progress)
    digest = writer.close()
    return Written(digest, writer.size, writer.entries, content)


class Writer(Protocol):
    """What takes the entries, in the order of an archive."""

    size: int

    def add(self, entry: Entry, content: Content = b"", *, header: bytes | None = None) -> None:
        """The next entry; ``header``: as it stands in the earlier archive, which has the same content."""


def add_items(
    items: Iterable[Item],
    writer: Writer,
    *,
    earlier: EarlierArchive | None = None,
    timestamp: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Add items as :func:`write_items` does, those that are in an earlier archive from there; the bytes of files."""
    unique = {_name(item.name): item for item in items}
    order = sorted(unique, key=lambda name: (unique[name].kind == "link", name.replace(b"/", b"\0")))
    content = 0
    with _Views() as views:
        for name in order:
            item = unique[name]
            seconds = item.mtime if timestamp is None else min(item.mtime, timestamp)
            entry = Entry(name, item.kind, item.mode & 0o7777, item.uid, item.gid, mtime=seconds * NANOSECONDS)
            if item.xattrs:
                entry.xattrs = {os.fsencode(key): value for key, value in item.xattrs.items()}
            entry.major, entry.minor = item.device
            if item.kind in {"symlink", "link"}:
                entry.target = os.fsencode(item.target) if item.kind == "symlink" else _name(item.target)
            if item.kind == "file":
                _add_file(writer, entry, item, earlier, views)
                content += entry.size
            else:
                writer.add(entry)
            if progress is not None:
                progress(writer.size)
    return content


class _Views(ExitStack):
    """The views of layers that items are read from, opened when they are first needed."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[tuple[Path, ...], LayerView] = {}

    def __getitem__(self, dirs: tuple[Path, ...]) -> LayerView:
        if dirs not in self._open:
            self._open[dirs] = self.enter_context(LayerView(dirs))
        return self._open[dirs]


def _add_file(writer: Writer, entry: Entry, item: Item, earlier: EarlierArchive | None, views: _Views) -> None:
    source = item.source
    if isinstance(source, ViewSource):
        with views[source.dirs].open(source.path) as opened:
            found = get_xattrs(opened.fileno())
            entry.xattrs = {**found, **(entry.xattrs or {})} or None
            entry.size = os.fstat(opened.fileno()).st_size
            writer.add(entry, _pieces(opened.fileno(), entry.size))
        return
    header = earlier.find(entry, item.sha256) if earlier is not None and item.sha256 else None
    if earlier is not None and header is not None:
        writer.add(entry, earlier.content(), header=header)
        return
    if isinstance(source, bytes):
        entry.size = len(source)
        writer.add(entry, source)
        return
    fd, entry.size = _open_host(source)
    try:
        writer.add(entry, _pieces(fd, entry.size))
    finally:
        os.close(fd)


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    """The content of a file: no more than its size and a byte, by which it is seen that it grew."""
    left = size + 1
    while left and (data := os.read(fd, wanted := min(left, _CHUNK))):
        left -= len(data)
        yield data
        if left == 1 and len(data) < wanted:
            return  # all of it, and its end was seen


def _open_host(path: str | Path) -> tuple[int, int]:
    """A file of the host, open, and its size."""
    try:
        # NONBLOCK: opening a fifo that took the place of the file must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise failure(error, f"reading {path}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise InvalidInput(f"{path} is not a regular file")
    return fd, status.st_size


def _name(name: str) -> bytes:
    """The name as it stands in the archive: relative, clean."""
    encoded = os.fsencode(name)
    if not _UNCLEAN.search(encoded):
        return encoded
    parts = [part for part in encoded.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise InvalidInput(f"{name!r} leaves the root of the layer")
    if any(part.startswith(WHITEOUT_PREFIX) for part in parts):
        raise InvalidInput(
            f"{name!r} cannot be stored in a layer: names that begin with .wh. mark what a layer removes"
        )
    return b"/".join(parts)
