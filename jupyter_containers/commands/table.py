"""All verbs, and how a command line finds its own."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.model import Command, Noun

_MODULES = (
    "containers",
    "lifecycle",
    "ps",
    "container_files",
    "stats",
    "xray",
    "prune",
    "moving",
    "images",
    "networks",
    "network_graph",
    "ports",
    "volumes",
    "builds",
    "builder",
    "build_storage",
    "system",
    "disk",
    "journal",
)
"""Where the verbs are. They are looked for in this order, and what comes later is not imported for one found before."""
NOUNS: dict[Noun, str] = {
    "container": "Containers",
    "image": "Images",
    "network": "Networks",
    "volume": "Volumes",
    "builder": "Building",
    "system": "System",
}


@cache
def _verbs_of(module: str) -> dict[str, Command]:
    """The verbs of one module by each of their names."""
    made: tuple[Command, ...] = import_module(f"jupyter_containers.commands.{module}").COMMANDS
    return {name: command for command in made for name in command.names}


@cache
def every() -> tuple[Command, ...]:
    """All verbs, in the order in which they are listed."""
    return tuple(dict.fromkeys(command for module in _MODULES for command in _verbs_of(module).values()))


@cache
def groups() -> frozenset[str]:
    """The first words of verbs of two words; none of them is a verb itself."""
    return frozenset(name.split()[0] for command in every() for name in command.names if " " in name)


def find(words: Sequence[str], *, program: str) -> tuple[Command, list[str]]:
    """The verb that the words begin with, and the words after it.

    Raises
    ------
    UsageError
        with what may have been meant.
    """
    if not words:
        raise UsageError("a verb is missing", hint=f"'{program} --help' lists the verbs")
    for count in (1, 2):
        name = " ".join(words[:count])
        for module in _MODULES:
            if name in (verbs := _verbs_of(module)):
                return verbs[name], list(words[count:])
    wanted = " ".join(words[:2]) if words[0] in groups() else words[0]
    raise UsageError(f"unknown command: {wanted}", hint=_suggestion(wanted, program))


def _suggestion(wanted: str, program: str) -> str:
    import difflib  # noqa: PLC0415 - only on the way to an error

    names = [name for command in every() for name in command.names]
    if wanted in groups():
        within = sorted(name for name in names if name.startswith(f"{wanted} "))
        return f"{wanted} goes with {', '.join(name.split()[1] for name in within)}"
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}? '{program} --help' lists the verbs"
    return f"'{program} --help' lists the verbs"
