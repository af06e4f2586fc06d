"""The grammar of a magic: ``%container [NOTEBOOK OPTIONS] VERB [OPTIONS] [ARGUMENTS]``, and the body of a cell.

The notebook's options stand before the verb, so that they never collide with Docker's. The words of the line are read
by :mod:`~jupyter_containers.notebook.words`, the verb's by the table of commands.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jupyter_containers.commands import asked, results
from jupyter_containers.commands import help as help_text
from jupyter_containers.commands.humane import shorten
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.parser import HelpRequested, parse
from jupyter_containers.commands.table import find
from jupyter_containers.errors import UsageError
from jupyter_containers.notebook import attendance, words
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.commands.context import Context

_TITLE = 60
LINE, CELL = "%container", "%%container"


def _no_handler(_context: Context, _arguments: Arguments) -> results.Result:
    return results.Lines(())


OPTIONS = (
    Option("result", "Keep the result under this name and do not show it", "o", "NAME"),
    Option("no-raise", "Return the result of a failed run instead of raising ContainerFailed", kind="bool"),
    Option("quiet", "Show no output and no progress", kind="bool"),
    Option("widget", "Show it live: ps, logs, stats, diff and volume inspect (files), run (form)", "w", kind="bool"),
    Option("bg", "Run in the background, and give a handle to wait for it, look at it or stop it", kind="bool"),
    *asked.OPTIONS,
)
"""What a notebook does with the result of a verb."""

NOTEBOOK = Command(
    ("",),
    "system",
    "What the notebook does with the result of a verb",
    _no_handler,
    (*OPTIONS, *attendance.OPTIONS),
    (Argument("COMMAND", minimum=0, maximum=None, completes="command"),),
    interspersed=False,
)
_NOTES = """{expression} as a whole word is replaced by its value in the notebook; a ';' at the end hides the result.
As %%container the body is the Dockerfile of build, or the standard input of run and exec."""


@dataclass(frozen=True, slots=True)
class Request:
    """One magic, read: the verb with its arguments, the notebook's options, the body of the cell.

    ``silenced`` says that a ``;`` ended the line.
    """

    command: Command
    arguments: Arguments
    notebook: Arguments
    body: str | None
    silenced: bool

    @property
    def title(self) -> str:
        """The verb and its arguments, in short: ``run alpine sleep 10``."""
        return shorten(" ".join([self.command.name, *self.arguments.positionals]), _TITLE)

    @property
    def name(self) -> str | None:
        """The name that keeps the result."""
        return self.notebook.text("result")

    @property
    def asked(self) -> frozenset[str]:
        """What is asked of any verb: ``explain``."""
        return frozenset(option.long for option in asked.OPTIONS if self.notebook.flag(option.long))


def read(line: str, cell: str | None, evaluate: Callable[[str], object]) -> Request:
    """Read one line or cell; ``evaluate`` gives the value of an expression of the notebook.

    Raises
    ------
    UsageError
        for what is not understood, with what may have been meant.
    HelpRequested
        for ``--help`` and ``help``.
    """
    line, cell = words.join_continued(line, cell)
    split, silenced = words.split(line)
    given = words.expand(split, evaluate)
    program = LINE if cell is None else CELL
    notebook = parse(NOTEBOOK, given, program=program)
    asked = list(notebook.positionals)
    if asked[:1] in ([], ["help"]):
        # "help run" is "run --help", as on the command line.
        raise HelpRequested(attendance.extended(find(asked[1:], program=program)[0]) if asked[1:] else NOTEBOOK)
    _check_name(notebook)
    command, rest = find(asked, program=program)
    command = attendance.extended(command)
    arguments = _with_data(command, notebook, _parse(command, rest, program))
    if cell is not None and command.body == "none":
        raise UsageError(
            f"{command.name} has no use for the body of a cell", hint=f"write it as a line: {LINE} {command.name}"
        )
    return Request(command, arguments, notebook, cell, silenced)


def _with_data(command: Command, notebook: Arguments, arguments: Arguments) -> Arguments:
    """The arguments with the options for data that stood before the verb."""
    before = {name: value for name, value in notebook.options.items() if name in attendance.NAMES}
    for name in before:
        if command.option(name) is None:
            raise UsageError(f"--{name} has no meaning for {command.name}", hint="it goes with run and exec")
    both = {name: (*notebook.texts(name), *arguments.texts(name)) for name in ("in", "out")}
    found = {**before, **arguments.options, **{name: texts for name, texts in both.items() if texts}}
    return dataclasses.replace(arguments, options=found)


def _check_name(notebook: Arguments) -> None:
    name = notebook.text("result")
    if name is not None and not name.isidentifier():
        raise UsageError(
            f"-o {name}: it is not a name in Python", hint="as in -o result: letters, digits and _, and no digit first"
        )


def _parse(command: Command, rest: Sequence[str], program: str) -> Arguments:
    try:
        return parse(command, rest, program=program)
    except UsageError as error:
        spelled = _misplaced(error.message.rpartition(" ")[2]) if error.message.startswith("unknown") else None
        if spelled is None:
            raise
        hint = f"notebook options stand before the verb: {program} {spelled} {command.name} …"
        raise UsageError(error.message, hint=hint) from None


def _misplaced(flag: str) -> str | None:
    """How to write the option of the notebook that a flag is, None where it is none."""
    for option in OPTIONS:
        short = option.short and flag.startswith(f"-{option.short}")
        if short or flag == f"--{option.long}":
            return " ".join([f"-{option.short}" if short else flag, *([option.metavar] if option.metavar else [])])
    return None


def help_of(command: Command, program: str) -> str:
    """The help of a verb, or that of the magic."""
    if command is NOTEBOOK:
        extra = "\n".join(["Notebook options, before the verb:", *help_text.options(NOTEBOOK.options), "", _NOTES])
        return help_text.overview(program, before="[NOTEBOOK OPTIONS]", extra=extra)
    return help_text.detail(command, program)
