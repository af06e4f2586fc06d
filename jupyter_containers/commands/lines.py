"""Progress as lines of text: for logs, pipes and terminals."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TextIO

from jupyter_containers.commands import humane
from jupyter_containers.commands.steps import Progress, Step, outcome
from jupyter_containers.events import (
    BuildFinished,
    Event,
    Notice,
    Output,
    StepError,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_BAR = 20
_LIVE_LINES = 6
_CLEAR_BELOW = "\x1b[0J"


class LineProgress:
    """Prints each thing once, as it happens: the form of BuildKit's plain progress.

    Thread-safe; ``write`` gets whole lines. Output of containers is not progress and is ignored.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._progress = Progress()
        self._partial: dict[str, bytes] = {}

    def __call__(self, event: Event) -> None:
        """Print what the event says."""
        with self._lock:
            lines = self._lines(event)
            if lines:
                self._write("".join(f"{line}\n" for line in lines))

    def close(self) -> None:
        """Nothing is left to print: part of the interface that live progress has too."""

    def _lines(self, event: Event) -> list[str]:
        before = self._progress.transfers.get(event.key) if isinstance(event, Transfer) else None
        if not isinstance(event, Output):
            self._progress.fold(event)
        match event:
            case Transfer():
                if before is not None and before.status == event.status:
                    return []
                return [f"{event.key}: {event.status}" + (f" {humane.size(event.total)}" if event.total else "")]
            case Notice():
                return [f"{event.level}: {event.text}" if event.level == "warning" else event.text]
            case StepStarted() | StepOutput() | StepFinished() | StepError():
                step = self._progress.steps.get(event.vertex)
                return self._step(event, step) if step else []
            case BuildFinished():
                return [built_line(event)]
            case _:
                return []

    def _step(self, event: StepStarted | StepOutput | StepFinished | StepError, step: Step) -> list[str]:
        match event:
            case StepStarted():
                return [f"#{step.number} {step.title}"]
            case StepOutput():
                return self._output(step, event.data)
            case _:
                return [*self._rest(step), f"#{step.number} {outcome(step)}", ""]

    def _output(self, step: Step, data: bytes) -> list[str]:
        *whole, rest = (self._partial.get(step.vertex, b"") + data).split(b"\n")
        self._partial[step.vertex] = rest
        passed = self._progress.clock() - step.began
        texts = [line.rstrip(b"\r").decode(errors="replace") for line in whole]
        return [f"#{step.number} {passed:.3f} {text}" for text in texts]

    def _rest(self, step: Step) -> list[str]:
        rest = self._partial.pop(step.vertex, b"")
        return [f"#{step.number} {step.seconds:.3f} {rest.decode(errors='replace')}"] if rest else []


class LiveProgress:
    """Redraws the running steps and transfers in place below the finished ones; needs a terminal."""

    def __init__(self, stream: TextIO, width: Callable[[], int]) -> None:
        self._stream = stream
        self._width = width
        self._lock = threading.Lock()
        self._progress = Progress()
        self._settled: set[str] = set()
        self._drawn = 0

    def __call__(self, event: Event) -> None:
        """Take in the event and redraw."""
        if isinstance(event, Output):
            return
        with self._lock:
            self._progress.fold(event)
            notes = []
            if isinstance(event, Notice):
                notes = [event.text]
            elif isinstance(event, BuildFinished):
                notes = [built_line(event)]
            self._draw(notes)

    def close(self) -> None:
        """Draw the last state and leave it."""
        with self._lock:
            self._progress.close()
            self._draw([])
            self._drawn = 0

    def _draw(self, notes: list[str]) -> None:
        lines = self._settle() + notes
        live = self._live()
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        width = max(self._width() - 1, 20)
        shown = [humane.shorten(line, width) for line in live]
        body = "".join(f"{line}\n" for line in [*lines, *shown])
        self._stream.write(f"\r{up}{_CLEAR_BELOW}{body}")
        self._stream.flush()
        self._drawn = len(shown)

    def _settle(self) -> list[str]:
        """Lines for the steps that ended since the last drawing; they stay."""
        lines = []
        for step in self._progress.steps.values():
            if step.state == "running" or step.vertex in self._settled:
                continue
            self._settled.add(step.vertex)
            lines.append(f"#{step.number} {step.title} {outcome(step)}")
            if step.state == "failed":
                lines += [f"   {line}" for line in step.tail(20)]
        return lines

    def _live(self) -> list[str]:
        lines = [transfer_line(transfer) for transfer in self._progress.transfers.values()]
        for step in self._progress.running:
            lines.append(f"#{step.number} {step.title}  {self._progress.clock() - step.began:.1f}s")
            lines += [f"   {line}" for line in step.tail(_LIVE_LINES)]
        return lines


def transfer_line(transfer: Transfer) -> str:
    """``3f2a1b: downloading [=====>     ] 1.2MB/3.4MB``."""
    if transfer.total and transfer.current and not transfer.ended:
        filled = min(_BAR, _BAR * transfer.current // transfer.total)
        bar = "=" * filled + ">" * (filled < _BAR) + " " * (_BAR - filled - 1)
        return (
            f"{transfer.key}: {transfer.status} [{bar}] {humane.size(transfer.current)}/{humane.size(transfer.total)}"
        )
    return f"{transfer.key}: {transfer.status}"


def built_line(event: BuildFinished) -> str:
    """``built 3f2a1b… as tool:1 in 1.2s``."""
    names = f" as {', '.join(event.tags)}" if event.tags else ""
    return f"built {humane.short_id(event.image_id)}{names} in {humane.seconds(event.seconds)}"
