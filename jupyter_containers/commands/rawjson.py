"""Progress as ``--progress rawjson`` gives it: a line of JSON for each change, in the form of BuildKit's SolveStatus.

Source: moby/buildkit, client/graph.go. Bytes are base64, times RFC 3339, absent fields are left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.steps import title_of
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

if TYPE_CHECKING:
    from collections.abc import Callable

_STREAMS = {"stdout": 1, "stderr": 2}
_TRANSFERS = "[internal] transfers"
_EXPORT = "exporting to image"


def _now() -> datetime:
    return datetime.now(UTC)


class RawProgress:
    """Prints each event as a line. Thread-safe; ``clock`` gives the time that is told."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], datetime] = _now) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._vertexes: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Print what the event says."""
        with self._lock:
            for status in self._statuses(event):
                self._write(json.dumps(status, separators=(",", ":"), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Nothing is left to print: part of the interface that other progress has too."""

    def _statuses(self, event: Event) -> list[dict[str, Any]]:
        now = self._clock().isoformat().replace("+00:00", "Z")
        match event:
            case StepStarted():
                inputs = [_digest(name) for name in event.inputs]
                told = [self._start(event.vertex, title_of(event), now, inputs)]
            case StepOutput():
                log = {"stream": _STREAMS[event.stream], "data": _bytes(event.data), "timestamp": now}
                told = [{"logs": [{"vertex": _digest(event.vertex), **log}]}]
            case StepFinished():
                told = [self._end(event.vertex, now, cached=event.cached)]
            case StepError():
                told = [self._end(event.vertex, now, error=event.message)]
            case Transfer():
                told = self._transfer(event, now)
            case Notice(text, "warning"):
                told = [{"warnings": [{"level": 1, "short": _bytes(text.encode())}]}]
            case Notice(text):
                told = [self._start(text, text, now), self._end(text, now)]
            case BuildFinished():
                told = self._finished(event, now)
            case _:
                told = []
        return told

    def _start(self, vertex: str, name: str, now: str, inputs: list[str] | None = None) -> dict[str, Any]:
        known: dict[str, Any] = {"digest": _digest(vertex), "name": name, "started": now}
        if inputs:
            known["inputs"] = inputs
        self._vertexes[vertex] = known
        return {"vertexes": [known]}

    def _end(self, vertex: str, now: str, *, cached: bool = False, error: str = "") -> dict[str, Any]:
        known = self._vertexes.get(vertex) or {"digest": _digest(vertex)}
        known = {**known, "completed": now}
        if cached:
            known["cached"] = True
        if error:
            known["error"] = error
        return {"vertexes": [known]}

    def _transfer(self, event: Transfer, now: str) -> list[dict[str, Any]]:
        told = [] if _TRANSFERS in self._vertexes else [self._start(_TRANSFERS, _TRANSFERS, now)]
        started = self._begun.setdefault(event.key, now)
        status = {"id": event.key, "vertex": _digest(_TRANSFERS), "name": event.status, "current": event.current}
        status |= {"total": event.total} if event.total else {}
        status |= {"timestamp": now, "started": started}
        if event.ended:
            status["completed"] = now
        return [*told, {"statuses": [status]}]

    def _finished(self, event: BuildFinished, now: str) -> list[dict[str, Any]]:
        names = [f"writing image {event.image_id}", *(f"naming to {tag}" for tag in event.tags)]
        told = {"vertex": _digest(_EXPORT), "current": 0, "timestamp": now, "started": now, "completed": now}
        return [
            *([self._end(_TRANSFERS, now)] if _TRANSFERS in self._vertexes else []),
            self._start(_EXPORT, _EXPORT, now),
            {"statuses": [{"id": name, **told} for name in names]},
            self._end(_EXPORT, now),
        ]


def _digest(vertex: str) -> str:
    """The digest that stands for a vertex: its own where it is one."""
    is_one = len(vertex) == hashlib.sha256().digest_size * 2 and all(digit in "0123456789abcdef" for digit in vertex)
    return f"sha256:{vertex if is_one else hashlib.sha256(vertex.encode()).hexdigest()}"


def _bytes(data: bytes) -> str:
    return base64.b64encode(data).decode()
