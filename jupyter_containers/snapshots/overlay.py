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

from jupyter_containers.layers.base import DiffOptions
from jupyter_containers.oci.runtime_spec import Mount
from jupyter_containers.snapshots.base import LayerInfo, Scratch
from jupyter_containers.snapshots.layerdir import LayerDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jupyter_containers.layers.base import Progress, Sink, Trees, Written
    from jupyter_containers.oci.names import Digest

_OPTIONS = ("index=off", "metacopy=off", "redirect_dir=off")


class OverlaySnapshotter:
    """Snapshots in the store's root directory; ``userxattr`` for mounts made in a user namespace."""

    def __init__(self, root: Path, trees: Trees, *, userxattr: bool) -> None:
        self._layers = LayerDirectory(root, trees)
        self._trees = trees
        self._userxattr = userxattr

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

    def mounts(self, parents: Sequence[Digest], scratch: Scratch | None, *, volatile: bool = False) -> list[Mount]:
        """See :meth:`Snapshotter.mounts`."""
        lowers = self._layers.dirs(parents)
        if scratch is None and len(lowers) == 1:
            return [Mount(destination="/", type="bind", source=str(lowers[0]), options=["rbind", "ro"])]
        if scratch is not None and not lowers:
            return [Mount(destination="/", type="bind", source=str(scratch.upper), options=["rbind", "rw"])]
        options = ["lowerdir=" + ":".join(_escape(path) for path in lowers)]
        if scratch is not None:
            options += [f"upperdir={_escape(scratch.upper)}", f"workdir={_escape(scratch.work)}"]
        options += ["index=off", "userxattr"] if self._userxattr else _OPTIONS
        if volatile and scratch is not None:
            options.append("volatile")
        if scratch is None:
            options.append("ro")
        return [Mount(destination="/", type="overlay", source="overlay", options=options)]

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

    def commit(self, scratch: Scratch, chain: Digest, written: Written, blob: Path) -> LayerInfo:
        """See :meth:`Snapshotter.commit`. One rename: the upper directory becomes the layer."""
        info = LayerInfo(chain, written.digest, written.content_bytes, written.entries)
        if scratch.lock_fd < 0:
            # It lives in a directory of the caller's, who may go on writing to it.
            return self.unpack(chain, blob, diff_id=written.digest, parents=scratch.parents)
        return self._layers.adopt(scratch, info)

    def remove(self, chain: Digest) -> bool:
        """See :meth:`Snapshotter.remove`."""
        return self._layers.remove(chain)

    def sweep(self) -> int:
        """See :meth:`Snapshotter.sweep`."""
        return self._layers.sweep()


def _escape(path: Path) -> str:
    r"""A path as overlay's options want it: ``\`` before what separates them."""
    return os.fspath(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
