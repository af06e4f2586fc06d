"""Snapshots by copying: for kernels without overlay, and file systems that cannot carry its upper directory.

Layers are extracted and shared as with overlay; each container gets a copy of what they show together, and its
changes are found by comparing. Costs the size of the image for each container (less where the file system shares
blocks), needs nothing of the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput
from jupyter_containers.layers.base import ApplyOptions, DiffOptions
from jupyter_containers.oci.runtime_spec import Mount
from jupyter_containers.snapshots.base import LayerInfo, Scratch
from jupyter_containers.snapshots.layerdir import LayerDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from jupyter_containers.layers.base import Change, Item, Progress, Sink, Trees, Written
    from jupyter_containers.oci.names import Digest


class CopySnapshotter:
    """Snapshots in the store's root directory, each a whole file system."""

    layered = False

    def __init__(self, root: Path, trees: Trees) -> None:
        self._layers = LayerDirectory(root, trees)
        self._trees = trees

    def unpack(
        self,
        chain: Digest,
        blob: Path,
        *,
        diff_id: Digest,
        parents: Sequence[Digest],
        progress: Progress | None = None,
    ) -> LayerInfo:
        """See :meth:`Snapshotter.unpack`."""
        return self._layers.unpack(chain, blob, diff_id=diff_id, parents=parents, progress=progress)

    def info(self, chain: Digest) -> LayerInfo | None:
        """See :meth:`Snapshotter.info`."""
        return self._layers.info(chain)

    def chains(self) -> Iterator[LayerInfo]:
        """See :meth:`Snapshotter.chains`."""
        return self._layers.chains()

    def layer_dirs(self, parents: Sequence[Digest]) -> list[Path]:
        """See :meth:`Snapshotter.layer_dirs`."""
        return self._layers.dirs(parents)

    def prepare(self, parents: Sequence[Digest], *, directory: Path | None = None) -> Scratch:
        """See :meth:`Snapshotter.prepare`. Copies the layers; the work directory says that the copy is whole."""
        dirs = self._layers.dirs(parents)
        scratch = self._layers.new_scratch(parents) if directory is None else self.attach(parents, directory)
        try:
            self._trees.copy(dirs, scratch.upper)
            self._trees.make(scratch.work)
        except BaseException:
            scratch.close()
            raise
        return scratch

    def attach(self, parents: Sequence[Digest], directory: Path) -> Scratch:
        """See :meth:`Snapshotter.attach`."""
        return Scratch(directory, directory / "upper", directory / "work", tuple(parents))

    def restore(self, parents: Sequence[Digest], archive: BinaryIO, *, directory: Path) -> Scratch:
        """See :meth:`Snapshotter.restore`. The layer and those below it become one tree."""
        scratch = self.attach(parents, directory)
        dirs = self._layers.dirs(parents)
        layer = directory / "layer"
        self._trees.apply(archive, layer, ApplyOptions(lowers=tuple(dirs)))
        self._trees.copy([layer, *dirs], scratch.upper)
        self._trees.remove(layer)
        self._trees.make(scratch.work)
        return scratch

    def mounts(self, parents: Sequence[Digest], scratch: Scratch | None, *, volatile: bool = False) -> list[Mount]:
        """See :meth:`Snapshotter.mounts`. Always a bind mount of a whole tree; ``volatile`` changes nothing.

        Without ``scratch`` only a single layer can be shown; prepare a scratch for more (InvalidInput).
        """
        del volatile
        if scratch is not None:
            return [Mount(destination="/", type="bind", source=str(scratch.upper), options=["rbind", "rw"])]
        return [_shown(self._layers.dirs(parents))]

    def show(self, parents: Sequence[Digest], path: str) -> Mount:
        """See :meth:`Snapshotter.show`. One layer alone must have it (InvalidInput)."""
        return _shown(self._trees.parts(self._layers.dirs(parents), path))

    def diff(
        self,
        scratch: Scratch,
        out: Sink,
        *,
        timestamp: int | None = None,
        exclude: frozenset[str] = frozenset(),
        normalize: bool = False,
        progress: Progress | None = None,
    ) -> Written:
        """See :meth:`Snapshotter.diff`. Compares the whole tree with the layers; it is never changed."""
        del normalize
        options = DiffOptions(
            tuple(self._layers.dirs(scratch.parents)), timestamp, exclude, normalize=False, compare=True
        )
        return self._trees.diff(scratch.upper, out, options, progress=progress)

    def changes(self, scratch: Scratch, *, exclude: frozenset[str] = frozenset()) -> list[Change]:
        """See :meth:`Snapshotter.changes`."""
        options = DiffOptions(tuple(self._layers.dirs(scratch.parents)), exclude=exclude, compare=True)
        return self._trees.changes(scratch.upper, options)

    def commit(self, scratch: Scratch, chain: Digest, written: Written, blob: Path) -> LayerInfo:
        """See :meth:`Snapshotter.commit`. Extracts the archive: the tree itself holds more than the layer."""
        return self._layers.unpack(chain, blob, diff_id=written.digest, parents=scratch.parents)

    def make(
        self,
        parents: Sequence[Digest],
        items: Iterable[Item],
        out: Sink,
        store: Callable[[], object],
        *,
        earlier: tuple[Digest, Path] | None = None,
        progress: Progress | None = None,
    ) -> Written:
        """See :meth:`Snapshotter.make`."""
        return self._layers.make(parents, items, out, store, earlier=earlier, progress=progress)

    def remove(self, chain: Digest) -> bool:
        """See :meth:`Snapshotter.remove`."""
        return self._layers.remove(chain)

    def sweep(self) -> int:
        """See :meth:`Snapshotter.sweep`."""
        return self._layers.sweep()


def _shown(dirs: Sequence[Path]) -> Mount:
    if len(dirs) != 1:
        raise InvalidInput("several layers cannot be shown without a copy", hint="prepare a scratch for them")
    return Mount(destination="/", type="bind", source=str(dirs[0]), options=["rbind", "ro"])
