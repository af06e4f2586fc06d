"""What can be asked of every verb, before its name: ``--explain`` tells what is done, ``--dry-run`` what would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.commands.model import Option
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.commands.results import Result

EXPLAIN: Final = Option("explain", "Do it, and tell how: Docker's command, the steps, system calls, times", kind="bool")
DRY_RUN: Final = Option("dry-run", "Say what would be done, and do nothing", kind="bool")
OPTIONS: Final = (EXPLAIN, DRY_RUN)
FLAGS: Final = {f"--{option.long}": False for option in OPTIONS}
"""How they are written; none takes a value."""


def take(words: Sequence[str]) -> tuple[frozenset[str], list[str]]:
    """The names of the options that stand before the verb, and the words from the verb on."""
    count = 0
    while count < len(words) and words[count] in FLAGS:
        count += 1
    return frozenset(word.removeprefix("--") for word in words[:count]), list(words[count:])


def check(asked: Collection[str], command: Command) -> None:
    """Raises UsageError for what cannot be asked of a verb."""
    if DRY_RUN.long not in asked:
        return
    if EXPLAIN.long in asked:
        raise UsageError("--explain tells of what is done, and --dry-run does nothing", hint="leave one of them out")
    from jupyter_containers.commands import dry_run  # noqa: PLC0415 - seldom asked for

    dry_run.check(command)


def do(asked: Collection[str], command: Command, context: Context, arguments: Arguments) -> Result:
    """Do a verb as it was asked for."""
    check(asked, command)
    if DRY_RUN.long in asked:
        from jupyter_containers.commands import dry_run  # noqa: PLC0415 - seldom asked for

        return dry_run.tell(command, context, arguments)
    if EXPLAIN.long in asked:
        from jupyter_containers.commands.explaining import explain  # noqa: PLC0415 - seldom asked for

        return explain(command, context, arguments)
    return command.handler(context, arguments)
