"""The notebook on builds that fail, run in a real kernel: each fails where and as its text says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.course import Course

pytestmark = pytest.mark.slow


@pytest.fixture
def course(notebooks: Callable[..., Course]) -> Course:
    return notebooks("07-debugging-a-build")


def test_mistakes_are_told_with_their_line(course: Course) -> None:
    assert "Dockerfile:3: unknown instruction: COPPY (did you mean COPY?)" in course.output("COPPY count.sh")
    assert "Dockerfile:2: COPY failed: file not found in build context: word.txt" in course.output("COPY word.txt")
    assert "words.txt is left out by .dockerignore" in course.output("error.hint")


def test_the_status_of_a_step_means_what_the_text_says(course: Course) -> None:
    page = course.page("STEPS = {")
    statuses = [row.partition("</th>")[0] for row in page.partition("<tbody>")[2].split("<th>")[1:]]
    assert statuses == ["1", "126", "127", "127"]
    assert "its interpreter is not" in page


def test_what_a_failed_step_left_is_opened(course: Course) -> None:
    assert course.output("builder debug ls /app").split()[:3] == ["configure.log", "configure.sh", "words.txt"]
    assert "failed" in course.output("%container builder steps")


def test_what_works_and_is_not_meant_is_found(course: Course) -> None:
    assert course.output("/sorted has") == "the image is built, and /sorted has 0 bytes"
    assert "can't open '/no/such/file'" in course.output("pipefail")
    found = course.output("build --check")
    for rule in ("FromAsCasing", "LegacyKeyValueFormat", "JSONArgsRecommended", "MultipleInstructionsDisallowed"):
        assert rule in found


def test_a_command_that_cannot_be_started_is_told_at_the_start(course: Course) -> None:
    missing, forbidden, started = course.output("for command in").splitlines()
    assert "127: " in missing
    assert "126: " in forbidden
    assert started.endswith("it prints 5")
