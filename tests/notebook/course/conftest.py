"""The notebooks of the course, each run once as it is given and once with the answers filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import course

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def notebooks(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Callable[..., course.Course]:
    """``notebooks(name)`` or ``notebooks(name, solved=True)``: the executed notebook, from the run of this session."""
    done: dict[tuple[str, bool], course.Course | AssertionError] = {}

    def run(name: str, *, solved: bool = False) -> course.Course:
        key = (name, solved)
        if key not in done:
            short = f"{name[:2]}{'s' if solved else ''}"
            try:
                done[key] = course.run(name, tmp_path_factory.mktemp(short), stores / f"nb{short}", solved=solved)
            except AssertionError as error:  # once is enough: every test that asks for it gets the same answer
                done[key] = error
        found = done[key]
        if isinstance(found, AssertionError):
            raise found
        return found

    return run
