"""What a cell raises: errors of five lines at most, which name what failed, why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import ContainerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.views import RunResult
    from jupyter_containers.errors import EngineError

_TAIL = 20
_ENDED = {
    "run": "the container was ended; it is kept, for there was no --rm ('ps -a' lists it)",
    "run --rm": "the container was ended and removed",
    "exec": "the command was ended; its container goes on",
    "build": "the build was stopped; the steps that were done are in the cache",
}


class Interrupted(KeyboardInterrupt):
    """The user interrupted a verb; the engine has cleaned up. Shown in one line, and stops a "run all" as any does."""

    def __init__(self, verb: str = "run --rm") -> None:
        super().__init__(_ENDED.get(verb, f"{verb} was given up; containers go on as they are"))

    def _render_traceback_(self, *_args: object) -> list[str]:
        return [f"Interrupted: {self}"]


def first_of(errors: Sequence[EngineError]) -> EngineError:
    """One error for all those that a verb reports; the others are its notes."""
    first, *others = errors
    for error in others:
        first.add_note(error.message)
    return first


def container_failed(result: RunResult, *, verb: str, with_output: bool) -> ContainerFailed:
    """The error for a command that ended with another exit status than 0.

    What it printed stands above in the cell already, unless that was kept quiet.
    """
    subject = " ".join(result.command) or result.image or result.container_id[:12]
    what = "the command" if verb == "exec" else "the container"
    said = result.stderr or result.stdout
    hint = None
    if result.oom_killed:
        hint = "give it more memory with --memory, or use less"
    return ContainerFailed(
        f"{what} ({subject[:80]}) ended with exit status {result.exit_code}",
        status=result.exit_code,
        cause=result.cause if result.cause != f"exit status {result.exit_code}" else "",
        log_tail="\n".join(said.splitlines()[-_TAIL:]) if with_output else "",
        hint=hint or "--no-raise before the verb returns the result instead",
    )
