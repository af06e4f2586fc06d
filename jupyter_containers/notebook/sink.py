"""Where the events of a cell's command go: output to the cell's streams, progress to a display."""

from __future__ import annotations

import codecs
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from jupyter_containers.commands.lines import LineProgress
from jupyter_containers.commands.rawjson import RawProgress
from jupyter_containers.events import Event, Notice, Output, Stream
from jupyter_containers.notebook.overflow import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jupyter_containers.notebook.progress import CellProgress, Publish


class _Streams:
    """The streams of the shell. With ``held`` a kernel gathers what is written, and sends it a few times a second."""

    def __init__(self, *, held: bool) -> None:
        self._held = held
        self._last = ""

    def write(self, stream: str, text: str) -> None:
        """Write to a stream; what was written to the other one goes first."""
        if stream != self._last:
            self.flush()
            self._last = stream
        self._target().write(text)
        if not self._held:
            self.flush()

    def flush(self) -> None:
        """Have it shown now."""
        if self._last:
            self._target().flush()

    def _target(self) -> TextIO:
        return sys.stdout if self._last == "stdout" else sys.stderr


class CellSink:
    """Routes events. Thread-safe.

    ``make_progress`` gives the display for builds and pulls; without it progress is printed as lines. With ``publish``,
    in a notebook, output is bounded to its first ``limit`` characters and its end. With ``quiet`` nothing is shown but
    warnings. With ``raw`` progress is printed as BuildKit's lines of JSON.
    """

    def __init__(
        self,
        make_progress: Callable[[], CellProgress] | None,
        *,
        publish: Publish | None = None,
        limit: int = 0,
        quiet: bool = False,
        raw: bool = False,
    ) -> None:
        self._make_progress = make_progress
        self._quiet = quiet
        self._lock = threading.Lock()
        self._display: CellProgress | None = None
        self._streams = _Streams(held=publish is not None)
        self._overflow = Overflow(self._streams.write, self._after_streams(publish), limit) if publish else None
        self._lines = RawProgress(self._write_error) if raw else LineProgress(self._write_error)
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}

    def say_where(self, where: str) -> None:
        """What a note about output that was left out says of where it can be read."""
        if self._overflow is not None:
            self._overflow.where = where

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
                self._put(stream, text)

    def _write_error(self, text: str) -> None:
        with self._lock:
            self._put("stderr", text)

    def _put(self, stream: str, text: str) -> None:
        (self._streams.write if self._overflow is None else self._overflow.add)(stream, text)

    def _after_streams(self, publish: Publish) -> Publish:
        """A display goes by a way of its own, and would overtake what was written before it."""

        def publish_after(data: Mapping[str, str], display_id: str, update: bool) -> None:
            self._streams.flush()
            publish(data, display_id, update)

        return publish_after

    def _progress(self, event: Event) -> None:
        if self._make_progress is None:
            self._lines(event)
            return
        with self._lock:
            if self._display is None:
                self._display = self._make_progress()
        self._display(event)

    def close(self) -> None:
        """Everything came: settle the displays and write what was held back. Idempotent."""
        with self._lock:
            display, self._display = self._display, None
        if display is not None:
            display.close()
        for stream in tuple(self._decoders):
            self._write(stream, b"", final=True)
        self._decoders.clear()
        with self._lock:
            if self._overflow is not None:
                self._overflow.close()
            self._streams.flush()
