"""Help texts, made from the table."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from jupyter_containers.commands.table import NOUNS, every

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.model import Command, Option

BODIES = {
    "stdin": "The body of a notebook cell is the standard input.",
    "dockerfile": "The body of a notebook cell is the Dockerfile.",
}
"""What a cell's body is to a verb."""
_WIDTH = 100
_COLUMN = 30


def overview(program: str, *, before: str = "", extra: str = "") -> str:
    """The list of all verbs. ``before`` stands in the usage line before the verb, ``extra`` follows the lists."""
    lines = [f"Usage: {program} {before + ' ' if before else ''}COMMAND [OPTIONS] [ARGUMENTS]"]
    for noun, title in NOUNS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {command.name:<18} {command.summary}" for command in every() if command.noun == noun]
    if extra:
        lines += ["", extra]
    lines += ["", f"'{program} COMMAND --help' tells more about a command."]
    return "\n".join(lines)


def detail(command: Command, program: str) -> str:
    """The help of one verb."""
    lines = [f"Usage: {program} {command.usage}", "", command.summary]
    if len(command.names) > 1:
        lines += ["", "Also spelled:", "  " + ", ".join(f"{program} {name}" for name in command.names[1:])]
    if command.body != "none":
        lines += ["", BODIES[command.body]]
    if command.python:
        lines += ["", "In Python:", *(f"  Engine().{method}" for method in command.python)]
    if command.options:
        lines += ["", "Options:", *options(command.options)]
    if command.examples:
        lines += ["", "Examples:", *(f"  {program} {example}" for example in command.examples)]
    return "\n".join(lines)


def options(given: Sequence[Option]) -> list[str]:
    """The lines that explain options, in two columns."""
    return [line for option in given for line in _option(option)]


def _option(option: Option) -> list[str]:
    short = f"-{option.short}, " if option.short else "    "
    head = f"  {short}--{option.long}" + (f" {option.metavar}" if option.metavar else "")
    notes = [f"one of {', '.join(option.choices)}"] if option.choices else []
    notes += [f"default {option.default}"] if option.default else []
    notes += ["may be repeated"] if option.repeatable else []
    text = option.help + (f" ({'; '.join(notes)})" if notes else "")
    wrapped = textwrap.wrap(text, _WIDTH - _COLUMN)
    pad = " " * _COLUMN
    if len(head) + 2 > _COLUMN:
        return [head, *(pad + line for line in wrapped)]
    return [f"{head:<{_COLUMN}}{wrapped[0]}", *(pad + line for line in wrapped[1:])]
