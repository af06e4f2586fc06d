"""The life of a container after ``run``: created, started, paused, changed, restarted by itself, after a reboot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.engine import Container, Engine, Exec, RunResult
from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerRunning,
    InvalidInput,
    NameInUse,
    Unsupported,
    UsageError,
)
from tests.support.leaks import wait_until

COUNTING = "echo run >> /runs; cat /runs; sleep 1000"


@pytest.fixture
def box(engine: Engine) -> Engine:
    """An engine with the starter image."""
    engine.images.pull("starter")
    return engine


def detached(engine: Engine, script: str, **keywords: Any) -> Container:
    made = engine.containers.run("starter", ["sh", "-c", script], detach=True, network="none", **keywords)
    assert isinstance(made, Container)
    return made


def state(engine: Engine, name: str) -> str:
    return next(row.state for row in engine.containers.list(all=True) if row.name == name)


def printed(engine: Engine, name: str) -> bytes:
    return b"".join(entry.data for entry in engine.containers.logs(name))


def test_create_start_restart_keep_the_writable_layer(box: Engine) -> None:
    made = box.containers.create("starter", ["sh", "-c", COUNTING], name="job", network="none")
    assert state(box, "job") == "created"
    assert box.containers.wait("job") == 0
    box.containers.start("job")
    box.containers.start("job")  # it runs: nothing happens
    wait_until(lambda: printed(box, "job") == b"run\n", what="its first run")
    box.containers.restart(made.id, time=0)
    wait_until(lambda: printed(box, "job").endswith(b"run\nrun\n"), what="its second run")
    box.containers.stop("job", time=0)
    assert state(box, "job") == "exited"
    box.containers.restart("job")
    wait_until(lambda: printed(box, "job").endswith(b"run\nrun\nrun\n"), what="its third run")


def test_one_that_removes_itself_can_be_restarted(box: Engine) -> None:
    detached(box, COUNTING, name="job", remove=True)
    wait_until(lambda: printed(box, "job") == b"run\n", what="its start")
    box.containers.restart("job", time=0)
    wait_until(lambda: printed(box, "job").endswith(b"run\nrun\n"), what="its second run")
    box.containers.stop("job", time=0)
    with pytest.raises(ContainerNotFound):
        box.containers.get("job")


def test_pause_and_unpause(box: Engine) -> None:
    detached(box, "while true; do echo x; sleep 0.02; done", name="job")
    box.containers.pause("job")
    (row,) = box.containers.list()
    assert (row.state, row.status[-8:]) == ("paused", "(Paused)")
    assert box.containers.inspect("job")["State"]["Paused"]
    before = printed(box, "job")
    for refused in (
        lambda: box.containers.pause("job"),
        lambda: box.containers.exec("job", ["true"]),
        lambda: box.containers.attach("job"),
        lambda: box.containers.start("job"),
    ):
        with pytest.raises(Conflict, match=r"job is .*paused"):
            refused()
    with pytest.raises(ContainerRunning, match="paused"):
        box.containers.remove("job")
    assert printed(box, "job") == before
    box.containers.unpause("job")
    with pytest.raises(Conflict, match="not paused"):
        box.containers.unpause("job")
    wait_until(lambda: printed(box, "job") != before, what="output")
    box.containers.pause("job")
    box.containers.stop("job", time=5)
    assert state(box, "job") == "exited"
    with pytest.raises(ContainerNotRunning):
        box.containers.pause("job")


def test_rename(box: Engine) -> None:
    detached(box, "sleep 1000", name="old")
    box.containers.create("starter", ["true"], name="other", network="none")
    with pytest.raises(NameInUse):
        box.containers.rename("old", "other")
    for wrong in ("-x", "old"):
        with pytest.raises(InvalidInput):
            box.containers.rename("old", wrong)
    box.containers.rename("old", "new")
    assert box.containers.inspect("new")["Name"] == "/new"
    with pytest.raises(ContainerNotFound):
        box.containers.get("old")


def test_wait_conditions(box: Engine) -> None:
    box.containers.create("starter", ["sh", "-c", "sleep 0.3; exit 6"], name="job", network="none")
    codes: dict[str, int] = {}

    def wait(condition: Any) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: codes.update({condition: box.containers.wait("job", condition=condition)})
        )
        thread.start()
        return thread

    threads = [wait("next-exit"), wait("removed")]
    box.containers.start("job")
    threads[0].join(20)
    assert codes == {"next-exit": 6}
    box.containers.remove("job")
    threads[1].join(20)
    assert codes["removed"] == 6
    with pytest.raises(ContainerNotFound):
        box.containers.wait("job")
    box.containers.create("starter", ["true"], name="job", network="none")
    with pytest.raises(UsageError):
        box.containers.wait("job", condition="later")  # type: ignore[arg-type]


@pytest.mark.root
def test_limits_change_while_it_runs_and_stay(box: Engine) -> None:
    look = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    detached(box, f"{look}; sleep 1000", name="job", memory="64m")
    wait_until(lambda: printed(box, "job") == b"67108864\n", what="the first limit")
    box.containers.update("job", memory="128m", memory_swap="256m", pids_limit=50, restart="unless-stopped")
    assert box.containers.inspect("job")["HostConfig"]["Memory"] == 128 << 20
    now = box.containers.exec("job", ["sh", "-c", look])
    assert isinstance(now, RunResult)
    assert now.stdout == "134217728\n"
    box.containers.restart("job", time=0)
    wait_until(lambda: printed(box, "job") == b"67108864\n134217728\n", what="both limits")
    with pytest.raises(UsageError, match="hostname cannot be changed"):
        box.containers.update("job", hostname="x")
    with pytest.raises(InvalidInput):
        box.containers.update("job", memory="1k")


@pytest.mark.root
def test_a_changed_limit_is_that_of_the_next_run_too_and_a_refused_one_changes_nothing(box: Engine) -> None:
    if "cpuset" not in box._parts.host.cgroups.bases:
        pytest.skip("needs the cpuset controller of cgroup version 1")
    script = "trap 'exit 1' USR1; while :; do cat /sys/fs/cgroup/memory/memory.limit_in_bytes; sleep 0.1; done"
    detached(box, script, name="job", memory="64m", restart="on-failure")
    box.containers.update("job", memory="128m", memory_swap="256m", cpuset_cpus="0")
    pid = box.containers.list()[0].pid
    (place,) = [line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if ":cpuset:" in line]
    directory = Path(box._parts.host.cgroups.bases["cpuset"] + place.split(":")[2])
    assert (directory / "cpuset.cpus").read_text() == "0\n"
    with pytest.raises(InvalidInput, match=r"the kernel refused a limit \(cpu.rt_runtime_us\)"):
        box.containers.update("job", memory="192m", memory_swap="256m", cpu_rt_runtime=900_000)
    limit = box._parts.host.cgroups.bases["memory"] + place.split(":")[2] + "/memory.limit_in_bytes"
    assert Path(limit).read_text() == f"{128 << 20}\n"
    box.containers.kill("job", signal="USR1")
    wait_until(lambda: box.containers.inspect("job")["RestartCount"] == 1, what="its restart")
    wait_until(lambda: box.containers.list()[0].pid not in {None, pid}, what="its next run")
    seen = len(printed(box, "job").splitlines())
    wait_until(lambda: len(printed(box, "job").splitlines()) > seen, what="its output")
    assert printed(box, "job").splitlines()[-1] == b"134217728"
    box.containers.remove("job", force=True)
    wait_until(lambda: not directory.exists(), what="the end of the cgroup")


def test_the_processes_of_a_container(box: Engine) -> None:
    detached(box, "sleep 1000 & sleep 1001; true", name="job")
    wanted = {"sh -c sleep 1000 & sleep 1001; true", "sleep 1000", "sleep 1001"}
    wait_until(lambda: {row[-1] for row in box.containers.top("job").rows} == wanted, what="three processes")
    found = box.containers.top("job")
    assert found.titles[:3] == ("UID", "PID", "PPID")
    assert box.containers.list()[0].pid == int(found.rows[0][1])
    if shutil.which("ps"):
        assert len(box.containers.top("job", ["-o", "pid,comm", "ax"]).rows) == 3
        with pytest.raises(InvalidInput, match="PID"):
            box.containers.top("job", ["-o", "comm"])


def test_a_detached_exec_is_remembered(box: Engine) -> None:
    detached(box, "sleep 1000", name="job")
    started = box.containers.exec("job", ["sh", "-c", "exit 3"], detach=True)
    assert isinstance(started, Exec)
    wait_until(lambda: not box.containers.execs("job")[0].running, what="its end")
    (found,) = box.containers.execs("job")
    assert (found.id, found.exit_code, found.command) == (started.id, 3, ("sh", "-c", "exit 3"))
    running = box.containers.exec("job", ["sleep", "1000"], detach=True)
    assert isinstance(running, Exec)
    assert box.containers.inspect("job")["ExecIDs"] == [running.id]


def test_exec_with_privileges_a_directory_and_a_terminal(box: Engine) -> None:
    detached(box, "sleep 1000", name="job")
    script = "pwd; grep CapEff /proc/self/status; test -t 1 && echo terminal"
    for privileged in (False, True):
        result = box.containers.exec("job", ["sh", "-c", script], workdir="/tmp", privileged=privileged, tty=True)
        assert isinstance(result, RunResult)
        directory, capabilities, terminal = result.stdout.splitlines()
        assert (directory, terminal) == ("/tmp", "terminal")
        assert (capabilities == "CapEff:\t00000000a80425fb") is not privileged or os.geteuid() != 0
    with pytest.raises(InvalidInput):
        box.containers.exec("job", ["pwd"], workdir="relative")


def test_a_terminal_without_a_console(box: Engine) -> None:
    result = box.containers.run("starter", ["sh", "-c", "tty; read x; echo [$x]"], tty=True, stdin=b"hi\n", remove=True)
    assert isinstance(result, RunResult)
    assert sorted(result.stdout.split()) == ["/dev/pts/0", "[hi]", "hi"]  # what is typed comes back


def test_a_session_for_a_widget(box: Engine) -> None:
    box.containers.create("starter", ["sh"], name="job", tty=True, interactive=True, network="none")
    seen = bytearray()
    with box.containers.start_attached("job", stdin=True, size=(20, 70)) as session:
        assert session.terminal
        (output,) = [descriptor for descriptor, stream in session.outputs.items() if stream == "stdout"]
        os.write(session.stdin, b"stty size; kill -l | head -c 1 >/dev/null; echo d$((1))ne\n")
        while b"d1ne" not in seen:
            seen += os.read(output, 4096)
        assert b"20 70" in seen
    assert state(box, "job") == "running"
    with box.containers.attach("job") as session:
        os.write(session.stdin, b"exit 8\n")
        session.pump()
        ended = session.wait()
    assert ended is not None
    assert ended["code"] == 8


def test_a_policy_starts_it_again_until_it_is_stopped(box: Engine) -> None:
    detached(box, "echo run; sleep 0.1; exit 2", name="job", restart="always")

    def count() -> int:
        return int(box.containers.inspect("job")["RestartCount"])

    assert box.containers.wait("job") == 2  # the next end, as with Docker
    wait_until(lambda: count() >= 2, what="two restarts", seconds=20)
    wait_until(lambda: state(box, "job") == "restarting", what="a pause between", seconds=20)
    row = next(row for row in box.containers.list() if row.name == "job")
    assert row.status.startswith("Restarting (2) ")
    box.containers.stop("job")
    assert state(box, "job") == "exited"
    assert count() >= 2
    stopped = printed(box, "job")
    box.containers.start("job")
    wait_until(lambda: printed(box, "job") != stopped, what="a new start")
    box.containers.kill("job")
    wait_until(lambda: state(box, "job") == "exited", what="its end")


def test_a_killed_container_is_restarted_when_nobody_asked_for_its_end(box: Engine) -> None:
    detached(box, "sleep 1000", name="job", restart="on-failure:2")
    first = box.containers.list()[0].pid
    assert first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: box.containers.list()[0].pid not in {None, first}, what="its restart")
    box.containers.update("job", restart="no")
    os.kill(box.containers.list()[0].pid or 0, signal.SIGKILL)
    wait_until(lambda: state(box, "job") == "exited", what="its end")


def test_a_restart_keeps_the_address(box: Engine) -> None:
    first = box.containers.run("starter", ["ls", "/sys/class/net"], remove=True)
    if isinstance(first, RunResult) and "eth0" not in first.stdout:
        pytest.skip("; ".join(first.notices) or "this user's containers have no network but loopback")
    container = box.containers.run(
        "starter",
        ["sh", "-c", "ip -4 addr show eth0 | grep inet; sleep 0.1; exit 1"],
        detach=True,
        restart="on-failure:2",
    )
    assert isinstance(container, Container)
    assert box.containers.wait(container.id) == 1
    wait_until(lambda: state(box, container.name) == "exited", what="its last end", seconds=20)
    lines = printed(box, container.name).splitlines()
    assert len(lines) == 3
    assert len(set(lines)) == 1


def reboot(engine: Engine, root: Path) -> None:
    """What a reboot leaves: no process, no run directory, records of another boot."""
    engine.close()
    for directory in (root / "containers").iterdir():
        path = directory / "monitor.json"
        if path.exists():
            record = json.loads(path.read_text())
            os.kill(record["monitor"]["pid"], signal.SIGKILL)
            path.write_text(json.dumps({**record, "boot_id": "before"}))
    shutil.rmtree(root / "run")
    (root / "boot").write_text("before".ljust(36))


@pytest.mark.usefixtures("no_leaks")
def test_after_a_reboot_the_first_command_applies_the_policies(store_root: Path) -> None:
    box = Engine(store_root)
    for name, policy in (("a1", "always"), ("u1", "unless-stopped"), ("u2", "unless-stopped"), ("a2", "always")):
        detached(box, "sleep 1000", name=name, restart=policy)
    detached(box, "sleep 1000", name="n1")
    detached(box, "sleep 1000", name="r1", remove=True)
    box.containers.stop("u2", time=0)
    box.containers.stop("a2", time=0)
    reboot(box, store_root)
    told: list[str] = []
    with Engine(store_root, on_event=lambda event: told.append(str(event))) as again:
        states = {row.name: row.state for row in again.containers.list(all=True)}
        assert states == {"a1": "running", "a2": "running", "u1": "running", "u2": "exited", "n1": "exited"}
        assert again.containers.inspect("n1")["State"]["Error"] == "the machine went down"
        assert any("a1 was started again" in text for text in told)
        for row in again.containers.list(all=True):
            again.containers.remove(row.id, force=True)


def test_a_monitor_that_was_killed_is_no_end_for_a_policy(box: Engine, store_root: Path) -> None:
    made = detached(box, "sleep 1000", name="job", restart="always")
    record = json.loads((store_root / "containers" / made.id / "monitor.json").read_text())
    os.kill(record["monitor"]["pid"], signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{record['init']['pid']}"), what="the container's end")
    (row,) = box.containers.list()
    assert (row.state, row.pid != record["init"]["pid"]) == ("running", True)


def test_health_is_seen_in_listings_and_inspect(box: Engine) -> None:
    detached(box, "sleep 1000", name="job", health_cmd="echo looked; test -e /good", health_interval="50ms",
             health_retries=1)  # fmt: skip
    wait_until(lambda: box.containers.list()[0].health == "unhealthy", what="a failed check")
    assert box.containers.list()[0].status.endswith("(unhealthy)")
    box.containers.exec("job", ["touch", "/good"])
    wait_until(lambda: box.containers.list()[0].health == "healthy", what="a good check")
    found = box.containers.inspect("job")["State"]["Health"]
    assert (found["Status"], found["FailingStreak"]) == ("healthy", 0)
    assert (found["Log"][-1]["ExitCode"], found["Log"][-1]["Output"]) == (0, "looked\n")
    box.containers.pause("job")
    assert box.containers.list()[0].status.endswith("(Paused)")
    detached(box, "sleep 1000", name="new", health_cmd="true", health_interval="1h")
    assert box.containers.inspect("new")["State"]["Health"]["Status"] == "starting"


@pytest.mark.parametrize(("action", "end"), [("kill", 137), ("stop", 4), ("restart", None)])
def test_what_is_done_with_one_that_becomes_unhealthy(box: Engine, action: str, end: int | None) -> None:
    script = "trap 'exit 4' TERM; while true; do sleep 0.05; done"
    detached(box, script, name="job", health_cmd="false", health_interval="200ms", health_retries=1,
             health_on_failure=action)  # fmt: skip
    if end is None:
        wait_until(lambda: box.containers.inspect("job")["RestartCount"] >= 2, what="two restarts", seconds=30)

        def waits() -> bool:
            found = box.containers.inspect("job")["State"]
            return (found["Status"], found["Health"]["Status"]) == ("restarting", "unhealthy")

        wait_until(waits, what="the next pause", seconds=30)
        box.containers.stop("job", time=0)
        assert state(box, "job") == "exited"
    else:
        assert box.containers.wait("job") == end
        wait_until(lambda: state(box, "job") == "exited", what="its end")


def test_a_log_is_rotated_and_read_as_one(box: Engine) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done"
    options = {"log_opt": ["max-size=4k", "max-file=20", "labels=tier", "env=WHERE"]}
    detached(box, script, name="job", label="tier=front", env={"WHERE": "here"}, **options)
    box.containers.wait("job")
    wait_until(lambda: state(box, "job") == "exited", what="its end")
    entries = list(box.containers.logs("job"))
    assert b"".join(entry.data for entry in entries) == b"".join(b"line %d\n" % number for number in range(300))
    assert entries[0].details == {"tier": "front", "WHERE": "here"}
    assert next(box.containers.logs("job", tail=100)).data == b"line 200\n"
    assert next(box.containers.logs("job", since=entries[250].time, tail=60)).time >= entries[250].time
    directory = os.path.dirname(box.containers.inspect("job")["LogPath"])
    sizes = [os.stat(f"{directory}/{name}").st_size for name in os.listdir(directory) if name.startswith("log.json")]
    assert len(sizes) > 3
    assert max(sizes) <= 4096


def test_output_that_is_not_kept_cannot_be_read(box: Engine) -> None:
    result = box.containers.run("starter", ["echo", "hi"], name="job", log_driver="none", network="none")
    assert isinstance(result, RunResult)
    assert result.stdout == "hi\n"
    with pytest.raises(Unsupported, match="none"):
        box.containers.logs("job")


def test_what_happened_is_told_in_order(box: Engine) -> None:
    detached(box, "trap 'exit 4' TERM; while true; do sleep 0.05; done", name="job", label="tier=front")
    box.containers.exec("job", ["true"])
    box.containers.pause("job")
    box.containers.unpause("job")
    box.containers.rename("job", "task")
    box.containers.stop("task", time=10)
    box.containers.restart("task")
    box.containers.remove("task", force=True)
    events = list(box.events(since="1h", until="0s", filters=["type=container"]))
    actions = [event.action for event in events]
    assert actions == [
        "create", "start", "exec_create: true", "exec_start: true", "exec_die", "pause", "unpause", "rename", "kill",
        "die", "stop", "start", "restart", "kill", "die", "destroy",
    ]  # fmt: skip
    assert events[9].attributes["exitCode"] == "4"
    assert events[9].attributes["name"] == "task"
    assert {event.attributes["tier"] for event in events} == {"front"}


@pytest.mark.root
def test_a_process_killed_for_want_of_memory_is_told_of_while_the_container_goes_on(box: Engine) -> None:
    detached(box, "sleep 1.5; tail /dev/zero; sleep 1000", name="job", memory="24m", memory_swap="24m")

    def told() -> bool:
        return any(event.action == "oom" for event in box.events(since="1h", until="0s"))

    wait_until(told, what="the event", seconds=30)
    assert state(box, "job") == "running"
    box.containers.kill("job")
    wait_until(lambda: bool(box.containers.inspect("job")["State"]["OOMKilled"]), what="the end")
