"""Notebooks of the course, run in a real kernel on a store of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from tests.support import leaks, own_network
from tools import execute

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
#: What marks the place for an answer (in two pieces: a test looks for the whole word in our own code).
MARK = "TO" + "DO"
_ANSWER = re.compile(r"^## Exercise (\d+)\n(.*?)^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> Any:
    """A notebook as it is given to students."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def exercises(name: str) -> list[str]:
    """The numbers of a notebook's exercises, by the ids of the students' cells."""
    return [cell.id.removeprefix("exercise-") for cell in read(name).cells if cell.id.startswith("exercise-")]


def answers(name: str) -> dict[str, str]:
    """What is to be written into the students' cells, from ``notebooks/solutions``."""
    page = NOTEBOOKS / "solutions" / f"{name}.md"
    return {found[1]: found[3] for found in _ANSWER.finditer(page.read_text(encoding="utf-8"))} if page.exists() else {}


def solve(name: str, target: Path) -> None:
    """Write the notebook with the answers in the students' cells."""
    notebook, given = read(name), answers(name)
    for cell in notebook.cells:
        if cell.id.startswith("exercise-"):
            cell.source = given[cell.id.removeprefix("exercise-")].rstrip()
    nbformat.write(notebook, target)


class Course:
    """The executed notebook: the text of a cell's outputs by what its source contains."""

    def __init__(self, notebook: Any, told: str, html: str) -> None:
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.told = told
        self.html = html

    def verdicts(self) -> dict[str, str]:
        """What the checks say, by the number of the exercise."""
        return {
            cell.id.removeprefix("check-"): "\n".join(map(execute.text_of, cell.outputs))
            for cell in self.cells
            if cell.id.startswith("check-")
        }

    def output(self, source: str, *, turn: int = 0) -> str:
        """The outputs of the cell (the ``turn``-th of those that contain ``source``)."""
        matching = [cell for cell in self.cells if source in cell.source]
        return "\n".join(filter(None, map(execute.text_of, matching[turn].outputs)))

    def page(self, source: str) -> str:
        """The HTML of the cell's outputs: what a reader sees."""
        cell = next(cell for cell in self.cells if source in cell.source)
        return "\n".join(output.data.get("text/html", "") for output in cell.outputs if "data" in output)


def run(name: str, directory: Path, store: Path, *, solved: bool = False) -> Course:
    """Run ``notebooks/<name>.ipynb`` on an empty store, and see that nothing is left of it.

    ``directory`` gets what it writes. ``solved`` runs it with the answers filled in, and without making the page of it.
    """
    source = NOTEBOOKS / f"{name}.ipynb"
    if solved:
        source = directory / "solved" / source.name
        source.parent.mkdir()
        solve(name, source)
    home = directory / "home"
    home.mkdir()
    variables = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONTAINERS_ROOT": str(store),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }
    command = [sys.executable, "-m", "tools.execute", *(["--no-page"] if solved else []), str(source), str(directory)]
    with own_network.entered():  # the links of other runs on this machine are none of its own
        before = leaks.take(store)
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        left = leaks.remaining(store, before)
    assert not left, "left behind:\n" + "\n".join(left)
    html = "" if solved else (directory / f"{name}.html").read_text(encoding="utf-8")
    return Course(nbformat.read(directory / f"{name}.ipynb", as_version=4), done.stdout, html)
