from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.linux import namespaces
from jupyter_containers.runtime import lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started
        started.kill()


def record(run: Path, monitor: int, init: int, *, start_time: int = 0, boot_id: str = "") -> None:
    ids = {
        name: {"pid": pid, "start_time": start_time or namespaces.start_time(pid) or 1}
        for name, pid in (("monitor", monitor), ("init", init))
    }
    content = {"id": "x", "started_at": 5, "boot_id": boot_id or lifecycle.boot_id(), **ids}
    (run / "monitor.json").write_text(json.dumps(content))


def status(run: Path) -> str:
    return lifecycle.read_state(str(run)).status


def ended_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_every_state(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    dead = ended_pid()
    assert status(tmp_path) == "created"
    record(tmp_path, os.getpid(), process.pid)
    state = lifecycle.read_state(str(tmp_path))
    assert (state.status, state.pid, state.started_at) == ("running", process.pid, 5)
    record(tmp_path, dead, process.pid)
    assert status(tmp_path) == "orphaned"
    record(tmp_path, dead, dead)
    state = lifecycle.read_state(str(tmp_path))
    assert state.status == "dead"
    assert state.exit is not None
    assert state.exit["code"] == 137
    (tmp_path / "exit").write_text(json.dumps({"code": 4, "started_at": 9}))
    state = lifecycle.read_state(str(tmp_path))
    assert (state.status, state.started_at) == ("exited", 9)


def test_a_pid_used_again_and_another_boot_do_not_deceive(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    record(tmp_path, os.getpid(), process.pid, start_time=12345)
    assert status(tmp_path) == "dead"
    record(tmp_path, os.getpid(), process.pid, boot_id="another")
    assert status(tmp_path) == "dead"
    lifecycle.kill_leftovers(str(tmp_path), str(tmp_path))
    assert process.poll() is None
    assert status(tmp_path) == "created"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"co'])
def test_a_record_cut_short_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "exit").write_text(content)
    assert lifecycle.read_exit(str(tmp_path)) is None


def test_an_orphaned_init_is_killed(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    record(tmp_path, ended_pid(), process.pid)
    lifecycle.kill_leftovers(str(tmp_path), str(tmp_path))
    assert process.wait(10) == -9
    assert os.listdir(tmp_path) == []
