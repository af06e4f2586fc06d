"""Real containers and their monitors: attach, exec, logs, records, death of every process around a container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import CommandNotFound, ContainerNotRunning
from jupyter_containers.linux import cgroups, namespaces
from jupyter_containers.runtime import handle, lifecycle
from jupyter_containers.runtime.spawner import Spawner
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.runtime.protocol import ExecRequest, LaunchRequest

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    with Spawner() as started:
        yield started


class Box:
    """A container's directories and request."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = rootfs.make(tmp_path / "root")
        self.run = tmp_path / "run"
        self.state = tmp_path / "state"
        self.run.mkdir()
        self.state.mkdir()
        self.log = self.state / "log.json"

    def request(self, *args: str, **more: object) -> LaunchRequest:
        request = {
            "id": "test",
            "spec": rootfs.spec(self.root, *args),
            "run_dir": str(self.run),
            "state_dir": str(self.state),
            "log": {"path": str(self.log)},
        }
        return {**request, **more}  # type: ignore[typeddict-item]

    def entries(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def state_now(self) -> lifecycle.State:
        return lifecycle.read_state(str(self.run), str(self.state))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    return namespaces.start_time(pid) == 0


def executed(box: Box, *args: str, **more: object) -> tuple[int, str]:
    read, write = os.pipe()
    request: ExecRequest = {"process": rootfs.spec("", *args)["process"], **more}  # type: ignore[typeddict-item]
    try:
        with handle.execute(str(box.run), request, None, write, write) as process:
            os.close(write)
            write = -1
            data = b""
            while chunk := os.read(read, 65536):
                data += chunk
            status = process.wait(10)
            assert status is not None
            return status["code"], data.decode()
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


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
        handle.attach(str(box.run), in_read, out_write)
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
    script = "dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\\0' '\\n'; echo done >&2; sleep 60"
    with spawner.launch(box.request("sh", "-c", script), None, write) as process:
        os.close(write)
        eventually(lambda: '"done\\n"' in box.log.read_text()[-300:], 60)
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


def owner(tmp_path: Path, request: LaunchRequest) -> tuple[subprocess.Popen[str], int, int]:
    import marshal

    import jupyter_containers

    (tmp_path / "request").write_bytes(marshal.dumps(dict(request)))
    package = os.path.dirname(os.path.dirname(os.path.abspath(jupyter_containers.__file__)))
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, package, str(tmp_path / "request")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, spawner_pid = map(int, process.stdout.readline().split())
    process.stdout.close()
    return process, pid, spawner_pid


def test_the_death_of_the_owner_ends_a_foreground_container(box: Box, tmp_path: Path) -> None:
    mark = tmp_path / "cleaned"
    engine, pid, spawner_pid = owner(tmp_path, box.request("sleep", "60", cleanup=["/bin/busybox", "touch", str(mark)]))
    assert box.state_now().status == "running"
    engine.kill()
    engine.wait()
    eventually(lambda: gone(pid) and gone(spawner_pid))
    eventually(lambda: box.state_now().status == "exited")
    eventually(mark.exists)


def test_a_detached_container_survives_its_owner(box: Box, tmp_path: Path) -> None:
    mark = tmp_path / "cleaned"
    request = box.request("sh", "-c", "sleep 0.5; exit 4", detach=True, cleanup=["/bin/busybox", "touch", str(mark)])
    engine, pid, spawner_pid = owner(tmp_path, request)
    engine.kill()
    engine.wait()
    eventually(lambda: gone(spawner_pid))
    assert not gone(pid)
    with handle.connect(str(box.run)) as process:
        assert process.pid == pid
        status = process.wait(10)
    assert status is not None
    assert status["code"] == 4
    eventually(mark.exists)


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
        record = lifecycle.read_record(str(box.run))
        assert record is not None
        os.kill(record["monitor"]["pid"], signal.SIGKILL)
        status = process.wait(10)
        assert status is not None
        assert (status["code"], status["cause"]) == (137, "its monitor was killed")
        eventually(lambda: gone(process.pid))
    eventually(lambda: box.state_now().status == "dead")
    lifecycle.kill_leftovers(str(box.run))
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
    host = cgroups.CgroupHost.detect()
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
