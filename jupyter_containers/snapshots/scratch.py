"""Half-made directories: each is locked by the process that makes it, so that what the dead left can be told apart.

::

    <root>/scratch/lock              shared while one is created, exclusive while they are swept
    <root>/scratch/<random>/lock     held (flock) by the owner; who can get it knows that the owner is dead
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jupyter_containers.errors import EngineError, PermissionDenied, SystemFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.layers.base import Trees

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def failure(error: OSError, doing: str) -> EngineError:
    """The typed error for a failed system call."""
    reason = f"{doing}: {error.strerror or error}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionDenied(reason)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return SystemFailure(reason, hint="free some space: remove images and build cache that are not needed")
    return SystemFailure(reason)


@contextmanager
def locked(path: Path, operation: int) -> Iterator[None]:
    """Hold a lock file that stays; waits."""
    fd = os.open(path, _OPEN, 0o600)
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        os.close(fd)


@contextmanager
def locked_name(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a name whose file exists only while somebody wants it; waits."""
    while True:
        fd = os.open(path, _OPEN, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # The one before removed the name; who waited on the old file must lock the new one.
            if os.fstat(fd).st_nlink:
                yield
                return
        finally:
            if os.fstat(fd).st_nlink:
                with suppress(FileNotFoundError):
                    os.unlink(path)
            os.close(fd)


class ScratchSpace:
    """The directory ``<root>/scratch``."""

    def __init__(self, root: Path, trees: Trees) -> None:
        self.root = root
        self._trees = trees

    def ensure(self) -> None:
        """Create it. Idempotent."""
        os.makedirs(self.root, mode=0o711, exist_ok=True)

    def new(self) -> tuple[Path, int]:
        """A new directory and the descriptor that keeps it locked."""
        path = self.root / os.urandom(8).hex()
        try:
            self.ensure()
            with locked(self.root / "lock", fcntl.LOCK_SH):
                os.mkdir(path, 0o711)
                fd = os.open(path / "lock", _OPEN, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise failure(error, f"creating {path}") from error
        return path, fd

    def discard(self, path: Path, fd: int) -> None:
        """Remove a directory whose lock is held as ``fd``, which is closed.

        The lock goes last, and no sweep sees the directory without one.

        Raises
        ------
        PermissionDenied, SystemFailure
            when something in it cannot be removed; the next sweep tries again.
        """
        try:
            for name in os.listdir(path):
                if name != "lock":
                    self._trees.remove(path / name)
            with locked(self.root / "lock", fcntl.LOCK_SH):
                os.unlink(path / "lock")
                os.rmdir(path)
        except OSError as error:
            raise failure(error, f"removing {path}") from error
        finally:
            os.close(fd)

    def sweep(self) -> int:
        """Remove what dead processes left and say how many there were.

        Raises
        ------
        PermissionDenied, SystemFailure
            when one cannot be removed; the others are.
        """
        if not os.path.isdir(self.root):
            return 0
        removed = 0
        problem: EngineError | None = None
        for path, fd in self._dead():
            try:
                self.discard(path, fd)
                removed += 1
            except EngineError as error:
                problem = error
        if problem is not None:
            raise problem
        return removed

    def _dead(self) -> list[tuple[Path, int]]:
        """The directories nobody owns, each with its lock held from now on."""
        dead = []
        try:
            with locked(self.root / "lock", fcntl.LOCK_EX):
                for name in os.listdir(self.root):
                    if name == "lock":
                        continue
                    # One without a lock file is that of a process killed between two calls: all others hold the lock
                    # of the whole while theirs is missing. So it may be given one.
                    fd = os.open(self.root / name / "lock", _OPEN, 0o600)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        os.close(fd)
                    else:
                        dead.append((self.root / name, fd))
        except OSError as error:
            raise failure(error, f"sweeping {self.root}") from error
        return dead
