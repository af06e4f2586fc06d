"""Every error this package raises on purpose.

The first level below :class:`EngineError` holds *kinds*: what a caller branches on. Below them stand the
domain's own errors, which say what exactly went wrong::

    EngineError
    ├── NotFound            ImageNotFound  ContainerNotFound  NetworkNotFound  VolumeNotFound  BlobNotFound
    ├── AlreadyExists       NameInUse
    ├── InvalidInput        InvalidReference  InvalidDigest  DockerfileError  UsageError
    ├── Conflict            ImageInUse  ContainerRunning  ContainerNotRunning
    ├── Unsupported
    ├── Unavailable         RegistryUnavailable
    ├── PermissionDenied    RegistryDenied
    ├── Cancelled
    ├── Timeout
    ├── Corrupt             DigestMismatch  LayerCorrupt
    ├── SystemFailure       StartFailed  (CommandNotFound  CommandNotExecutable)
    └── CommandFailed       StepFailed  ContainerFailed  CellFailed

A front end maps the kind, never the text: the command line to an exit status (``exit_code``), a REST server to a
status code. ``str(error)`` is one line: what failed and why; ``hint`` says what to do about it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the programs that start containers import this module, and have no time for typing
if TYPE_CHECKING:
    from typing import ClassVar

_UNITS = ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"))


def size_text(size: int) -> str:
    """A number of bytes for a message: ``12 bytes``, ``64 MiB``, ``1.5 GiB``."""
    unit, name = next(((2**power, unit) for power, unit in _UNITS if size >= 2**power), (1, "bytes"))
    return f"{size / unit:.4g} {name}" if unit > 1 else f"{size} {name}"


class EngineError(Exception):
    """The root of all errors of this package.

    Parameters
    ----------
    message
        What failed and why, one line without a full stop.
    hint
        What the user can do about it, one sentence, or None.

    ``build_id`` names the build one of whose steps failed so, where what it left can be opened.
    """

    exit_code: ClassVar[int] = 125
    build_id: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def lines(self) -> list[str]:
        """The lines a person is shown: five at most, or with the tail of a log where there is one."""
        return [self.message, *([f"hint: {self.hint}"] if self.hint else [])]

    def _render_traceback_(self, *_args: object) -> list[str]:
        """What IPython shows instead of a traceback."""
        first, *rest = self.lines()
        return [f"{type(self).__name__}: {first}", *(f"  {line}" for line in rest)]


class NotFound(EngineError):
    """Something named does not exist."""


class AlreadyExists(EngineError):
    """Something of that name exists."""


class InvalidInput(EngineError):
    """An argument, a file or a document is not of the form it must have."""


class Conflict(EngineError):
    """The state of a thing does not allow the operation."""


class Unsupported(EngineError):
    """The host, the kernel or this version cannot do it; the message names what is missing."""


class Unavailable(EngineError):
    """Another party does not answer, or answers that it cannot serve now. Trying again may help."""


class PermissionDenied(EngineError):
    """The kernel or another party refuses it to this user."""


class Cancelled(EngineError):
    """The user or the caller stopped the operation."""

    exit_code: ClassVar[int] = 130


class Timeout(EngineError):
    """It took longer than it was allowed to."""


class Corrupt(EngineError):
    """Stored or received data is not what it should be."""


class SystemFailure(EngineError):
    """A system call failed where no other kind fits."""


class CommandFailed(EngineError):
    """A program that ran in a container failed."""


# -- not found -------------------------------------------------------------------------------------------------------


class ImageNotFound(NotFound):
    """No image of that name or id."""


class ContainerNotFound(NotFound):
    """No container of that name or id."""


class NetworkNotFound(NotFound):
    """No network of that name or id."""


class VolumeNotFound(NotFound):
    """No volume of that name."""


class BlobNotFound(NotFound):
    """The content store has no blob of that digest."""


# -- already exists --------------------------------------------------------------------------------------------------


class NameInUse(AlreadyExists):
    """The name belongs to another container, network or volume."""


# -- invalid input ---------------------------------------------------------------------------------------------------


class InvalidReference(InvalidInput):
    """Not an image name."""


class InvalidDigest(InvalidInput):
    """Not a digest."""


class UsageError(InvalidInput):
    """A verb was called with options or arguments it does not take."""


class SourceRange:
    """Lines of a file, counted from 1, both ends included."""

    __slots__ = ("file", "first", "last")

    def __init__(self, file: str, first: int, last: int) -> None:
        self.file = file
        self.first = first
        self.last = last

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceRange) and repr(other) == repr(self)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"SourceRange({self.file!r}, {self.first}, {self.last})"

    def __str__(self) -> str:
        """``file:line``, or ``file:first-last``."""
        return f"{self.file}:{self.first}" + (f"-{self.last}" if self.last != self.first else "")


class DockerfileError(InvalidInput):
    """A Dockerfile cannot be understood or asks for what cannot be done.

    Parameters
    ----------
    message
        What is wrong.
    source
        Where in the file.
    text
        The offending line or lines.
    hint
        What to do.
    """

    def __init__(self, message: str, *, source: SourceRange, text: str = "", hint: str | None = None) -> None:
        super().__init__(f"{source}: {message}", hint=hint)
        self.source = source
        self.text = text

    def lines(self) -> list[str]:
        """The message, the source line, the hint."""
        shown = [f"{self.source.first:>4} | {line}" for line in self.text.splitlines()[:1]]
        return [self.message, *shown, *([f"hint: {self.hint}"] if self.hint else [])]


# -- conflict --------------------------------------------------------------------------------------------------------


class ImageInUse(Conflict):
    """An image cannot be removed because a container or another image needs it."""


class NetworkInUse(Conflict):
    """A network cannot be removed because containers are in it."""


class PortInUse(Conflict):
    """A port of the host belongs to somebody else."""


class ContainerRunning(Conflict):
    """The operation needs a container that is not running."""


class ContainerNotRunning(Conflict):
    """The operation needs a running container."""


# -- other parties ---------------------------------------------------------------------------------------------------


class RegistryUnavailable(Unavailable):
    """A registry cannot be reached, or failed."""


class RegistryDenied(PermissionDenied):
    """A registry wants credentials, or refuses those it got."""


# -- corrupt ---------------------------------------------------------------------------------------------------------


class DigestMismatch(Corrupt):
    """Bytes do not have the digest or the size they were announced with."""

    def __init__(self, expected: str, actual: str, *, what: str = "blob") -> None:
        super().__init__(f"{what} {expected} has the content of {actual}")
        self.expected = expected
        self.actual = actual


class LayerCorrupt(Corrupt):
    """A layer archive is damaged or tries to leave its root."""


# -- starting a program ----------------------------------------------------------------------------------------------


class StartFailed(SystemFailure):
    """A container could not be started.

    Parameters
    ----------
    step
        The name of the step that failed, as in ``runtime/init.py``.
    errno
        The kernel's error number, 0 where none applies.
    """

    def __init__(self, message: str, *, step: str, errno: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.errno = errno


class CommandNotFound(StartFailed):
    """The program to run is not in the container (Docker's exit status 127)."""

    exit_code: ClassVar[int] = 127


class CommandNotExecutable(StartFailed):
    """The program to run is there and cannot be executed (Docker's exit status 126)."""

    exit_code: ClassVar[int] = 126


# -- a program failed ------------------------------------------------------------------------------------------------


class ContainerFailed(CommandFailed):
    """A container ended with another exit status than 0.

    Parameters
    ----------
    status
        The exit status, 128 + n when signal n ended it.
    cause
        Why, where it is known: ``killed by signal 9``, ``out of memory (limit 64 MiB)``.
    log_tail
        The last lines it printed.
    """

    def __init__(
        self, message: str, *, status: int, cause: str = "", log_tail: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.cause = cause
        self.log_tail = log_tail

    def lines(self) -> list[str]:
        """The message, the cause, the last lines of the log, the hint."""
        return [
            self.message + (f": {self.cause}" if self.cause else ""),
            *(f"| {line}" for line in self.log_tail.splitlines()[-20:]),
            *([f"hint: {self.hint}"] if self.hint else []),
        ]


class StepFailed(CommandFailed):
    """A RUN step of a build ended with another exit status than 0.

    Parameters
    ----------
    source
        The lines of the Dockerfile that hold the step.
    command
        The command as the Dockerfile has it.
    status
        Its exit status.
    log_tail
        The last lines it printed.
    """

    def __init__(
        self, *, source: SourceRange, command: str, status: int, log_tail: str = "", cause: str = "", text: str = ""
    ) -> None:
        reason = f" ({cause})" if cause else ""
        super().__init__(f"{source}: RUN ended with exit status {status}{reason}: {command}")
        self.source = source
        self.command = command
        self.status = status
        self.log_tail = log_tail
        self.cause = cause
        self.text = text

    def lines(self) -> list[str]:
        """The message, the Dockerfile's line, the last lines of the log, what to do."""
        shown = [f"{self.source.first:>4} | {line}" for line in self.text.splitlines()[:1]]
        hint = [f"hint: {self.hint}"] if self.hint else []
        return [self.message, *shown, *(f"| {line}" for line in self.log_tail.splitlines()[-20:]), *hint]


class CellFailed(CommandFailed):
    """The Python of a cell, run in an image, raised an exception.

    Parameters
    ----------
    kind, message
        The name of the exception's class, and its text.
    status
        The exit status of the container.
    lines
        Number, text and function of the cell's lines that led to it, the outermost first.
    inside
        Where outside of the cell it was raised, where it was.
    traceback_text
        All of it, as Python prints it.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int,
        lines: tuple[tuple[int, str, str], ...],
        inside: str = "",
        traceback_text: str = "",
    ) -> None:
        where = f"line {lines[-1][0]} of the cell: " if lines else ""
        first = message.partition("\n")[0]
        super().__init__(f"{where}{kind}" + (f": {first}" if first else ""))
        self.kind = kind
        self.status = status
        self.source_lines = lines
        self.inside = inside
        self.traceback_text = traceback_text

    def lines(self) -> list[str]:
        """The message, the lines of the cell that led there, where it was raised."""
        shown = [f"{number:>4} | {text}" for number, text, _function in self.source_lines]
        if len(shown) > 2:  # noqa: PLR2004 - where it began and where it ended
            shown = [shown[0], shown[-1]]
        return [self.message, *shown, *([f"raised in {self.inside}"] if self.inside else [])]
