"""The picture of anything that has one, by the name of its type: drawing imports nothing of what it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.notebook.drawing import layer_tree, network_graph
from jupyter_containers.notebook.drawing.build_graph import BuildGraph, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DRAWN: Final[Mapping[str, Callable[[Any], str]]] = {
    "BuildResult": lambda result: picture(BuildGraph.of_result(result)),
    "BuildRecord": lambda record: picture(BuildGraph.of_record(record)),
    "ImageFiles": layer_tree.html,
    "Topology": network_graph.picture,
}


def draw(subject: object) -> str:
    """The picture of a value as HTML; empty for one that is not drawn."""
    known = _DRAWN.get(type(subject).__name__)
    return known(subject) if known else ""
