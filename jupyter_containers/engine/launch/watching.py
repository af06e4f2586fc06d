"""Who watches the starts of containers: an explanation, or a class that looks at one stage after the other.

One is in force for a piece of code (:data:`CURRENT`); without one nothing of this takes any time.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.runtime.protocol import LaunchRequest


class Watcher:
    """Keeps the steps of starts, as the runtime wrote them down; see ``runtime/watched.py`` for their form."""

    def __init__(self) -> None:
        self.starts: list[list[Any]] = []
        self.pooled = False

    def prepare(self, request: LaunchRequest, record: ContainerRecord) -> None:  # noqa: ARG002 - for those who step
        """Ask for a watched start of a container; another runtime's command cannot be watched."""
        from jupyter_containers.runtime import ahead  # noqa: PLC0415 - there by now

        self.pooled = ahead.of(request)["pooled"]
        if not request.get("runtime"):
            request["watch"] = {"hold": False}

    def halted(self, message: dict[str, Any]) -> None:
        """A start waits after a stage; it goes on when this returns."""
        raise AssertionError(f"nobody asked for a halt after {message['name']}")

    def started(self, steps: list[Any], *, running: bool) -> None:  # noqa: ARG002 - the same
        """A program runs, or its start has failed, after these steps."""
        self.starts.append(steps)


CURRENT: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
"""Who watches what is started here."""


@contextmanager
def by(watcher: Watcher) -> Iterator[Watcher]:
    """Have the starts of a block watched."""
    token = CURRENT.set(watcher)
    try:
        yield watcher
    finally:
        CURRENT.reset(token)
