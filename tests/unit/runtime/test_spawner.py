from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import StartFailed, Unsupported
from jupyter_containers.linux import namespaces
from jupyter_containers.runtime import spawner as spawning
from jupyter_containers.runtime.idmap import IdMap
from jupyter_containers.runtime.seal import sealed_copy
from jupyter_containers.runtime.spawner import Spawner

if TYPE_CHECKING:
    from pathlib import Path


def test_the_interpreter_cannot_be_overwritten() -> None:
    copy = sealed_copy(sys.executable)
    try:
        assert os.fstat(copy).st_size == os.stat(sys.executable).st_size
        with pytest.raises(PermissionError):
            os.pwrite(copy, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(copy, 0)
    finally:
        os.close(copy)


def test_the_small_process_is_started_when_needed_and_ends() -> None:
    with Spawner() as spawner:
        assert spawner.pid == 0
        spawner.start()
        pid = spawner.pid
        assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:python")
        assert os.getsid(pid) == pid
        spawner.start()
        assert spawner.pid == pid
        os.kill(pid, signal.SIGKILL)
        while namespaces.start_time(pid):
            os.sched_yield()
        spawner.start()
        assert spawner.pid != pid
        last = spawner.pid
    assert namespaces.start_time(last) == 0


def opened(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def test_no_descriptor_of_the_engine_is_open_in_it_nor_in_what_it_starts() -> None:
    read, write = os.pipe()  # what a library leaves inheritable
    os.set_inheritable(read, True)
    try:
        with Spawner() as spawner:
            spawner.start()
            found = opened(spawner.pid)
            worker = spawner.start_worker([shutil.which("sleep") or "", "60"], {5: write})
            pipe = os.readlink(f"/proc/self/fd/{write}")
            expected = sorted(["/dev/null", "/dev/null", "/memfd:spawner-errors (deleted)", pipe])
            deadline = time.monotonic() + 30
            while sorted(given := opened(worker.pid)) != expected and time.monotonic() < deadline:
                time.sleep(0.01)  # it becomes the program, which loads its libraries
            worker.close()
    finally:
        os.close(read)
        os.close(write)
    assert not [each for each in found if each == pipe or each.startswith("/memfd:python")]
    assert sorted(given) == expected


def test_one_that_was_killed_is_reaped_when_the_next_is_started() -> None:
    with Spawner() as spawner:
        spawner.start()
        pid = spawner.pid
        os.kill(pid, signal.SIGKILL)
        while namespaces.start_time(pid):
            os.sched_yield()
        spawner.start_worker([shutil.which("true") or ""], {}).close()
        assert spawner.pid != pid
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_only_small_modules_are_imported() -> None:
    code = "import sys; print(' '.join(sorted(sys.modules)))"
    bootstrap = spawning._BOOTSTRAP.replace(spawning._BOOTSTRAP.splitlines()[-1], code)
    package = os.path.dirname(os.path.dirname(spawning.__file__))
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", bootstrap, package],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    data = b""
    while chunk := os.read(read, 65536):
        data += chunk
    os.close(read)
    assert os.waitpid(pid, 0)[1] == 0
    modules = set(data.decode().split())
    assert "jupyter_containers.monitor.process" in modules
    assert not modules & {
        "socket",
        "json",
        "logging",
        "subprocess",
        "pathlib",
        "typing",
        "dataclasses",
        "asyncio",
        "re",
    }


def test_without_an_interpreter_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with Spawner() as spawner, pytest.raises(Unsupported, match=r"sys\.executable is empty"):
        spawner.start()


def test_an_interpreter_that_is_none_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Spawner() as spawner, pytest.raises(StartFailed, match="the spawner ended"):
        spawner.start()


def test_newuidmap_is_quoted_when_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "newuidmap"
    program.write_text("#!/bin/sh\necho uid range not allowed >&2; exit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with Spawner() as spawner:
        monkeypatch.setattr(spawner, "_id_map", IdMap("subordinate", ((0, 1, 1),), ((0, 1, 1),)))
        for mode, text in ((0o755, "newuidmap failed: uid range not allowed"), (0o644, "newuidmap cannot be run")):
            program.chmod(mode)
            with pytest.raises(StartFailed, match=text) as caught:
                spawner.start()
            assert caught.value.step == "id maps"
            assert spawner.pid == 0


def test_a_kernel_that_runs_nothing_from_memory_is_told_by_its_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(StartFailed, match=r"vm\.memfd_noexec") as caught:
        sealed_copy(sys.executable)
    assert caught.value.hint == "sudo sysctl -w vm.memfd_noexec=1"
