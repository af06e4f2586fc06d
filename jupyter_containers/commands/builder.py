"""The verbs on builds that were made: which, what their steps came to, and a shell in what a step left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Column, Grid, Lines, Ran, Result, Started
from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from jupyter_containers.build.ledger import BuildRecord
    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine import Console

STATUSES = ("hit", "miss", "skipped", "failed")
_BUILD = Argument("BUILD", minimum=0)
_KEPT = "an id of 'builder history' or a name of its image"


def _history(context: Context, arguments: Arguments) -> Result:
    records = context.engine().builds.history()
    failed = any(record.error for record in records)
    return Grid(
        "Builds",
        (
            Column("BUILD", "build", "text", tuple(record.id for record in records)),
            Column("NAME", "name", "text", tuple(_name(record) for record in records)),
            Column("STATUS", "status", "choice", tuple(_status(record) for record in records), ("done", "failed")),
            Column("HITS", "hits", "count", tuple(_count(record, "hit") for record in records)),
            Column("MISSES", "misses", "count", tuple(_count(record, "miss") for record in records)),
            Column("DURATION", "duration", "seconds", tuple(record.seconds for record in records)),
            Column("CREATED", "created", "time", tuple(moment(record.created) for record in records)),
            *([Column("ERROR", "error", "text", tuple(record.error for record in records))] if failed else []),
        ),
        quiet=arguments.flag("quiet"),
        full=arguments.flag("no-trunc"),
    )


def _name(record: BuildRecord) -> str:
    return ", ".join(record.tags) or record.context or record.name


def _status(record: BuildRecord) -> str:
    return "failed" if record.error else "done"


def _count(record: BuildRecord, status: str) -> int:
    return sum(step.status == status for step in record.steps)


def moment(nanoseconds: int) -> datetime:
    """A time as the tables have it."""
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC)


def _steps(context: Context, arguments: Arguments) -> Result:
    record = context.engine().builds.steps(arguments.positionals[0] if arguments.positionals else "")
    steps = record.steps
    return Grid(
        f"Steps of {record.id}",
        (
            Column("STEP", "step", "count", tuple(range(1, len(steps) + 1))),
            Column("LINE", "line", "count", tuple(step.line for step in steps)),
            Column("STAGE", "stage", "text", tuple(step.stage for step in steps)),
            Column("INSTRUCTION", "instruction", "text", tuple(step.text for step in steps)),
            Column("VERDICT", "status", "choice", tuple(step.status for step in steps), STATUSES),
            Column("TIME", "duration", "seconds", tuple(step.seconds for step in steps)),
            Column("WHY", "reason", "text", tuple(step.reason for step in steps)),
        ),
        full=arguments.flag("no-trunc"),
        subject=record,
    )


def _debug(context: Context, arguments: Arguments) -> Result:
    command = list(arguments.positionals)
    if context.script and not command:
        command = ["/bin/sh", "-s"]
    return open_step(context, command, build=arguments.text("build") or "", step=arguments.integer("step"))


def open_step(context: Context, command: list[str], *, build: str = "", step: int | None = None) -> Result:
    """Run a command in what a step left; without one its shell, where there is a terminal."""
    builds = context.engine().builds
    console: Console | None = None
    if not command:
        if context.console is None:
            return tell(context, build, step)
        console = context.console(None, True)
    terminal = console is not None and _is_terminal(console)
    outcome = builds.debug(
        command,
        build=build,
        step=step,
        console=console if terminal else None,
        terminal=terminal,
        stdin=context.stdin if not terminal and (context.script or not command) else None,
        sink=context.sink,
    )
    from jupyter_containers.engine import Container  # noqa: PLC0415 - the engine is slow to import

    return Started(outcome) if isinstance(outcome, Container) else Ran(outcome)


def _is_terminal(console: Console) -> bool:
    try:
        console.check(stdin=True, terminal=True)
    except InvalidInput:
        return False
    return True


def tell(context: Context, build: str = "", step: int | None = None) -> Lines:
    """Where there is no terminal for a shell: what the step saw, wrote and deleted."""
    builds = context.engine().builds
    found = builds.step(build, step)
    return Lines(
        (
            f"{found.text} (line {found.line}): {found.status}",
            f"as {found.user or 'root'} in {found.cwd}, with {len(found.env)} variables",
            *builds.left(build, step=step),
            "'builder debug COMMAND' runs a command there",
        )
    )


COMMANDS = (
    Command(
        ("builder history", "builder ls"),
        "builder",
        "List the latest builds",
        _history,
        (
            Option("no-trunc", "Show texts in full", kind="bool"),
            Option("quiet", "Show ids only", "q", kind="bool"),
        ),
        python=("builds.history",),
    ),
    Command(
        ("builder steps",),
        "builder",
        "Show the steps of a build: hit, miss or skipped, and why",
        _steps,
        (Option("no-trunc", "Show texts in full", kind="bool"),),
        (_BUILD,),
        examples=("builder steps", "builder steps tool:1"),
        python=("builds.steps",),
    ),
    Command(
        ("builder debug",),
        "builder",
        "Open what a step of a build left (the one that failed, else the last) for a shell or a command",
        _debug,
        (
            Option("build", f"Which build: {_KEPT}", None, "BUILD"),
            Option("step", "Its number, as 'builder steps' shows it", None, "N", kind="integer"),
        ),
        (Argument("COMMAND", minimum=0, completes="any"), Argument("ARG", minimum=0, maximum=None)),
        interspersed=False,
        body="stdin",
        examples=("builder debug", "builder debug cat /var/log/dpkg.log", "builder debug --step 3 ls -l /app"),
        python=("builds.debug",),
    ),
)
