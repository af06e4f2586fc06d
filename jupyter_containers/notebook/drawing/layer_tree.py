"""The layers of an image as bars, and the files of each as a tree that unfolds without scripts.

Both are bounded: of each layer the largest directories and files are shown, the rest is counted where it stands.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from jupyter_containers.commands import humane
from jupyter_containers.notebook import markup
from jupyter_containers.notebook.drawing import svg
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.engine.files.image_files import ImageFiles, LayerContent, LayerFile

MARKS: Final = {"added": "+", "changed": "~", "removed": "-"}
_LAYERS: Final = 130
"""An image has 127 layers at most, where the kernel's overlay is to mount it (overlayfs.rst)."""
_SHOWN: Final = 1000
_LEAST: Final = 20
_ROW, _BAR, _NUMBER, _SIZE = 24, 240, 24, 74
_TEXT: Final = 76


def picture(image: ImageFiles) -> str:
    """A bar for each layer, as long as it is large; what it carries in vain is dashed at the end of the bar."""
    told = summary(image)
    drawing = svg.Picture(f"Layers of {image.image}", f"{told}. The files of each layer are in the tree below.")
    largest = max((layer.size for layer in image.layers), default=0) or 1
    for at, layer in enumerate(image.layers[:_LAYERS]):
        y = 4.0 + at * _ROW
        drawing.text(_NUMBER - 6, y + 12, str(layer.index), anchor="end", bold=True)
        seen = _BAR * (layer.size - layer.wasted) / largest
        wasted = _BAR * layer.wasted / largest
        lost = f", {humane.size(layer.wasted)} of it hidden by later layers" if layer.wasted else ""
        tip = f"layer {layer.index}: {humane.size(layer.size)}{lost}"
        drawing.box(_NUMBER, y + 1, max(seen, 1), 14, fill=svg.BLUE, opacity=0.5, tip=tip)
        if layer.wasted:
            drawing.box(_NUMBER + seen, y + 1, max(wasted, 1), 14, fill=svg.RED, opacity=0.25, dashed=True, tip=tip)
        x = _NUMBER + _BAR + _SIZE
        drawing.text(x - 8, y + 12, humane.size(layer.size), anchor="end")
        lost = f"  ({humane.size(layer.wasted)} wasted)" if layer.wasted else ""
        drawing.text(x + 4, y + 12, humane.shorten(humane.visible(layer.created_by), _TEXT) + lost, fixed=True)
    return drawing.svg()


def summary(image: ImageFiles) -> str:
    """``4 layers, 24.5MB, of which 3.47MB are wasted``."""
    wasted = f", of which {humane.size(image.wasted)} are wasted: later layers hide them" if image.wasted else ""
    return f"{len(image.layers)} layers, {humane.size(image.size)}{wasted}"


def heading(layer: LayerContent) -> str:
    """``layer 2, line 3 of the Dockerfile, 24B: 3 changed, 1 removed``."""
    line = f", line {layer.line} of the Dockerfile" if layer.line else ""
    counts = [
        f"{count} {what}"
        for count, what in ((layer.added, "added"), (layer.changed, "changed"), (layer.removed, "removed"))
        if count
    ]
    wasted = f"; {humane.size(layer.wasted)} wasted" if layer.wasted else ""
    return f"layer {layer.index}{line}, {humane.size(layer.size)}: {', '.join(counts) or 'no change'}{wasted}"


def html(image: ImageFiles) -> str:
    """The bars, and for each layer what made it and the tree of its files, folded away."""
    files: dict[int, list[LayerFile]] = {}
    for each in image.files:
        files.setdefault(each.layer, []).append(each)
    budget = max(_LEAST, _SHOWN // max(len(image.layers), 1))
    parts = [picture(image)]
    for layer in image.layers:
        head = f"{markup.words(heading(layer))} {markup.code(humane.shorten(layer.created_by, 2 * _TEXT))}"
        parts.append(markup.folded(head, _tree(files.get(layer.index, []), budget)))
    return "".join(parts)


@dataclass(slots=True)
class Branch:
    """A name in the tree of one layer: ``size`` and ``count`` are those of all entries at it and below."""

    name: str
    below: dict[str, Branch] = field(default_factory=dict)
    entry: LayerFile | None = None
    size: int = 0
    count: int = 0
    open: bool = False


def grow(files: Iterable[LayerFile]) -> Branch:
    """The tree of some files."""
    root = Branch("")
    for each in files:
        branch = root
        for name in each.path.split("/"):
            branch.size += each.size
            branch.count += 1
            branch = branch.below.setdefault(name, Branch(name))
        branch.entry, branch.size, branch.count = each, branch.size + each.size, branch.count + 1
    return root


def _choose(root: Branch, budget: int) -> None:
    """Open the largest directories until so many names are seen."""
    heap = [(-root.size, -root.count, 0, root)]
    number = 0
    while heap and budget > 0:
        *_order, branch = heapq.heappop(heap)
        branch.open = True
        shown = _largest(branch, budget)
        budget -= len(shown)
        for each in shown:
            if each.below:
                number += 1
                heapq.heappush(heap, (-each.size, -each.count, number, each))


def _largest(branch: Branch, most: int) -> list[Branch]:
    """So many names of a directory, the largest, by name."""
    if len(branch.below) <= most:
        return sorted(branch.below.values(), key=lambda each: each.name)
    largest = heapq.nlargest(most, branch.below.values(), key=lambda each: (each.size, each.count))
    return sorted(largest, key=lambda each: each.name)


def _tree(files: list[LayerFile], budget: int) -> str:
    if not files:
        return "<p>It has no files.</p>"
    root = grow(files)
    _choose(root, budget)
    return _list(root, budget)


def _list(branch: Branch, most: int) -> str:
    shown = _largest(branch, most)
    items = [f"<li>{_item(each, most)}</li>" for each in shown]
    if left_out := len(branch.below) - len(shown):
        size = humane.size(branch.size - sum(each.size for each in shown))
        items.append(f"<li>… {left_out} more, {size}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _item(branch: Branch, most: int) -> str:
    name = branch.name
    while len(branch.below) == 1 and branch.entry is None:  # a chain of directories is one item
        (only,) = branch.below.values()
        only.open = only.open or not only.below
        name, branch = f"{name}/{only.name}", only
    label = _label(name, branch)
    if not branch.below:
        return label
    if not branch.open:
        return f"{label}, not unfolded here"
    return markup.folded(label, _list(branch, most))


def _label(name: str, branch: Branch) -> str:
    """``+ added <code>app.py</code> 1.2kB, hidden by layer 4``; a directory with the number of entries below it."""
    entry = branch.entry
    is_directory = bool(branch.below) or (entry is not None and entry.kind == "dir")
    mark = f"{MARKS[entry.change]} {entry.change} " if entry is not None else ""
    below = branch.count - (entry is not None)
    parts = [f"{mark}{markup.code(name + '/' * is_directory)}"]
    if entry is None or entry.kind in {"file", "dir"}:
        parts[0] += f" {humane.size(branch.size)}" if branch.size or not is_directory else ""
    else:
        parts.append(entry.kind)
    if below:
        parts.append(f"{below} {'entry' if below == 1 else 'entries'}")
    if entry is not None and entry.hidden_by is not None:
        parts.append(f"hidden by layer {entry.hidden_by}")
    return ", ".join(parts)
