"""``--explain``: a verb is done, and told: Docker's command for it, what it touches, the steps as they were done."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from jupyter_containers.commands.explanations import OWN, VERBS, is_own
from jupyter_containers.commands.results import Column, Explained, Grid, Page
from jupyter_containers.errors import EngineError
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.commands.results import Result
    from jupyter_containers.engine.explain.explaining import Call, Step, Story

_LOCAL: Final = "127.0.0.1:"
_HOST_AND_PORTS: Final = 2


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``--explain`` tells.

    ``docker`` is Docker's command, empty where it has none; ``steps`` and ``calls`` are those that were done.
    """

    verb: str
    docker: str
    differences: tuple[str, ...]
    does: str
    touches: str
    steps: tuple[Step, ...] = ()
    calls: tuple[Call, ...] = ()


def explain(command: Command, context: Context, arguments: Arguments) -> Explained:
    """Do a verb and tell of it. What it raises is in the result: the steps up to there are what one wants to see."""
    from jupyter_containers.engine.explain.explaining import Story  # noqa: PLC0415 - few ask
    from jupyter_containers.engine.launch.watching import by  # noqa: PLC0415 - the same

    story = Story(context.sink)
    result: Result | None = None
    failed: EngineError | None = None
    with by(story):
        try:
            result = command.handler(replace(context, sink=story), arguments)
        except EngineError as error:
            failed = error
    return Explained(page(about(command, arguments), story), result, failed)


def about(command: Command, arguments: Arguments) -> Explanation:
    """What is known of a command line before it is done."""
    known = VERBS[command.name]
    docker, notes = docker_command(command, arguments)
    return Explanation(command.name, docker, (*notes, *known.differs), known.does, known.touches)


def docker_command(command: Command, arguments: Arguments) -> tuple[str, tuple[str, ...]]:
    """Docker's command for the same, and what is different about it; an empty one where there is none."""
    known = VERBS[command.name]
    if known.docker == "":
        near = f": {known.instead}" if known.instead else ""
        return "", (f"Docker has no such command{near}",)
    words, notes = ["docker", *(known.docker or command.name).split()], []
    for name, value in arguments.options.items():
        if is_own(command.name, name):
            notes.append(f"--{name} is ours alone: {OWN[name]}")
            continue
        if value is True:
            words.append(f"--{name}")
            continue
        values = value if isinstance(value, tuple) else (value,)
        for each in values:
            text = str(each).lower() if isinstance(each, bool) else str(each)
            if name == "publish" and _is_open(text):
                text = _LOCAL + (text if ":" in text else f":{text}")
                notes.append("a published port without an address is bound to 127.0.0.1; Docker binds it to all")
            words.append(f"--{name}={text}")
    line = shlex.join([*words, *arguments.positionals])
    return line, tuple(dict.fromkeys(notes))


def _is_open(port: str) -> bool:
    """Whether a published port names no address: ``80``, ``8080:80``."""
    return not port.startswith("[") and len(port.split(":")) <= _HOST_AND_PORTS


def page(told: Explanation, story: Story | None = None) -> Page:
    """An explanation as sentences and tables."""
    if story is not None:
        told = replace(told, steps=story.steps(), calls=story.calls())
    words = [
        f"Docker: {told.docker}" if told.docker else "",
        *(f"Differs: {each}." for each in told.differences),
        told.does,
        f"Touches: {told.touches}.",
        _times(told.steps),
    ]
    grids = (steps_grid(told.steps), calls_grid(told.calls))
    return Page(f"Explained: {told.verb}", tuple(filter(None, words)), grids, told)


def _times(steps: Sequence[Step]) -> str:
    if not steps:
        return ""
    total = max(step.at + (step.took or 0) for step in steps)
    text = f"{len(steps)} steps in {total} µs"
    ahead = sum(step.took or 0 for step in steps if step.ahead)
    if ahead:
        text += f"; those marked ahead ({ahead} µs) are usually done before anybody asks, and were watched this time"
    return f"{text}."


def steps_grid(steps: Sequence[Step]) -> Grid:
    """Steps as a table."""
    return Grid(
        "Steps",
        (
            Column("STEP", "step", "count", tuple(step.number for step in steps)),
            Column("AT µs", "at_us", "count", tuple(step.at for step in steps)),
            Column("TOOK µs", "took_us", "count", tuple(step.took for step in steps)),
            Column("WHO", "whose", "text", tuple(step.whose for step in steps)),
            Column("NAME", "name", "text", tuple(step.name for step in steps)),
            Column("CALLS", "calls", "count", tuple(step.calls for step in steps)),
            Column("AHEAD", "ahead", "flag", tuple(step.ahead for step in steps), shown=tuple(map(_ahead, steps))),
            Column("WHAT", "what", "text", tuple(step.words for step in steps), shown=tuple(s.words for s in steps)),
        ),
    )


def _ahead(step: Step) -> str:
    return "ahead" if step.ahead else ""


def calls_grid(calls: Sequence[Call]) -> Grid:
    """System calls as a table."""
    return Grid(
        "Calls",
        (
            Column("STEP", "step", "count", tuple(call.step for call in calls)),
            Column("WHO", "whose", "text", tuple(call.whose for call in calls)),
            Column("DURING", "during", "text", tuple(call.step_name for call in calls)),
            Column("CALL", "call", "text", tuple(call.call for call in calls)),
            Column("ARGUMENTS", "arguments", "text", tuple(call.arguments for call in calls)),
            Column("TOOK µs", "took_us", "count", tuple(call.took for call in calls)),
            Column("ERROR", "error", "text", tuple(call.error for call in calls)),
        ),
    )
