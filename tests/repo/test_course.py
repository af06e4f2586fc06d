"""The course as it is given to students: numbered, with exercises, without answers in it."""

from __future__ import annotations

import re

import pytest

from tests.support import course

everyone = pytest.mark.parametrize("name", course.NAMES)


def test_notebooks_are_numbered_and_listed_in_the_guide() -> None:
    assert [name[:3] for name in course.NAMES] == [f"{number:02}-" for number in range(1, len(course.NAMES) + 1)]
    listed = (course.ROOT / "docs" / "guide" / "course.md").read_text(encoding="utf-8")
    assert re.findall(r"notebooks/(\d\d-[a-z-]+)\.ipynb", listed) == course.NAMES
    assert set(re.findall(r"notebooks/solutions/(\d\d-[a-z-]+)\.md", listed)) == {
        name for name in course.NAMES if course.exercises(name)
    }


@everyone
def test_each_exercise_has_a_place_for_the_answer_a_check_below_it_and_an_answer_elsewhere(name: str) -> None:
    cells = course.read(name).cells
    numbers = course.exercises(name)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert list(course.answers(name)) == numbers
    places = {cell.id: place for place, cell in enumerate(cells)}
    for number in numbers:
        student, check = cells[places[f"exercise-{number}"]], cells[places[f"exercise-{number}"] + 1]
        assert course.MARK in student.source
        assert check.id == f"check-{number}"
        assert f"with Exercise({number}" in check.source
        assert f"### Exercise {number}" in cells[places[student.id] - 1].source


@everyone
def test_no_answer_stands_in_the_notebook(name: str) -> None:
    text = "\n".join(cell.source for cell in course.read(name).cells)
    for answer in course.answers(name).values():
        assert answer.strip() not in text
