"""The notebook on limits and security, run in a real kernel: what it says of each option is what the kernel did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.course import Course

pytestmark = pytest.mark.slow


@pytest.fixture
def course(notebooks: Callable[..., Course]) -> Course:
    return notebooks("06-limits-and-security")


def test_limits_end_what_passes_them(course: Course) -> None:
    assert course.output("greedy.exit_code") == "(137, True, 'killed: out of memory (limit 32 MiB)')"
    table = course.output("FORKS =")
    assert "nine of them" in table
    assert "can't fork" in table or "refused: --pids-limit cannot be set" in table
    assert "Too many open files" in course.output("opened =")
    assert "No space left on device" in course.output("opened =")


def test_capabilities_decide_what_root_may_do(course: Course) -> None:
    assert course.output("CapEff /proc").endswith(", 14)")
    answers = {line[:36].strip(): line.split()[-3:] for line in course.output("THINGS =").splitlines()[1:]}
    assert answers == {
        "read a file that nobody may read": ["yes", "no", "yes"],
        "change the root directory": ["yes", "no", "yes"],
        "send a ping": ["yes", "no", "yes"],
        "change the host name": ["no", "no", "yes"],
        "mount a file system": ["no", "no", "yes"],
        "set the clock": ["no", "no", "no"],
    }


def test_the_filter_refuses_and_files_stay_as_they_are(course: Course) -> None:
    with_it, without_it = course.output("with the filter:").splitlines()
    assert "Operation not permitted" in with_it
    assert "uid=65534" in without_it
    changed = course.output("/proc/sys/kernel/panic")
    assert "can't create /etc/motd: Read-only file system" in changed
    assert "can't create /proc/sys/kernel/panic: Read-only file system" in changed
    assert "/tmp/x" not in changed


def test_an_argument_is_told_by_the_history(course: Course) -> None:
    assert "TOKEN=swordfish" in course.output("entry.created_by")
