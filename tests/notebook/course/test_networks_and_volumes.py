"""The notebook on networks and volumes, run in a real kernel: its answers are right, and what it shows is so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.course import Course

pytestmark = pytest.mark.slow


@pytest.fixture
def course(notebooks: Callable[..., Course]) -> Course:
    return notebooks("03-networks-and-volumes")


def test_names_work_in_the_network_alone(course: Course) -> None:
    assert "open all day" in course.output("%container run --rm --network nb03-shop starter sh -c {ask}")
    assert "nameserver 127.0.0.11" in course.output("/etc/resolv.conf")
    assert course.output("stranger.exit_code") == "not reached"


def test_this_notebook_asks_a_published_port(course: Course) -> None:
    assert "80/tcp -> 127.0.0.1:" in course.output("%container port")
    assert "open all day" in course.output("urlopen")


def test_a_network_is_an_interface(course: Course) -> None:
    assert course.output("tail -n 2 /etc/hosts").split()[:3] == ["eth0", "eth1", "lo"]
    assert course.output("%container exec nb03-web ls").split()[:2] == ["eth0", "lo"]


def test_a_volume_stays_and_a_file_belongs_to_the_reader(course: Course) -> None:
    counted = [course.output("-v nb03-data:/data starter sh", turn=turn).split()[0] for turn in (0, 1)]
    assert counted == ["1", "2"]
    assert "Read-only file system" in course.output("print(refused.stderr)")
    assert course.output("note.read_text()").split("\n")[-1].strip() == "mine"
