"""The extracted layers: ``<root>/layers/<chain id>/{diff,info.json}``, shared by both snapshotters.

A layer appears by one rename, whole, with its description beside it; it is never changed afterwards.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from jupyter_containers.errors import Corrupt, DigestMismatch, LayerCorrupt, NotFound
from jupyter_containers.layers.base import ApplyOptions, Earlier
from jupyter_containers.oci.names import Digest
from jupyter_containers.snapshots.base import LayerInfo, Scratch
from jupyter_containers.snapshots.scratch import ScratchSpace, failure, locked_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from jupyter_containers.layers.base import Item, Progress, Sink, Trees, Written

_INFO: Final = "info.json"
_HEX: Final = 64


class LayerDirectory:
    """What is below ``root`` (a store's root): ``layers`` and ``scratch``. ``trees`` touches the files in them."""

    def __init__(self, root: Path, trees: Trees) -> None:
        self.layers = root / "layers"
        self.scratch = ScratchSpace(root / "scratch", trees)
        self.trees = trees
        self._known: dict[Digest, tuple[tuple[int, int], LayerInfo]] = {}

    def unpack(
        self,
        chain: Digest,
        blob: Path,
        *,
        diff_id: Digest,
        parents: Sequence[Digest],
        progress: Progress | None = None,
    ) -> LayerInfo:
        """See :meth:`~jupyter_containers.snapshots.base.Snapshotter.unpack`."""
        known = self.info(chain)
        if known is not None:
            return known
        options = ApplyOptions(lowers=tuple(self.dirs(parents)), expected=diff_id)
        with self._chain_lock(chain):
            known = self.info(chain)
            if known is not None:
                return known
            directory, fd = self.scratch.new()
            with Scratch(directory, directory, directory, tuple(parents), self.scratch, fd):
                layer = self._new_layer(directory)
                try:
                    with open(blob, "rb", buffering=0) as opened:
                        applied = self.trees.apply(opened, layer / "diff", options, progress=progress)
                except OSError as error:
                    raise failure(error, f"reading the layer {blob.name}") from error
                except (LayerCorrupt, DigestMismatch) as error:
                    error.hint = f"remove the blob {blob.name[:12]} and pull or build the image again"
                    raise
                info = LayerInfo(chain, applied.diff_id, applied.content_bytes, applied.entries, applied.opaque_root)
                self.publish(layer, info)
        return info

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
        """See :meth:`~jupyter_containers.snapshots.base.Snapshotter.make`."""
        options = ApplyOptions(lowers=tuple(self.dirs(parents)))
        before = None
        if earlier is not None and self.info(earlier[0]) is not None:
            before = Earlier(earlier[1], self.path(earlier[0]) / "diff")
        with self.new_scratch(parents) as scratch:
            extract = scratch.upper, options
            written = self.trees.pack(items, out, extract=extract, earlier=before, progress=progress)
            store()
            chain = Digest.of(f"{parents[-1]} {written.digest}".encode()) if parents else written.digest
            self.adopt(scratch, LayerInfo(chain, written.digest, written.content_bytes, written.entries))
        return written

    def adopt(self, scratch: Scratch, info: LayerInfo) -> LayerInfo:
        """Make the upper directory of a scratch a layer. What is left of the scratch goes with its close."""
        with self._chain_lock(info.chain):
            known = self.info(info.chain)
            if known is not None:
                return known
            self.publish(scratch.upper.parent, info)
        return info

    def publish(self, layer: Path, info: LayerInfo) -> None:
        """Describe a finished layer and give it its name. The caller holds the chain's lock."""
        try:
            description = {
                "diff_id": info.diff_id,
                "bytes": info.bytes,
                "entries": info.entries,
                "opaque_root": info.opaque_root,
            }
            with open(layer / _INFO, "x", encoding="ascii") as file:
                json.dump(description, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(layer, self.path(info.chain))
        except OSError as error:
            raise failure(error, f"storing the layer {info.chain.short}") from error

    def info(self, chain: Digest) -> LayerInfo | None:
        """What is known about a layer, None when it is not there. Raises Corrupt when its description is damaged."""
        path = f"{self.layers}/{chain.hex}/{_INFO}"
        try:
            status = os.stat(path)
            stamp = status.st_ino, status.st_mtime_ns
            known = self._known.get(chain)
            if known is not None and known[0] == stamp:
                return known[1]
            with open(path, encoding="ascii") as file:
                data = json.load(file)
            info = LayerInfo(
                chain, Digest(data["diff_id"]), int(data["bytes"]), int(data["entries"]), bool(data["opaque_root"])
            )
        except FileNotFoundError:
            self._known.pop(chain, None)
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(
                f"the description of layer {chain.short} is damaged",
                hint=f"delete {self.path(chain)}; the layer is extracted again when it is needed",
            ) from error
        self._known[chain] = stamp, info
        return info

    def chains(self) -> Iterator[LayerInfo]:
        """All layers."""
        if not os.path.isdir(self.layers):
            return
        for name in os.listdir(self.layers):
            if len(name) == _HEX and (info := self.info(Digest(f"sha256:{name}"))) is not None:
                yield info

    def path(self, chain: Digest) -> Path:
        """The directory of a layer, with its description."""
        return self.layers / chain.hex

    def dirs(self, parents: Sequence[Digest]) -> list[Path]:
        """See :meth:`~jupyter_containers.snapshots.base.Snapshotter.layer_dirs`."""
        found = []
        for chain in reversed(parents):
            info = self.info(chain)
            if info is None:
                raise NotFound(f"layer {chain.short} is not unpacked", hint="unpack the layers of the image first")
            found.append(self.path(chain) / "diff")
            if info.opaque_root:
                break  # the kernel does not look at this mark of a root: leave out what it hides
        return found

    def new_scratch(self, parents: Sequence[Digest]) -> Scratch:
        """A locked scratch whose upper directory can become a layer; upper and work are not made yet."""
        directory, fd = self.scratch.new()
        scratch = Scratch(directory, directory / "layer" / "diff", directory / "work", tuple(parents), self.scratch, fd)
        try:
            self._new_layer(directory)
        except BaseException:
            scratch.close()
            raise
        return scratch

    def remove(self, chain: Digest) -> bool:
        """See :meth:`~jupyter_containers.snapshots.base.Snapshotter.remove`."""
        with self._chain_lock(chain):
            directory, fd = self.scratch.new()
            with Scratch(directory, directory, directory, (), self.scratch, fd):
                try:
                    # Out of sight in one step; a crash while deleting leaves scratch, never half a layer.
                    os.rename(self.path(chain), directory / "layer")
                except FileNotFoundError:
                    return False
                except OSError as error:
                    raise failure(error, f"removing the layer {chain.short}") from error
        return True

    def sweep(self) -> int:
        """See :meth:`~jupyter_containers.snapshots.base.Snapshotter.sweep`."""
        return self.scratch.sweep()

    def _new_layer(self, directory: Path) -> Path:
        layer = directory / "layer"
        try:
            os.makedirs(self.layers, mode=0o711, exist_ok=True)
            os.mkdir(layer, 0o711)
        except OSError as error:
            raise failure(error, f"creating {layer}") from error
        return layer

    def _chain_lock(self, chain: Digest) -> AbstractContextManager[None]:
        os.makedirs(self.layers, mode=0o711, exist_ok=True)
        return locked_name(self.layers / f".lock-{chain.hex}")
