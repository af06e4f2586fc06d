"""runtime.md: the state of a container, and what the operations do and refuse."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.harness import Bundle, Runtime


def sleeping(bundle: Bundle) -> Bundle:
    bundle.process["args"] = ["sleep", "600"]
    return bundle


# -- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("runtime.md", "State", "has ociVersion, id, status, pid, bundle and the annotations")
def test_the_state_has_what_it_must(runtime: Runtime, bundle: Bundle) -> None:
    sleeping(bundle).spec["annotations"] = {"org.example.key": "value"}
    name = runtime.create(bundle)
    state = runtime.state(name)
    assert state["ociVersion"].startswith("1.")
    assert state["id"] == name
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle.path)
    assert state["annotations"]["org.example.key"] == "value"
    assert os.path.isdir(f"/proc/{state['pid']}")


@pytest.mark.clause("runtime.md", "State", "pid is that of the container's process, as seen by the host")
def test_the_pid_is_that_of_the_program(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle), output=bundle.path / "out")
    pid = runtime.state(name)["pid"]
    assert runtime.start(name).status == 0
    assert runtime.state(name)["pid"] == pid
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        assert file.read().split(b"\0")[:2] == [b"sleep", b"600"]


@pytest.mark.clause("runtime.md", "State", "status goes from created to running to stopped")
def test_the_status_follows_the_process(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    assert runtime.status(name) == "created"
    runtime.start(name)
    assert runtime.status(name) == "running"
    runtime.kill(name)
    runtime.wait(name)


@pytest.mark.clause("runtime.md", "Query State", "an error without the id of a container")
def test_state_needs_an_id(runtime: Runtime) -> None:
    assert runtime.call("state").status != 0


@pytest.mark.clause("runtime.md", "Query State", "an error for a container that does not exist")
def test_there_is_no_state_of_nothing(runtime: Runtime) -> None:
    assert runtime.call("state", "nobody").status != 0


@pytest.mark.clause("runtime.md", "Query State", "the document is the state; other software reads it")
def test_the_state_is_one_json_document(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(bundle)
    assert isinstance(json.loads(runtime.call("state", name).stdout), dict)


# -- create ----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("runtime.md", "Create", "an error without an id")
def test_create_needs_an_id(runtime: Runtime, bundle: Bundle) -> None:
    bundle.write()
    assert runtime.call("create", "--bundle", str(bundle.path)).status != 0


@pytest.mark.clause("runtime.md", "Create", "an error without a bundle")
def test_create_needs_a_bundle(runtime: Runtime, tmp_path: Path) -> None:
    assert runtime.call("create", runtime.new_id(), cwd=tmp_path).status != 0


@pytest.mark.clause("runtime.md", "Create", "an id that is taken is an error, and the container that has it stays")
def test_an_id_is_had_once(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    before = runtime.state(name)
    assert runtime.try_create(bundle, container=name).status != 0
    assert runtime.state(name) == before


@pytest.mark.clause("runtime.md", "Create", "an id that is not valid is an error, and nothing is made")
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../c"])
def test_an_id_that_is_none_is_refused(runtime: Runtime, bundle: Bundle, name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    bundle.write()
    ran = runtime.call("create", "--bundle", str(bundle.path), name)
    assert ran.status != 0
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before and path.name != "state"] == []


@pytest.mark.clause("runtime.md", "Create", "the program does not run before start")
def test_the_program_does_not_run_before_start(runtime: Runtime, bundle: Bundle) -> None:
    bundle.script("touch /ran")
    name = runtime.create(bundle)
    assert runtime.status(name) == "created"
    assert not (bundle.root / "ran").exists()
    runtime.start(name)
    runtime.wait(name)
    assert (bundle.root / "ran").exists()


@pytest.mark.clause("runtime.md", "Create", "what the configuration asks for is there before start")
def test_the_environment_is_made_by_create(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    pid = runtime.state(name)["pid"]
    for kind in ("mnt", "pid", "net", "uts", "ipc"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    assert os.path.exists(f"/proc/{pid}/root/bin/busybox")


@pytest.mark.clause("runtime.md", "Create", "a change of config.json afterwards has no effect")
def test_the_configuration_is_read_once(runtime: Runtime, bundle: Bundle) -> None:
    out = bundle.path / "out"
    bundle.script("echo first")
    name = runtime.create(bundle, output=out)
    bundle.script("echo second")
    bundle.write()
    runtime.start(name)
    runtime.wait(name)
    assert out.read_text() == "first\n"


@pytest.mark.clause("runtime.md", "Create", "what cannot be made as configured is an error, and nothing stays")
def test_a_create_that_fails_leaves_nothing(runtime: Runtime, bundle: Bundle) -> None:
    bundle.mount("/mnt", kind="nosuchfs", source="none")
    name = runtime.new_id()
    assert runtime.try_create(bundle, container=name).status != 0
    assert runtime.call("state", name).status != 0
    bundle.spec["mounts"].pop()
    assert runtime.try_create(bundle, container=name).status == 0


@pytest.mark.clause("runtime.md", "Create", "a program that is not there is an error, at create or at start")
def test_a_missing_program_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = ["no-such-program"]
    name = runtime.new_id()
    created = runtime.try_create(bundle, container=name)
    failed = created if created.status else runtime.start(name)
    assert failed.status != 0
    assert "executable file" in failed.stderr


@pytest.mark.only_ours
@pytest.mark.clause("runtime.md", "Start", "an error where the configuration has no process")
def test_a_container_without_a_process_cannot_be_started(runtime: Runtime, bundle: Bundle) -> None:
    del bundle.spec["process"]
    name = runtime.create(bundle)
    assert runtime.status(name) == "created"
    ran = runtime.start(name)
    assert ran.status != 0
    assert "without a process" in ran.stderr
    assert runtime.status(name) == "created"


# -- start -----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("runtime.md", "Start", "an error without an id")
def test_start_needs_an_id(runtime: Runtime) -> None:
    assert runtime.call("start").status != 0


@pytest.mark.clause("runtime.md", "Start", "an error for a container that does not exist")
def test_nothing_cannot_be_started(runtime: Runtime) -> None:
    assert runtime.start("nobody").status != 0


@pytest.mark.clause("runtime.md", "Start", "an error for one that is not created, which is not changed by it")
def test_only_a_created_container_is_started(runtime: Runtime, bundle: Bundle) -> None:
    out = bundle.path / "out"
    bundle.script("echo ran; sleep 600")
    name = runtime.create(bundle, output=out)
    assert runtime.start(name).status == 0
    before = runtime.state(name)
    assert runtime.start(name).status != 0
    assert runtime.state(name) == before
    runtime.kill(name)
    runtime.wait(name)
    assert runtime.start(name).status != 0
    assert runtime.status(name) == "stopped"
    assert out.read_text() == "ran\n"


# -- kill ------------------------------------------------------------------------------------------------------------


@pytest.mark.clause("runtime.md", "Kill", "an error without an id")
def test_kill_needs_an_id(runtime: Runtime) -> None:
    assert runtime.call("kill").status != 0


@pytest.mark.clause("runtime.md", "Kill", "sends the signal to the container's process")
@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_the_process_gets_the_signal(runtime: Runtime, bundle: Bundle, signal: str) -> None:
    bundle.script('trap "echo got; exit 0" USR1; echo ready > /ready; while :; do sleep 0.02; done')
    out = bundle.path / "out"
    name = runtime.create(bundle, output=out)
    runtime.start(name)
    while not (bundle.root / "ready").exists():
        assert runtime.status(name) == "running"
    assert runtime.kill(name, signal).status == 0
    runtime.wait(name)
    assert out.read_text() == "got\n"


@pytest.mark.clause("runtime.md", "Kill", "a container that is created can be killed")
def test_a_created_container_can_be_killed(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    assert runtime.kill(name).status == 0
    runtime.wait(name)


@pytest.mark.clause("runtime.md", "Kill", "an error for a container that neither is created nor runs")
def test_a_stopped_container_gets_no_signal(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(bundle)
    runtime.start(name)
    runtime.wait(name)
    assert runtime.kill(name, "TERM").status != 0
    assert runtime.status(name) == "stopped"


@pytest.mark.deviates(crun="1.8 takes any word")
@pytest.mark.clause("runtime.md", "Kill", "what is no signal is an error, and nothing is sent")
def test_a_signal_that_is_none_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    runtime.start(name)
    assert runtime.kill(name, "NOSUCH").status != 0
    assert runtime.status(name) == "running"


# -- delete ----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("runtime.md", "Delete", "an error without an id")
def test_delete_needs_an_id(runtime: Runtime) -> None:
    assert runtime.call("delete").status != 0


@pytest.mark.clause("runtime.md", "Delete", "an error for a container that does not exist")
def test_nothing_cannot_be_deleted(runtime: Runtime) -> None:
    assert runtime.delete("nobody").status != 0


@pytest.mark.clause("runtime.md", "Delete", "an error for one that is not stopped, which is not changed by it")
def test_a_running_container_is_not_deleted(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    runtime.start(name)
    assert runtime.delete(name).status != 0
    assert runtime.status(name) == "running"


@pytest.mark.deviates(runc="1.1 kills a container that is created", crun="1.8 kills a container that is created")
@pytest.mark.clause("runtime.md", "Delete", "a created container is not stopped either")
def test_a_created_container_is_not_deleted(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    assert runtime.delete(name).status != 0
    assert runtime.status(name) == "created"


@pytest.mark.clause("runtime.md", "Delete", "deletes what create made, and nothing else; the id can be used again")
def test_delete_takes_back_what_was_made(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.linux["cgroupsPath"] = f"/jc-conformance/{tmp_path.name}"
    name = runtime.create(bundle)
    pid = runtime.state(name)["pid"]
    with open(f"/proc/{pid}/cgroup") as file:
        made = [line.split(":", 2) for line in file.read().splitlines() if tmp_path.name in line]
    runtime.start(name)
    runtime.wait(name)
    assert runtime.delete(name).status == 0
    assert runtime.call("state", name).status != 0
    for _number, controllers, path in made:
        directory = controllers.removeprefix("name=") or "unified"
        assert not os.path.exists(f"/sys/fs/cgroup/{directory}{path}")
    assert bundle.root.is_dir()
    assert runtime.try_create(bundle, container=name).status == 0


# -- everything ------------------------------------------------------------------------------------------------------


@pytest.mark.clause("runtime.md", "Scope of a Container", "who made a container can use the operations on it")
def test_another_call_finds_the_container(runtime: Runtime, bundle: Bundle) -> None:
    name = runtime.create(sleeping(bundle))
    for operation, expected in (("start", "running"), ("state", "running")):
        assert runtime.call(operation, name).status == 0
        assert runtime.status(name) == expected


@pytest.mark.clause("runtime.md", "Errors", "an operation that fails says so by its exit status and in words")
def test_errors_are_told(runtime: Runtime) -> None:
    ran = runtime.call("start", "nobody")
    assert ran.status != 0
    assert ran.stderr.strip()
