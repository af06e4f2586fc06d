"""The log of a container as it grows, with a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module
from jupyter_containers.notebook.widgets.live.feeds import KEPT_LINES, MOST_LINES, LineFeed, follow_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine


class LogViewer(Live):
    """See the module. ``tail`` is how many of the last lines there are at first, of those between two moments."""

    _esm = module("log_pane", "log_viewer")

    def __init__(
        self,
        engine: Callable[[], Engine],
        name: str,
        *,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> None:
        self.container = engine().containers.get(name)
        super().__init__(engine, lambda: static.log(engine(), name))
        self._tail = KEPT_LINES if tail is None else tail
        self._since, self._until = since, until
        self._feed: LineFeed | None = None
        self._ended = False

    def greet(self, view: str) -> None:
        """The lines there are."""
        self.tell("title", view=view, text=self.container.name)
        with self._guard:
            kept = list(self._feed.kept) if self._feed is not None else []
            for at in range(0, len(kept), MOST_LINES):
                self.tell("log", view=view, lines=kept[at : at + MOST_LINES], lost=0)
            if self._ended:
                self.tell("ended", view=view)

    def follow(self) -> None:
        """The lines that come. A log that nobody looked at for a while is read again, from the last line on."""
        with self._guard:
            if self._ended:
                return
            if self._feed is not None:
                self.tell("clear")
            feed = self._feed = LineFeed(self._deliver, lambda: self.watched)
        left = False

        def wanted() -> bool:
            nonlocal left
            left = left or not self.watched
            return not left

        between = {"since": self._since, "until": self._until}
        follow_log(self.engine(), self.container.id, feed, tail=self._tail, wanted=wanted, **between)
        if not left:
            with self._guard:
                self._ended = True
                self.tell("ended")

    def _deliver(self, lines: list[tuple[str, str]], lost: int) -> None:
        with self._guard:
            self.tell("log", lines=lines, lost=lost)
