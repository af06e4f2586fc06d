"""The notebook on a reproducible analysis, run in a real kernel: data goes in, results come out, the same each time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.course import Course

pytestmark = pytest.mark.slow


@pytest.fixture
def course(notebooks: Callable[..., Course]) -> Course:
    return notebooks("08-a-reproducible-analysis")


def test_python_of_a_cell_computes_in_an_image(course: Course) -> None:
    assert "in a container" in course.output("means = {")
    assert course.output("means", turn=1) == "{'ash': 23.77, 'dung': 27.03, 'none': 20.62}"


def test_a_table_goes_in_and_the_result_is_a_table(course: Course) -> None:
    (result,) = (cell for cell in course.cells if cell.source == "result")
    rows = re.findall(r"(ash|dung|none) +6 +([\d.]+)", result.outputs[0].data["text/plain"])
    assert rows == [("ash", "23.767"), ("dung", "27.033"), ("none", "20.617")]


def test_chance_and_the_clock_make_a_difference_and_are_named(course: Course) -> None:
    assert course.output("first, second = ").endswith("False")
    assert "/app/built of RUN date" in course.output("--verify --build-arg")


def test_the_record_is_the_same_in_another_store(course: Course) -> None:
    record = json.loads(course.output("record = recorded"))
    assert list(record) == ["image", "data", "result"]
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in record.values())
    assert course.output("again = recorded") == "True"
