"""Owners, modes, times and extended attributes of what a layer makes, as far as this user can set them.

What cannot be set is recorded in :data:`~jupyter_containers.layers.disk.RECORD`, so that a layer made from the
directory later has it; what cannot be recorded either (the owner of a symbolic link) is counted.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, Literal

from jupyter_containers.errors import LayerCorrupt
from jupyter_containers.layers.disk import RECORD, Record, portable, reads_everything, stands_for_root

if TYPE_CHECKING:
    from jupyter_containers.layers.tar import Entry

_REFUSED: Final = frozenset({errno.EPERM, errno.EINVAL, errno.EACCES})
_UNSUPPORTED: Final = frozenset({errno.EPERM, errno.EINVAL, errno.EACCES, errno.ENOTSUP, errno.ENOSPC, errno.E2BIG})
_MAX_ID: Final = 0xFFFFFFFE
_MAX_TIME: Final = 1 << 62  # nanoseconds: the year 2116; no file system here goes further


class Attributes:
    """Sets attributes; ``unrecorded`` counts what could neither be set nor recorded."""

    def __init__(self) -> None:
        self.unrecorded = 0
        self._privileged = reads_everything()

    @staticmethod
    def time(mtime: int) -> int:
        """A modification time (nanoseconds) within what file systems hold."""
        return min(max(mtime, -_MAX_TIME), _MAX_TIME)

    def set_file(self, fd: int, entry: Entry) -> None:
        """Owner, extended attributes, mode and time of an open file, in this order.

        A change of owner clears capabilities and the setuid bit.
        """
        self._set(fd, entry, 0o600)
        mtime = self.time(entry.mtime)
        os.utime(fd, ns=(mtime, mtime))

    def set_directory(self, fd: int, entry: Entry) -> None:
        """Owner, extended attributes and mode of an open directory; its time is set at the end."""
        self._set(fd, entry, 0o700)

    @staticmethod
    def clear(fd: int) -> None:
        """Remove the attributes that an open directory got from the layers below, before an entry says its own."""
        for name in os.listxattr(fd):
            if name == RECORD or portable(name):
                os.removexattr(fd, name)

    def _set(self, fd: int, entry: Entry, needed: int) -> None:
        """``needed``: the bits that a user bound by modes keeps on disk."""
        owned = self._chown(fd, entry)
        if entry.xattrs:
            self._set_xattrs(fd, entry.xattrs)
        mode = entry.mode if self._privileged else entry.mode | needed
        os.fchmod(fd, mode)
        if not owned or mode != entry.mode:
            self._record(fd, Record(entry.uid, entry.gid, entry.mode if mode != entry.mode else None))

    def set_symlink(self, parent: int, leaf: bytes, entry: Entry) -> None:
        """Owner and time of a symbolic link. It can hold no record."""
        self._chown_at(parent, leaf, entry)
        mtime = self.time(entry.mtime)
        os.utime(leaf, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def make_device(self, parent: int, leaf: bytes, entry: Entry) -> None:
        """Make a device or fifo; where devices are not permitted an empty file with a record."""
        kinds = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}
        if not (0 <= entry.major < 1 << 32 and 0 <= entry.minor < 1 << 32):
            raise LayerCorrupt(f"layer entry {entry.name!r} has a device number out of range")
        device = os.makedev(entry.major, entry.minor)
        try:
            os.mknod(leaf, kinds[entry.kind] | 0o600, device, dir_fd=parent)
        except PermissionError:
            self._recorded_device(parent, leaf, entry)

    def _recorded_device(self, parent: int, leaf: bytes, entry: Entry) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(leaf, flags, 0o600, dir_fd=parent)
        try:
            kind: Literal["c", "b"] = "c" if entry.kind == "char" else "b"
            self._record(fd, Record(entry.uid, entry.gid, entry.mode, (kind, entry.major, entry.minor)))
        finally:
            os.close(fd)

    def set_special(self, parent: int, leaf: bytes, entry: Entry) -> None:
        """Owner, mode and time of what :meth:`make_device` made."""
        status = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            self._chown_at(parent, leaf, entry)
            os.chmod(leaf, entry.mode, dir_fd=parent)
        mtime = self.time(entry.mtime)
        os.utime(leaf, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def _chown(self, fd: int, entry: Entry) -> bool:
        _check_owner(entry)
        if stands_for_root() and entry.uid == entry.gid == 0:
            return True
        try:
            os.fchown(fd, entry.uid, entry.gid)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            return False
        return True

    def _chown_at(self, parent: int, leaf: bytes, entry: Entry) -> None:
        _check_owner(entry)
        if stands_for_root() and entry.uid == entry.gid == 0:
            return
        try:
            os.chown(leaf, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self.unrecorded += 1

    def _set_xattrs(self, fd: int, xattrs: dict[bytes, bytes]) -> None:
        for name, value in xattrs.items():
            text = os.fsdecode(name)
            if not portable(text):
                continue  # overlay's own would redirect lookups, the host's labels mean nothing here
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self.unrecorded += 1

    def _record(self, fd: int, record: Record) -> None:
        try:
            os.setxattr(fd, RECORD, record.encode())
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self.unrecorded += 1


def _check_owner(entry: Entry) -> None:
    # 2**32 - 1 means "leave it" to chown.
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise LayerCorrupt(f"layer entry {entry.name!r} has an owner out of range: {entry.uid}:{entry.gid}")
