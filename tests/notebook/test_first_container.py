"""The first notebook of the course, run in a real kernel: what a reader sees is what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.support import leaks
from tools import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "01-first-container.ipynb"

pytestmark = pytest.mark.slow


class Course:
    """The executed notebook: the text of a cell's outputs by what its source contains."""

    def __init__(self, notebook: Any, told: str) -> None:
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.told = told

    def output(self, source: str, *, turn: int = 0) -> str:
        """The outputs of the cell (the ``turn``-th of those that contain ``source``)."""
        matching = [cell for cell in self.cells if source in cell.source]
        return "\n".join(filter(None, map(execute.text_of, matching[turn].outputs)))

    def page(self, source: str) -> str:
        """The HTML of the cell's outputs: what a reader sees."""
        cell = next(cell for cell in self.cells if source in cell.source)
        return "\n".join(output.data.get("text/html", "") for output in cell.outputs if "data" in output)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Iterator[Course]:
    home = tmp_path_factory.mktemp("home")
    target = tmp_path_factory.mktemp("course")
    store = stores / "course"
    before = leaks.take(store)
    variables = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONTAINERS_ROOT": str(store),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }
    command = [sys.executable, "-m", "tools.execute", str(NOTEBOOK), str(target)]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield Course(nbformat.read(target / NOTEBOOK.name, as_version=4), done.stdout)
    left = leaks.remaining(store, before)
    assert not left, "left behind:\n" + "\n".join(left)


def test_no_cell_shows_a_traceback(course: Course) -> None:
    assert "Traceback" not in course.told


def test_doctor_names_the_rung(course: Course) -> None:
    assert "root" in course.output("%container doctor")


def test_the_second_build_comes_from_the_cache(course: Course) -> None:
    again = course.output("%%container build -t nb01-hello", turn=1).lower()
    assert "cached" in again


def test_a_changed_argument_runs_one_step_and_says_why(course: Course) -> None:
    changed = course.output("--build-arg now").lower()
    assert "cached" in changed
    assert "now" in changed


def test_a_container_greets_as_process_one(course: Course) -> None:
    greeting = course.output("%container run --rm nb01-hello")
    assert "I am process 1 on" in greeting
    assert "written while the image was built" in greeting


def test_a_container_sees_namespaces_of_its_own(course: Course) -> None:
    page = course.page("in the container")
    for name in ("host name", "mnt namespace", "net namespace", "pid namespace", "uts namespace"):
        row = re.search(rf"<th>{name}</th>\s*<td>(.*?)</td>\s*<td>(.*?)</td>\s*<td>(.*?)</td>", page)
        assert row is not None, page
        assert row[1] != row[2]
        assert row[3] == "False"


def test_a_program_over_its_limit_is_ended_and_told_so(course: Course) -> None:
    assert course.output("limited.exit_code") == "(137, True, 'killed: out of memory (limit 32 MiB)')"


def test_layers_are_a_frame(course: Course) -> None:
    layers = course.output("layers = %container layers")
    assert "starter" in layers
    assert "COPY --chmod=755" in layers
    assert re.fullmatch(r"[1-9]\d*\.\d MiB in 4 layers", course.output("MiB in"))


def test_a_failing_build_stops_at_its_line(course: Course) -> None:
    failed = course.output("build -t nb01-broken")
    assert "3" in failed
    assert "RUN cat /no/such/file" in failed
    assert "never reached" not in failed.partition("StepFailed")[2]


def test_python_computes_in_a_container(course: Course) -> None:
    computed = course.output("starter-python")
    assert "process 1 on" in computed
    assert "5133 primes below 50,000; the largest is 49999" in computed


def test_a_detached_container_runs_is_seen_and_ends(course: Course) -> None:
    assert len(course.output("%container logs").splitlines()) >= 3
    assert "date" in course.output("%container exec {clock} ps") or "sleep" in course.output(
        "%container exec {clock} ps"
    )
    assert "running" in course.output("%container ps").lower()
    assert "exited" in course.output("%container ps -a").lower()


def test_nothing_is_left_to_be_seen(course: Course) -> None:
    assert "nb01" in course.output("%container rmi")
