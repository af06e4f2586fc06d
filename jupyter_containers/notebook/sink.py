"""Where the events of a cell's command go: output to the cell's streams, progress to a display."""

from __future__ import annotations

import codecs
import sys
import threading
from typing import TYPE_CHECKING

from jupyter_containers.commands.lines import LineProgress
from jupyter_containers.events import Event, Notice, Output, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.notebook.progress import CellProgress


def _write_error(text: str) -> None:
    sys.stderr.write(text)


class CellSink:
    """Routes events. Thread-safe.

    ``make_progress`` gives the display for builds and pulls; without it (a terminal) progress is printed as lines.
    With ``quiet`` nothing is shown but warnings.
    """

    def __init__(self, make_progress: Callable[[], CellProgress] | None, *, quiet: bool = False) -> None:
        self._make_progress = make_progress
        self._quiet = quiet
        self._lock = threading.Lock()
        self._display: CellProgress | None = None
        self._lines = LineProgress(_write_error)
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Output):
            if not self._quiet:
                self._write(event.stream, event.data)
        elif isinstance(event, Notice) and event.level == "warning":
            with self._lock:
                sys.stderr.write(f"warning: {event.text}\n")
        elif not self._quiet:
            self._progress(event)

    def _write(self, stream: Stream, data: bytes, *, final: bool = False) -> None:
        """Write what is whole: a character may be cut between two events."""
        with self._lock:
            if stream not in self._decoders:
                self._decoders[stream] = codecs.getincrementaldecoder("utf-8")(errors="replace")
            text = self._decoders[stream].decode(data, final)
            if text:
                target = sys.stdout if stream == "stdout" else sys.stderr
                target.write(text)
                target.flush()

    def _progress(self, event: Event) -> None:
        if self._make_progress is None:
            self._lines(event)
            return
        with self._lock:
            if self._display is None:
                self._display = self._make_progress()
        self._display(event)

    def close(self) -> None:
        """Everything came: settle the display and write what was held back."""
        with self._lock:
            display, self._display = self._display, None
        if display is not None:
            display.close()
        for stream in tuple(self._decoders):
            self._write(stream, b"", final=True)
        self._decoders.clear()
