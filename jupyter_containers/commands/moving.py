"""The verbs that carry a container to another store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.commands.lifecycle import CONTAINER
from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import Lines, Result
from jupyter_containers.errors import UsageError
from jupyter_containers.events import Notice

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context


def _move(context: Context, arguments: Arguments) -> Result:
    target = arguments.text("to")
    if target is None:
        raise UsageError("container move needs a target", hint="add --to DIRECTORY or --to ssh://HOST")
    if arguments.flag("live") and arguments.flag("no-start"):
        raise UsageError("--live and --no-start contradict each other", hint="leave one of them out")
    moved = context.engine().containers.move(
        arguments.positionals[0],
        target,
        start=False if arguments.flag("no-start") else None,
        time=arguments.decimal("time"),
        program=arguments.text("program") or "",
        live=arguments.flag("live"),
    )
    if moved.failed:
        context.sink(Notice(f"{moved.name} is at {moved.target} and could not be started: {moved.failed}", "warning"))
    return Lines((moved.name,))


def _receive(context: Context, _arguments: Arguments) -> Result:
    if context.script or os.isatty(0):
        raise UsageError("container receive talks to container move, not to a person", hint="use container move")
    with os.fdopen(os.dup(0), "rb") as incoming, os.fdopen(os.dup(1), "wb") as outgoing:
        context.engine().containers.receive(incoming, outgoing)
    return Lines(())


COMMANDS = (
    Command(
        ("container move",),
        "container",
        "Carry a container with its volumes to another store or machine, and start it there",
        _move,
        (
            Option("to", "A store's directory, or ssh://[USER@]HOST[:PORT][/STORE]", None, "TARGET"),
            Option("time", "Seconds to wait before it is killed", "t", "SECONDS", kind="decimal"),
            Option("no-start", "Do not start it there", kind="bool"),
            Option("program", "The command over there", None, "NAME", default="jupyter-container"),
            Option("live", "Without ending its processes, by CRIU", kind="bool"),
        ),
        (CONTAINER,),
        examples=("container move web --to ssh://other.example", "container move web --to /srv/containers"),
        python=("containers.move",),
    ),
    Command(
        ("container receive",),
        "container",
        "The other end of container move: take a container from standard input",
        _receive,
        python=("containers.receive",),
    ),
)
