"""All verbs, and how a command line finds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands import builds, containers, images, system
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.model import Command, Noun

COMMANDS: tuple[Command, ...] = (*containers.COMMANDS, *images.COMMANDS, *builds.COMMANDS, *system.COMMANDS)
NOUNS: dict[Noun, str] = {"container": "Containers", "image": "Images", "builder": "Building", "system": "System"}

_BY_NAME = {name: command for command in COMMANDS for name in command.names}
GROUPS = frozenset(name.split()[0] for name in _BY_NAME if " " in name)


def find(words: Sequence[str], *, program: str) -> tuple[Command, list[str]]:
    """The verb that the words begin with, and the words after it.

    Raises
    ------
    UsageError
        with what may have been meant.
    """
    if not words:
        raise UsageError("a verb is missing", hint=f"'{program} --help' lists the verbs")
    first, *rest = words
    if first in GROUPS and rest and f"{first} {rest[0]}" in _BY_NAME:
        return _BY_NAME[f"{first} {rest[0]}"], rest[1:]
    if first in _BY_NAME:
        return _BY_NAME[first], rest
    wanted = f"{first} {rest[0]}" if first in GROUPS and rest else first
    raise UsageError(f"unknown command: {wanted}", hint=_suggestion(wanted, program))


def _suggestion(wanted: str, program: str) -> str:
    import difflib  # noqa: PLC0415 - only on the way to an error

    if wanted in GROUPS:
        within = sorted(name for name in _BY_NAME if name.startswith(f"{wanted} "))
        return f"{wanted} goes with {', '.join(name.split()[1] for name in within)}"
    close = difflib.get_close_matches(wanted, _BY_NAME, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}? '{program} --help' lists the verbs"
    return f"'{program} --help' lists the verbs"
