"""runtime.md, "Lifecycle", and config.md, "Hooks": when hooks run, where, and what their failure does."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.harness import Bundle, Runtime

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
ENV = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def set_hooks(bundle: Bundle, hooks: dict[str, list[dict[str, Any]]]) -> None:
    bundle.spec["hooks"] = hooks  # type: ignore[typeddict-unknown-key]  # tests also have what no hooks look like


def hook(text: str, **more: object) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", text], "env": ENV, **more}


@pytest.mark.deviates(
    runc="1.1 runs poststart hooks in create", crun="1.8 runs poststart hooks beside those of the container"
)
@pytest.mark.clause("runtime.md", "Lifecycle", "the hooks run at their steps: before start, around it, after delete")
def test_hooks_run_at_their_steps(runtime: Runtime, bundle: Bundle) -> None:
    log = bundle.root / "log"
    log.touch()
    log.chmod(0o666)
    places = dict.fromkeys(KINDS, str(log)) | {"startContainer": "/log"}
    set_hooks(bundle, {kind: [hook(f"echo {kind} >> {places[kind]}")] for kind in KINDS})
    bundle.process["args"] = ["sh", "-c", "echo program >> /log; sleep 600"]
    name = runtime.create(bundle)
    assert log.read_text().split() == KINDS[:3]
    assert runtime.start(name).status == 0
    while "program" not in log.read_text():
        assert runtime.status(name) == "running"
    runtime.kill(name)
    runtime.wait(name)
    assert runtime.delete(name).status == 0
    words = log.read_text().split()
    assert words[3] == "startContainer"
    assert set(words[4:6]) == {"program", "poststart"}
    assert words[6:] == ["poststop"]


@pytest.mark.deviates(crun="1.8 runs poststart hooks beside those of the container")
@pytest.mark.clause("config.md", "POSIX-platform Hooks", "hooks of a kind run in the order they are listed in")
def test_hooks_run_in_order(runtime: Runtime, bundle: Bundle) -> None:
    out = bundle.path / "order"
    hooks = {
        kind: [hook(f"echo {kind}{number} >> {out}") for number in (1, 2, 3)]
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }
    set_hooks(bundle, hooks)
    assert runtime.run(bundle).status == 0
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    assert out.read_text().split() == [f"{kind}{number}" for kind in kinds for number in (1, 2, 3)]


@pytest.mark.deviates(runc="1.1 runs poststart hooks in create")
@pytest.mark.clause(
    "config.md", "POSIX-platform Hooks", "the state comes by standard input, with the status of the step"
)
@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("prestart", {"creating", "created"}),
        ("createRuntime", {"creating", "created"}),
        ("createContainer", {"creating", "created"}),
        ("poststart", {"running"}),
        ("poststop", {"stopped"}),
    ],
)
def test_a_hook_gets_the_state(runtime: Runtime, bundle: Bundle, kind: str, statuses: set[str]) -> None:
    out = bundle.path / "state-of-hook"
    set_hooks(bundle, {kind: [hook(f"cat > {out}")]})
    bundle.spec["annotations"] = {"a.b": "c"}
    bundle.process["args"] = ["sleep", "600"]
    name = runtime.create(bundle)
    pid = runtime.state(name)["pid"]
    runtime.start(name)
    runtime.kill(name)
    runtime.wait(name)
    runtime.delete(name)
    state = json.loads(out.read_text())
    assert state["id"] == name
    assert state["bundle"] == str(bundle.path)
    assert state["status"] in statuses
    assert state["annotations"]["a.b"] == "c"
    if kind in {"prestart", "createRuntime", "poststart"}:
        assert state["pid"] == pid


@pytest.mark.clause("config.md", "POSIX-platform Hooks", "args and env are what the hook has, and no more")
def test_a_hook_has_its_own_environment(runtime: Runtime, bundle: Bundle) -> None:
    out = bundle.path / "env"
    one = hook(f'echo "$0 $1" > {out}; env >> {out}')
    one["args"] += ["a b"]
    one["args"].insert(3, "name")
    one["env"] = [*ENV, "KEY=value"]
    set_hooks(bundle, {"createRuntime": [one]})
    assert runtime.run(bundle).status == 0
    lines = out.read_text().splitlines()
    assert lines[0] == "name a b"
    assert {line.partition("=")[0] for line in lines[1:]} <= {"KEY", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert "KEY=value" in lines


@pytest.mark.clause(
    "config.md", "Hooks", "createRuntime runs in the runtime's namespaces, createContainer in the container's"
)
def test_hooks_run_in_their_namespaces(runtime: Runtime, bundle: Bundle) -> None:
    outside, inside = bundle.path / "outside", bundle.path / "inside"
    hooks = {
        "createRuntime": [hook(f"readlink /proc/self/ns/uts /proc/self/ns/mnt > {outside}")],
        "createContainer": [hook(f"readlink /proc/self/ns/uts /proc/self/ns/net > {inside}")],
    }
    set_hooks(bundle, hooks)
    bundle.process["args"] = ["sleep", "600"]
    name = runtime.create(bundle)
    pid = runtime.state(name)["pid"]
    assert outside.read_text().splitlines()[0] == os.readlink("/proc/self/ns/uts")
    assert inside.read_text().splitlines() == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("uts", "net")]


@pytest.mark.deviates(crun="1.8 tells a status of its own, starting")
@pytest.mark.clause("config.md", "Hooks", "the path of a startContainer hook is one in the container")
def test_start_hooks_are_the_containers_own(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.root / "bin/own-hook").write_text("#!/bin/sh\ncat > /state\n")
    (bundle.root / "bin/own-hook").chmod(0o755)
    set_hooks(bundle, {"startContainer": [{"path": "/bin/own-hook", "env": ENV}]})
    assert runtime.run(bundle).status == 0
    assert json.loads((bundle.root / "state").read_text())["status"] in {"created", "creating"}


@pytest.mark.clause("runtime.md", "Lifecycle", "a hook that fails before start is an error and ends the container")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_create_hook_ends_the_container(runtime: Runtime, bundle: Bundle, kind: str) -> None:
    after = bundle.path / "after"
    set_hooks(bundle, {kind: [hook("exit 1"), hook(f"touch {after}")]})
    name = runtime.new_id()
    assert runtime.try_create(bundle, container=name).status != 0
    assert not after.exists()
    assert runtime.call("state", name).status != 0


@pytest.mark.deviates(crun="1.8 does not run poststop then")
@pytest.mark.clause("runtime.md", "Lifecycle", "after such a failure the poststop hooks run")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_poststop_follows_a_failing_hook(runtime: Runtime, bundle: Bundle, kind: str) -> None:
    out = bundle.path / "stopped"
    set_hooks(bundle, {kind: [hook("exit 1")], "poststop": [hook(f"cat > {out}")]})
    assert runtime.try_create(bundle).status != 0
    assert json.loads(out.read_text())["status"] == "stopped"


@pytest.mark.deviates(runc="1.1 starts such a container without an error", crun="1.8 only logs it")
@pytest.mark.clause("runtime.md", "Lifecycle", "a startContainer hook that fails is an error; the program does not run")
def test_a_failing_start_hook_keeps_the_program_from_running(runtime: Runtime, bundle: Bundle) -> None:
    set_hooks(bundle, {"startContainer": [hook("exit 1")]})
    bundle.script("touch /ran; sleep 600")
    name = runtime.create(bundle)
    ran = runtime.start(name)
    assert ran.status != 0
    assert runtime.status(name) in {"", "stopped"}
    assert not (bundle.root / "ran").exists()


@pytest.mark.deviates(runc="1.1 is of a specification that only warned", crun="1.8 only logs it")
@pytest.mark.clause("runtime.md", "Lifecycle", "a poststart hook that fails is an error and ends the container")
def test_a_failing_poststart_hook_ends_the_container(runtime: Runtime, bundle: Bundle) -> None:
    set_hooks(bundle, {"poststart": [hook("exit 1")]})
    bundle.process["args"] = ["sleep", "600"]
    name = runtime.create(bundle)
    assert runtime.start(name).status != 0
    assert runtime.status(name) in {"", "stopped"}


@pytest.mark.deviates(runc="1.1 leaves the others out")
@pytest.mark.clause("runtime.md", "Lifecycle", "a poststop hook that fails is a warning; the others run")
def test_a_failing_poststop_hook_changes_nothing(runtime: Runtime, bundle: Bundle) -> None:
    out = bundle.path / "second"
    set_hooks(bundle, {"poststop": [hook("exit 1"), hook(f"touch {out}")]})
    name = runtime.new_id()
    assert runtime.run(bundle, container=name).status == 0
    assert out.exists()
    assert runtime.call("state", name).status != 0


@pytest.mark.clause("config.md", "POSIX-platform Hooks", "a hook that takes longer than its timeout fails")
def test_a_hook_has_its_time(runtime: Runtime, bundle: Bundle) -> None:
    set_hooks(bundle, {"createRuntime": [hook("exec sleep 600", timeout=1)]})
    assert runtime.try_create(bundle).status != 0


@pytest.mark.deviates(crun="1.8 takes it")
@pytest.mark.clause("config.md", "POSIX-platform Hooks", "a timeout must be greater than zero")
def test_a_timeout_of_nothing_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    set_hooks(bundle, {"createRuntime": [hook("true", timeout=0)]})
    assert runtime.try_create(bundle).status != 0


@pytest.mark.clause("config.md", "POSIX-platform Hooks", "the path of a hook must be absolute")
def test_a_relative_path_of_a_hook_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    set_hooks(bundle, {"createRuntime": [{"path": "bin/true"}]})
    assert runtime.try_create(bundle).status != 0
