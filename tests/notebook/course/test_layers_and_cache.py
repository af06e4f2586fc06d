"""The second notebook of the course, run in a real kernel: the verdicts are those that its text explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.course import Course

pytestmark = pytest.mark.slow


@pytest.fixture
def course(notebooks: Callable[..., Course]) -> Course:
    return notebooks("02-layers-and-cache")


def test_layers_are_shown_with_what_is_in_them(course: Course) -> None:
    listed = course.output("def entries")
    assert "app, app/.wh.needs.txt, tmp, tmp/left-over" in listed
    assert "app/app.sh, app/needs.txt" in listed


def test_the_verdicts_are_those_that_the_text_explains(course: Course) -> None:
    assert course.output("again.verdicts").count(" hit") == 5
    assert "hit        5" in course.output("touched.verdicts")
    assert "file changed: app.sh (content)" in course.output("changed.verdicts")
    assert "argument color changed" in course.output("blue.verdicts")
    assert course.output("staged.verdicts").count("skipped") == 2
    assert course.output("same = first.id") == "True"


def test_a_cache_mount_is_kept_between_builds_and_in_no_image(course: Course) -> None:
    assert course.output("counted = int") == "2"
    assert "nb02-counter" in course.output("%container cache ls")
    assert "Build Cache" in course.output("%container system df")


def test_what_a_failed_step_left_can_be_opened(course: Course) -> None:
    assert "Dockerfile:2" in course.output("-t nb02-broken")
    assert course.output("builder debug").startswith("as far as this")
