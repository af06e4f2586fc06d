"""A tar archive from a pipe into a tree that is there already: what is copied into, or out of, a container.

Unlike a layer it marks nothing as removed, and it never puts a file in the place of a directory or the other way
round. Every file appears whole, by a rename; an archive that breaks off leaves those before it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from jupyter_containers.errors import Conflict, InvalidInput, LayerCorrupt
from jupyter_containers.layers.disk import portable
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.tar import TarReader
from jupyter_containers.linux import syscalls
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from jupyter_containers.layers.sending import Told
    from jupyter_containers.layers.tar import Entry

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUFFER: Final = 1 << 18
_PIECE: Final = 1 << 20
_LARGE: Final = 1 << 20
_TRIES: Final = 50
_SET_IDS: Final = stat.S_ISUID | stat.S_ISGID
_NOT_OURS: Final = frozenset({errno.EPERM, errno.EINVAL, errno.EACCES, errno.ENOTSUP})
_SPECIAL: Final = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an archive goes.

    Parameters
    ----------
    root
        A directory's descriptor.
    into
        The directory below it that takes the entries; empty for the root itself.
    contained
        Symbolic links on the way are followed, inside the root, which is a container's. Otherwise none is followed.
    owners
        Owners, set-user-id bits, extended attributes and devices are those of the archive, as far as this user may.
        Otherwise all belongs to this process, and a bit that would mean another user than before is left out.
    """

    root: int
    into: bytes = b""
    contained: bool = False
    owners: bool = False


def receive_tree(stream: int | BinaryIO, target: Target, *, told: Told | None = None) -> int:
    """Extract an archive, a descriptor or an open file, and say how many bytes of files it had.

    Raises
    ------
    LayerCorrupt
        when the archive is damaged or breaks off.
    Conflict
        when a directory is to take the place of something else, or something else that of a directory.
    InvalidInput
        for a name that leads out of the target.
    NotFound, PermissionDenied, SystemFailure
        when the kernel refuses.
    """
    receiver = _Receiver(stream, target, told)
    try:
        return receiver.run()
    finally:
        receiver.close()


class _Pipe:
    """Reads a descriptor exactly; what was read ahead is handed out first."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._at = 0

    def read(self, count: int, /) -> bytes:
        """So many bytes, fewer only at the end."""
        at = self._at
        if at + count <= len(self._buffer):
            self._at = at + count
            return self._buffer[at : at + count]
        parts = [self._buffer[at:]]
        left = count - len(parts[0])
        self._buffer, self._at = b"", 0
        while left > 0 and (data := os.read(self._descriptor, max(left, _BUFFER))):
            parts.append(data[:left])
            self._buffer = data[left:]
            left -= len(data)
        return b"".join(parts)

    def move(self, file: int, count: int) -> int:
        """Move so many bytes to a file, inside the kernel where it can; how many are left to be read."""
        ready = self.read(min(count, len(self._buffer) - self._at))
        _write(file, ready)
        left = count - len(ready)
        try:
            while left and (moved := os.splice(self._descriptor, file, min(left, _PIECE))):
                left -= moved
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return left


class _Receiver:
    """One archive."""

    def __init__(self, stream: int | BinaryIO, target: Target, told: Told | None) -> None:
        self._pipe = _Pipe(stream) if isinstance(stream, int) else None
        self._reader = TarReader(cast("BinaryIO", self._pipe) if self._pipe else cast("BinaryIO", stream))
        self._target = target
        self._told = told
        self._bytes = 0
        self._open: tuple[bytes, int] | None = None
        self._directories: list[tuple[bytes, Entry]] = []

    def run(self) -> int:
        """All entries, then the attributes of directories: their modes might close them, their times would change."""
        for entry in self._reader:
            try:
                self._entry(entry)
            except OSError as error:
                raise failure(error, f"writing {os.fsdecode(entry.name)!r}") from error
        for path, entry in reversed(self._directories):
            try:
                opened = self._parent(path)
                self._attributes(opened, entry)
                os.utime(opened, ns=(entry.mtime, entry.mtime))
            except FileNotFoundError:  # somebody has removed it
                continue
            except OSError as error:
                raise failure(error, f"setting the attributes of {os.fsdecode(path)!r}") from error
        return self._bytes

    def close(self) -> None:
        """Let go of the directory that was used last."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    # -- places ------------------------------------------------------------------------------------------------------

    def _parent(self, path: bytes, *, make: bool = False) -> int:
        """A descriptor of a directory below the target, kept until another one is asked for."""
        if self._open is None or self._open[0] != path:
            try:
                opened = self._directory(path)
            except FileNotFoundError:
                if not make or not path:
                    raise
                above, _, name = path.rpartition(b"/")
                os.mkdir(name, 0o755, dir_fd=self._parent(above, make=True))
                opened = self._directory(path)
            self.close()
            self._open = path, opened
        return self._open[1]

    def _directory(self, path: bytes) -> int:
        target = self._target
        full = b"/".join(part for part in (target.into, path) if part) or b"."
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        if target.contained:
            resolve = syscalls.RESOLVE_IN_ROOT
        for _ in range(_TRIES):
            try:
                return syscalls.openat2(target.root, full, _DIRECTORY, resolve=resolve)
            except BlockingIOError:  # EAGAIN: something was renamed during the walk, openat2(2)
                continue
        raise Conflict(f"{os.fsdecode(path)!r}: the file tree keeps changing")

    # -- entries -----------------------------------------------------------------------------------------------------

    def _entry(self, entry: Entry) -> None:
        path = _clean(entry.name)
        if not path:
            return  # the directory itself, which keeps its attributes
        above, _, name = path.rpartition(b"/")
        parent = self._parent(above, make=True)
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is not None and stat.S_ISDIR(there.st_mode) != (entry.kind == "dir"):
            kinds = ("directory", "non-directory") if stat.S_ISDIR(there.st_mode) else ("non-directory", "directory")
            raise Conflict(f"cannot overwrite {kinds[0]} {os.fsdecode(path)!r} with {kinds[1]}")
        if entry.kind == "dir":
            if there is None:
                os.mkdir(name, 0o700, dir_fd=parent)
            self._directories.append((path, entry))
        elif entry.kind in {"char", "block"} and not self._target.owners:
            return  # a device of a container is none for whoever copies
        else:
            self._replace(parent, name, entry)

    def _replace(self, parent: int, name: bytes, entry: Entry) -> None:
        """Make something that is no directory beside its place, and put it there."""
        temporary = b".copying-%b" % os.urandom(8).hex().encode()
        try:
            if not self._make(parent, temporary, entry):
                return
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:
                # Something is mounted there, as on /etc/hosts: its content is what can be changed.
                if error.errno != errno.EBUSY or entry.kind != "file":
                    raise
                _overwrite(parent, temporary, name)
        finally:
            try:
                os.unlink(temporary, dir_fd=parent)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EROFS, errno.EACCES, errno.EPERM}:
                    raise

    def _make(self, parent: int, name: bytes, entry: Entry) -> bool:
        """Make a file, link or device of its final content; false for one that this user cannot have."""
        match entry.kind:
            case "file":
                self._file(parent, name, entry)
            case "link":
                path = _clean(entry.target)
                above, _, leaf = path.rpartition(b"/")
                source = self._directory(above)
                try:
                    os.link(leaf, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
                finally:
                    os.close(source)
            case "symlink":
                os.symlink(entry.target, name, dir_fd=parent)
                self._chown_at(parent, name, entry)
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
            case "socket" | "dir":
                return False
            case _:
                device = os.makedev(entry.major, entry.minor)
                try:
                    os.mknod(name, _SPECIAL[entry.kind] | 0o600, device, dir_fd=parent)
                except PermissionError:  # a user namespace has no devices
                    return False
                self._chown_at(parent, name, entry)
                os.chmod(name, entry.mode & ~_SET_IDS, dir_fd=parent)
        return True

    def _file(self, parent: int, name: bytes, entry: Entry) -> None:
        opened = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            if self._pipe is not None and entry.sparse is None and entry.size >= _LARGE:
                self._move(self._pipe, opened, entry.size)
            else:
                for offset, data in self._reader.chunks():
                    if entry.sparse is not None:
                        os.lseek(opened, offset, os.SEEK_SET)
                    _write(opened, data)
                    self._count(len(data))
                if entry.sparse is not None:
                    os.ftruncate(opened, entry.size)
            self._attributes(opened, entry)
            os.utime(opened, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(opened)

    def _move(self, pipe: _Pipe, opened: int, size: int) -> None:
        for at in range(0, size, _BUFFER << 6):
            count = min(_BUFFER << 6, size - at)
            left = pipe.move(opened, count)
            while left:
                data = pipe.read(min(left, _PIECE))
                if not data:
                    raise LayerCorrupt("tar archive ends in the middle of a file")
                _write(opened, data)
                left -= len(data)
            self._reader.passed(count)
            self._count(count)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._told is not None:
            self._told(self._bytes)

    # -- attributes --------------------------------------------------------------------------------------------------

    def _attributes(self, opened: int, entry: Entry) -> None:
        """Owner, extended attributes, mode; a change of owner clears capabilities and the set-user-id bit."""
        if self._target.owners:
            try:
                os.fchown(opened, entry.uid, entry.gid)
            except OSError as error:
                if error.errno not in _NOT_OURS:  # an id that there is none of here
                    raise
            for key, value in (entry.xattrs or {}).items():
                _set_xattr(opened, os.fsdecode(key), value)
        mode, owner = entry.mode, os.fstat(opened)
        if entry.uid != owner.st_uid:
            mode &= ~stat.S_ISUID
        if entry.gid != owner.st_gid and entry.kind != "dir":
            mode &= ~stat.S_ISGID
        os.fchmod(opened, mode)

    def _chown_at(self, parent: int, name: bytes, entry: Entry) -> None:
        if not self._target.owners:
            return
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise


def _set_xattr(opened: int, name: str, value: bytes) -> None:
    if not portable(name):
        return
    try:
        os.setxattr(opened, name, value)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise


def _clean(name: bytes) -> bytes:
    """A name of the archive as a relative path."""
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise InvalidInput(f"{os.fsdecode(name)!r} leads out of the directory the archive is unpacked in")
    return b"/".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _overwrite(parent: int, source: bytes, name: bytes) -> None:
    """Give a file that is there the content of another one."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            while data := os.read(reading, _PIECE):
                _write(writing, data)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
