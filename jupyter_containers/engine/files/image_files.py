"""The files of an image, layer by layer: what each layer added, changed and removed, and what is carried in vain.

A file is carried in vain, *wasted*, when a later layer replaces or removes it: its bytes stay in the image, and no
container sees them. Sizes are those of the files; a file with several names in a layer counts at the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from jupyter_containers.layers.base import DiffOptions
from jupyter_containers.records import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.views import LayerSummary
    from jupyter_containers.layers.base import Node, NodeKind, Trees

FileChangeKind: TypeAlias = Literal["added", "changed", "removed"]


@dataclass(frozen=True, slots=True)
class LayerFile:
    """What a layer does with one path.

    ``size`` is in bytes: of the file, and of all that went where something was removed. ``hidden_by`` is the layer that
    replaced or removed the file later; None: containers see it.
    """

    layer: int
    path: str
    change: FileChangeKind
    kind: NodeKind
    size: int
    hidden_by: int | None = None

    @property
    def wasted(self) -> int:
        """The bytes that are carried in vain."""
        return 0 if self.hidden_by is None or self.change == "removed" else self.size


@dataclass(frozen=True, slots=True)
class LayerContent:
    """A layer with what it does in numbers; ``line`` is that of the Dockerfile, where its build is remembered."""

    index: int
    digest: str
    diff_id: str
    chain_id: str
    created_by: str
    size: int
    added: int
    changed: int
    removed: int
    wasted: int
    line: int | None = None


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """All layers of an image, bottom first, and what they do with files, by layer and path."""

    image: str
    layers: tuple[LayerContent, ...]
    files: tuple[LayerFile, ...] = field(repr=False)

    @property
    def size(self) -> int:
        """The bytes of all files in all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def wasted(self) -> int:
        """The bytes of those among them that no container sees."""
        return sum(layer.wasted for layer in self.layers)

    def of_layer(self, index: int) -> list[LayerFile]:
        """What one layer does."""
        return [each for each in self.files if each.layer == index]


def look(parts: Parts, image: str, layers: Sequence[LayerSummary], dirs: Sequence[Path]) -> ImageFiles:
    """Look at the layers of an image, bottom first, which are extracted in the directories ``dirs``, top first."""
    lines = _lines(parts)
    merged = _Merged()
    for layer in layers:
        here = len(dirs) - 1 - layer.index
        removed, nodes = _read(parts.trees, dirs[here], tuple(dirs[here + 1 :]))
        merged.add(layer.index, removed, nodes)
    files = merged.files()
    return ImageFiles(image, tuple(_content(layer, files, lines.get(str(layer.diff_id))) for layer in layers), files)


def _read(trees: Trees, directory: Path, below: tuple[Path, ...]) -> tuple[list[str], list[Node]]:
    """The paths that a layer takes away from those below it, and its own files."""
    changes = trees.changes(directory, DiffOptions(lowers=below)) if below else []
    return [change.path.lstrip("/") for change in changes if change.kind == "D"], trees.walk([directory], "")


def _lines(parts: Parts) -> Mapping[str, int]:
    """The lines of Dockerfiles that made layers, by diff id; of several builds the latest tells."""
    found: dict[str, int] = {}
    for record in parts.cache.ledger.all():
        for step in record.steps:
            if step.made:
                found.setdefault(step.made, step.line)
    return found


def _content(layer: LayerSummary, files: Sequence[LayerFile], line: int | None) -> LayerContent:
    own = [each for each in files if each.layer == layer.index]
    return LayerContent(
        index=layer.index,
        digest=str(layer.digest),
        diff_id=str(layer.diff_id),
        chain_id=str(layer.chain_id),
        created_by=layer.created_by,
        size=sum(each.size for each in own if each.change != "removed"),
        added=sum(each.change == "added" for each in own),
        changed=sum(each.change == "changed" for each in own),
        removed=sum(each.change == "removed" for each in own),
        wasted=sum(each.wasted for each in own),
        line=line,
    )


@dataclass(slots=True)
class _Place:
    """A name in the merged tree: a directory's has names below it, a file's the number of its entry."""

    below: dict[str, _Place] = field(default_factory=dict)
    entry: int | None = None

    def entries(self) -> Iterator[int]:
        """The entries of this name and of all below it."""
        todo = [self]
        while todo:
            place = todo.pop()
            if place.entry is not None:
                yield place.entry
            todo += place.below.values()


class _Merged:
    """The tree that containers see, as it grows from the bottom layer to the top, and what each layer did to it."""

    def __init__(self) -> None:
        self._root = _Place()
        self._entries: list[LayerFile] = []

    def add(self, layer: int, removed: Iterable[str], nodes: Iterable[Node]) -> None:
        """Put a layer on top."""
        for path in removed:
            self._remove(layer, path)
        names: set[tuple[int, int]] = set()
        for node in nodes:
            if node.kind == "dir":
                self._directory(layer, node)
                continue
            again = any(node.inode) and node.inode in names
            names.add(node.inode)
            self._file(layer, replace(node, size=0, kind="link") if again else node)

    def files(self) -> tuple[LayerFile, ...]:
        """What was done, by layer and path."""
        return tuple(sorted(self._entries, key=lambda each: (each.layer, each.path)))

    def _directory(self, layer: int, node: Node) -> None:
        """A directory is told of only where it is new; a file in its place is hidden."""
        if not node.path:
            return
        above, name = self._above(node.path)
        place = above.below.get(name)
        if place is None or (place.entry is not None and self._entries[place.entry].kind != "dir"):
            change: FileChangeKind = "added" if place is None else "changed"
            if place is not None:
                self._hide(place, layer)
            above.below[name] = _Place(entry=self._tell(LayerFile(layer, node.path, change, "dir", 0)))

    def _file(self, layer: int, node: Node) -> None:
        above, name = self._above(node.path)
        before = above.below.get(name)
        if before is not None:
            self._hide(before, layer)
        change: FileChangeKind = "added" if before is None else "changed"
        above.below[name] = _Place(entry=self._tell(LayerFile(layer, node.path, change, node.kind, node.size)))

    def _remove(self, layer: int, path: str) -> None:
        above, name = self._above(path)
        place = above.below.pop(name, None)
        if place is not None:
            kind = "dir" if place.entry is None or place.below else self._entries[place.entry].kind
            size = self._hide(place, layer)
            self._tell(LayerFile(layer, path, "removed", kind, size))

    def _tell(self, entry: LayerFile) -> int:
        self._entries.append(entry)
        return len(self._entries) - 1

    def _hide(self, place: _Place, layer: int) -> int:
        """Mark what stands at a place and below as hidden by a layer; its bytes."""
        size = 0
        for number in place.entries():
            entry = self._entries[number]
            self._entries[number] = replace(entry, hidden_by=layer)
            size += entry.size
        return size

    def _above(self, path: str) -> tuple[_Place, str]:
        *names, name = path.split("/")
        place = self._root
        for each in names:
            place = place.below.setdefault(each, _Place())
        return place, name
