"""The directories of ``RUN --mount=type=cache``: kept between builds, outside of all layers.

::

    <root>/cache-mounts/<digest of the id>/lock     held (flock) while a step uses one: shared, or alone
                                           meta     the id and the time of the last use, as JSON
                                           data/    what is mounted

``sharing=private`` gives a step that finds one in use another of its own, with a number behind the digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, BinaryIO, Final

from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.engine.small_files import write_file
from jupyter_containers.errors import Conflict, Corrupt, NotFound
from jupyter_containers.layers.base import ApplyOptions, DiffOptions
from jupyter_containers.linux.syscalls import exchange
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from pathlib import Path

    from jupyter_containers.layers.base import Sink, Trees

WAIT: Final = 0.05
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class CacheMount:
    """One directory: the id it was asked for by, its bytes, when it was last used (ns), whether it is in use."""

    id: str
    key: str
    bytes: int
    used: int
    busy: bool


class CacheMounts:
    """All of a store. Safe with several processes; a lock goes with the process that holds it."""

    def __init__(self, root: Path, trees: Trees) -> None:
        self.root = root
        self._trees = trees

    def acquire(
        self, identity: str, sharing: str, fill: Callable[[Path], None], cancel: CancelToken
    ) -> tuple[Path, int]:
        """The directory of an id, made with ``fill`` where there is none, and the descriptor that holds it.

        Waits for one that is used alone (``sharing=locked``).
        """
        digest = _key(identity)
        number = 0
        while True:
            key = f"{digest}.{number}" if number else digest
            fd = self._lock(key, alone=sharing != "shared", wait=sharing != "private", cancel=cancel)
            if fd >= 0:
                break
            number += 1
        try:
            return self._ready(key, identity, fill), fd
        except BaseException:
            os.close(fd)
            raise

    def _lock(self, key: str, *, alone: bool, wait: bool, cancel: CancelToken) -> int:
        directory = self.root / key
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        while True:
            fd = os.open(directory / "lock", _OPEN, 0o600)
            try:
                fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                if not wait:
                    return -1
                cancel.check()
                time.sleep(WAIT)
                continue
            if os.fstat(fd).st_nlink:  # not removed between the two calls
                return fd
            os.close(fd)
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)

    def _ready(self, key: str, identity: str, fill: Callable[[Path], None]) -> Path:
        directory, data = self.root / key, self.root / key / "data"
        write_file(directory / "meta", _meta(identity), mode=0o600)
        if not data.exists():
            maker = os.open(directory / "making", _OPEN, 0o600)
            try:
                fcntl.flock(maker, fcntl.LOCK_EX)  # of several that share it the first one makes it
                if not data.exists():
                    half = directory / "half"
                    self._trees.remove(half)
                    fill(half)
                    os.rename(half, data)
            finally:
                os.close(maker)
        return data

    def list(self) -> builtins.list[CacheMount]:
        """All of them, the one used last first."""
        found = [self._describe(key) for key in self._keys()]
        return sorted(found, key=lambda mount: -mount.used)

    def _keys(self) -> builtins.list[str]:
        return sorted(os.listdir(self.root)) if self.root.is_dir() else []

    def _describe(self, key: str) -> CacheMount:
        directory = self.root / key
        try:
            meta = json.loads((directory / "meta").read_bytes())
        except FileNotFoundError:
            meta = {"id": key, "used": 0}
        except ValueError as error:
            raise Corrupt(f"the record of the cache mount {key} is damaged", hint=f"remove {directory}") from error
        size = self._trees.usage(directory / "data").bytes if (directory / "data").exists() else 0
        fd = self._try(key)
        if fd >= 0:
            os.close(fd)
        return CacheMount(str(meta["id"]), key, size, int(meta["used"]), fd < 0)

    def _try(self, key: str, kind: int = fcntl.LOCK_EX) -> int:
        fd = os.open(self.root / key / "lock", _OPEN, 0o600)
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return -1
        return fd

    def size(self) -> int:
        """The bytes of all of them; one is measured again only when a step has used it since."""
        return sum(map(self._size, self._keys()))

    def _size(self, key: str) -> int:
        file = self.root / key / "meta"
        try:
            meta = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return 0  # it is being made or removed, or 'cache ls' says what is wrong with it
        if meta.get("measured", 0) < meta["used"]:
            moment = time.time_ns()
            data = self.root / key / "data"
            meta |= {"bytes": self._trees.usage(data).bytes if data.exists() else 0, "measured": moment}
            write_file(file, json.dumps(meta).encode(), mode=0o600)
        return int(meta["bytes"])

    def find(self, name: str) -> CacheMount:
        """One by its id or key.

        Raises
        ------
        NotFound
            when there is none.
        """
        for mount in self.list():
            if name in {mount.id, mount.key}:
                return mount
        raise NotFound(f"no cache mount {name}", hint="'cache ls' shows those there are")

    def write_archive(self, name: str, out: Sink) -> None:
        """Write what is in one as a tar archive, with owners, modes, times and extended attributes.

        Raises
        ------
        NotFound, Conflict
            when there is none, or a step has it for itself.
        """
        mount = self.find(name)
        fd = self._try(mount.key, fcntl.LOCK_SH)
        if fd < 0:
            raise _in_use(mount.id)
        try:
            self._trees.diff(self.root / mount.key / "data", out, DiffOptions(root=True))
        finally:
            os.close(fd)

    def read_archive(self, identity: str, archive: BinaryIO) -> None:
        """Give the one of an id the content of a tar archive, compressed or not; make it if there is none.

        All of it or, when the archive is damaged, nothing.

        Raises
        ------
        LayerCorrupt, Conflict
            when the archive is damaged, or a step uses the directory.
        """
        key = _key(identity)
        fd = self._lock(key, alone=True, wait=False, cancel=CancelToken())
        if fd < 0:
            raise _in_use(identity)
        directory = self.root / key
        data, half = directory / "data", directory / "half"
        try:
            self._trees.remove(half)
            self._trees.make(half)
            self._trees.apply(archive, half, ApplyOptions(lowers=()))
            if data.exists():
                exchange(os.fsencode(half), os.fsencode(data))
            else:
                os.rename(half, data)
            write_file(directory / "meta", _meta(identity), mode=0o600)
        finally:
            self._trees.remove(half)
            if not data.exists():
                self._discard(key)
            os.close(fd)

    def remove(self, key: str) -> None:
        """Delete one.

        Raises
        ------
        Conflict
            when a step uses it.
        """
        fd = self._try(key)
        if fd < 0:
            raise _in_use(key)
        try:
            self._discard(key)
        finally:
            os.close(fd)

    def _discard(self, key: str) -> None:
        """Delete one whose lock is held alone."""
        for name in os.listdir(self.root / key):
            if name != "lock":
                self._trees.remove(self.root / key / name)
        os.unlink(self.root / key / "lock")
        os.rmdir(self.root / key)


def _key(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _meta(identity: str) -> bytes:
    return json.dumps({"id": identity, "used": time.time_ns()}).encode()


def _in_use(name: str) -> Conflict:
    return Conflict(f"the cache mount {name} is in use", hint="wait for the build that uses it")
