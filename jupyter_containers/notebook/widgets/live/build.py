"""A build as a graph while it runs: its steps with verdicts, times and reasons, and what each of them printed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands.steps import LOG_LIMIT, Progress, Step
from jupyter_containers.errors import Cancelled, EngineError
from jupyter_containers.events import Event, StepStarted
from jupyter_containers.notebook.drawing.build_graph import BuildGraph, GraphStep, picture, rows
from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine, Image
    from jupyter_containers.notebook.widgets import BuildWork

QUICKEST = 0.3
"""Seconds between two messages with a picture, or a log, at least."""
SLOWEST = 5.0
_BYTES_A_SECOND = 500_000
_STATUS: Final = {"running": "running", "cached": "hit", "done": "miss", "failed": "failed", "canceled": "canceled"}


class Build(Live):
    """See the module. ``result`` is the image once it is built."""

    _esm = module("build")

    def __init__(self, engine: Callable[[], Engine], title: str) -> None:
        self._title = title
        self._progress = Progress()
        self._begun: dict[str, StepStarted] = {}
        self._final: BuildGraph | None = None
        self._began = time.monotonic()
        super().__init__(engine, self._as_it_is)
        self._changed = threading.Event()
        self._over = threading.Event()
        self._words = "Building …"
        self._stop: Callable[[], None] | None = None
        self._drawn = ""
        self._logged: tuple[str, int] = ("", -1)
        self._chosen = ""
        self.result: Any = None

    def run(self, work: BuildWork) -> Image:
        """Show this widget and do the build meanwhile; at the end its static form is put in place of the first one.

        It raises what the build raises.
        """
        from IPython.display import display  # noqa: PLC0415 - on use

        display(self)  # type: ignore[no-untyped-call]  # IPython's
        try:
            self.result = image = work(self._take, self._on_stop)
        except BaseException as error:
            self._end(error)
            raise
        else:
            self._end(None)
            return image
        finally:
            self.refresh_static()

    def _on_stop(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def _take(self, event: Event) -> None:
        with self._guard:
            if isinstance(event, StepStarted):
                self._begun[event.vertex] = event
            self._progress.fold(event)
        self._changed.set()

    def _end(self, error: BaseException | None) -> None:
        with self._guard:
            self._progress.close()
            if self.result is not None and self.result.build is not None:
                self._final = replace(BuildGraph.of_result(self.result.build), name=self._title)
                self._words = f"Built {self._title}: {self._final.summary()}"
            elif isinstance(error, EngineError) and not isinstance(error, Cancelled):
                if error.build_id:
                    record = self.engine().builds.steps(error.build_id)
                    self._final = replace(BuildGraph.of_record(record), name=self._title)
                self._words = f"Failed: {error.message}"
            else:
                self._words = "Stopped; the steps that were done are in the cache"
            self._over.set()
        self._changed.set()

    # -- the graph ----------------------------------------------------------------------------------------------------

    def _graph(self) -> BuildGraph:
        """The steps so far, or all of them when it is over."""
        if self._final is not None:
            return self._final
        place = {vertex: (event.stage, event.index) for vertex, event in self._begun.items()}
        steps = [
            GraphStep(
                event.stage,
                event.index,
                event.line,
                event.text,
                _STATUS[step.state],
                step.reason or step.error,
                step.seconds,
                tuple(place[each] for each in event.inputs if each in place),
            )
            for vertex, event in self._begun.items()
            if (step := self._progress.steps.get(vertex)) is not None
        ]
        steps.sort(key=lambda step: (step.line, step.stage, step.index))
        return BuildGraph(self._title, tuple(steps), time.monotonic() - self._began)

    def _as_it_is(self) -> static.Static:
        with self._guard:
            return static.build(self._graph(), self._words)

    def _step(self, name: str) -> Step | None:
        """The step of a place of the graph; for an empty name the one that failed, or that printed last."""
        steps = self._progress.steps
        if name:
            vertex = next((key for key, each in self._begun.items() if _name(each.stage, each.index) == name), "")
            return steps.get(vertex)
        failed = [each for each in steps.values() if each.state == "failed"]
        running = [each for each in steps.values() if each.state == "running" and each.log]
        return next(iter([*failed, *running[::-1]]), None)

    # -- the page -----------------------------------------------------------------------------------------------------

    def greet(self, view: str) -> None:  # noqa: ARG002 - the base's
        """All of it, whatever the page had."""
        with self._guard:
            self._drawn, self._logged = "", ("", -1)
        self._changed.set()

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:  # noqa: ARG002 - the base's
        """Another step's output is wanted; the build is to stop."""
        if kind == "choose":
            with self._guard:
                self._chosen, self._logged = str(content.get("step") or ""), ("", -1)
            if self._over.is_set():
                self._tell_all()
            self._changed.set()
        elif kind == "stop" and self._stop is not None and not self._over.is_set():
            self._stop()

    def follow(self) -> None:
        """The picture and the log when they have changed, until the build is over."""
        while self.watched:
            self._changed.wait(SLOWEST)
            self._changed.clear()
            over = self._over.is_set()
            sent = self._tell_all()
            if over:
                return
            time.sleep(max(QUICKEST, min(SLOWEST, sent / _BYTES_A_SECOND)))

    def _tell_all(self) -> int:
        """Send what has changed; how much that was."""
        with self._guard:
            graph, over = self._graph(), self._over.is_set()
            drawn = f"{[(each.text, each.status, each.reason) for each in graph.steps]}{self._words}{over}"
            changed, self._drawn = drawn != self._drawn, drawn
            step = self._step(self._chosen)
            log = "" if step is None else step.log[-LOG_LIMIT:]
            state = (step.title if step else self._chosen, (step.omitted + len(step.log)) if step else 0)
            logged, self._logged = state != self._logged, state
        sent = 0
        if changed:
            shown = picture(graph)
            sent += len(shown)
            self.tell(
                "graph",
                picture=shown,
                words=self._words,
                over=over,
                rows=rows(graph),
                steps=[
                    [_name(each.stage, each.index), each.line, each.text, each.status, each.reason]
                    for each in graph.steps[: len(rows(graph))]
                ],
            )
        if logged:
            sent += len(log)
            self.tell("log", title=state[0], pinned=self._chosen, text=log, cut=bool(step and step.omitted))
        return sent


def _name(stage: str, index: int) -> str:
    return f"{index} {stage}"
