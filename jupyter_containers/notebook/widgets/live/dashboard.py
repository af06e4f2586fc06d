"""The dashboard: all containers with what can be done with them, drawn anew when something happens in the store."""

from __future__ import annotations

import shlex
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from jupyter_containers.errors import NotFound, UsageError
from jupyter_containers.events import Event, Output
from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module
from jupyter_containers.notebook.widgets.live.feeds import LineFeed, follow_figures, follow_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine, RunResult
    from jupyter_containers.engine.views import ContainerStats, ContainerSummary

MOST_ROWS = 200
QUICKEST = 0.25
"""Seconds between two messages with rows, whatever happens in the store."""
INTERVAL = 2.0
_MOST_OUTPUT = 64 * 1024
_TAIL = 500
_DONE = {"start": "was started", "stop": "was stopped", "unpause": "goes on", "remove": "was removed"}


class Dashboard(Live):
    """See the module."""

    _esm = module("log_pane", "dashboard")

    def __init__(self, engine: Callable[[], Engine]) -> None:
        super().__init__(engine, lambda: static.containers(engine()))
        self._changed = threading.Event()
        self._figures: dict[str, ContainerStats] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._log: object = None

    # -- following the store --------------------------------------------------------------------------------------

    def greet(self, view: str) -> None:  # noqa: ARG002 - the base's
        """All rows, whatever the page had."""
        with self._guard:
            self._shown.clear()
        self._changed.set()

    def follow(self) -> None:
        """Rows when something happened, figures every two seconds."""
        with self.helped_by(self._watch_events, self._watch_figures):
            while self.watched:
                self._changed.wait(INTERVAL)
                self._changed.clear()
                self._send_rows()
                time.sleep(QUICKEST)

    def _watch_events(self, wanted: Callable[[], bool]) -> None:
        for _happening in self.engine().events(stop=lambda: not wanted()):
            self._changed.set()

    def _watch_figures(self, wanted: Callable[[], bool]) -> None:
        follow_figures(self.engine(), (), self._take_figures, interval=INTERVAL, wanted=wanted)

    def _take_figures(self, rows: list[ContainerStats]) -> None:
        self._figures = {row.id: row for row in rows}
        self._changed.set()

    def _send_rows(self) -> None:
        found = self.engine().containers.list(all=True)
        rows = {each.id: _row(each, self._figures.get(each.id)) for each in found[:MOST_ROWS]}
        with self._guard:
            new = [row for row in rows.values() if self._shown.get(row["id"]) != row]
            same, self._shown = bool(self._shown) and list(self._shown) == list(rows), rows
        if new or not same:
            self.tell("rows", rows=new, order=list(rows), more=max(0, len(found) - MOST_ROWS))

    # -- what is asked for ------------------------------------------------------------------------------------------

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:  # noqa: ARG002 - the base's
        """Start, stop, remove; the log; a command."""
        identity = str(content.get("id"))
        if kind == "act":
            self._act(str(content.get("action")), identity)
        elif kind == "logs":
            self._show_log(identity)
        elif kind == "close":
            self._log = None
        elif kind == "exec":
            self._execute(identity, str(content.get("command")))

    def _act(self, action: str, identity: str) -> None:
        containers = self.engine().containers
        actions: dict[str, Callable[[str], None]] = {
            "start": containers.start,
            "stop": containers.stop,
            "unpause": containers.unpause,
            "remove": partial(containers.remove, force=True),
        }
        name = containers.get(identity).name
        actions[action](identity)
        self._changed.set()
        self.tell("done", id=identity, text=f"{name} {_DONE[action]}")

    def _show_log(self, identity: str) -> None:
        """Follow a log until another one is asked for."""
        mark = self._log = object()

        def deliver(lines: list[tuple[str, str]], lost: int) -> None:
            self.tell("log", id=identity, lines=lines, lost=lost)

        def wanted() -> bool:
            return self._log is mark and self.watched

        try:
            follow_log(self.engine(), identity, LineFeed(deliver, wanted), tail=_TAIL, wanted=wanted)
        except NotFound:
            if wanted():  # not when it was removed here while its log was shown
                raise

    def _execute(self, identity: str, command: str) -> None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"the command cannot be read: {error}", hint="close the quotes") from None
        if not words:
            raise UsageError("there is no command")
        said = bytearray()
        guard = threading.Lock()

        def sink(event: Event) -> None:
            if isinstance(event, Output):
                with guard:
                    said.extend(event.data)
                    del said[:-_MOST_OUTPUT]

        result = cast("RunResult", self.engine().containers.exec(identity, words, sink=sink))
        text = said.decode(errors="replace")
        self.tell("output", id=identity, command=command, text=text, code=result.exit_code)


def _row(container: ContainerSummary, figures: ContainerStats | None) -> dict[str, Any]:
    """What the page shows of a container."""
    row: dict[str, Any] = {
        "id": container.id,
        "name": container.name,
        "image": container.image,
        "state": container.state,
        "status": container.status,
        "ports": container.ports,
        "health": container.health,
        "cpu": None,
        "memory": None,
        "memory_limit": None,
    }
    if figures is not None and container.state == "running":
        cpu = figures.cpu_percent
        row |= {
            "cpu": None if cpu is None else round(cpu, 1),
            "memory": figures.memory,
            "memory_limit": container.memory_limit,
        }
    return row
