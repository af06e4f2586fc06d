"""The first notebook of the course, run in a real kernel: what a reader sees is what it promises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.course import Course

pytestmark = pytest.mark.slow


@pytest.fixture
def course(notebooks: Callable[..., Course]) -> Course:
    return notebooks("01-first-container")


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
