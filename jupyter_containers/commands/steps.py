"""The state of a build or a pull, folded from its events: what any kind of progress display draws from.

It is bounded: of each step the end of its output is kept, so a chatty build cannot fill a notebook.
"""

from __future__ import annotations

import codecs
import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from jupyter_containers.commands import humane
from jupyter_containers.events import (
    BuildFinished,
    Event,
    Notice,
    StepError,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_LIMIT = 16 * 1024
PULLED = "pulled"  # why a base image is no hit: its transfers stand beside it
StepState: TypeAlias = Literal["running", "cached", "done", "failed", "canceled"]


@dataclass(slots=True)
class Step:
    """One build step. ``log`` is the end of what it printed, ``omitted`` counts the characters before."""

    number: int
    vertex: str
    title: str
    line: int
    began: float
    state: StepState = "running"
    seconds: float = 0.0
    reason: str = ""
    error: str = ""
    log: str = ""
    omitted: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace"), repr=False
    )

    def add(self, text: str) -> None:
        """Append output, forgetting the oldest beyond the limit."""
        self.log += text
        if len(self.log) > 2 * LOG_LIMIT:
            self._cut()

    def _cut(self) -> None:
        excess = len(self.log) - LOG_LIMIT
        if excess > 0:
            newline = self.log.find("\n", excess)
            excess = newline + 1 if newline >= 0 else excess
            self.omitted += excess
            self.log = self.log[excess:]

    def finish(self, state: StepState, seconds: float) -> None:
        """Settle the step."""
        self.add(self.decoder.decode(b"", final=True))
        self._cut()
        self.state, self.seconds = state, seconds

    def tail(self, lines: int) -> list[str]:
        """The last lines of its output; carriage returns overwrite, as on a terminal."""
        return (
            [line.rstrip("\r").rpartition("\r")[2] for line in self.log.rstrip("\n").split("\n")[-lines:]]
            if self.log
            else []
        )


@dataclass(slots=True)
class Progress:
    """All steps and transfers so far. Not thread-safe: the sink that owns it locks."""

    clock: Callable[[], float] = time.monotonic
    steps: dict[str, Step] = field(default_factory=dict)
    transfers: dict[str, Transfer] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    finished: BuildFinished | None = None
    over: bool = False

    def fold(self, event: Event) -> None:
        """Take in one event; those that are no progress are ignored."""
        match event:
            case StepStarted():
                known = self.steps.get(event.vertex)  # it may be run twice
                number = known.number if known else len(self.steps) + 1
                self.steps[event.vertex] = Step(number, event.vertex, title_of(event), event.line, self.clock())
            case StepOutput():
                if step := self.steps.get(event.vertex):
                    step.add(step.decoder.decode(event.data))
            case StepFinished():
                if step := self.steps.get(event.vertex):
                    step.reason = event.reason
                    step.finish("cached" if event.cached else "done", event.seconds)
            case StepError():
                if step := self.steps.get(event.vertex):
                    step.error = event.message
                    step.finish("failed", event.seconds)
            case Transfer():
                self.transfers[event.key] = event
            case Notice():
                self.notices.append(event)
            case BuildFinished():
                self.finished = event
            case _:
                return

    def close(self) -> None:
        """The operation is over: what still runs was canceled."""
        self.over = True
        for step in self.steps.values():
            if step.state == "running":
                step.finish("canceled", self.clock() - step.began)

    @property
    def running(self) -> list[Step]:
        """The steps that run now."""
        return [step for step in self.steps.values() if step.state == "running"]

    def summary(self) -> str:
        """One line: ``4 of 6 steps, 2 cached``, ``3 of 4 layers, 12.1MB of 30MB``."""
        parts = []
        if self.steps:
            ended = [step for step in self.steps.values() if step.state != "running"]
            cached = sum(step.state == "cached" for step in ended)
            parts.append(f"{len(ended)} of {len(self.steps)} steps" + (f", {cached} cached" if cached else ""))
        elif self.transfers:
            done = sum(transfer.ended for transfer in self.transfers.values())
            parts.append(f"{done} of {len(self.transfers)} layers")
        return ", ".join(parts)


def title_of(event: StepStarted) -> str:
    """``[build 2/5] RUN make``."""
    return f"[{_stage(event.stage)}{event.index}/{event.total}] {event.text}"


def _stage(name: str) -> str:
    """A stage without a name is known by its number, and the first one needs none, as in BuildKit's output."""
    if name in {"", "0"}:
        return ""
    return f"stage-{name} " if name.isdecimal() else f"{name} "


def outcome(step: Step) -> str:
    """How a step stands, in words, as BuildKit prints it."""
    match step.state:
        case "running":
            return "running"
        case "cached":
            return "CACHED"
        case "done":
            why = f" (not cached: {step.reason})" if step.reason not in {"", PULLED} else ""
            return f"DONE {humane.seconds(step.seconds)}{why}"
        case "failed":
            return f"ERROR {step.error}"
        case "canceled":
            return f"CANCELED after {humane.seconds(step.seconds)}"
