"""What every snapshotter does: the Protocol, its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from jupyter_containers.oci.names import Digest, chain_id
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from jupyter_containers.layers.base import Change, Item, Progress, Sink, Written
    from jupyter_containers.oci.runtime_spec import Mount
    from jupyter_containers.snapshots.scratch import ScratchSpace


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """The chain id of every layer of a stack, bottom first: what the Snapshotter's ``parents`` are made of."""
    chains: list[Digest] = []
    for diff_id in diff_ids:
        chains.append(Digest.of(f"{chains[-1]} {diff_id}".encode()) if chains else chain_id([diff_id]))
    return chains


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What is known about an extracted layer: its own digest, bytes of its files, entries of its archive."""

    chain: Digest
    diff_id: Digest
    bytes: int
    entries: int
    opaque_root: bool = False


@dataclass(slots=True)
class Scratch:
    """A writable directory above some layers. As a context manager it is removed at the end unless committed.

    One made in a directory of the caller's (``prepare(directory=)``) has no lock; it lives as long as that directory.
    """

    directory: Path
    upper: Path
    work: Path
    parents: tuple[Digest, ...]
    space: ScratchSpace | None = None
    lock_fd: int = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove it, unless it is in a directory of the caller's. Idempotent."""
        if self.space is not None and self.lock_fd >= 0:
            fd, self.lock_fd = self.lock_fd, -1
            self.space.discard(self.directory, fd)


class Snapshotter(Protocol):
    """Keeps extracted layers and prepares the root file systems of containers.

    Thread-safe and process-safe. A process killed in the middle leaves a directory in ``scratch`` at most.
    ``parents`` are chain ids, bottom first, each the chain of those before it; they must be unpacked (NotFound).

    Attributes
    ----------
    layered
        Whether the writable directory holds only what was written; otherwise it is the whole file system.
    """

    layered: bool

    def unpack(
        self,
        chain: Digest,
        blob: Path,
        *,
        diff_id: Digest,
        parents: Sequence[Digest],
        progress: Progress | None = None,
    ) -> LayerInfo:
        """Extract a layer blob, unless it is there already. Two processes that ask for the same extract it once.

        Raises LayerCorrupt or DigestMismatch when the archive is not what ``diff_id`` says.
        """
        ...

    def info(self, chain: Digest) -> LayerInfo | None:
        """What is known about a layer, None when it is not unpacked. Cheap: nothing is walked."""
        ...

    def chains(self) -> Iterator[LayerInfo]:
        """All unpacked layers, in no order."""
        ...

    def layer_dirs(self, parents: Sequence[Digest]) -> list[Path]:
        """The directories of the layers, top first: for a LayerView, for ``lowers``. Raises NotFound."""
        ...

    def prepare(self, parents: Sequence[Digest], *, directory: Path | None = None) -> Scratch:
        """A fresh writable directory above ``parents``: in ``scratch``, or in ``directory`` (a container's)."""
        ...

    def attach(self, parents: Sequence[Digest], directory: Path) -> Scratch:
        """What ``prepare(parents, directory=directory)`` returned before, perhaps in another process."""
        ...

    def restore(self, parents: Sequence[Digest], archive: BinaryIO, *, directory: Path) -> Scratch:
        """What ``prepare`` returns, with the changes in it that ``diff`` has written to ``archive``."""
        ...

    def mounts(self, parents: Sequence[Digest], scratch: Scratch | None, *, volatile: bool = False) -> list[Mount]:
        """The mounts that make the root file system; without ``scratch`` it is read-only.

        ``volatile`` spares all syncs: for what is thrown away, or rebuilt after a crash.
        """
        ...

    def show(self, parents: Sequence[Digest], path: str) -> Mount:
        """The mount that shows the directory or file ``path`` of a stack, read-only. Raises NotFound."""
        ...

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
        """Write what changed in ``scratch`` as a layer; see DiffOptions."""
        ...

    def changes(self, scratch: Scratch, *, exclude: frozenset[str] = frozenset()) -> list[Change]:
        """What changed in ``scratch``, path by path."""
        ...

    def commit(self, scratch: Scratch, chain: Digest, written: Written, blob: Path) -> LayerInfo:
        """Make ``scratch`` (normalized by ``diff``, which returned ``written``) the layer ``chain``; it is used up.

        ``blob`` is where the archive is stored, for snapshotters that extract it. Harmless when the layer exists.
        """
        ...

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
        """Make a layer above ``parents`` from a list: its archive goes to ``out`` while it is extracted.

        ``store`` is called when the archive is whole, before the layer is there. ``earlier`` is a layer, with its plain
        archive, that has much in common with it: what is the same is taken from there, and its files are shared.
        """
        ...

    def remove(self, chain: Digest) -> bool:
        """Delete a layer and say whether it was there. The caller sees to it that nothing uses it."""
        ...

    def sweep(self) -> int:
        """Remove what dead processes left in ``scratch`` and say how many there were."""
        ...
