"""What handlers return: values for a front end to render. Nothing here prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jupyter_containers.engine import Container, Image
    from jupyter_containers.engine.explain.stepping import Stage, Stages
    from jupyter_containers.engine.journal import Happening
    from jupyter_containers.engine.views import (
        ContainerStats,
        ContainerSummary,
        EngineInfo,
        FileChange,
        HistoryEntry,
        ImageSummary,
        LayerSummary,
        NetworkSummary,
        RunResult,
        VolumeSummary,
    )
    from jupyter_containers.errors import EngineError
    from jupyter_containers.events import Output


ColumnKind: TypeAlias = Literal["text", "size", "time", "count", "number", "seconds", "flag", "choice"]


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
class NetworkListing:
    """``network ls``."""

    rows: tuple[NetworkSummary, ...]
    quiet: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class VolumeListing:
    """``volume ls``."""

    rows: tuple[VolumeSummary, ...]
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class ChangeListing:
    """``diff``."""

    container: str
    rows: tuple[FileChange, ...]
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """``stats``: iterate to get the rows of a moment; ``lines`` are those of a terminal, where ``live`` ones replace
    the ones before.
    """

    samples: Iterator[Sequence[ContainerStats]]
    lines: Callable[[Sequence[ContainerStats]], Sequence[str]]
    live: bool


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of text, and the errors of those arguments for which it did not work."""

    lines: tuple[str, ...]
    errors: tuple[EngineError, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under titles."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a :class:`Grid`.

    ``title`` heads it as text, ``name`` in a DataFrame. ``kind`` says what the cells are, each may be None: bytes for
    ``size``, an aware datetime for ``time``, a whole number for ``count``, any for ``number`` and ``seconds``, a bool
    for ``flag``, one of ``choices`` for ``choice``. ``short`` texts are ids, shown by their beginning; ``shown``
    replaces the cells where the table is text.
    """

    title: str
    name: str
    kind: ColumnKind
    cells: tuple[Any, ...]
    choices: tuple[str, ...] = ()
    short: bool = False
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with typed columns; the first one names its rows, and is all that is shown where it is ``quiet``.

    ``subject`` is what the rows are of, where a notebook draws that above the table.
    """

    noun: str
    columns: tuple[Column, ...]
    quiet: bool = False
    full: bool = False
    subject: object = None

    @property
    def names(self) -> list[str]:
        """What the rows are called."""
        return [str(value) for value in self.columns[0].cells]


@dataclass(frozen=True, slots=True)
class Grids:
    """Several tables, one below the other."""

    grids: tuple[Grid, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Something to read: a title, sentences, and tables; ``value`` is the typed object that it is made of.

    ``drawn`` is its picture in letters, for where no other is drawn.
    """

    title: str
    words: tuple[str, ...]
    grids: tuple[Grid, ...]
    value: object
    full: bool = False
    drawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """A verb that was done and told of: what it returned, or how it failed."""

    page: Page
    result: Result | None
    error: EngineError | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What was attached to has ended with an exit status; None: the user has detached from it."""

    exit_code: int | None


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
class Stepped:
    """A container is started one stage at a time: ``stages`` goes on, ``page`` makes one of a stage.

    A stage is compared with the one before, if there is one; ``brief``: without its tables of what is.
    """

    stages: Stages
    page: Callable[[Stage, Stage | None, bool], Page]


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


@dataclass(frozen=True, slots=True)
class Happenings(Log):
    """What happened in the store; ``past``, where the span of time is over, are the events themselves."""

    past: tuple[Happening, ...] | None = None


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


Listing: TypeAlias = (
    ContainerListing | ImageListing | HistoryListing | LayerListing | NetworkListing | VolumeListing | ChangeListing
)
Printed: TypeAlias = Listing | Table | Grid | Grids | Page | Started | Fetched | Built | Log | Report | Info
Result: TypeAlias = Printed | Samples | Lines | Ended | Documents | Ran | Explained | Stepped
