"""What handlers return: values for a front end to render. Nothing here prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jupyter_containers.engine import Container, Image
    from jupyter_containers.engine.views import (
        ContainerSummary,
        EngineInfo,
        HistoryEntry,
        ImageSummary,
        LayerSummary,
        RunResult,
    )
    from jupyter_containers.errors import EngineError
    from jupyter_containers.events import Output


@dataclass(frozen=True, slots=True)
class ContainerListing:
    """``ps``."""

    rows: tuple[ContainerSummary, ...]
    quiet: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class ImageListing:
    """``images``."""

    rows: tuple[ImageSummary, ...]
    quiet: bool = False
    full: bool = False
    digests: bool = False


@dataclass(frozen=True, slots=True)
class HistoryListing:
    """``history IMAGE``, newest first."""

    image: str
    rows: tuple[HistoryEntry, ...]
    quiet: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class LayerListing:
    """``layers IMAGE``, bottom first."""

    image: str
    rows: tuple[LayerSummary, ...]
    quiet: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of text, and the errors of those arguments for which it did not work."""

    lines: tuple[str, ...]
    errors: tuple[EngineError, ...] = ()


@dataclass(frozen=True, slots=True)
class Documents:
    """``inspect``: one JSON document a name."""

    documents: tuple[Mapping[str, Any], ...]
    errors: tuple[EngineError, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """A container, or a command in one, ran in the foreground; its output went to the event sink."""

    result: RunResult
    verb: Literal["run", "exec"] = "run"


@dataclass(frozen=True, slots=True)
class Started:
    """A container was started in the background."""

    container: Container


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image was pulled; ``name`` is its full name."""

    image: Image
    name: str


@dataclass(frozen=True, slots=True)
class Built:
    """An image was built."""

    image: Image
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """The output of a container, as it comes; iterate to get it."""

    output: Iterator[Output]


class Finding(Protocol):
    """One thing that a host allows or lacks, with the command that would lift it."""

    @property
    def feature(self) -> str:
        """What it is about."""

    @property
    def ok(self) -> bool:
        """Whether it works."""

    @property
    def detail(self) -> str:
        """What was found."""

    @property
    def remedy(self) -> str | None:
        """What to do about it."""


class HostReport(Protocol):
    """What ``doctor`` finds: the rung of the isolation ladder this host allows, and why."""

    @property
    def rung(self) -> str:
        """Its name."""

    @property
    def summary(self) -> str:
        """One sentence."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What was looked at."""


@dataclass(frozen=True, slots=True)
class Report:
    """``doctor``."""

    report: HostReport


@dataclass(frozen=True, slots=True)
class Info:
    """``info``."""

    info: EngineInfo


Result: TypeAlias = (
    ContainerListing
    | ImageListing
    | HistoryListing
    | LayerListing
    | Lines
    | Documents
    | Ran
    | Started
    | Fetched
    | Built
    | Log
    | Report
    | Info
)
