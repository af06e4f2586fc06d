"""A start one stage at a time, in a notebook: each stage is a page; cells of a class go through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import humane
from jupyter_containers.notebook import markup
from jupyter_containers.notebook.pages import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.commands import results


class Stages:
    """What ``run --step`` gives: ``next(stages)`` goes on to the next stage and is a page, as is each in a loop.

    ``finish()`` lets it go on as any other run and gives what ``run`` gives; ``abort()`` ends it, and nothing is left.
    Also when this object is forgotten, or the kernel ends, nothing is left of one that is not finished.
    """

    def __init__(self, stepped: results.Stepped) -> None:
        self._stepped = stepped
        self._stages = stepped.stages

    def __iter__(self) -> Iterator[Page]:
        return self

    def __next__(self) -> Page:
        """The next stage, once it is done."""
        shown = self._stages.shown
        before = shown[-1] if shown else None
        return Page(self._stepped.page(next(self._stages), before, False))

    def finish(self) -> Any:
        """Let it go on to its end: its result, or the container if it is detached."""
        return self._stages.finish()

    def abort(self) -> None:
        """End it at whatever stage it is, and remove it."""
        self._stages.abort()

    def _rows(self) -> list[tuple[str, str, str]]:
        done = {stage.name: stage for stage in self._stages.shown}
        return [
            (name, "done" if name in done else "to come", meaning) for name, meaning in self._stages.meanings.items()
        ]

    def __repr__(self) -> str:
        lines = [f"{state:<8} {name}: {meaning}" for name, state, meaning in self._rows()]
        return "\n".join(map(humane.visible, ["Stages of a start; next() goes on", *lines]))

    def _repr_html_(self) -> str:
        rows = [[markup.words(cell) for cell in row] for row in self._rows()]
        return markup.table("Stages of a start; next() goes on", ("Stage", "State", "What is done"), rows)
