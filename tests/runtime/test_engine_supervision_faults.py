"""A monitor killed in every state its container can be in: the next command puts things right."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Container, Engine
from jupyter_containers.errors import ContainerNotRunning
from jupyter_containers.linux import namespaces
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDS_AT_ONCE = ["sh", "-c", "exit 3"]


@pytest.fixture
def box(engine: Engine) -> Engine:
    """An engine with the starter image."""
    engine.images.pull("starter")
    return engine


def detached(engine: Engine, *command: str, **keywords: Any) -> Container:
    made = engine.containers.run("starter", list(command), detach=True, network="none", name="job", **keywords)
    assert isinstance(made, Container)
    return made


def state(engine: Engine) -> str:
    return next((row.state for row in engine.containers.list(all=True) if row.name == "job"), "gone")


def kill_monitor(root: Path, identity: str) -> int:
    """Kill it; the pid of its container's init."""
    record = json.loads((root / "containers" / identity / "monitor.json").read_text())
    os.kill(record["monitor"]["pid"], signal.SIGKILL)
    return int(record["init"]["pid"])


def is_held(directory: Path) -> bool:
    """Whether a monitor has not let go of a container's directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def restarting(engine: Engine, identity: str) -> None:
    wait_until(lambda: state(engine) == "restarting", what=f"a pause of {identity}", seconds=20)


def paused(engine: Engine, identity: str) -> None:
    engine.containers.pause(identity)


def as_it_is(_engine: Engine, _identity: str) -> None:
    """It runs."""


@pytest.mark.parametrize("bring", [as_it_is, paused], ids=["running", "paused"])
@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_monitor_is_killed(box: Engine, store_root: Path, bring: Callable[[Engine, str], None], policy: str) -> None:
    made = detached(box, "sleep", "1000", restart=policy)
    bring(box, made.id)
    init = kill_monitor(store_root, made.id)
    wanted = "exited" if policy == "no" else "running"
    wait_until(lambda: (namespaces.start_time(init), state(box)) == (0, wanted), what=wanted, seconds=20)
    if policy == "no":
        assert box.containers.inspect("job")["State"]["Error"] == "its monitor was killed"
        box.containers.start("job")
    assert box.containers.list()[0].pid != init
    box.containers.stop("job", time=0)
    assert state(box) == "exited"


def test_a_monitor_is_killed_while_it_waits_for_the_next_start(box: Engine, store_root: Path) -> None:
    made = detached(box, *ENDS_AT_ONCE, restart="on-failure")
    wait_until(lambda: box.containers.inspect("job")["RestartCount"] > 4, what="five restarts", seconds=20)
    restarting(box, made.id)
    kill_monitor(store_root, made.id)
    wait_until(
        lambda: bool(state(box)) and 0 < box.containers.inspect("job")["RestartCount"] < 5,
        what="a new monitor",
        seconds=20,
    )
    box.containers.remove("job", force=True)
    assert state(box) == "gone"


@pytest.mark.parametrize("bring", [as_it_is, paused, restarting], ids=["running", "paused", "restarting"])
def test_it_can_be_removed_by_force(box: Engine, bring: Callable[[Engine, str], None]) -> None:
    policy = "always" if bring is restarting else "no"
    made = detached(box, *(ENDS_AT_ONCE if bring is restarting else ("sleep", "1000")), restart=policy)
    bring(box, made.id)
    box.containers.remove("job", force=True)
    assert state(box) == "gone"


def test_the_run_directory_is_wiped(box: Engine, store_root: Path) -> None:
    made = detached(box, "sleep", "1000")
    pid = box.containers.list()[0].pid or 0
    shutil.rmtree(store_root / "run")
    told: list[str] = []
    with Engine(store_root, on_event=lambda event: told.append(str(event))) as again:
        (row,) = again.containers.list(all=True)
    assert (row.state, namespaces.start_time(pid)) == ("exited", 0)
    assert any(f"{made.id[:12]} lost its run directory" in text for text in told)
    box.containers.start("job")
    assert state(box) == "running"


def test_a_socket_that_is_gone_is_found_out_by_who_needs_it(box: Engine, store_root: Path) -> None:
    made = detached(box, "sleep", "1000")
    (store_root / "run" / "containers" / made.id / "control.sock").unlink()
    box.containers.remove("job", force=True)
    assert state(box) == "gone"


def test_a_monitor_that_answers_nobody_any_more_is_not_ended_by_who_looks(
    box: Engine, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = detached(box, "sleep", "1000", restart="always")
    path = store_root / "run" / "containers" / made.id / "control.sock"
    path.unlink()
    monkeypatch.chdir(path.parent)  # whose path may be too long for a socket's address
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:  # as one is whose monitor is being killed
        deaf.bind(path.name)
        deaf.close()
        assert box.containers.inspect("job")["State"]["Running"]
        path.unlink()
        assert box.containers.inspect("job")["State"]["Running"]
    with pytest.raises(ContainerNotRunning, match="its control socket was removed"):
        box.containers.pause("job")
    init = kill_monitor(store_root, made.id)
    wait_until(lambda: (namespaces.start_time(init), state(box)) == (0, "running"), what="a new monitor", seconds=20)


def test_what_is_stopped_after_its_monitor_was_killed_stays_so(box: Engine, store_root: Path) -> None:
    made = detached(box, "sleep", "1000", restart="unless-stopped")
    init = kill_monitor(store_root, made.id)
    box.containers.stop("job", time=0)
    assert (namespaces.start_time(init), state(box)) == (0, "exited")


def test_a_damaged_record_is_no_obstacle(box: Engine, store_root: Path) -> None:
    made = detached(box, "sleep", "1000")
    init = kill_monitor(store_root, made.id)
    wait_until(lambda: namespaces.start_time(init) == 0, what="its end")
    (store_root / "containers" / made.id / "monitor.json").write_text('{"id": "x", "moni')
    (store_root / "containers" / made.id / "exit").write_text("")
    assert state(box) in {"created", "exited"}
    box.containers.start("job")
    assert state(box) == "running"


def test_a_damaged_journal_is_no_obstacle(box: Engine, store_root: Path) -> None:
    detached(box, "true")
    box.containers.wait("job")
    path = store_root / "events.jsonl"
    path.write_bytes(b"\x00\xff{}\n[1]\n" + path.read_bytes())
    assert [event.action for event in box.events(since="1h", until="0s", filters=["type=container"])][:2] == [
        "create",
        "start",
    ]


def test_a_start_waits_until_nothing_of_one_that_was_given_up_is_left(box: Engine, store_root: Path) -> None:
    made = box.containers.create("starter", ["sleep", "1000"], network="none", name="job")
    place = store_root / "containers" / made.id
    place.mkdir(mode=0o711, exist_ok=True)
    hold = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(hold, fcntl.LOCK_SH)  # as its monitor does, which has no record before the program runs
    began = time.monotonic()
    threading.Timer(0.5, os.close, [hold]).start()
    box.containers.start("job")
    assert time.monotonic() - began > 0.4
    assert state(box) == "running"
    assert is_held(place)
    box.containers.stop("job", time=0)
    wait_until(lambda: not is_held(place), what="the end of its monitor")
