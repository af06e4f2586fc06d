"""The runtime command beyond the specification: what its callers rely on, and what happens when something is killed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.linux import namespaces
from jupyter_containers.runtime import idmap
from tests.conformance import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.harness import Bundle, Runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    if reason := harness.why_not(harness.OURS):
        pytest.skip(reason)
    yield from harness.open_runtime(harness.OURS, tmp_path / "state")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    found = harness.make_bundle(tmp_path / "bundle")
    if os.geteuid() != 0:
        rootless(found)
    return found


def rootless(bundle: Bundle) -> None:
    """An ordinary user's container: a user namespace with one id."""
    bundle.namespace("user")
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    bundle.linux.pop("resources", None)
    for mount in bundle.spec["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if not option.startswith("gid=")]


@pytest.fixture
def running(runtime: Runtime, bundle: Bundle) -> str:
    bundle.process["args"] = ["sleep", "600"]
    name = runtime.create(bundle)
    assert runtime.start(name).status == 0
    return name


def test_an_ordinary_users_container_with_many_ids(runtime: Runtime, bundle: Bundle) -> None:
    found = idmap.choose()
    if found.kind != "subordinate":
        pytest.skip(found.reason or "root needs no newuidmap")
    for field, ranges in (("uidMappings", found.uids), ("gidMappings", found.gids)):
        bundle.linux[field] = [{"containerID": i, "hostID": outside, "size": n} for i, outside, n in ranges]
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [50]}
    bundle.script("id; cat /proc/self/uid_map")
    ran = runtime.run(bundle)
    assert ran.status == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "uid=1000(alice) gid=1000(alice) groups=50(staff)"
    assert len(lines) == 1 + len(found.uids)
    bundle.linux["uidMappings"][1]["hostID"] += 1  # more than the user was given
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "id maps: newuidmap failed" in ran.stderr


# -- exec ------------------------------------------------------------------------------------------------------------


def test_exec_joins_the_container_and_has_its_own_exit_status(runtime: Runtime, running: str) -> None:
    ran = runtime.call("exec", running, "sh", "-c", "echo $0 $1; readlink /proc/1/exe; exit 7", "a", "b c")
    assert (ran.status, ran.stdout.splitlines()[0]) == (7, "a b c")
    with open(f"/proc/{runtime.state(running)['pid']}/root/exec-was-here", "w") as file:
        file.write("x")
    assert runtime.call("exec", running, "cat", "/exec-was-here").stdout == "x"


def test_exec_options_change_the_process(runtime: Runtime, running: str) -> None:
    ran = runtime.call("exec", "--cwd", "/etc", "-e", "A=b", "--env", "C=d", running, "sh", "-c", "pwd; echo $A $C")
    assert ran.stdout.splitlines() == ["/etc", "b d"]


@pytest.mark.root
def test_exec_as_another_user_with_a_capability(runtime: Runtime, running: str) -> None:
    ran = runtime.call("exec", "-u", "1000:1000", "-g", "50", running, "id")
    assert ran.stdout.startswith("uid=1000(alice) gid=1000(alice)")
    assert "50(staff)" in ran.stdout
    ran = runtime.call("exec", "-u", "1000", "--cap", "CAP_NET_ADMIN", running, "grep", "CapEff", "/proc/self/status")
    assert int(ran.stdout.split()[1], 16) == 1 << 12


def test_exec_of_a_process_file_detached_with_a_pid_file(runtime: Runtime, running: str, tmp_path: Path) -> None:
    process = {"args": ["sleep", "600"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    words = ["--detach", "--process", str(tmp_path / "process.json"), "--pid-file", str(tmp_path / "pid"), running]
    null = subprocess.DEVNULL  # the process keeps what it is given
    done = subprocess.run(
        [*runtime.command, *runtime.options, "exec", *words], stdin=null, stdout=null, stderr=null, check=False
    )
    assert done.returncode == 0
    pid = int((tmp_path / "pid").read_text())
    assert pid in json.loads(runtime.call("ps", "--format", "json", running).stdout)
    os.kill(pid, signal.SIGKILL)


def test_exec_of_a_missing_program_says_so(runtime: Runtime, running: str) -> None:
    ran = runtime.call("exec", running, "no-such-program")
    assert ran.status == 255
    assert r"exec: \"no-such-program\": executable file not found in $PATH" in ran.stderr


def test_exec_needs_a_container_that_lives(runtime: Runtime, running: str) -> None:
    runtime.kill(running)
    runtime.wait(running)
    ran = runtime.call("exec", running, "true")
    assert ran.status == 255
    assert "cannot exec in a stopped container" in ran.stderr


# -- the host's interpreter ------------------------------------------------------------------------------------------


def test_the_container_never_sees_the_hosts_interpreter(runtime: Runtime, bundle: Bundle) -> None:
    """What a container can reach by /proc/<pid>/exe of a process that enters it is a sealed copy (CVE-2019-5736)."""
    bundle.process["args"] = ["sleep", "600"]
    name = runtime.create(bundle)
    pid = runtime.state(name)["pid"]
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:")
    with open(f"/proc/{pid}/exe", "rb") as file:
        assert fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE


def test_a_program_named_proc_self_exe_does_not_run_the_hosts_interpreter(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = ["/proc/self/exe", "-c", "print(1)"]
    ran = runtime.run(bundle)
    assert ran.stdout != "1\n"


# -- descriptors and terminals ---------------------------------------------------------------------------------------


def test_preserved_descriptors_are_the_programs_and_no_others(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    bundle.script("cat <&3; ls /proc/$$/fd | tr '\\n' ' '")
    bundle.write()
    kept, other = os.open(tmp_path / "kept", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    script = 'kept=$1 other=$2; shift 2; exec "$@" 3<&"$kept" 5<&"$other"'
    arguments = [*runtime.command, *runtime.options, "run", "--preserve-fds", "1", "--bundle", str(bundle.path)]
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(kept), str(other), *arguments, runtime.new_id()],
        pass_fds=(kept, other),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("kept"), done.stderr
    assert set(done.stdout.removeprefix("kept").split()) <= {"0", "1", "2", "3", "4"}  # 4: of ls itself


def test_a_descriptor_to_preserve_must_be_open(runtime: Runtime, bundle: Bundle) -> None:
    ran = runtime.run(bundle, "--preserve-fds", "9")
    assert ran.status == 1
    assert "is not open" in ran.stderr


def receive_terminal(listener: socket.socket, found: list[int]) -> None:
    connection, _ = listener.accept()
    with connection:
        _data, descriptors, _flags, _address = socket.recv_fds(connection, 4096, 1)
        found += descriptors


def test_a_terminal_goes_to_the_console_socket(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    bundle.script("tty; stty size 2>/dev/null; sleep 600")
    found: list[int] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "c.sock"))
        listener.listen()
        thread = threading.Thread(target=receive_terminal, args=(listener, found))
        thread.start()
        name = runtime.create(bundle, "--console-socket", str(tmp_path / "c.sock"))
        thread.join(60)
    assert runtime.start(name).status == 0
    said = b""
    while b"/dev/pts/0" not in said:
        said += os.read(found[0], 4096)
    os.close(found[0])


def test_a_terminal_needs_somebody_at_its_other_end(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    ran = runtime.try_create(bundle)
    assert ran.status == 1
    assert "console socket" in ran.stderr


def test_run_carries_a_terminal(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.script('read line; echo "got $line"; tty; exit 5')
    bundle.write()
    master, slave = pty.openpty()
    command = [*runtime.command, *runtime.options, "run", "--bundle", str(bundle.path), runtime.new_id()]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, b"hello\n")
        said = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # the end of a terminal
                break
            if not part:
                break
            said += part
        assert process.wait(60) == 5
    os.close(master)
    assert b"got hello" in said
    assert b"/dev/pts/0" in said


# -- what is told ----------------------------------------------------------------------------------------------------


def test_list_shows_what_there_is(runtime: Runtime, running: str) -> None:
    assert runtime.call("list", "--quiet").stdout == f"{running}\n"
    (row,) = json.loads(runtime.call("list", "--format", "json").stdout)
    assert (row["id"], row["status"], row["pid"]) == (running, "running", runtime.state(running)["pid"])
    head, line = runtime.call("list").stdout.splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert line.split()[0] == running


def test_ps_shows_the_processes(runtime: Runtime, running: str) -> None:
    assert json.loads(runtime.call("ps", "-f", "json", running).stdout) == [runtime.state(running)["pid"]]
    if shutil.which("ps"):
        assert "sleep 600" in runtime.call("ps", running).stdout


def test_errors_go_to_the_log_in_the_form_that_was_asked_for(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    ran = runtime.call("--log", str(log), "--log-format", "json", "state", "nobody")
    line = json.loads(log.read_text())
    assert (line["level"], line["msg"]) == ("error", 'container "nobody" does not exist')
    assert ran.stderr == 'container "nobody" does not exist\n'
    ran = runtime.call("--log-format=text", "state", "nobody")
    assert 'level=error msg="container \\"nobody\\" does not exist"' in ran.stderr


def test_features_are_those_of_this_runtime(runtime: Runtime) -> None:
    found = json.loads(runtime.call("features").stdout)
    assert found["ociVersionMin"] == "1.0.0"
    assert found["ociVersionMax"].startswith("1.3")
    assert "rro" in found["mountOptions"]
    assert "SCMP_ACT_ERRNO" in found["linux"]["seccomp"]["actions"]
    assert found["linux"]["cgroup"]["systemd"] is False


def test_spec_writes_a_configuration_that_works(runtime: Runtime, bundle: Bundle) -> None:
    options = ["--rootless"] if os.geteuid() else []
    assert runtime.call("spec", *options, "--bundle", str(bundle.path)).status == 0
    bundle.spec = json.loads((bundle.path / "config.json").read_text())
    bundle.process.update(terminal=False, args=["echo", "works"])
    assert runtime.run(bundle).lines() == ["works"]
    again = runtime.call("spec", "--bundle", str(bundle.path))
    assert again.status == 1
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["checkpoint", "x"], "checkpoint is not supported"),
        (["restore", "x"], "restore is not supported"),
        (["--systemd-cgroup", "state", "x"], "systemd are not supported"),
        (["frobnicate"], "unknown operation"),
        (["state", "--nothing", "x"], "unknown option --nothing"),
        (["create"], "takes <container-id>"),
        (["--log-format", "xml", "state", "x"], "invalid log format"),
    ],
)
def test_what_is_not_done_is_refused_by_name(runtime: Runtime, arguments: list[str], words: str) -> None:
    ran = runtime.call(*arguments)
    assert ran.status != 0
    assert words in ran.stderr


def test_help_and_version(runtime: Runtime) -> None:
    assert "spec: 1.3" in runtime.call("--version").stdout
    assert "checkpoint" in runtime.call("--help").stdout


# -- cgroups ---------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_pause_and_resume(runtime: Runtime, running: str) -> None:
    assert runtime.call("pause", running).status == 0
    assert runtime.status(running) == "paused"
    assert "paused container" in runtime.call("exec", running, "true").stderr
    assert runtime.call("pause", running).status == 1
    assert runtime.call("resume", running).status == 0
    assert runtime.status(running) == "running"
    assert runtime.call("resume", running).status == 1


@pytest.mark.root
def test_a_paused_container_can_be_killed(runtime: Runtime, running: str) -> None:
    runtime.call("pause", running)
    assert runtime.kill(running).status == 0
    runtime.wait(running)


@pytest.mark.root
def test_update_changes_limits(runtime: Runtime, running: str) -> None:
    pid = runtime.state(running)["pid"]
    ran = runtime.call("update", "--pids-limit", "17", running)
    assert ran.status == 0, ran.stderr
    assert limit_of(pid, "pids", "pids.max") == "17"
    ran = runtime.call("update", "--resources", "-", running, stdin=json.dumps({"pids": {"limit": 19}}))
    assert ran.status == 0, ran.stderr
    assert limit_of(pid, "pids", "pids.max") == "19"
    assert runtime.call("update", "--memory", "much", running).status == 1


def limit_of(pid: int, controller: str, file: str) -> str:
    with open(f"/proc/{pid}/cgroup") as lines:
        for line in lines:
            _number, controllers, path = line.strip().split(":", 2)
            if controller in controllers.split(","):
                with open(f"/sys/fs/cgroup/{controller}{path}/{file}") as found:
                    return found.read().strip()
            if not controllers and os.path.exists(f"/sys/fs/cgroup{path}/{file}"):
                with open(f"/sys/fs/cgroup{path}/{file}") as found:
                    return found.read().strip()
    pytest.skip(f"no {controller} controller here")


@pytest.mark.root
def test_events_tell_figures(runtime: Runtime, running: str) -> None:
    event = json.loads(runtime.call("events", "--stats", running).stdout)
    assert (event["type"], event["id"]) == ("stats", running)
    assert event["data"]["pids"]["current"] >= 1


@pytest.mark.root
def test_kill_all_ends_what_outlives_the_first_process(runtime: Runtime, bundle: Bundle) -> None:
    bundle.without_namespace("pid")
    bundle.script("sleep 600 & exec sleep 601")
    name = runtime.create(bundle)
    runtime.start(name)
    while len(found := json.loads(runtime.call("ps", "-f", "json", name).stdout)) < 2:
        assert runtime.status(name) == "running"
    runtime.kill(name)
    runtime.wait(name)
    assert runtime.call("kill", "--all", name, "KILL").status == 0
    for pid in found:
        while namespaces.start_time(pid):
            time.sleep(0.01)
    assert runtime.delete(name).status == 0


# -- when something is killed ----------------------------------------------------------------------------------------


def start_slow_create(runtime: Runtime, bundle: Bundle) -> tuple[subprocess.Popen[bytes], str]:
    """A create that stands in a hook, as it would anywhere."""
    marker = bundle.path / "in-hook"
    slow: dict[str, Any] = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {marker}; exec sleep 600"]}
    bundle.spec["hooks"] = {"createRuntime": [{**slow, "env": ["PATH=/usr/bin:/bin"]}]}  # type: ignore[typeddict-unknown-key]
    bundle.write()
    name = runtime.new_id()
    command = [*runtime.command, *runtime.options, "create", "--bundle", str(bundle.path), name]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not marker.exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process, name


def end_hook(bundle: Bundle) -> None:
    """Kill the hook, once it sleeps."""
    while not (found := [pid for pid in os.listdir("/proc") if pid.isdigit() and is_hook(pid, bundle)]):
        time.sleep(0.01)
    for pid in found:
        os.kill(int(pid), signal.SIGKILL)


def is_hook(pid: str, bundle: Bundle) -> bool:
    try:
        cwd = os.readlink(f"/proc/{pid}/cwd")
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return cwd == str(bundle.path) and words.startswith(b"sleep")


def test_a_create_that_was_killed_leaves_a_container_that_can_be_deleted(runtime: Runtime, bundle: Bundle) -> None:
    process, name = start_slow_create(runtime, bundle)
    state = runtime.state(name)
    assert state["status"] == "creating"
    process.kill()
    process.wait()
    end_hook(bundle)
    runtime.wait(name)  # its init dies with it
    assert runtime.start(name).status == 1
    assert runtime.delete(name).status == 0
    assert runtime.status(name) == ""


def test_a_create_that_is_asked_to_end_takes_everything_back(runtime: Runtime, bundle: Bundle) -> None:
    process, name = start_slow_create(runtime, bundle)
    process.terminate()
    assert process.wait(60) != 0
    assert not any(is_hook(pid, bundle) for pid in os.listdir("/proc") if pid.isdigit())
    assert runtime.status(name) == ""


def test_delete_force_ends_a_create_that_does_not(runtime: Runtime, bundle: Bundle) -> None:
    process, name = start_slow_create(runtime, bundle)
    assert runtime.delete(name, force=True).status == 0
    assert process.wait(60) == 1
    assert runtime.status(name) == ""


def test_a_create_whose_hook_is_killed_takes_everything_back(runtime: Runtime, bundle: Bundle) -> None:
    process, name = start_slow_create(runtime, bundle)
    end_hook(bundle)
    assert process.wait(60) == 1
    assert runtime.status(name) == ""
    assert runtime.delete(name, force=True).status == 0


def test_a_pid_that_is_another_process_now_is_not_the_container(runtime: Runtime, running: str, tmp_path: Path) -> None:
    file = tmp_path / "state" / running / "state.json"
    state = json.loads(file.read_text())
    with subprocess.Popen(["sleep", "600"]) as other:
        file.write_text(json.dumps({**state, "pid": other.pid}))
        assert runtime.status(running) == "stopped"
        assert runtime.kill(running).status == 1
        assert other.poll() is None
        other.kill()
    file.write_text(json.dumps(state))


def test_a_container_of_before_a_restart_of_the_machine_is_stopped(
    runtime: Runtime, running: str, tmp_path: Path
) -> None:
    file = tmp_path / "state" / running / "state.json"
    state = json.loads(file.read_text())
    file.write_text(json.dumps({**state, "bootId": "another"}))
    assert runtime.status(running) == "stopped"
    file.write_text(json.dumps(state))


def test_delete_force_removes_what_runs_and_forgives_what_is_not(runtime: Runtime, running: str) -> None:
    pid = runtime.state(running)["pid"]
    assert runtime.delete(running, force=True).status == 0
    assert namespaces.start_time(pid) == 0
    assert runtime.delete(running, force=True).status == 0


def test_run_keeps_or_removes(runtime: Runtime, bundle: Bundle) -> None:
    bundle.script("exit 4")
    name = runtime.new_id()
    assert runtime.run(bundle, container=name).status == 4
    assert runtime.status(name) == ""
    assert runtime.run(bundle, "--keep", container=name).status == 4
    assert runtime.status(name) == "stopped"


def test_run_passes_signals_on(runtime: Runtime, bundle: Bundle) -> None:
    bundle.script('trap "exit 3" TERM; echo ready; while :; do sleep 0.02; done')
    bundle.write()
    command = [*runtime.command, *runtime.options, "run", "--bundle", str(bundle.path), runtime.new_id()]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(60) == 3


def test_two_starts_are_one(runtime: Runtime, bundle: Bundle) -> None:
    bundle.script("echo ran; exec sleep 600")
    out = bundle.path / "out"
    name = runtime.create(bundle, output=out)
    command = [*runtime.command, *runtime.options, "start", name]
    started = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert sorted(process.wait(60) for process in started) == [0, 1, 1, 1]
    while not out.read_text():
        assert runtime.status(name) == "running"
    assert out.read_text() == "ran\n"
