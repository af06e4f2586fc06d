"""Snapshots by the kernel's overlay file system: layers are never copied, a container writes to its own directory.

Mounts are returned, never made: the runtime makes them inside the container's mount namespace, so that a crash cannot
leak one. Options (the kernel's overlayfs.rst): ``index``, ``metacopy`` and ``redirect_dir`` are off, so that an upper
directory holds all that changed and nothing that depends on the lowers; where a user without privileges mounts,
``userxattr``, which implies the last two and allows neither to be named; ``volatile`` where nothing must survive a
crash.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.layers.base import ApplyOptions, DiffOptions
from jupyter_containers.snapshots.base import LayerInfo, Scratch
from jupyter_containers.snapshots.layerdir import LayerDirectory
from jupyter_containers.snapshots.scratch import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from jupyter_containers.layers.base import Change, Item, Progress, Sink, Trees, Written
    from jupyter_containers.oci.names import Digest
    from jupyter_containers.oci.runtime_spec import Mount

_FILES = ("hostname", "hosts")
_OPTIONS = ("index=off", "metacopy=off", "redirect_dir=off")


class OverlaySnapshotter:
    """Snapshots in the store's root directory; ``userxattr`` for mounts made in a user namespace."""

    layered = True

    def __init__(self, root: Path, trees: Trees, *, userxattr: bool) -> None:
        self._layers = LayerDirectory(root, trees)
        self._trees = trees
        self._userxattr = userxattr
        self._places = root / "mountpoints"
        self._places_made = False

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
        """See :meth:`Snapshotter.prepare`."""
        dirs = self._layers.dirs(parents)
        scratch = self._layers.new_scratch(parents) if directory is None else self.attach(parents, directory)
        try:
            self._trees.make(scratch.upper, dirs)
            self._trees.make(scratch.work)
        except BaseException:
            scratch.close()
            raise
        return scratch

    def attach(self, parents: Sequence[Digest], directory: Path) -> Scratch:
        """See :meth:`Snapshotter.attach`."""
        return Scratch(directory, directory / "upper", directory / "work", tuple(parents))

    def restore(self, parents: Sequence[Digest], archive: BinaryIO, *, directory: Path) -> Scratch:
        """See :meth:`Snapshotter.restore`."""
        scratch = self.attach(parents, directory)
        self._trees.apply(archive, scratch.upper, ApplyOptions(lowers=tuple(self._layers.dirs(parents))))
        self._trees.make(scratch.work)
        return scratch

    def mounts(self, parents: Sequence[Digest], scratch: Scratch | None, *, volatile: bool = False) -> list[Mount]:
        """See :meth:`Snapshotter.mounts`."""
        lowers = self._layers.dirs(parents)
        if scratch is None:
            return [self._shown(lowers)]
        if not lowers:
            return [{"destination": "/", "type": "bind", "source": str(scratch.upper), "options": ["rbind", "rw"]}]
        directories = (f"upperdir={_escape(scratch.upper)}", f"workdir={_escape(scratch.work)}")
        return [self._overlay([*lowers, self._mountpoints()], directories, ("volatile",) if volatile else ())]

    def _mountpoints(self) -> Path:
        """A directory below all layers with the files that every container has mounted over.

        An image that lacks them need not have them made in the container's own directory.
        """
        if not self._places_made:
            etc = self._places / "etc"
            try:
                etc.mkdir(parents=True, exist_ok=True)
                for directory in (self._places, etc):
                    directory.chmod(0o755)
                for name in _FILES:
                    (etc / name).touch()
                    (etc / name).chmod(0o644)
            except OSError as error:
                raise failure(error, f"making {self._places}") from error
            self._places_made = True
        return self._places

    def show(self, parents: Sequence[Digest], path: str) -> Mount:
        """See :meth:`Snapshotter.show`."""
        return self._shown(self._trees.parts(self._layers.dirs(parents), path))

    def _shown(self, lowers: Sequence[Path]) -> Mount:
        if len(lowers) == 1:
            return {"destination": "/", "type": "bind", "source": str(lowers[0]), "options": ["rbind", "ro"]}
        return self._overlay(lowers, (), ("ro",))

    def _overlay(self, lowers: Sequence[Path], writable: Sequence[str], flags: Sequence[str]) -> Mount:
        lower = "lowerdir=" + ":".join(_escape(path) for path in lowers)
        fixed = ("index=off", "userxattr") if self._userxattr else _OPTIONS
        options = [lower, *writable, *fixed, *flags]
        return {"destination": "/", "type": "overlay", "source": "overlay", "options": options}

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
        """See :meth:`Snapshotter.diff`."""
        options = DiffOptions(tuple(self._layers.dirs(scratch.parents)), timestamp, exclude, normalize)
        return self._trees.diff(scratch.upper, out, options, progress=progress)

    def changes(self, scratch: Scratch, *, exclude: frozenset[str] = frozenset()) -> list[Change]:
        """See :meth:`Snapshotter.changes`."""
        options = DiffOptions(tuple(self._layers.dirs(scratch.parents)), exclude=exclude)
        return self._trees.changes(scratch.upper, options)

    def commit(self, scratch: Scratch, chain: Digest, written: Written, blob: Path) -> LayerInfo:
        """See :meth:`Snapshotter.commit`. One rename: the upper directory becomes the layer."""
        info = LayerInfo(chain, written.digest, written.content_bytes, written.entries)
        if scratch.lock_fd < 0:
            # It lives in a directory of the caller's, who may go on writing to it.
            return self.unpack(chain, blob, diff_id=written.digest, parents=scratch.parents)
        return self._layers.adopt(scratch, info)

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


def _escape(path: Path) -> str:
    r"""A path as overlay's options want it: ``\`` before what separates them."""
    return os.fspath(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
