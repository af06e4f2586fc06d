from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.linux.namespaces import start_time
from jupyter_containers.runtime import hooks

if TYPE_CHECKING:
    from pathlib import Path

SHELL = "/bin/sh"


def script(text: str, **more: object) -> dict[str, Any]:
    return {"path": SHELL, "args": ["sh", "-c", text], **more}


def test_a_hook_gets_the_state_its_arguments_and_only_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hook = script(f'cat > {out}; echo "$0 $1 $NAME ${{HOME-none}}" >> {out}', env=["NAME=a=b", "PATH=/bin:/usr/bin"])
    hook["args"] += ["zero", "one"]
    hooks.run("prestart", [hook], b'{"id":"c"}\n')
    assert out.read_text() == '{"id":"c"}\nzero one a=b none\n'


def test_a_hook_without_arguments_has_its_path_as_the_first(tmp_path: Path) -> None:
    program = tmp_path / "hook"
    program.write_text(f'#!/bin/sh\necho "$0 $#" > {tmp_path}/out\n')
    program.chmod(0o755)
    hooks.run("prestart", [{"path": str(program)}], b"")
    assert (tmp_path / "out").read_text() == f"{program} 0\n"


def test_the_first_failure_ends_the_list_and_tells_what_was_written(tmp_path: Path) -> None:
    listed = [script("true"), script("echo no such bridge >&2; exit 3"), script(f"touch {tmp_path}/ran")]
    with pytest.raises(hooks.HookError, match="prestart hook #1: /bin/sh: exit status 3, output: no such bridge"):
        hooks.run("prestart", listed, b"")
    assert not (tmp_path / "ran").exists()


def test_failures_that_change_nothing_let_the_others_run(tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = [
        script("exit 1"),
        {"path": "/nowhere"},
        script("kill -9 $$"),
        script(f"touch {tmp_path}/ran"),
    ]
    problems = hooks.run_all("poststop", listed, b"")
    assert problems == [
        "poststop hook #0: /bin/sh: exit status 1",
        "poststop hook #1: /nowhere: No such file or directory",
        "poststop hook #2: /bin/sh: killed by signal 9",
    ]
    assert (tmp_path / "ran").exists()


def test_a_hook_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(hooks.HookError, match="timed out after 1 s"):
        hooks.run("createRuntime", [script(f"sleep 600 & echo $! > {tmp_path}/pid; wait", timeout=1)], b"")
    child = int((tmp_path / "pid").read_text())
    while start_time(child):  # killed, and the kernel may need a moment
        time.sleep(0.01)
