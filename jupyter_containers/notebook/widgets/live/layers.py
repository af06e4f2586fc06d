"""The layers of an image: the files of each as a tree whose directories are sent when they are opened, and a search.

An image does not change, so it is looked at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import humane
from jupyter_containers.errors import NotFound
from jupyter_containers.notebook.drawing.layer_tree import MARKS, Branch, grow, heading, summary
from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.files.image_files import LayerFile

MOST_NAMES = 200
"""Names in one message."""
MOST_FOUND = 200
_TEXT = 400


class Layers(Live):
    """See the module."""

    _esm = module("layers")

    def __init__(self, engine: Callable[[], Engine], image: str) -> None:
        self.files = engine().images.files(image)
        self._trees: dict[tuple[int, bool], Branch] = {}
        super().__init__(engine, lambda: static.layers(self.files))

    def greet(self, view: str) -> None:
        """The layers in numbers."""
        self.tell(
            "layers",
            view=view,
            image=self.files.image,
            summary=summary(self.files),
            layers=[
                {
                    "index": each.index,
                    "line": each.line,
                    "made": each.created_by[:_TEXT],
                    "size": each.size,
                    "wasted": each.wasted,
                    "shown": [humane.size(each.size), humane.size(each.wasted) if each.wasted else ""],
                    "words": heading(each),
                    "changes": f"+{each.added} ~{each.changed} -{each.removed}",
                }
                for each in self.files.layers
            ],
        )

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:  # noqa: ARG002 - the base's
        """The names of a directory of a layer, or the paths that a text is in."""
        view, wasted = content.get("view"), bool(content.get("wasted"))
        if kind == "list":
            layer, path = int(content.get("layer") or 0), str(content.get("path") or "")
            self._list(view, layer, path, max(0, int(content.get("skip") or 0)), wasted=wasted)
        elif kind == "find":
            self._find(view, str(content.get("text") or ""), wasted=wasted)

    def _list(self, view: Any, layer: int, path: str, skip: int, *, wasted: bool) -> None:
        branch = self._tree(layer, wasted=wasted)
        for name in filter(None, path.split("/")):
            if name not in branch.below:
                raise NotFound(f"layer {layer} has no {path}")
            branch = branch.below[name]
        names = sorted(branch.below.values(), key=lambda each: (not each.below, each.name))
        self.tell(
            "names",
            view=view,
            layer=layer,
            path=path,
            skip=skip,
            total=len(names),
            rows=[_name(each) for each in names[skip : skip + MOST_NAMES]],
        )

    def _tree(self, layer: int, *, wasted: bool) -> Branch:
        with self._guard:
            key = layer, wasted
            if key not in self._trees:
                self._trees[key] = grow(each for each in self.files.of_layer(layer) if each.wasted or not wasted)
            return self._trees[key]

    def _find(self, view: Any, text: str, *, wasted: bool) -> None:
        wanted = text.lower()
        found = [each for each in self.files.files if wanted in each.path.lower() and (each.wasted or not wasted)]
        self.tell("found", view=view, text=text, total=len(found), rows=[_file(each) for each in found[:MOST_FOUND]])


def _name(branch: Branch) -> dict[str, Any]:
    """A name of a directory, with what is below it in numbers."""
    entry = branch.entry
    return {
        "name": branch.name,
        "directory": bool(branch.below),
        "kind": entry.kind if entry else "dir",
        "mark": MARKS[entry.change] if entry else "",
        "change": entry.change if entry else "",
        "size": humane.size(branch.size) if branch.size or (entry and entry.kind == "file") else "",
        "count": branch.count - (entry is not None),
        "hidden": entry.hidden_by if entry else None,
    }


def _file(file: LayerFile) -> dict[str, Any]:
    return {
        "layer": file.layer,
        "path": file.path,
        "change": f"{MARKS[file.change]} {file.change}",
        "size": humane.size(file.size),
        "hidden": file.hidden_by,
    }
