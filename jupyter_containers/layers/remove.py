"""Whole trees: delete, measure, copy. By descriptors, never through a symbolic link."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jupyter_containers.errors import PermissionDenied, Unsupported
from jupyter_containers.layers.base import Usage
from jupyter_containers.layers.disk import DIRECTORY, MAX_DEPTH
from jupyter_containers.layers.failures import failure

if TYPE_CHECKING:
    from pathlib import Path

_LIFT_DEPTH: Final = 64


def remove_tree(path: Path) -> None:
    """Delete a file or a directory with all that is in it, whatever its modes. Idempotent.

    Raises
    ------
    PermissionDenied
        when something belongs to another user or is immutable (chattr +i); the message names it.
    SystemFailure
        when the kernel refuses for another reason, a mount inside for one.
    """
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise failure(error, f"removing {path}") from error
    try:
        remove_at(parent, os.fsencode(path.name))
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else ""
        doing = f"removing {path}" + (f" (at {where!r})" if where and where != path.name else "")
        raised = failure(error, doing)
        if isinstance(raised, PermissionDenied):
            raised.hint = "look for another owner (ls -ln) or for immutable files (lsattr, chattr -i)"
        raise raised from error
    finally:
        os.close(parent)


def remove_at(parent: int, name: bytes) -> None:
    """Delete ``name`` in the open directory ``parent``; no error when it is not there. Raises OSError."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        # Linux says EISDIR, POSIX EPERM; whether it is a directory shows below.
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise
    _remove_directory(parent, name, status)


def _remove_directory(parent: int, name: bytes, status: os.stat_result) -> None:
    """Empty a directory and delete it.

    Directories that are too deep for one descriptor a level are first moved up to its top.
    """
    top = _open_for_removal(parent, name, status)
    try:
        while _empty(top, top, 0):
            pass
    finally:
        os.close(top)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _open_for_removal(parent: int, name: bytes, status: os.stat_result) -> int:
    """Open a directory that may be closed to its owner (overlay's work/work has mode 000)."""
    if stat.S_IMODE(status.st_mode) & 0o700 != 0o700:  # noqa: PLR2004 - rwx
        path_fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            # chmod has no flag against links that all kernels know; through the descriptor there is nothing to follow.
            os.chmod(f"/proc/self/fd/{path_fd}", 0o700)
        except PermissionError:
            pass  # the open below, or the deletion, says what is not allowed
        finally:
            os.close(path_fd)
    return os.open(name, DIRECTORY, dir_fd=parent)


def _empty(fd: int, top: int, depth: int) -> bool:
    """Delete what is in the open directory; True when something was moved to ``top`` instead."""
    lifted = False
    with os.scandir(fd) as entries:
        listed = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_dir in listed:
        if not is_dir:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
            continue
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if depth >= _LIFT_DEPTH:
                _lift(fd, name, top, status)
                lifted = True
                continue
            child = _open_for_removal(fd, name, status)
        except FileNotFoundError:
            continue
        try:
            lifted |= _empty(child, top, depth + 1)
        finally:
            os.close(child)
        with suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=fd)
    return lifted


def _lift(fd: int, name: bytes, top: int, status: os.stat_result) -> None:
    """Move a directory to the top; to move one its ``..`` must be writable."""
    os.close(_open_for_removal(fd, name, status))
    os.rename(name, b".lifted-" + os.urandom(8).hex().encode(), src_dir_fd=fd, dst_dir_fd=top)


def usage(path: Path) -> Usage:
    """The bytes of the files and the number of entries below ``path``; hard links count once.

    Raises
    ------
    NotFound, PermissionDenied, SystemFailure
        when a directory cannot be read.
    """
    meter = _Meter()
    try:
        meter.measure(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), 0)
    except OSError as error:
        raise failure(error, f"measuring {path}") from error
    return Usage(meter.bytes, meter.entries)


class _Meter:
    """Adds up a tree."""

    def __init__(self) -> None:
        self.bytes = 0
        self.entries = 0
        self._seen: set[tuple[int, int]] = set()

    def measure(self, fd: int, depth: int) -> None:
        """Add what is in an open directory, and close it."""
        try:
            if depth > MAX_DEPTH:
                raise Unsupported(f"directories are nested more than {MAX_DEPTH} deep")
            for name in os.listdir(fd):
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        self.measure(os.open(name, DIRECTORY, dir_fd=fd), depth + 1)
                except OSError as error:
                    # A container may be at work in the tree.
                    if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                        raise
                    continue
                self.entries += 1
                if stat.S_ISREG(status.st_mode):
                    key = (status.st_dev, status.st_ino)
                    if status.st_nlink == 1 or key not in self._seen:
                        self.bytes += status.st_size
                        self._seen.add(key)
        finally:
            os.close(fd)
