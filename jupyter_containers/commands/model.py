"""What a command is: data, with a handler that returns a value and prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from jupyter_containers.errors import UsageError
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.results import Result

Kind: TypeAlias = Literal["bool", "text", "integer", "decimal", "size"]
Value: TypeAlias = bool | str | int | float | tuple[str, ...]
Noun: TypeAlias = Literal["container", "image", "network", "volume", "builder", "system"]
Completes: TypeAlias = Literal[
    "container",
    "image",
    "network",
    "volume",
    "name",  # of any of these
    "path",
    "source",  # a volume or a path
    "place",  # a path here or in a container
    "mount",
    "variable",
    "data",
    "command",
    "any",
]
"""What a value is, for completion."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option, with the semantics of Go's pflag that Docker's users know.

    ``long`` is without dashes. A ``repeatable`` option collects a list. ``choices`` restricts a text, ``offers`` are
    values, or beginnings of values, that completion proposes.
    """

    long: str
    help: str
    short: str | None = None
    metavar: str = ""
    kind: Kind = "text"
    repeatable: bool = False
    default: str = ""
    choices: tuple[str, ...] = ()
    completes: Completes = "any"
    offers: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The option as messages name it: ``-m, --memory``."""
        return f"-{self.short}, --{self.long}" if self.short else f"--{self.long}"


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument; ``maximum`` None means any number."""

    name: str
    minimum: int = 1
    maximum: int | None = 1
    completes: Completes = "any"

    @property
    def shown(self) -> str:
        """The argument in a usage line: ``IMAGE``, ``[COMMAND]``, ``CONTAINER [CONTAINER...]``."""
        repeated = f" [{self.name}...]" if self.maximum is None else ""
        return f"{self.name}{repeated}" if self.minimum else f"[{self.name}{'...' if self.maximum is None else ''}]"


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the parser made of a command line: only what was given is in ``options``."""

    options: Mapping[str, Value] = field(default_factory=dict)
    positionals: tuple[str, ...] = ()

    def flag(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.options.get(name) is True

    def text(self, name: str) -> str | None:
        """The value of a text option, None where it was not given."""
        value = self.options.get(name)
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of a repeatable option, in their order."""
        value = self.options.get(name)
        return value if isinstance(value, tuple) else ()

    def integer(self, name: str) -> int | None:
        """The value of a whole-number option."""
        value = self.options.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def decimal(self, name: str) -> float | None:
        """The value of a number option."""
        value = self.options.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


Handler: TypeAlias = "Callable[[Context, Arguments], Result]"


@dataclass(frozen=True, slots=True)
class Command:
    """A verb.

    ``names`` holds its spellings, the usual one first: ``("ps", "container ls")``. With ``interspersed`` False options
    end at the first positional argument, as for ``run`` and ``exec``. ``body`` says what a notebook cell's body is to
    the verb: ``stdin`` of the container, the ``dockerfile``, or nothing. ``python`` names the methods of an engine that
    do the same: ``("containers.list",)``.
    """

    names: tuple[str, ...]
    noun: Noun
    summary: str
    handler: Handler
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    interspersed: bool = True
    body: Literal["none", "stdin", "dockerfile"] = "none"
    examples: tuple[str, ...] = ()
    python: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The usual spelling."""
        return self.names[0]

    @property
    def usage(self) -> str:
        """The usage line without the program's name: ``run [OPTIONS] IMAGE [COMMAND] [ARG...]``."""
        parts = [self.name, *(["[OPTIONS]"] if self.options else []), *(each.shown for each in self.arguments)]
        return " ".join(parts)

    def option(self, name: str) -> Option | None:
        """The option of that long name."""
        return next((option for option in self.options if option.long == name), None)

    def short(self, letter: str) -> Option | None:
        """The option of that short name."""
        return next((option for option in self.options if option.short == letter), None)

    def check_count(self, positionals: tuple[str, ...]) -> None:
        """Refuse too few or too many positional arguments.

        Raises
        ------
        UsageError
            in Docker's words.
        """
        least = sum(argument.minimum for argument in self.arguments)
        most = None
        if all(argument.maximum is not None for argument in self.arguments):
            most = sum(argument.maximum or 0 for argument in self.arguments)
        count = len(positionals)
        if count >= least and (most is None or count <= most):
            return
        plural = "s" if (least if count < least or most is None else most) != 1 else ""
        if most == 0:
            raise UsageError(f"{self.name} accepts no arguments, and got {positionals[0]!r}")
        if most == least:
            wanted = f"exactly {least} argument{plural}"
        elif count < least:
            wanted = f"at least {least} argument{plural}"
        else:
            wanted = f"at most {most} argument{plural}"
        raise UsageError(f"{self.name} requires {wanted}: {self.usage}")
