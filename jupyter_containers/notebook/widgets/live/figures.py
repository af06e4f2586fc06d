"""What containers use, drawn over time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module
from jupyter_containers.notebook.widgets.live.feeds import follow_figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.views import ContainerStats

KEPT = 120
"""Samples that are kept and drawn."""
MOST = 20
"""Containers that are drawn."""


class Figures(Live):
    """See the module. Without names all that run; ``interval`` in seconds."""

    _esm = module("figures")

    def __init__(self, engine: Callable[[], Engine], names: tuple[str, ...], *, interval: float = 1.0) -> None:
        for name in names:
            engine().containers.get(name)
        super().__init__(engine, lambda: static.figures(engine(), names))
        self._names = names
        self._interval = max(interval, 0.5)
        self._samples: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def greet(self, view: str) -> None:
        """All samples there are."""
        with self._guard:
            self.tell("samples", view=view, samples=list(self._samples), kept=KEPT, anew=True)

    def follow(self) -> None:
        """A sample at a time."""
        follow_figures(self.engine(), self._names, self._deliver, interval=self._interval, wanted=lambda: self.watched)

    def _deliver(self, rows: list[ContainerStats]) -> None:
        sample = {
            "time": rows[0].time.timestamp() if rows else None,
            "rows": {
                row.name: {
                    "cpu": row.cpu_percent,
                    "memory": row.memory,
                    "received": row.network_received,
                    "sent": row.network_sent,
                    "read": row.disk_read,
                    "written": row.disk_written,
                }
                for row in rows[:MOST]
            },
        }
        if not rows:
            return
        with self._guard:
            self._samples.append(sample)
            self.tell("samples", samples=[sample], kept=KEPT, anew=False)
