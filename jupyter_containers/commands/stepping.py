"""``run --step``: what is shown of each stage of a start."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands import xray
from jupyter_containers.commands.explaining import calls_grid, steps_grid
from jupyter_containers.commands.results import Column, Grid, Page, Stepped
from jupyter_containers.errors import UsageError
from jupyter_containers.events import Output, ignore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments
    from jupyter_containers.engine.explain.stepping import Stage
    from jupyter_containers.events import Event, EventSink

_MOST: Final = 40
"""So many calls and mounts are shown where a stage is shown in short."""


def begin(
    context: Context, arguments: Arguments, image: str, command: Sequence[str], keywords: dict[str, Any]
) -> Stepped:
    """Begin a start that is stepped; ``run`` has read the rest of its options.

    Raises
    ------
    UsageError
        for what does not go with it.
    """
    for option in ("attach", "interactive"):
        if arguments.options.get(option) and context.console is not None:
            raise UsageError(f"--{option} does not go with --step, which waits for Enter", hint="leave one of them out")
    if context.attendant is not None or context.on_stop is not None:
        raise UsageError("--step does not go with --in, --out, --python and --bg", hint="leave one of them out")
    from jupyter_containers.engine import RunOptions  # noqa: PLC0415 - the engine is slow to import

    stages = context.engine().containers.step(
        image,
        command or None,
        options=RunOptions.of(keywords),
        stdin=context.stdin if keywords.get("interactive") else None,
        sink=context.sink if context.console is not None else _until(context.sink),
    )
    return Stepped(stages, page)


def _until(sink: EventSink) -> EventSink:
    """In a notebook what is pulled is shown in the cell that begins; output is part of the result, in a later cell."""

    def tell(event: Event) -> None:
        (ignore if isinstance(event, Output) else sink)(event)

    return tell


def page(stage: Stage, before: Stage | None, brief: bool) -> Page:
    """A stage in sentences (of the x-ray those that changed), its steps and calls, new mounts; the x-ray's tables."""
    from jupyter_containers.engine.explain.stepping import NAMES  # noqa: PLC0415 - it is there by now

    known = before.xray.words if before is not None else ()
    words = [f"{stage.meaning}.", *(line for line in stage.xray.words if line not in known)]
    old = {mount.mount_id for mount in before.xray.mounts} if before is not None else set()
    mounts = [mount for mount in stage.xray.mounts if mount.mount_id not in old] if before is not None else []
    if brief:
        for noun, rows in (("calls", stage.calls), ("new mounts", mounts)):
            if len(rows) > _MOST:
                words.append(
                    f"Of {len(rows)} {noun} the first {_MOST} are shown; in Python and in a notebook there are all."
                )
    most = _MOST if brief else None
    grids = (
        steps_grid(stage.steps),
        calls_grid(stage.calls[:most]),
        Grid(
            "New mounts",
            (
                Column("TARGET", "target", "text", tuple(mount.target for mount in mounts[:most])),
                Column("TYPE", "type", "text", tuple(mount.type for mount in mounts[:most])),
                Column("WHAT", "what", "text", tuple(mount.what for mount in mounts[:most])),
            ),
        ),
    )
    title = f"Stage {stage.number} of {len(NAMES)}: {stage.name}"
    seen = xray.page(stage.xray)
    return replace(seen, title=title, words=tuple(words), grids=grids if brief else (*grids, *seen.grids), value=stage)
