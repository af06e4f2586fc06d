"""The networks as they are: a picture, drawn anew when something changes, and the traffic of each interface."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.network_graph import sentences, tree
from jupyter_containers.errors import NotFound
from jupyter_containers.notebook.drawing.network_graph import picture
from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.network.topology import Topology

INTERVAL = 2.0
"""Seconds between two looks when nothing happens in the store."""
QUICKEST = 0.5
"""Seconds between two messages at least."""
MOST_ROWS = 200
"""Interfaces whose traffic is told."""


class Networks(Live):
    """See the module. Without names all networks."""

    _esm = module("networks")

    def __init__(self, engine: Callable[[], Engine], names: tuple[str, ...] = ()) -> None:
        engine().networks.topology(*names)  # a name of no network is refused at once
        super().__init__(engine, lambda: static.networks(engine(), names))
        self._names = names
        self._changed = threading.Event()
        self._shown: Topology | None = None

    def greet(self, view: str) -> None:  # noqa: ARG002 - the base's
        """All of it, whatever the page had."""
        with self._guard:
            self._shown = None
        self._changed.set()

    def follow(self) -> None:
        """The picture when it has changed, the traffic every two seconds."""
        with self.helped_by(self._watch_events):
            while self.watched:
                self._changed.wait(INTERVAL)
                self._changed.clear()
                self._tell_all()
                time.sleep(QUICKEST)

    def _watch_events(self, wanted: Callable[[], bool]) -> None:
        for _happening in self.engine().events(stop=lambda: not wanted()):
            self._changed.set()

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:  # noqa: ARG002 - the base's
        """Another network is chosen; an empty name stands for all."""
        if kind == "choose":
            name = str(content.get("network") or "")
            self._names = (name,) if name else ()
            self._changed.set()

    def _tell_all(self) -> None:
        networks = self.engine().networks
        try:
            found = networks.topology(*self._names)
        except NotFound:  # it was removed
            self._names = ()
            found = networks.topology()
        plugs = [(each, plug) for each in found.containers for plug in each.plugs][:MOST_ROWS]
        still = _still(found)
        with self._guard:
            changed, self._shown = still != self._shown, still
        if changed:
            self.tell(
                "graph",
                picture=picture(still),
                words=list(sentences(found)),
                tree=list(tree(found)),
                networks=[each.name for each in networks.list()],
                chosen=self._names[0] if len(self._names) == 1 else "",
                rows=[
                    [each.name, plug.interface, ", ".join(plug.addresses), plug.outer, plug.network]
                    for each, plug in plugs
                ],
            )
        self.tell(
            "traffic", time=found.time.timestamp(), rows=[[plug.received, plug.sent] for _container, plug in plugs]
        )


def _still(found: Topology) -> Topology:
    """The same without what changes all the time."""
    containers = tuple(
        replace(each, plugs=tuple(replace(plug, received=0, sent=0) for plug in each.plugs))
        for each in found.containers
    )
    return replace(found, time=found.time.min, containers=containers)
