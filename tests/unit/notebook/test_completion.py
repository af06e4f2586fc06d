from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.fake_engine import FakeEngine

Shell = Any


def complete(shell: Shell, text: str, cursor: int | None = None) -> list[str]:
    """The texts that IPython offers, each as the whole line would read."""
    place = len(text) if cursor is None else cursor
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return [text[: each.start] + each.text for each in shell.Completer.completions(text, place)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%container ru", "%container run"),
        ("x = %container imag", "x = %container images"),
        ("%container -o df p", "%container -o df ps"),
        ("%container --no-ra", "%container --no-raise"),
        ("%container run --read", "%container run --read-only"),
        ("%container run --rm --mem", "%container run --rm --memory"),
        ("%container container l", "%container container ls"),
        ("%container run --pull al", "%container run --pull always"),
        ("%%container buil", "%%container build"),
    ],
)
def test_verbs_and_options_are_completed(shell: Shell, text: str, expected: str) -> None:
    assert expected in complete(shell, text)


def test_names_are_completed_once_the_engine_is_in_use(shell: Shell, fake: FakeEngine) -> None:
    assert "%container rm we" not in complete(shell, "%container rm w")
    shell.run_cell("%container ps;")
    assert "%container rm web" in complete(shell, "%container rm w")
    assert "%container rm web old" in complete(shell, "%container rm web o")
    assert "%container run --rm alpine:latest" in complete(shell, "%container run --rm alp")
    assert "%container run alpine:latest" in complete(shell, "%container run alpine:la")
    assert "%container inspect web" in complete(shell, "%container inspect w")
    fake.asked.clear()
    assert "%container run alpine ls --rm" not in complete(shell, "%container run alpine ls --r")
    assert not fake.asked


def test_instructions_are_completed_in_a_build_cell(shell: Shell) -> None:
    cell = "%%container build -t x\nFROM alpine\nWOR"
    assert f"{cell}KDIR" in complete(shell, cell)


def test_other_code_is_left_alone(shell: Shell) -> None:
    assert not [text for text in complete(shell, "contain") if "%container" in text and not text.startswith("%")]
    shell.user_ns["container_x"] = 1
    assert complete(shell, "container_") == ["container_x"]
