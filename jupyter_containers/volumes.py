"""The data of volumes: a directory each, made whole elsewhere and put in place by one rename.

::

    <root>/volumes/<id>/data    what containers see; its attributes are those of the volume's root
    <root>/volumes/.entering    held while data without a row in the state file may lie here

What volumes are called, and whose they are, is in the state file: data without a row there is garbage. So a volume is
made in the order scratch, rename, row, and removed in the opposite one; a crash in between is cleared by the sweep.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from jupyter_containers.errors import Conflict, InvalidInput, NotFound
from jupyter_containers.layers.base import ApplyOptions, DiffOptions
from jupyter_containers.linux.syscalls import exchange
from jupyter_containers.snapshots.scratch import ScratchSpace, failure, locked, locked_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from jupyter_containers.layers.base import Progress, Sink, Trees, Usage

_ENTERING = ".entering"
_LOCK = ".lock-"


class VolumeStore:
    """The directories ``volumes`` and ``scratch`` of a store. ``trees`` touches the files in them. Thread-safe."""

    def __init__(self, root: Path, trees: Trees) -> None:
        self.root = root / "volumes"
        self.trees = trees
        self._scratch = ScratchSpace(root / "scratch", trees)
        try:
            os.makedirs(self.root, mode=0o711, exist_ok=True)
        except OSError as error:
            raise failure(error, f"creating {self.root}") from error

    def data(self, identity: str) -> Path:
        """The directory that containers see."""
        return self.root / identity / "data"

    def draft(self) -> Draft:
        """Data of a volume that is being made; a context manager that discards what was not put in place."""
        path, fd = self._scratch.new()
        return Draft(self, self._scratch, path, fd)

    @contextmanager
    def entering(self) -> Iterator[None]:
        """While data is put in place before its row is written: nobody takes it for garbage."""
        with locked(self.root / _ENTERING, fcntl.LOCK_SH):
            yield

    @contextmanager
    def changing(self, identity: str) -> Iterator[None]:
        """While the whole content of a volume is exchanged: one at a time."""
        with locked_name(self.root / f"{_LOCK}{identity}"):
            yield

    def is_empty(self, identity: str) -> bool:
        """Whether there is nothing in it; raises NotFound when its directory is gone."""
        return len(self.trees.walk([self.data(identity)], "", recursive=False)) == 1

    def usage(self, identity: str) -> Usage:
        """What its files take."""
        return self.trees.usage(self.data(identity))

    def write_archive(self, identity: str, out: Sink, *, progress: Progress | None = None) -> None:
        """Write its content as a tar archive, with owners, modes, times and extended attributes."""
        self.trees.diff(self.data(identity), out, DiffOptions(root=True), progress=progress)

    def remove(self, identity: str) -> None:
        """Delete the data of a volume: out of sight at once, then file by file. Idempotent."""
        path, fd = self._scratch.new()
        try:
            os.rename(self.root / identity, path / "volume")
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(error, f"removing the volume {identity[:12]}") from error
        finally:
            self._scratch.discard(path, fd)

    def sweep(self, known: Callable[[], Collection[str]]) -> int:
        """Remove data without a row, ``known`` being the ids of those with one; how many there were."""
        with locked(self.root / _ENTERING, fcntl.LOCK_EX):
            names = [name for name in os.listdir(self.root) if not name.startswith(".")]
            garbage = set(names) - set(known()) if names else set()
        for identity in garbage:
            self.remove(identity)
        return len(garbage)


class Draft:
    """See :meth:`VolumeStore.draft`. ``data`` does not exist before one of the methods has made it."""

    def __init__(self, store: VolumeStore, space: ScratchSpace, path: Path, fd: int) -> None:
        self._store = store
        self._space = space
        self._path = path
        self._fd = fd
        self.data = path / "volume" / "data"
        try:
            os.mkdir(path / "volume", 0o711)
        except OSError as error:
            self.close()
            raise failure(error, f"creating {path}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Discard what was not put in place. Idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._space.discard(self._path, fd)

    def make(self) -> None:
        """Nothing in it, and root's."""
        self._store.trees.make(self.data)

    def fill(self, dirs: Sequence[Path], path: str) -> bool:
        """What is at ``path`` in the layers ``dirs``, top first; nothing where that is missing. Whether there was any.

        Raises
        ------
        InvalidInput
            when it is no directory.
        """
        trees = self._store.trees
        try:
            node, *children = trees.walk(dirs, path, recursive=False)
        except NotFound:
            self.make()
            return False
        if node.kind != "dir":
            raise InvalidInput(
                f"a volume cannot be mounted on {path}: the image has a file there", hint="choose another place"
            )
        trees.copy(dirs, self.data, path=node.path)
        return bool(children)

    def copy(self, identity: str, *, progress: Progress | None = None) -> None:
        """The content of another volume."""
        self._store.trees.copy([self._store.data(identity)], self.data, progress=progress)

    def read_archive(self, archive: BinaryIO, *, progress: Progress | None = None) -> None:
        """The content of a tar archive, compressed or not; raises LayerCorrupt."""
        self._store.trees.make(self.data)
        self._store.trees.apply(archive, self.data, ApplyOptions(lowers=()), progress=progress)

    def place(self, identity: str) -> None:
        """Make it the data of the new volume ``identity``. The caller is ``entering``."""
        try:
            os.rename(self._path / "volume", self._store.root / identity)
        except OSError as error:
            raise failure(error, f"storing the volume {identity[:12]}") from error

    def replace(self, identity: str) -> None:
        """Let it take the place of the data of a volume that no container is using, all at once.

        Raises
        ------
        Conflict
            when the volume was removed meanwhile.
        """
        try:
            exchange(os.fsencode(self._path / "volume"), os.fsencode(self._store.root / identity))
        except FileNotFoundError as error:
            raise Conflict(f"the volume {identity[:12]} was removed meanwhile") from error
        except OSError as error:
            raise failure(error, f"storing the volume {identity[:12]}") from error
