"""Podman runs, enters, pauses, stops and removes containers with this project's runtime command."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import peers, rootfs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.peers import Peer

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.slow]

RUN = ("run", "--network=none")


@pytest.fixture(scope="module")
def podman(stores: Path) -> Iterator[Peer]:
    program = shutil.which("podman")
    if program is None or shutil.which("conmon") is None:
        pytest.skip("podman is not installed")
    if not rootfs.available():
        pytest.skip("needs a static busybox")
    place = stores / "podman"  # podman takes a run directory of 50 characters at most
    place.mkdir()
    with peers.podman(program, place) as peer:
        yield peer


@pytest.fixture
def sleeper(podman: Peer) -> Iterator[str]:
    name = "jc-sleeper"
    podman.output(*RUN, "--detach", "--name", name, peers.IMAGE, "sleep", "600")
    yield name
    podman.call("rm", "--force", "--time", "0", name)


def test_a_container_runs_and_its_output_and_status_come_back(podman: Peer) -> None:
    ran = podman.call(*RUN, "--rm", peers.IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.status, ran.stdout, ran.stderr) == (7, "out\n", "err\n")


def test_input_reaches_the_container(podman: Peer) -> None:
    assert podman.call(*RUN, "--rm", "--interactive", peers.IMAGE, "cat", stdin="given\n").stdout == "given\n"


def test_a_container_has_a_terminal(podman: Peer) -> None:
    assert podman.output(*RUN, "--rm", "--tty", peers.IMAGE, "tty") == "/dev/pts/0"


def test_user_directory_and_limits_are_as_asked_for(podman: Peer) -> None:
    options = ["--user", "alice", "--workdir", "/tmp", "--read-only", "--pids-limit", "37"]
    said = podman.output(*RUN, "--rm", *options, peers.IMAGE, "sh", "-c", "id -un; pwd; touch /x 2>&1; true")
    assert said.splitlines() == ["alice", "/tmp", "touch: /x: Read-only file system"]


@pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("/etc", 126)])
def test_what_cannot_be_run_has_its_own_status(podman: Peer, command: str, status: int) -> None:
    assert podman.call(*RUN, "--rm", peers.IMAGE, command).status == status


def test_a_privileged_container_has_the_devices_of_the_host(podman: Peer) -> None:
    assert podman.output(*RUN, "--rm", "--privileged", peers.IMAGE, "sh", "-c", "mount -t tmpfs x /tmp && echo yes")


def test_exec_has_its_own_status(podman: Peer, sleeper: str) -> None:
    ran = podman.call("exec", sleeper, "sh", "-c", "echo inside; exit 3")
    assert (ran.status, ran.stdout) == (3, "inside\n")
    assert podman.call("exec", sleeper, "no-such-program").status == 127
    assert podman.output("exec", "--tty", sleeper, "tty").startswith("/dev/pts/")


def test_a_container_is_paused_and_goes_on(podman: Peer, sleeper: str) -> None:
    podman.output("pause", sleeper)
    assert podman.output("inspect", "--format", "{{.State.Status}}", sleeper) == "paused"
    podman.output("unpause", sleeper)
    assert podman.output("inspect", "--format", "{{.State.Status}}", sleeper) == "running"


def test_top_and_stats_find_the_processes(podman: Peer, sleeper: str) -> None:
    assert "sleep 600" in podman.output("top", sleeper, "args")
    assert podman.output("stats", "--no-stream", "--format", "{{.PIDs}}", sleeper) == "1"


def test_a_container_is_stopped_started_killed_and_removed(podman: Peer, sleeper: str, stores: Path) -> None:
    kept = stores / "podman" / "state" / podman.output("inspect", "--format", "{{.Id}}", sleeper)
    assert kept.exists()
    podman.output("stop", "--time", "0", sleeper)
    # podman 4.3 says "exited" before it has had its runtime delete the container, whichever runtime that is
    wait_until(lambda: not kept.exists(), seconds=30, what="the end of the container")
    assert podman.output("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", sleeper) == "exited 137"
    podman.output("start", sleeper)
    assert podman.output("inspect", "--format", "{{.State.Status}}", sleeper) == "running"
    podman.output("kill", sleeper)
    podman.output("wait", sleeper)
    podman.output("rm", sleeper)
    assert podman.call("inspect", sleeper).status != 0
