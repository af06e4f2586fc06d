"""Real containers and their monitors: attach, exec, logs, records, death of every process around a container."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import CommandNotFound, Conflict, ContainerNotRunning, StartFailed
from jupyter_containers.linux import namespaces
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.runtime import handle, lifecycle
from jupyter_containers.runtime.spawner import Spawner
from tests.support import rootfs
from tests.support.monitored import Box, eventually, executed, gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.runtime.protocol import ExecRequest, LaunchRequest

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    with Spawner() as started:
        yield started


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_the_log_is_in_dockers_form(spawner: Spawner, box: Box) -> None:
    script = "echo one; echo two >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf end"
    with spawner.launch(box.request("sh", "-c", script)) as process:
        process.wait(10)
    entries = box.entries()
    assert {tuple(sorted(entry)) for entry in entries} == {("log", "stream", "time")}
    out = [entry["log"] for entry in entries if entry["stream"] == "stdout"]
    assert out == ["one\n", "x" * 16384, "x" * 3616 + "\n", "end"]
    assert [entry["log"] for entry in entries if entry["stream"] == "stderr"] == ["two\n"]


def test_the_exit_record_outlives_everything(spawner: Spawner, box: Box) -> None:
    assert box.state_now().status == "created"
    with spawner.launch(box.request("sh", "-c", "sleep 0.2; exit 3")) as process:
        assert box.state_now().status == "running"
        assert box.state_now().pid == process.pid
        status = process.wait(10)
    state = box.state_now()
    assert (state.status, state.exit) == ("exited", status)
    assert status is not None
    assert status["code"] == 3
    assert os.listdir(box.run) == []


@pytest.mark.parametrize(("told", "kept"), [(True, False), (False, True)])
def test_how_one_ended_that_is_thrown_away_is_written_down_where_its_owner_cannot_hear_it(
    spawner: Spawner, box: Box, told: bool, kept: bool
) -> None:
    with spawner.launch(box.request("sleep", "60", throwaway=True)) as process:
        if not told:
            process.leave(untie=True)
        else:
            process.kill()
            assert process.wait(10) is not None
    if not told:
        with handle.connect(str(box.run)) as again:
            again.kill()
            assert again.wait(10) is not None
    eventually(lambda: os.listdir(box.run) == [])
    assert (box.state / "exit").exists() is kept
    assert not box.log.exists()


def test_a_monitor_that_waits_gives_back_the_program_it_is_made_of(spawner: Spawner, box: Box) -> None:
    with spawner.launch(box.request("sleep", "60")) as process:
        monitor = namespaces.parent(process.pid)
        before = resident(monitor)
        eventually(lambda: resident(monitor) < 0.75 * before)
        assert executed(box, "sh", "-c", "exit 5")[0] == 5
        process.kill()
        process.wait(10)


def resident(pid: int) -> int:
    """Bytes of programs and libraries that a process has in memory."""
    total, counts = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            counts = fields[1][1] == "-" and fields[4] != "0"
        elif counts and fields[0] == "Rss:":
            total += int(fields[1]) * 1024
    return total


def test_exec_has_a_status_of_its_own(spawner: Spawner, box: Box) -> None:
    with spawner.launch(box.request("sleep", "60")) as process:
        code, out = executed(box, "sh", "-c", "hostname; id -u; ps | grep -c '[s]leep 60'; exit 5")
        assert code == 5
        assert out.splitlines() == ["box", "0", "1"]
        with pytest.raises(CommandNotFound, match='"nosuch"'):
            executed(box, "nosuch")
        for kind in rootfs.NAMESPACES:
            name = namespaces.FILES[kind]
            assert executed(box, "readlink", f"/proc/self/ns/{name}")[1].strip() == os.readlink(
                f"/proc/{process.pid}/ns/{name}"
            )
        assert process.poll() is None
        process.kill()
        process.wait(10)
    with pytest.raises(ContainerNotRunning):
        executed(box, "true")


def test_exec_with_a_terminal(spawner: Spawner, box: Box) -> None:
    read, write = os.pipe()
    process_spec = rootfs.spec("", "sh", "-c", "tty; stty size; sleep 0.3; stty size")["process"]
    process_spec["terminal"] = True
    process_spec["consoleSize"] = {"height": 11, "width": 22}
    with spawner.launch(box.request("sleep", "60")) as container:
        with handle.execute(str(box.run), {"process": process_spec}, None, write) as process:
            os.close(write)
            data = b""
            while b"22" not in data:
                data += os.read(read, 4096)
            process.resize(44, 55)
            while chunk := os.read(read, 4096):
                data += chunk
            assert process.wait(10) is not None
        container.kill()
        container.wait(10)
    os.close(read)
    assert data.decode().split() == ["/dev/pts/0", "11", "22", "44", "55"]


def test_an_exec_dies_with_its_client_and_a_detached_one_does_not(spawner: Spawner, box: Box) -> None:
    with spawner.launch(box.request("sleep", "60")) as container:
        process_spec = rootfs.spec("", "sleep", "50")["process"]
        with handle.execute(str(box.run), {"process": process_spec}) as tied:
            pass
        with handle.execute(str(box.run), {"process": process_spec, "detach": True}) as free:
            pass
        eventually(lambda: gone(tied.pid))
        assert not gone(free.pid)
        container.kill()
        container.wait(10)
        eventually(lambda: gone(free.pid))


def test_attach_sees_output_and_gives_input(spawner: Spawner, box: Box) -> None:
    request = box.request("sh", "-c", "while read line; do echo got $line; done; echo end", open_stdin=True)
    request["stdin_once"] = True
    with spawner.launch(request) as process:
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()
        handle.attach(str(box.run), in_read, out_write).close()
        os.close(out_write)
        os.close(in_read)
        os.write(in_write, b"a\nb\n")
        os.close(in_write)
        data = b""
        while chunk := os.read(out_read, 4096):
            data += chunk
        os.close(out_read)
        assert data == b"got a\ngot b\nend\n"
        assert process.wait(10) is not None


def test_a_client_that_stops_reading_does_not_stop_the_container(spawner: Spawner, box: Box) -> None:
    read, write = os.pipe()
    script = f"yes {'x' * 63} | head -c {64 * 65536}; echo done >&2; sleep 60"
    with spawner.launch(box.request("sh", "-c", script), None, write) as process:
        os.close(write)
        eventually(lambda: box.log.exists() and '"done\\n"' in box.log.read_text()[-300:], 60)
        time.sleep(0.1)
        process.kill()
        status = process.wait(10)
        assert status is not None
        data = 0
        while chunk := os.read(read, 1 << 20):
            data += len(chunk)
        assert data == 64 * 65536
    os.close(read)
    assert sum(len(entry["log"]) for entry in box.entries() if entry["stream"] == "stdout") == 64 * 65536


def test_a_client_that_is_gone_does_not_end_the_container(spawner: Spawner, box: Box) -> None:
    read, write = os.pipe()
    with spawner.launch(
        box.request("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.05; done"), None, write
    ) as process:
        os.close(write)
        os.close(read)
        status = process.wait(10)
    assert status is not None
    assert status["code"] == 0
    assert [entry["log"] for entry in box.entries()] == ["1\n", "2\n", "3\n"]


OWNER = """
import sys, os, time, marshal
sys.path.insert(0, sys.argv[1])
from jupyter_containers.runtime.spawner import Spawner
spawner = Spawner()
process = spawner.launch(marshal.loads(open(sys.argv[2], "rb").read()))
print(process.pid, spawner.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def owner(tmp_path: Path, request: LaunchRequest) -> Iterator[tuple[int, int]]:
    """A process with a container, killed at the end: the pids of the container and of its spawner."""
    import marshal

    import jupyter_containers

    (tmp_path / "request").write_bytes(marshal.dumps(dict(request)))
    package = os.path.dirname(os.path.dirname(os.path.abspath(jupyter_containers.__file__)))
    command = [sys.executable, "-c", OWNER, package, str(tmp_path / "request")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            pid, spawner_pid = map(int, process.stdout.readline().split())
            yield pid, spawner_pid
        finally:
            process.kill()


def test_the_death_of_the_owner_ends_a_foreground_container(box: Box, tmp_path: Path) -> None:
    request = box.request("sleep", "60")
    with owner(tmp_path, request) as (pid, spawner_pid):
        assert box.state_now().status == "running"
    eventually(lambda: gone(pid) and gone(spawner_pid))
    eventually(lambda: box.state_now().status == "exited")


def test_a_detached_container_survives_its_owner(box: Box, tmp_path: Path) -> None:
    request = box.request("sh", "-c", "sleep 0.5; exit 4", detach=True)
    with owner(tmp_path, request) as (pid, spawner_pid):
        assert not gone(pid)
    eventually(lambda: gone(spawner_pid))
    assert not gone(pid)
    with handle.connect(str(box.run)) as process:
        assert process.pid == pid
        status = process.wait(10)
    assert status is not None
    assert status["code"] == 4


def test_the_death_of_the_spawner_ends_nothing(box: Box) -> None:
    with Spawner() as spawner:
        with spawner.launch(box.request("sleep", "60")) as process:
            os.kill(spawner.pid, signal.SIGKILL)
            eventually(lambda: gone(spawner.pid))
            assert process.poll() is None
            process.kill()
            assert process.wait(10) is not None
        with spawner.launch(box.request("true")) as process:  # by a new one
            status = process.wait(10)
            assert status is not None
            assert status["code"] == 0


def test_the_death_of_the_monitor_ends_its_container(spawner: Spawner, box: Box) -> None:
    with spawner.launch(box.request("sleep", "60", detach=True)) as process:
        record = lifecycle.read_record(str(box.state))
        assert record is not None
        os.kill(record["monitor"]["pid"], signal.SIGKILL)
        status = process.wait(10)
        assert status is not None
        assert (status["code"], status["cause"]) == (137, "its monitor was killed")
        eventually(lambda: gone(process.pid))
    eventually(lambda: box.state_now().status == "dead")
    lifecycle.kill_leftovers(str(box.run), str(box.state))
    assert os.listdir(box.run) == []


def test_a_run_directory_with_a_long_path(spawner: Spawner, box: Box, tmp_path: Path) -> None:
    box.run = tmp_path / ("d" * 100) / ("e" * 100)
    box.run.mkdir(parents=True)
    with spawner.launch(box.request("sleep", "60")) as process:
        assert executed(box, "echo", "hello") == (0, "hello\n")
        process.kill()
        process.wait(10)


def test_memory_is_watched_where_no_cgroup_can(spawner: Spawner, box: Box) -> None:
    script = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); sleep 60"
    with spawner.launch(box.request("sh", "-c", script, memory_watch=32 << 20)) as process:
        status = process.wait(60)
    assert status is not None
    assert (status["code"], status["oom_killed"]) == (137, True)
    assert "the limit is 32 MiB" in status["cause"]


@pytest.mark.root
def test_cgroups_limit_count_and_go_away(spawner: Spawner, box: Box, tmp_path: Path) -> None:
    host = CgroupHost.detect()
    if not host.can_limit("memory"):
        pytest.skip(host.why_not("memory"))
    name = f"test-{os.getpid()}-{tmp_path.name[-20:]}"
    plan = host.plan(name, {"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    script = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived"
    with spawner.launch(box.request("sh", "-c", script, cgroup=plan)) as process:
        status = process.wait(30)
    assert status is not None
    assert status["oom_killed"]
    assert "limit 32 MiB" in status["cause"]
    assert status["usage"]["memory_peak"] > 16 << 20
    assert name not in host.existing()


@pytest.mark.root
def test_an_exec_that_cannot_have_the_cgroup_leaves_the_container_alone(spawner: Spawner, box: Box) -> None:
    plan = CgroupHost.detect().plan(f"test-{os.getpid()}-exec")
    if plan is None or not plan["dirs"]:
        pytest.skip("needs control groups of version 1")
    with spawner.launch(box.request("sleep", "100", cgroup=plan)) as process:
        for directory in plan["dirs"].values():
            Path(directory).parent.joinpath("cgroup.procs").write_text(str(process.pid))
            Path(directory).rmdir()
        with pytest.raises(StartFailed, match=r"\(cgroup\): No such file or directory .*tasks"):
            executed(box, "true")
        assert box.state_now().status == "running"
        process.kill()
        assert process.wait(10) is not None


def test_an_exec_that_a_container_takes_with_it_was_not_started(spawner: Spawner, box: Box, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    directory = tmp_path / "cgroup"
    directory.mkdir()
    tasks = directory / "tasks"
    tasks.touch()
    plan = {"name": "x", "dirs": {"x": str(directory)}, "unified": "", "writes": [], "device_program": b""}
    with ThreadPoolExecutor(1) as pool, spawner.launch(box.request("sleep", "100", cgroup=plan)) as process:
        tasks.unlink()
        os.mkfifo(tasks)
        reader = os.open(tasks, os.O_RDWR | os.O_NONBLOCK)
        _fill(reader)  # holds the process between the clone and the permission to go on
        asked = pool.submit(executed, box, "true")
        record = lifecycle.read_record(str(box.state))
        assert record is not None
        monitor = record["monitor"]["pid"]
        children = Path(f"/proc/{monitor}/task/{monitor}/children")
        eventually(lambda: sum(_depth(pid) > _depth(monitor) for pid in children.read_text().split()) == 2)
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: namespaces.exiting(process.pid))
        os.close(reader)
        with pytest.raises(ContainerNotRunning, match="the container is not running"):
            asked.result(10)
        assert process.wait(10) is not None


def _depth(pid: int | str) -> int:
    """How many pid namespaces a process has a number in, from this one on; 0 when it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return len(status.partition("NSpid:")[2].partition("\n")[0].split())


def _fill(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, bytes(1 << 16)):
            pass


@pytest.mark.root
def test_leftovers_in_the_hosts_pid_namespace_end_with_the_container(spawner: Spawner, box: Box) -> None:
    request = box.request("sh", "-c", "sleep 77 & sleep 78 & echo $!; sleep 0.2")
    request["spec"]["linux"]["namespaces"] = [{"type": "mount"}, {"type": "network"}, {"type": "ipc"}]
    del request["spec"]["hostname"]
    with spawner.launch(request) as process:
        assert process.wait(10) is not None
    pid = int(box.entries()[0]["log"])
    eventually(lambda: gone(pid))


def test_many_at_once_from_many_threads(spawner: Spawner, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    boxes = []
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        boxes.append(Box(tmp_path / str(number)))

    def one(number: int) -> int:
        with spawner.launch(boxes[number].request("sh", "-c", f"exit {number}")) as process:
            status = process.wait(20)
            assert status is not None
            return status["code"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == list(range(8))


DIES_WHILE_IT_HOLDS = """
import json, os, signal, sys
from jupyter_containers.runtime.spawner import Spawner
def created(pid):
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
Spawner().launch(json.load(sys.stdin), created=created)
"""


@pytest.mark.parametrize("detach", [True, False])
def test_a_start_that_is_held_ends_with_its_engine(box: Box, detach: bool) -> None:
    request = {**box.request("sleep", "100", hold=True, detach=detach), "seccomp": ""}
    ended = subprocess.run(
        [sys.executable, "-c", DIES_WHILE_IT_HOLDS],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    eventually(lambda: gone(int(ended.stdout)))
    eventually(lambda: box.state_now().status == "created")  # its program never ran


def test_a_policy_starts_it_again_until_it_is_stopped(spawner: Spawner, box: Box) -> None:
    request = box.request("sh", "-c", "echo run; exit 3", restart={"name": "always", "most": 0}, detach=True)
    spawner.launch(request).close()
    eventually(lambda: box.state_now().status == "restarting" and box.state_now().restarts > 1)
    state = box.state_now()
    assert state.exit is not None
    assert state.exit["code"] == 3
    with handle.connect(str(box.run)) as process:
        process.signal(signal.SIGTERM, final=True)
        assert process.wait(10) is not None
    eventually(lambda: box.state_now().status == "exited")
    state = box.state_now()
    assert state.exit is not None
    assert (state.exit["code"], state.exit.get("stopped")) == (3, True)
    assert len(box.entries()) in {state.restarts, state.restarts + 1}  # the last one may have been waiting
    assert os.listdir(box.run) == []


def test_a_policy_with_a_maximum_gives_up(spawner: Spawner, box: Box) -> None:
    request = box.request("sh", "-c", "exit 4", restart={"name": "on-failure", "most": 2}, detach=True)
    spawner.launch(request).close()
    eventually(lambda: box.state_now().status == "exited")
    state = box.state_now()
    assert state.exit is not None
    assert (state.exit["code"], state.restarts, state.exit.get("stopped")) == (4, 2, False)


def test_a_start_that_fails_after_a_run_is_the_end(spawner: Spawner, box: Box) -> None:
    (box.root / "program").write_text("#!/bin/sh\nrm /program; exit 1\n")
    (box.root / "program").chmod(0o755)
    spawner.launch(box.request("/program", restart={"name": "always", "most": 0}, detach=True)).close()
    eventually(lambda: box.state_now().status == "exited")
    state = box.state_now()
    assert state.exit is not None
    assert state.exit["code"] == 127
    assert "could not be started again" in state.exit["cause"]


def test_a_paused_container_stands_still(spawner: Spawner, box: Box) -> None:
    with spawner.launch(box.request("sh", "-c", "while true; do echo x; sleep 0.02; done")) as process:
        eventually(box.log.exists)
        assert process.ask({"kind": "pause", "paused": True}) == {"kind": "done"}
        assert box.state_now().status == "paused"
        time.sleep(0.1)
        before = len(box.entries())
        time.sleep(0.2)
        assert len(box.entries()) == before
        with pytest.raises(Conflict, match="paused"):
            executed(box, "true")
        with pytest.raises(Conflict, match="already paused"):
            process.ask({"kind": "pause", "paused": True})
        assert process.ask({"kind": "pause", "paused": False}) == {"kind": "done"}
        eventually(lambda: len(box.entries()) > before)
        process.ask({"kind": "pause", "paused": True})
        process.kill()
        assert process.wait(10) is not None


def test_a_health_check_is_told_of(spawner: Spawner, box: Box) -> None:
    check = {
        "process": rootfs.spec("", "sh", "-c", "echo looked; test ! -e /bad")["process"],
        "interval": 0.05,
        "start_interval": 0.05,
        "timeout": 10,
        "start_period": 0,
        "retries": 2,
    }
    events = box.state / "events"
    request = box.request("sleep", "60", health=check, events={"path": str(events), "attributes": {"name": "box"}})

    def status() -> str:
        return str((box.state_now().health or {}).get("status"))

    with spawner.launch(request) as process:
        eventually(lambda: status() == "healthy")
        assert (box.state_now().health or {})["log"][-1][2:] == [0, "looked\n"]
        (box.root / "bad").touch()
        eventually(lambda: status() == "unhealthy")
        process.kill()
        process.wait(10)
    told = [json.loads(line)["Action"] for line in events.read_text().splitlines()]
    assert told == ["start", "health_status: healthy", "health_status: unhealthy", "die"]


def test_a_health_check_that_hangs_has_failed(spawner: Spawner, box: Box) -> None:
    check = {"process": rootfs.spec("", "sleep", "60")["process"], "interval": 0.01, "start_interval": 0.01}
    request = box.request("sleep", "60", health={**check, "timeout": 0.1, "start_period": 0, "retries": 1})
    with spawner.launch(request) as process:
        eventually(lambda: (box.state_now().health or {}).get("status") == "unhealthy")
        assert "exceeded timeout (0.1s)" in (box.state_now().health or {})["log"][0][3]
        process.kill()
        process.wait(10)


def test_what_became_of_a_detached_exec_can_be_asked(spawner: Spawner, box: Box) -> None:
    with spawner.launch(box.request("sleep", "60")) as container:
        request: ExecRequest = {
            "process": rootfs.spec("", "sh", "-c", "exit 7")["process"],
            "detach": True,
            "exec_id": "e1",
        }
        handle.execute(str(box.run), request).close()

        def known() -> dict[str, object]:
            (found,) = container.ask({"kind": "execs"})["execs"]
            return dict(found)

        eventually(lambda: not known()["running"])
        assert (known()["id"], known()["code"], known()["args"]) == ("e1", 7, ["sh", "-c", "exit 7"])
        container.kill()
        container.wait(10)


def test_a_client_that_leaves_takes_its_input_along_and_ends_nothing(spawner: Spawner, box: Box) -> None:
    request = box.request("sh", "-c", "while read line; do echo got $line; done; echo end", open_stdin=True)
    with spawner.launch({**request, "stdin_once": True}) as process:
        read, write = os.pipe()
        with handle.attach(str(box.run), read) as attached:
            os.close(read)
            os.write(write, b"a\n")
            eventually(lambda: box.log.exists() and len(box.entries()) == 1)
            attached.leave()
        os.close(write)
        time.sleep(0.1)
        assert process.poll() is None
        assert [entry["log"] for entry in box.entries()] == ["got a\n"]
        process.kill()
        process.wait(10)
