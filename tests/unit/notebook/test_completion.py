from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

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


def test_values_of_options_are_completed(shell: Shell, tmp_path: Path) -> None:
    shell.run_cell("%container ps;")
    (tmp_path / "data dir").mkdir()
    shell.user_ns["frame"], shell.user_ns["tokens"] = 1, "x"
    for text, expected in {
        "%container run --pull=al": "%container run --pull=always",
        "%container run --mount ty": "%container run --mount type=",
        "%container run --mount type=vo": "%container run --mount type=volume",
        f"%container run -v {tmp_path}/da": f"%container run -v {tmp_path}/data\\ dir/",
        f"%container run -v {tmp_path}/data\\ d": f"%container run -v {tmp_path}/data\\ dir/",
        "%container run -v x:/x:": "%container run -v x:/x:ro",
        "%container cp we": "%container cp web:",
        "%container ps --filter status=ex": "%container ps --filter status=exited",
        "%container --in fra": "%container --in frame=/",
        "%%container run --python --in fra": "%%container run --python --in frame",
        "%%container run --python --in frame,tok": "%%container run --python --in frame,tokens",
        "%container run -e tok": "%container run -e tokens",
        "%container run -ite tok": "%container run -ite tokens",
        "%container --w": "%container --widget",
        "%container help ru": "%container help run",
        "%%container run \\\n  --net": "%%container run \\\n  --network",
    }.items():
        assert expected in complete(shell, text), text
    assert "%container rm web web" not in complete(shell, "%container rm web w")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("FROM starter AS base\nFROM ba", "se"),
        ("FROM alp", "ine:latest"),
        ("FROM starter AS base\nFROM x\nCOPY --from=ba", "se"),
        ("FROM x\nCOPY --ch", "own="),
        ("FROM x\nCOPY req", "uirements.txt"),
        ("FROM x\nADD src/ma", "in.py"),
        ("FROM x\nRUN --mount=type=bind,source=re", "quirements.txt"),
        ("FROM x\nARG NAME\nRUN echo $NA", "ME"),
        ("from x\nwor", "kdir"),
    ],
)
def test_a_dockerfile_in_a_cell_is_completed(
    shell: Shell, fake: FakeEngine, tmp_path: Path, body: str, expected: str
) -> None:
    shell.run_cell("%container ps;")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.py").touch()
    (tmp_path / "requirements.txt").touch()
    cell = f"%%container --quiet build -t x {tmp_path}\n{body}"
    fake.asked.clear()
    assert cell + expected in complete(shell, cell)
    assert not fake.asked


def test_scripts_in_cells_are_left_alone(shell: Shell) -> None:
    cell = "%%container run --rm starter\nFR"
    assert f"{cell}OM" not in complete(shell, cell)


def test_other_code_is_left_alone(shell: Shell) -> None:
    assert not [text for text in complete(shell, "contain") if "%container" in text and not text.startswith("%")]
    shell.user_ns["container_x"] = 1
    assert complete(shell, "container_") == ["container_x"]
