"""dockerd with this project's runtime command as an added runtime runs, enters, stops and removes containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.peers import Peer

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.slow]

RUN = ("run", "--network=none", "--runtime=jc")


@pytest.fixture
def docker(dockerd: Peer) -> Peer:
    return dockerd


@pytest.fixture
def sleeper(docker: Peer) -> Iterator[str]:
    name = "jc-sleeper"
    docker.output(*RUN, "--detach", "--name", name, peers.IMAGE, "sleep", "600")
    yield name
    docker.call("rm", "--force", name)


def test_the_daemon_knows_the_runtime(docker: Peer) -> None:
    assert "jc" in docker.output("info", "--format", "{{range $name, $value := .Runtimes}}{{$name}} {{end}}").split()


def test_a_container_runs_and_its_output_and_status_come_back(docker: Peer) -> None:
    ran = docker.call(*RUN, "--rm", peers.IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.status, ran.stdout, ran.stderr) == (7, "out\n", "err\n")


def test_input_reaches_the_container(docker: Peer) -> None:
    assert docker.call(*RUN, "--rm", "--interactive", peers.IMAGE, "cat", stdin="given\n").stdout == "given\n"


def test_a_container_has_a_terminal(docker: Peer) -> None:
    assert docker.output(*RUN, "--rm", "--tty", peers.IMAGE, "tty") == "/dev/pts/0"


def test_user_and_file_system_are_as_asked_for(docker: Peer) -> None:
    options = ["--user", "alice", "--workdir", "/tmp", "--read-only"]
    said = docker.output(*RUN, "--rm", *options, peers.IMAGE, "sh", "-c", "id -un; pwd; touch /x 2>&1; true")
    assert said.splitlines() == ["alice", "/tmp", "touch: /x: Read-only file system"]


@pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("/etc", 126)])
def test_what_cannot_be_run_has_its_own_status(docker: Peer, command: str, status: int) -> None:
    assert docker.call(*RUN, "--rm", peers.IMAGE, command).status == status


def test_exec_has_its_own_status(docker: Peer, sleeper: str) -> None:
    ran = docker.call("exec", sleeper, "sh", "-c", "echo inside; exit 3")
    assert (ran.status, ran.stdout) == (3, "inside\n")
    assert docker.call("exec", sleeper, "no-such-program").status in {126, 127}
    assert docker.output("exec", "--tty", sleeper, "tty").startswith("/dev/pts/")


def test_a_container_is_paused_and_goes_on(docker: Peer, sleeper: str) -> None:
    docker.output("pause", sleeper)
    assert docker.output("inspect", "--format", "{{.State.Status}}", sleeper) == "paused"
    docker.output("unpause", sleeper)
    assert docker.output("inspect", "--format", "{{.State.Status}}", sleeper) == "running"


def test_top_and_update_reach_the_container(docker: Peer, sleeper: str) -> None:
    assert "sleep 600" in docker.output("top", sleeper)
    docker.output("update", "--memory", "64m", "--memory-swap", "64m", sleeper)
    assert docker.output("exec", sleeper, "sh", "-c", "echo still there") == "still there"


def test_a_container_is_stopped_started_killed_and_removed(docker: Peer, sleeper: str) -> None:
    docker.output("stop", "--time", "0", sleeper)
    assert docker.output("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", sleeper) == "exited 137"
    docker.output("start", sleeper)
    assert docker.output("inspect", "--format", "{{.State.Status}}", sleeper) == "running"
    docker.output("kill", sleeper)
    docker.output("wait", sleeper)
    docker.output("rm", sleeper)
    assert docker.call("inspect", sleeper).status != 0
