"""An upper directory as a layer: what changed since the layers below, as a deterministic archive.

Overlay's marks become names (image specification, layer.md, "Whiteouts"): a character device 0:0 the file
``.wh.NAME``, an opaque directory the file ``.wh..wh..opq`` in it, if a layer below has that directory. Entries are
sorted by name, a directory before what is in it, its whiteouts among its names. A directory that was only copied up
(its modification time changed, or nothing) is left out unless something in it changed.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Protocol

from jupyter_containers.errors import InvalidInput, Unsupported
from jupyter_containers.layers.base import DiffOptions, Written
from jupyter_containers.layers.compare import same_content
from jupyter_containers.layers.disk import (
    DIRECTORY,
    MAX_DEPTH,
    OPAQUE_MARKER,
    WHITEOUT_PREFIX,
    get_xattr,
    get_xattrs,
    is_opaque,
    is_whiteout,
    open_owned,
    overlay_style,
    owner,
    read_record,
)
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.layers.tar.entry import NANOSECONDS
from jupyter_containers.layers.view import LayerView
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jupyter_containers.layers.base import Node, NodeKind, Progress, Sink

_CHUNK: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS: Final[dict[int, NodeKind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


def write_layer(
    upper: Path, out: Sink, *, options: DiffOptions | None = None, progress: Progress | None = None
) -> Written:
    """Write what ``upper`` changes as a layer to ``out``; see :class:`~jupyter_containers.layers.base.DiffOptions`.

    Nothing may write to ``upper`` meanwhile (Conflict when a file changes while it is read). ``progress`` gets the
    bytes of the archive.

    Raises
    ------
    Unsupported
        when the directory cannot stand alone (it was mounted with redirect_dir or metacopy), or is nested too deep.
    InvalidInput
        when a file has a name that means a whiteout in an archive.
    PermissionDenied, SystemFailure
        when the kernel refuses.
    """
    options = options or DiffOptions()
    try:
        with LayerView(options.lowers) as lowers:
            writer = TarWriter(out)
            differ = Differ(lowers, writer, options, progress)
            root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                differ.root(root)
            finally:
                os.close(root)
            digest = writer.close()
    except OSError as error:
        raise failure(error, f"reading the changes in {upper}") from error
    return Written(digest, writer.size, writer.entries, differ.content_bytes)


@dataclass(slots=True)
class _Directory:
    """A directory on the way down: its entry is written when the first thing in it is.

    ``below`` is the directory that the layers below have there.
    """

    entry: Entry | None
    parent: _Directory | None
    below: Node | None


class Entries(Protocol):
    """What takes the entries: an archive, or a list of changes, which leaves ``content`` unread."""

    size: int

    def add(self, entry: Entry, content: bytes | Iterable[bytes] = b"") -> None:
        """The next entry."""


class Differ:
    """One pass over an upper directory; ``writer`` gets what it changes, in the order of an archive."""

    def __init__(self, lowers: LayerView, writer: Entries, options: DiffOptions, progress: Progress | None) -> None:
        self.writer = writer
        self.content_bytes = 0
        self._lowers = lowers
        self._progress = progress
        self._limit = None if options.timestamp is None else options.timestamp * NANOSECONDS
        self._exclude = {os.fsencode(path).strip(b"/") for path in options.exclude}
        self._normalize = options.normalize
        self._compare = options.compare
        self._list_root = options.root
        self._links: dict[tuple[int, int], bytes] = {}

    def root(self, fd: int) -> None:
        """Everything. The root itself is written when its mode, owner or attributes changed."""
        node = self._lowers.find("")
        entry = self._entry(b"", os.fstat(fd), fd)
        changed = self._list_root or (node is not None and not self._same_directory(entry, node))
        here = _Directory(entry, None, node)
        if changed:
            self._flush(here)
        else:
            here.entry = None
            # What extraction gives a root the archive does not list: the time of the one below.
            entry.mtime = node.mtime if node is not None else 0
        self._children(fd, b"", here)
        self._settle(fd, entry)

    def _children(self, fd: int, path: bytes, here: _Directory) -> bool:
        """The entries of an open directory; whether anything in it is left (for ``normalize``)."""
        if path.count(b"/") >= MAX_DEPTH:
            raise Unsupported(f"directories are nested more than {MAX_DEPTH} deep at {os.fsdecode(path[:80])!r}")
        names = [os.fsencode(name) for name in os.listdir(fd)]
        listed = [(name, False) for name in names]
        if here.below is not None:
            listed += [(name, True) for name in self._missing(fd, path, names)]
        left = False
        for name, gone in sorted(listed, key=lambda pair: _sort_key(*pair)):
            full = path + b"/" + name if path else name
            if gone:
                self._emit(here, Entry(_whiteout_name(full), "file", 0))
            elif self._child(fd, name, full, here):
                left = True
            if self._progress is not None:
                self._progress(self.writer.size)
        return left

    def _missing(self, fd: int, path: bytes, names: list[bytes]) -> Iterator[bytes]:
        """Names that need a whiteout beyond those on disk: the opaque mark, or in a whole tree what it lacks."""
        if self._compare:
            present = set(names)
            for node in self._lowers.listdir(os.fsdecode(path)):
                name = os.fsencode(node.path.rsplit("/", 1)[-1])
                if name not in present and os.fsencode(node.path) not in self._exclude:
                    yield name
        elif path and is_opaque(fd):
            yield OPAQUE_MARKER

    def _child(self, fd: int, name: bytes, path: bytes, here: _Directory) -> bool:
        """One name; whether it stays in the directory."""
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if path in self._exclude and self._stub(fd, name, status):
            if self._normalize:
                (os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink)(name, dir_fd=fd)
            return not self._normalize
        if is_whiteout(status):
            # Before hard links: the kernel links one whiteout many times.
            self._emit(here, Entry(_whiteout_name(path), "file", 0))
            return True
        if name.startswith(WHITEOUT_PREFIX):
            raise InvalidInput(
                f"{os.fsdecode(path)!r} cannot be stored in a layer: names that begin with .wh. mark what is removed",
                hint="remove or rename it in the container",
            )
        if stat.S_ISSOCK(status.st_mode):
            if self._normalize:
                os.unlink(name, dir_fd=fd)
            return not self._normalize
        if stat.S_ISDIR(status.st_mode):
            return self._directory(fd, name, path, here)
        return self._leaf(fd, name, path, here, status)

    def _stub(self, fd: int, name: bytes, status: os.stat_result) -> bool:
        """Whether this is still the empty mount point the runtime made."""
        if stat.S_ISDIR(status.st_mode):
            child = open_owned(fd, name, DIRECTORY)
            try:
                # Mount points nested in it were removed before, when they were empty and the tree is normalized.
                return not os.listdir(child)
            finally:
                os.close(child)
        return stat.S_ISREG(status.st_mode) and status.st_size == 0

    def _directory(self, fd: int, name: bytes, path: bytes, here: _Directory) -> bool:
        child = open_owned(fd, name, DIRECTORY)
        try:
            if get_xattr(child, f"{overlay_style()}.overlay.redirect") is not None:
                raise Unsupported(f"{os.fsdecode(path)!r} is a renamed directory of a mount with redirect_dir")
            # Below what no layer has there is nothing to look up.
            below = self._lowers.find(os.fsdecode(path), follow=False) if here.below else None
            if below is not None and below.kind != "dir":
                below = None
            entry = self._entry(path, os.fstat(child), child)
            inner = _Directory(entry, here, below)
            unchanged = below is not None and self._same_directory(entry, below)
            if not unchanged and path not in self._exclude:
                self._flush(inner)
            left = self._children(child, path, inner)
            if inner.entry is None or self._compare or left:
                self._settle(child, entry)
                return True
        finally:
            os.close(child)
        if self._normalize:
            os.rmdir(name, dir_fd=fd)
        return not self._normalize

    def _leaf(self, fd: int, name: bytes, path: bytes, here: _Directory, status: os.stat_result) -> bool:
        """A file, link or device."""
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        if kind != "file":
            entry = self._plain(path, kind, status)
            if kind == "symlink":
                entry.target = os.readlink(name, dir_fd=fd)
            if not (self._compare and self._same_leaf(entry, status, None)):
                self._emit(here, self._linked(entry, status))
                self._settle_at(fd, name, entry, status)
            return True
        opened = open_owned(fd, name, _READ)
        try:
            if get_xattr(opened, f"{overlay_style()}.overlay.metacopy") is not None:
                raise Unsupported(f"{os.fsdecode(path)!r} has no content of its own (a mount with metacopy)")
            entry = self._entry(path, status, opened)
            if self._compare and self._same_leaf(entry, status, opened):
                return True
            entry = self._linked(entry, status)
            if entry.kind == "file":
                self.content_bytes += entry.size
                self._flush(here)
                self.writer.add(entry, _pieces(opened, entry.size))
            else:
                self._emit(here, entry)
            self._settle(opened, entry)
        finally:
            os.close(opened)
        return True

    def _linked(self, entry: Entry, status: os.stat_result) -> Entry:
        """The entry, or a hard link to the first name of the same file."""
        if status.st_nlink == 1:
            return entry
        first = self._links.setdefault((status.st_dev, status.st_ino), entry.name)
        if first == entry.name:
            return entry
        return Entry(entry.name, "link", entry.mode, entry.uid, entry.gid, 0, entry.mtime, target=first)

    # -- entries -----------------------------------------------------------------------------------------------------

    def _plain(self, path: bytes, kind: NodeKind, status: os.stat_result) -> Entry:
        mtime = status.st_mtime_ns
        if self._limit is not None:
            mtime = min(mtime, self._limit)
        mtime -= mtime % NANOSECONDS
        entry = Entry(path, kind, stat.S_IMODE(status.st_mode), *owner(status), mtime=mtime)
        if kind == "symlink":
            entry.mode = 0o777
        if kind in {"char", "block"}:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return entry

    def _entry(self, path: bytes, status: os.stat_result, fd: int) -> Entry:
        """The entry of an open file or directory, with what was recorded about it."""
        entry = self._plain(path, "dir" if stat.S_ISDIR(status.st_mode) else "file", status)
        entry.size = status.st_size if entry.kind == "file" else 0
        entry.xattrs = get_xattrs(fd) or None
        record = read_record(fd)
        if record is not None:
            entry.uid, entry.gid = record.uid, record.gid
            entry.mode = entry.mode if record.mode is None else record.mode
            if record.device and entry.size == 0:
                entry.kind = "char" if record.device[0] == "c" else "block"
                _kind, entry.major, entry.minor = record.device
        return entry

    def _same_directory(self, entry: Entry, node: Node) -> bool:
        """Whether a directory differs from the one below by its time at most."""
        if (entry.mode, entry.uid, entry.gid) != (node.mode, node.uid, node.gid):
            return False
        fd = self._lowers.directory_fd(node)
        try:
            return (get_xattrs(fd) or None) == entry.xattrs
        finally:
            os.close(fd)

    def _same_leaf(self, entry: Entry, status: os.stat_result, opened: int | None) -> bool:
        node = self._lowers.find(os.fsdecode(entry.name), follow=False)
        return node is not None and same_content(self._lowers, node, entry, status.st_mtime_ns, opened)

    def _emit(self, here: _Directory, entry: Entry) -> None:
        self._flush(here)
        self.writer.add(entry)

    def _flush(self, here: _Directory | None) -> None:
        """Write the directories that lead here, if they are not yet."""
        pending = []
        while here is not None and here.entry is not None:
            pending.append(here.entry)
            here.entry = None
            here = here.parent
        for entry in reversed(pending):
            self.writer.add(entry)

    def _settle(self, fd: int, entry: Entry) -> None:
        """Give what stays on disk the time it has in the archive."""
        if self._normalize:
            os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _settle_at(self, fd: int, name: bytes, entry: Entry, status: os.stat_result) -> None:
        if self._normalize and entry.mtime != status.st_mtime_ns:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    """The content of a file; one byte more than its size is asked for, to notice when it grew."""
    left = size + 1
    while data := os.read(fd, min(left, _CHUNK)):
        left -= len(data)
        yield data


def _whiteout_name(path: bytes) -> bytes:
    head, slash, name = path.rpartition(b"/")
    return head + slash + (name if name == OPAQUE_MARKER else WHITEOUT_PREFIX + name)


def _sort_key(name: bytes, gone: bool) -> tuple[bool, bytes]:
    """The opaque mark first (other tools want it so), then by name."""
    return not (gone and name == OPAQUE_MARKER), name
