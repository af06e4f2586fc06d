"""The runner of notebooks: a real kernel, text on the terminal, a notebook and a page as files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import execute

ROOT = Path(__file__).resolve().parents[2]


def notebook(path: Path, *cells: tuple[str, str]) -> Path:
    document = nbformat.v4.new_notebook()
    for kind, text in cells:
        cell = nbformat.v4.new_markdown_cell(text) if kind == "md" else nbformat.v4.new_code_cell(text)
        document.cells.append(cell)
    nbformat.write(document, path)
    return path


def run(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.execute", str(source), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_notebook_is_run_told_and_kept(tmp_path: Path) -> None:
    source = notebook(tmp_path / "one.ipynb", ("md", "# Title\n\n**bold**"), ("code", "print('shown')\n6 * 7"))
    done = run(source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Title\n=====\n\nbold" in done.stdout
    assert "  In │ print('shown')" in done.stdout
    assert " Out │ shown" in done.stdout
    assert " Out │ 42" in done.stdout
    assert "cell 1 of 1" in done.stdout
    kept = json.loads((tmp_path / "out" / "one.ipynb").read_text(encoding="utf-8"))
    assert kept["cells"][1]["outputs"][1]["data"]["text/plain"] == ["42"]
    assert "<h1" in (tmp_path / "out" / "one.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_cell_that_fails_ends_the_run_and_what_came_before_is_kept(tmp_path: Path) -> None:
    source = notebook(
        tmp_path / "two.ipynb", ("code", "print('before')"), ("code", "1 / 0"), ("code", "print('never')")
    )
    done = run(source, tmp_path / "out")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "never'" not in done.stdout
    assert "before" in (tmp_path / "out" / "two.ipynb").read_text(encoding="utf-8")


def test_terminal_escapes_are_taken_out() -> None:
    output = nbformat.v4.new_output("stream", text="\x1b[31mred\x1b[0m\n")
    assert execute.text_of(output) == "red"


def test_an_output_without_text_shows_nothing() -> None:
    output = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
    assert execute.text_of(output) == ""
