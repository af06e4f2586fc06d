"""Running processes go to another store by CRIU: what they had in memory goes on, once, whatever is killed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import urllib.request
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.engine.move import live
from jupyter_containers.errors import Conflict, Unavailable, Unsupported
from tests.support import leaks
from tests.support.moves import KILLED_AT_FRAME, await_receivers, where

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root

# A number that is in the memory of a process only. What is printed is kept by the monitor: none may come twice.
COUNT = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /kept/next; mv /kept/next /kept/last; sleep 0.05; done"
SOURCE = textwrap.dedent("""
    import os, signal, sys
    from jupyter_containers import Engine
    from jupyter_containers.engine.move import channel as move_channel
    from jupyter_containers.engine.move import moving
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
    whole = move_channel.Channel.send
    def send(self, kind, **fields):
        whole(self, kind, **fields)
        if kind == sys.argv[1]:
            die()
    move_channel.Channel.send = send
    if sys.argv[1] == "removal":
        moving.remove = lambda parts, record: die()
    Engine().containers.move("job", sys.argv[2], live=True)
""")
TARGET = textwrap.dedent("""
    import sys
    from jupyter_containers import Engine
    Engine(sys.argv[2]).containers.receive(sys.stdin.buffer, sys.stdout.buffer)
""")
# Killed when the processes go on here, and nobody has been told.
KILLED_WHEN_IT_RUNS = textwrap.dedent("""
    import os, signal, sys
    from jupyter_containers.engine.move import live
    def clear(parts, record):
        os.kill(os.getpid(), signal.SIGKILL)
    live.clear = clear
""")


@pytest.fixture(autouse=True)
def criu() -> None:
    """Skip where it does not work, with what it says."""
    try:
        live.program()
    except Unsupported as error:
        pytest.skip(error.message)


@pytest.fixture
def counting(engine: Engine) -> Engine:
    """An engine with a container ``job`` that counts."""
    engine.images.pull("starter")
    start(engine)
    return engine


def start(engine: Engine, script: str = COUNT, **options: object) -> None:
    options = {"network": "none", "volume": "kept:/kept", **options}
    engine.containers.run("starter", ["sh", "-c", script], detach=True, name="job", **options)  # type: ignore[arg-type]


def numbers(engine: Engine) -> list[int]:
    return [int(entry.data) for entry in engine.containers.logs("job") if entry.data.strip()]


def goes_on(engine: Engine) -> int:
    """Wait until it has counted on by three; nothing is missing, and nothing was counted twice. The last number."""
    first = len(numbers(engine))
    leaks.wait_until(lambda: len(numbers(engine)) >= first + 3, what="the next numbers", seconds=20)
    found = numbers(engine)
    assert found == list(range(1, len(found) + 1))
    return found[-1]


def state(engine: Engine) -> str:
    (row,) = engine.containers.list(all=True)
    return row.state


def sh(engine: Engine, script: str) -> str:
    done = engine.containers.exec("job", ["sh", "-c", script])
    assert isinstance(done, RunResult)
    return done.stdout


LOOK = """
cat /dev/shm/memory /scratch/file /mine; id -u; hostname; stat -c '%a %u' / /tmp /kept
touch /etc/x 2>&1; grep -E 'Cap|NoNew|Seccomp' /proc/1/status; cat /proc/1/oom_score_adj /proc/sys/kernel/msgmax
cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>&1; grep -c . /proc/1/mountinfo; ls /proc/1/fd | wc -l
cat /proc/1/cgroup; ls /dev; touch /ro/x 2>&1; cat /proc/keys /etc/hosts
"""


def test_what_runs_is_moved_and_goes_on(counting: Engine, other: Path, tmp_path: Path) -> None:
    counting.containers.remove("job", force=True)
    start(
        counting,
        f"echo in memory > /dev/shm/memory; echo scratch > /scratch/file; {COUNT}",
        memory="64m",
        pids_limit=50,
        tmpfs="/scratch",
        volume=["kept:/kept", f"{tmp_path}:/ro:ro"],
        oom_score_adj=300,
        sysctl="kernel.msgmax=9000",
        cap_drop="CHOWN",
        hostname="there",
        restart="always",
    )
    sh(counting, "echo mine > /mine")
    goes_on(counting)
    before, identity = sh(counting, LOOK), counting.containers.get("job").id
    moved = counting.containers.move("job", str(other), live=True)
    assert (moved.name, moved.started, moved.failed) == ("job", True, "")
    assert counting.containers.list(all=True) == []
    assert counting.volumes.list() == []
    with Engine(other) as engine:
        assert engine.containers.get("job").id == identity
        assert not (other / "containers" / identity / live.DIRECTORY).exists()
        last = goes_on(engine)
        assert int(sh(engine, "cat /kept/last")) >= last
        assert sh(engine, LOOK) == before
        engine.containers.pause("job")
        engine.containers.unpause("job")
        goes_on(engine)
        engine.containers.stop("job", time=0)
        assert state(engine) == "exited"
        engine.containers.start("job")  # begins anew
        leaks.wait_until(lambda: numbers(engine)[-3:] == [1, 2, 3], what="the first numbers")


def test_a_policy_starts_it_again(counting: Engine, other: Path) -> None:
    counting.containers.update("job", restart="always")
    counting.containers.move("job", str(other), live=True)
    with Engine(other) as engine:
        pid = engine.containers.list()[0].pid
        assert pid is not None
        last = goes_on(engine)
        os.kill(pid, signal.SIGKILL)
        leaks.wait_until(lambda: numbers(engine)[last:].count(1) == 1, what="its start")
        assert engine.containers.list()[0].pid != pid


SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    seen = 0
    def do_GET(self):
        Handler.seen += 1
        self.send_response(200); self.end_headers(); self.wfile.write(b"%d" % Handler.seen)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", 80), Handler)
print("serves", flush=True)
server.serve_forever()
"""


def test_a_server_is_reached_where_it_is(apart: None, engine: Engine, other: Path) -> None:  # noqa: ARG001
    """By its published port, by name from a neighbour, and it knows how often it was asked."""
    engine.images.pull("starter-python")
    with Engine(other) as there:
        for each in (engine, there):
            each.networks.create("front")
        engine.containers.run(
            "starter-python", ["python3", "-c", SERVE], detach=True, name="job", network="front", publish="80"
        )
        leaks.wait_until(lambda: b"serves" in b"".join(e.data for e in engine.containers.logs("job")), what="it")
        assert [ask(engine) for _ in range(3)] == ["1", "2", "3"]
        engine.containers.move("job", str(other), live=True)
        assert [ask(there) for _ in range(2)] == ["4", "5"]
        found = there.containers.run("starter", ["wget", "-qO-", "http://job"], network="front", remove=True)
        assert isinstance(found, RunResult)
        assert found.stdout == "6"


def ask(engine: Engine) -> str:
    (row,) = engine.containers.list()
    address = row.ports.partition("->")[0]
    with urllib.request.urlopen(f"http://{address}", timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tty": True}, "--tty"),
        ({"init": True}, "--init"),
        ({"pid": "host"}, "--pid host"),
        ({"ipc": "host"}, "--ipc host"),
        ({"mount": "type=image,source=starter,target=/image"}, "the image mount on /image"),
    ],
)
def test_what_cannot_be_moved_is_named_and_goes_on(
    counting: Engine, other: Path, options: dict[str, object], reason: str
) -> None:
    counting.containers.remove("job", force=True)
    start(counting, "sleep 1000", **options)
    with pytest.raises(Unsupported, match=f"job cannot be moved while it runs: it has {reason}"):
        counting.containers.move("job", str(other), live=True)
    assert state(counting) == "running"
    assert where(counting, other) == (["job"], [])


def test_a_move_that_fails_lets_it_go_on(
    counting: Engine, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_PATIENCE", 0.2)
    counting.containers.pause("job")
    with pytest.raises(Conflict, match="is paused"):
        counting.containers.move("job", str(other), live=True)
    counting.containers.unpause("job")
    counting.containers.exec("job", ["sleep", "1000"], detach=True)
    with pytest.raises(Conflict, match="something is executed in job"):
        counting.containers.move("job", str(other), live=True)
    sh(counting, "pkill -x -f 'sleep 1000'")
    with Engine(other) as engine:
        engine.volumes.create("kept")
        with pytest.raises(Conflict, match='volume name "kept"'):
            counting.containers.move("job", str(other), live=True)
        engine.volumes.remove("kept")
    goes_on(counting)
    counting.containers.remove("job", force=True, volumes=True)
    # A file that is bound and was removed: it can be dumped, and not be made anew.
    bound = tmp_path / "bound"
    bound.touch()
    start(counting, volume=["kept:/kept", f"{bound}:/bound"])
    bound.unlink()
    bound.mkdir()
    with pytest.raises(Conflict, match="cannot start the container"):
        counting.containers.move("job", str(other), live=True)
    goes_on(counting)
    assert where(counting, other) == (["job"], [])
    with Engine(other) as engine:
        assert engine.volumes.list() == []


@pytest.mark.parametrize(
    "step", ["hello", "contents", "volume", "layer", "enter", "state", "commit", "removal", "leave"]
)
def test_the_source_is_killed_after_a_step(counting: Engine, other: Path, store_root: Path, step: str) -> None:
    done = subprocess.run([sys.executable, "-c", SOURCE, step, str(other)], check=False)
    assert done.returncode == -signal.SIGKILL
    await_receivers(other)
    with Engine(store_root) as again, Engine(other) as engine:
        here, there = where(again, other)
        assert sorted([*here, *there]) == ["job"], (here, there)
        assert bool(there) == (step in {"commit", "removal", "leave"})
        goes_on(again if here else engine)
        assert counting.volumes.list() == [] or bool(here)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Path) -> Callable[..., None]:
    """By way of ssh: a program in its place that runs a script here, as the target."""
    ssh = tmp_path / "ssh"
    monkeypatch.setenv("JUPYTER_CONTAINERS_SSH", str(ssh))

    def write(script: str, frame: int = 1000) -> None:
        command = shlex.join([sys.executable, "-c", script, str(frame), str(other)])
        ssh.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
        ssh.chmod(0o755)

    return write


def test_the_target_is_killed_at_any_step(
    counting: Engine, other: Path, store_root: Path, target: Callable[..., None]
) -> None:
    scripts = [(KILLED_AT_FRAME + TARGET, frame) for frame in range(1, 5)]
    for script, frame in [(KILLED_WHEN_IT_RUNS + TARGET, 0), *scripts]:
        target(script, frame)
        try:
            counting.containers.move("job", "ssh://there", live=True)
        except Unavailable as error:
            outcome = str(error)
        else:
            outcome = "moved"
        if "it may be there" in outcome:
            assert state(counting) == "paused"
            with pytest.raises(Conflict, match="it may be there"):
                counting.containers.unpause("job")
            target(TARGET)
            counting.containers.move("job", "ssh://there", live=True)
        here, there = where(counting, other)
        assert sorted([*here, *there]) == ["job"], (frame, here, there, outcome)
        if here:
            goes_on(counting)
            continue
        with Engine(other) as engine:
            goes_on(engine)
            engine.containers.move("job", str(store_root), live=True)
        goes_on(counting)


def test_what_has_not_come_whole_is_given_up(counting: Engine, other: Path, target: Callable[..., None]) -> None:
    """The target is killed when the processes run there: its next command ends them."""
    target(KILLED_WHEN_IT_RUNS + TARGET)
    with pytest.raises(Unavailable, match="it may be there"):
        counting.containers.move("job", "ssh://there", live=True)
    told: list[object] = []
    with Engine(other, on_event=told.append) as engine:
        assert engine.containers.list(all=True) == []
        assert engine.volumes.list() == []
    assert any("did not come here whole" in str(event) for event in told)
    target(TARGET)
    counting.containers.move("job", "ssh://there", live=True)
    with Engine(other) as engine:
        goes_on(engine)
