"""A tree of files through a pipe, as a tar archive: what is copied out of, or into, a container.

Every step opens one name in one open directory without following a link. Contents go from file to pipe inside the
kernel, splice(2).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, TypeAlias

from jupyter_containers.errors import Conflict, NotFound, Unsupported
from jupyter_containers.layers.disk import DIRECTORY, MAX_DEPTH, get_xattrs
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.tar import Entry
from jupyter_containers.layers.tar.entry import BLOCK
from jupyter_containers.layers.tar.writer import encode_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.layers.base import NodeKind

    Owners: TypeAlias = Callable[[int, int], tuple[int, int]]
    Told: TypeAlias = Callable[[int], None]

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS: Final[dict[int, NodeKind]] = {
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}
_SMALL: Final = 1 << 16
_PIECE: Final = 1 << 20
_UNSIZED_LIMIT: Final = 64 << 20


def send_tree(
    parent: int, name: bytes, out: int, *, top: bytes, owners: Owners | None = None, told: Told | None = None
) -> None:
    """Write what is at ``name`` in an open directory, and all below it, as an archive; sockets are left out.

    Parameters
    ----------
    parent, name
        A directory's descriptor and a name in it, which is not followed; ``.`` is the directory itself.
    out
        A descriptor, best of a pipe.
    top
        The name of the first entry; empty for a directory whose content stands in the archive by itself.
    owners
        What uid and gid become in the archive.
    told
        Told the bytes of files so far.

    Raises
    ------
    Conflict
        when a file becomes shorter while it is read.
    NotFound, PermissionDenied, SystemFailure
        when the kernel refuses. BrokenPipeError when nobody reads any more.
    """
    sender = _Sender(out, owners, told)
    sender.send(parent, name, top)
    sender.put(bytes(2 * BLOCK))
    sender.flush()


class _Sender:
    """One archive."""

    def __init__(self, out: int, owners: Owners | None, told: Told | None) -> None:
        self._out = out
        self._owners = owners
        self._told = told
        self._links: dict[tuple[int, int], bytes] = {}
        self._pending: list[bytes] = []
        self._size = 0
        self._sent = 0

    def put(self, data: bytes) -> None:
        """Append bytes, together with later ones where they are few."""
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _SMALL:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        view = memoryview(b"".join(self._pending))
        self._pending, self._size = [], 0
        while view:
            view = view[os.write(self._out, view) :]

    def send(self, parent: int, name: bytes, path: bytes, depth: int = 0) -> None:
        """One name, and what is below it."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                opened = os.open(name, DIRECTORY, dir_fd=parent)
                try:
                    self._directory(opened, path, depth)
                finally:
                    os.close(opened)
            elif stat.S_ISREG(status.st_mode):
                opened = os.open(name, _READ, dir_fd=parent)
                try:
                    self.file(opened, path)
                finally:
                    os.close(opened)
            elif not stat.S_ISSOCK(status.st_mode):
                self._other(parent, name, path, status)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise failure(error, f"reading {os.fsdecode(path or name)!r}") from error

    def _directory(self, opened: int, path: bytes, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise Unsupported(f"directories are nested more than {MAX_DEPTH} deep at {os.fsdecode(path[:80])!r}")
        entry = self._entry(path, "dir", os.fstat(opened))
        entry.xattrs = get_xattrs(opened) or None
        self._header(entry)
        for child in sorted(map(os.fsencode, os.listdir(opened))):
            try:
                self.send(opened, child, path + b"/" + child if path else child, depth + 1)
            except NotFound:  # removed since the directory was listed
                continue

    def file(self, opened: int, path: bytes) -> None:
        """An open file."""
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise Conflict(f"{os.fsdecode(path)!r} was replaced while it was read")
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                entry = self._entry(path, "link", status)
                entry.target = first
                self._header(entry)
                return
        entry = self._entry(path, "file", status)
        entry.xattrs = get_xattrs(opened) or None
        if status.st_size == 0:
            self._unsized(entry, opened)
            return
        entry.size = status.st_size
        self._header(entry)
        self._content(opened, entry)
        self.put(bytes(-entry.size % BLOCK))

    def _unsized(self, entry: Entry, opened: int) -> None:
        """A file that is empty, or one of the kernel's, whose size only reading tells."""
        data = b""
        while piece := os.read(opened, _PIECE):
            data += piece
            if len(data) > _UNSIZED_LIMIT:
                raise Unsupported(f"{os.fsdecode(entry.name)!r} does not say its size, and has no end")
        entry.size = len(data)
        self._header(entry)
        self.put(data + bytes(-len(data) % BLOCK))

    def _content(self, opened: int, entry: Entry) -> None:
        left = entry.size
        if left > _SMALL:
            self.flush()
            left = self._splice(opened, left)
        while left:
            data = os.read(opened, min(left, _PIECE))
            if not data:
                raise Conflict(
                    f"{os.fsdecode(entry.name)!r} became shorter while it was read",
                    hint="stop what writes to it, then try again",
                )
            left -= len(data)
            self.put(data)
            self._count(len(data))

    def _splice(self, opened: int, left: int) -> int:
        """Move bytes inside the kernel; how many are left, where it cannot, or the file ended."""
        try:
            while left and (moved := os.splice(opened, self._out, min(left, _PIECE))):
                left -= moved
                self._count(moved)
        except OSError as error:
            if error.errno != errno.EINVAL:  # no pipe, or a file system without this
                raise
        return left

    def _count(self, moved: int) -> None:
        self._sent += moved
        if self._told is not None:
            self._told(self._sent)

    def _other(self, parent: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        entry = self._entry(path, _KINDS[stat.S_IFMT(status.st_mode)], status)
        if entry.kind == "symlink":
            entry.target = os.readlink(name, dir_fd=parent)
        elif entry.kind != "fifo":
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self._header(entry)

    def _entry(self, path: bytes, kind: NodeKind, status: os.stat_result) -> Entry:
        uid, gid = status.st_uid, status.st_gid
        if self._owners is not None:
            uid, gid = self._owners(uid, gid)
        return Entry(path, kind, stat.S_IMODE(status.st_mode), uid, gid, mtime=status.st_mtime_ns)

    def _header(self, entry: Entry) -> None:
        self.put(encode_header(entry, subsecond=True))


def send_file(opened: int, out: int, *, name: bytes, owners: Owners | None = None, told: Told | None = None) -> None:
    """Write one open file as an archive; see :func:`send_tree`."""
    sender = _Sender(out, owners, told)
    try:
        sender.file(opened, name)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise failure(error, f"reading {os.fsdecode(name)!r}") from error
    sender.put(bytes(2 * BLOCK))
    sender.flush()
