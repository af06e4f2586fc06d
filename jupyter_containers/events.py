"""What the engine tells while it works: typed events, rendered by the front ends.

Lower layers never print. A long call takes an :data:`EventSink`; it may be called from several threads at once, so a
sink locks what it changes. The events are plain values: a notebook draws a table from them, a terminal lines, a test
compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from jupyter_containers.records import dataclass, field

Stream: TypeAlias = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that a container printed, as they came."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know: a warning, or what was repaired."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Progress of one blob or file.

    ``key`` identifies the row (a short digest), ``status`` is a word for a person (``waiting``, ``downloading``,
    ``extracting``, ``done``, ``exists``), ``current`` and ``total`` are bytes, ``total`` 0 where it is not known.
    """

    key: str
    status: str
    current: int = 0
    total: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.status in {"done", "exists", "mounted"}


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A build step begins. ``index`` counts from 1 over the steps of its stage, ``total`` is their number.

    ``inputs`` are the vertices it works on.
    """

    vertex: str
    index: int
    total: int
    stage: str
    text: str
    line: int
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Bytes that a RUN step printed."""

    vertex: str
    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A build step ended well. ``reason`` says why it was not cached: ``never built``, ``file changed: app.py``."""

    vertex: str
    cached: bool
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepError:
    """A build step failed; the error itself is raised by the build."""

    vertex: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BuildFinished:
    """The whole build ended well."""

    image_id: str
    tags: tuple[str, ...] = field(default=())
    seconds: float = 0.0


Event: TypeAlias = Output | Notice | Transfer | StepStarted | StepOutput | StepFinished | StepError | BuildFinished
EventSink: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """The sink of a caller who does not listen."""
