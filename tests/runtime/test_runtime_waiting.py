"""Processes that wait for a request: used when they fit, never left behind, whoever is killed."""

from __future__ import annotations

import marshal
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.linux import cgroup_figures, cgroups, namespaces
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.runtime import ahead
from jupyter_containers.runtime.ahead import WAITING
from jupyter_containers.runtime.spawner import Spawner
from tests.support import rootfs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.runtime.protocol import LaunchRequest

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")
SPARES = 2


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    with Spawner() as started:
        yield started


class Site:
    """Requests for containers in one directory."""

    def __init__(self, tmp_path: Path) -> None:
        self._root = rootfs.make(tmp_path / "root")
        self._host = CgroupHost.detect()
        self.count = 0

    def request(self, *args: str, **more: object) -> LaunchRequest:
        self.count += 1
        name = f"test{os.getpid()}-{self.count}"
        plan = self._host.plan(name, {"pids": {"limit": 7}} if self._host.can_limit("pids") else {})
        return {"id": name, "spec": rootfs.spec(self._root, *args), "cgroup": plan, **more}  # type: ignore[typeddict-item]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def waiting_inits(spawner: Spawner) -> list[int]:
    return [init for monitor in children(spawner.pid) for init in children(monitor) if asleep(init)]


def asleep(pid: int) -> bool:
    try:
        return namespaces.parse_state(Path(f"/proc/{pid}/stat").read_bytes()) == "S"
    except (FileNotFoundError, ProcessLookupError):
        return False


def waiting_cgroups(pid: int) -> list[str]:
    return [name for name in CgroupHost.detect().existing() if name.startswith(f"{WAITING}-{pid}-")]


def run(spawner: Spawner, request: LaunchRequest) -> tuple[int, int]:
    """The pid of its init and its exit status."""
    with spawner.launch(request) as process:
        status = process.wait(10)
        assert status is not None
        return process.pid, status["code"]


def filled(spawner: Spawner, site: Site) -> list[int]:
    """Run something, and wait until processes wait for more of the same."""
    assert run(spawner, site.request("true"))[1] == 0
    if not site.request("true")["cgroup"] or not site.request("true")["cgroup"]["unified"]:  # type: ignore[index]  # not None there
        wait_until(lambda: len(waiting_inits(spawner)) == SPARES, what="waiting")
        return waiting_inits(spawner)
    pytest.skip("on cgroup version 2 no init waits, since a cgroup cannot be renamed")


def test_a_request_is_taken_by_a_process_that_waits(spawner: Spawner, site: Site) -> None:
    waiting = filled(spawner, site)
    request = site.request("sleep", "60")
    with spawner.launch(request) as process:
        assert process.pid in waiting
        plan = request["cgroup"]
        if plan:
            assert process.pid in cgroups.processes(plan)
            assert cgroup_figures.stats(plan).get("pids", 1) == 1
            for path, text in plan["writes"]:
                assert Path(path).read_text().strip() == text
        process.kill()
        process.wait(10)
    wait_until(
        lambda: process.pid not in waiting_inits(spawner) and len(waiting_inits(spawner)) == SPARES, what="refill"
    )
    assert plan is None or CgroupHost.detect().find(plan["name"])["dirs"] == {}


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_monitor_whose_container_has_ended_waits_again_with_nothing_of_it_left(spawner: Spawner, site: Site) -> None:
    filled(spawner, site)
    most = max(open_files(pid) for pid in children(spawner.pid))
    reader, writer = os.pipe()
    used: list[int] = []
    while len(set(used)) == len(used) < 100:  # on a busy machine others may be there first
        with spawner.launch(site.request("cat"), stdin=reader, stdout=writer) as process:
            used.append(namespaces.parent(process.pid))
            process.kill()
            assert process.wait(10) is not None
        wait_until(lambda: len(waiting_inits(spawner)) == SPARES, what="waiting")
    os.close(reader)
    os.close(writer)
    assert len(set(used)) < len(used)
    wait_until(lambda: max(open_files(pid) for pid in children(spawner.pid)) <= most, what="what it opened closed")


def test_a_monitor_that_started_more_than_its_container_ends_with_it(spawner: Spawner, site: Site) -> None:
    filled(spawner, site)
    monitors = children(spawner.pid)
    with spawner.launch(site.request("sleep", "60", detach=True)) as process:
        monitor = namespaces.parent(process.pid)
        assert monitor in monitors
        process.kill()
        process.wait(10)
    wait_until(lambda: monitor not in children(spawner.pid), what="its end")


def test_another_kind_is_started_anew_and_waited_for_from_then_on(spawner: Spawner, site: Site) -> None:
    waiting = filled(spawner, site)
    other = site.request("true")
    other["spec"]["linux"]["maskedPaths"].append("/proc/stat")
    pid, code = run(spawner, other)
    assert (pid in waiting, code) == (False, 0)
    wait_until(lambda: not set(waiting) & set(waiting_inits(spawner)), what="the end of those of the first kind")
    wait_until(lambda: len(waiting_inits(spawner)) == SPARES, what="waiting")
    fresh = waiting_inits(spawner)
    again = site.request("true")
    again["spec"]["linux"]["maskedPaths"].append("/proc/stat")
    assert run(spawner, again)[0] in fresh


def test_nobody_waits_for_a_second_container_where_there_will_be_none(site: Site) -> None:
    with Spawner(once=True) as spawner:
        spawner.begin()
        pid = spawner.pid
        assert run(spawner, site.request("true"))[1] == 0
        assert spawner.pid == pid
        wait_until(lambda: children(pid) == [], what="the end of its monitor")
        assert run(spawner, site.request("true"))[1] == 0
        wait_until(lambda: children(pid) == [], what="the end of its monitor")


def begun(memory: Path) -> Spawner:
    spawner = Spawner(once=True, memory=str(memory))
    spawner.begin()
    return spawner


@pytest.mark.root
def test_what_one_process_asked_for_last_is_begun_by_the_next_before_it_asks(site: Site, tmp_path: Path) -> None:
    memory = tmp_path / "last-kind"
    if not ahead.of(site.request("true"))["pooled"]:
        pytest.skip("on cgroup version 2 no init waits, since a cgroup cannot be renamed")
    with begun(memory) as first:
        assert run(first, site.request("true"))[1] == 0
    with begun(memory) as second:
        wait_until(lambda: len(waiting_inits(second)) == 1, what="waiting")
        waiting = waiting_inits(second)
        pid, code = run(second, site.request("true"))
        assert (waiting, code) == ([pid], 0)
        wait_until(lambda: children(second.pid) == [], what="the end of its monitor")
    other = site.request("true")
    other["spec"]["linux"]["maskedPaths"].append("/proc/stat")
    with begun(memory) as third:
        wait_until(lambda: len(waiting_inits(third)) == 1, what="waiting")
        waiting = waiting_inits(third)
        pid, code = run(third, other)
        assert (pid in waiting, code) == (False, 0)
        wait_until(lambda: children(third.pid) == [], what="the end of both monitors")
        wait_until(lambda: waiting_cgroups(third.pid) == [], what="the removal of their cgroups")
    with begun(memory) as fourth:  # which has another kind in mind now
        wait_until(lambda: len(waiting_inits(fourth)) == 1, what="waiting")
        assert waiting_inits(fourth) == [run(fourth, other)[0]]


@pytest.mark.parametrize("kept", [b"", b"\xff", b"[", marshal.dumps([1]), marshal.dumps({"namespaces": []})])
def test_a_memory_that_cannot_be_read_is_none(kept: bytes, site: Site, tmp_path: Path) -> None:
    memory = tmp_path / "last-kind"
    memory.write_bytes(kept)
    with begun(memory) as spawner:
        assert run(spawner, site.request("true"))[1] == 0


def test_they_end_with_the_spawner(spawner: Spawner, site: Site) -> None:
    waiting = filled(spawner, site)
    pid, monitors = spawner.pid, children(spawner.pid)
    spawner.close()
    assert [each for each in (*waiting, *monitors) if namespaces.start_time(each)] == []
    assert waiting_cgroups(pid) == []


@pytest.mark.parametrize("victims", ["spawner", "monitor", "init", "monitors and inits"])
def test_whoever_is_killed_nothing_is_left_and_the_next_one_starts(spawner: Spawner, site: Site, victims: str) -> None:
    waiting = filled(spawner, site)
    pid, monitors = spawner.pid, children(spawner.pid)
    chosen = {
        "spawner": [pid],
        "monitor": monitors[:1],
        "init": waiting,
        "monitors and inits": [*monitors, *waiting],
    }[victims]
    for each in chosen:
        os.kill(each, signal.SIGKILL)
    wait_until(lambda: not any(namespaces.start_time(each) for each in chosen), what="their end")
    assert run(spawner, site.request("true"))[1] == 0
    wait_until(lambda: len(waiting_inits(spawner)) == SPARES, what="waiting")
    if victims == "spawner":
        assert spawner.pid != pid
        wait_until(lambda: not any(map(namespaces.start_time, (*monitors, *waiting))), what="the end of the others")
        wait_until(lambda: waiting_cgroups(pid) == [], what="the removal of their cgroups")
    expected = SPARES if CgroupHost.detect().bases else 0
    wait_until(lambda: len(waiting_cgroups(spawner.pid)) == expected, what="the removal of their cgroups")


def test_cgroups_of_a_spawner_that_was_killed_with_all_its_children_are_removed_by_the_next(
    spawner: Spawner, site: Site
) -> None:
    waiting = filled(spawner, site)
    pid, monitors = spawner.pid, children(spawner.pid)
    for each in (pid, *monitors):
        os.kill(each, signal.SIGSTOP)
    for each in (pid, *monitors, *waiting):
        os.kill(each, signal.SIGKILL)
    if not CgroupHost.detect().bases:
        pytest.skip("no cgroup of version 1 can be written here")
    assert len(waiting_cgroups(pid)) == SPARES
    filled(spawner, site)
    wait_until(lambda: waiting_cgroups(pid) == [], what="the removal of their cgroups")
