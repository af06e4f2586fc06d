"""Many starts and forced kills at random points: nothing is left, however often.

``JUPYTER_CONTAINERS_SOAK=1`` makes it 1,000 starts and 200 kills instead of the small numbers of every day.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.linux import namespaces
from tests.support import leaks

SOAK = bool(os.environ.get("JUPYTER_CONTAINERS_SOAK"))
STARTS, KILLS = (1000, 200) if SOAK else (60, 12)
ROLES = ("engine", "spawner", "monitor", "init")
# What brings a container to the state it is in when somebody is killed.
STATES = {
    "in the foreground": """
        behind(run, "sleep", "600", remove=True)
        until(engine.containers.list)
    """,
    "running": """
        run("sleep", "600", detach=True)
    """,
    "paused": """
        run("sleep", "600", detach=True)
        engine.containers.pause("victim")
    """,
    "restarting": """
        run("sh", "-c", "exit 1", detach=True, restart="always")
        until(lambda: engine.containers.inspect("victim")["RestartCount"] > 3)
        until(lambda: engine.containers.list()[0].state == "restarting")
    """,
    "with an exec": """
        run("sleep", "600", detach=True)
        behind(engine.containers.exec, "victim", ["sleep", "600"])
        until(lambda: engine.containers.execs("victim"))
    """,
    "being stopped": """
        run("sh", "-c", "trap '' TERM; while :; do sleep 1; done", detach=True)
        behind(engine.containers.stop, "victim", time=60)
    """,
    "being removed": """
        run("sleep", "600", detach=True)
        behind(engine.containers.remove, "victim", force=True)
    """,
}
PREAMBLE = """
import threading, time
from jupyter_containers import Engine
engine = Engine()
def run(*command, **more):
    return engine.containers.run("starter", list(command), name="victim", network="{network}", **more)
def behind(function, *arguments, **more):
    threading.Thread(target=function, args=arguments, kwargs=more, daemon=True).start()
def until(condition):
    while not condition():
        time.sleep(0.01)
"""

LOOP = """
from jupyter_containers import Engine
engine = Engine()
print("ready", flush=True)
while True:
    engine.containers.run("starter", ["sh", "-c", "sleep 0.02"], remove=True, network="{network}")
"""


@pytest.fixture
def prepared(store_root: Path, no_leaks: None) -> Path:  # noqa: ARG001 - the check runs after the test
    with Engine(store_root) as engine:
        engine.images.pull("starter")
        engine.containers.run("starter", ["true"], remove=True)
    return store_root


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def files(store: Path) -> list[str]:
    """What is in the run directory and beside the images: containers and half-made things."""
    return sorted(
        str(path.relative_to(store))
        for directory in ("run/containers", "containers", "scratch")
        for path in (store / directory).rglob("*")
    )


def test_starts_leave_nothing(prepared: Path) -> None:
    with Engine(prepared) as engine:
        engine.containers.run("starter", ["true"], remove=True)
        engine.containers._parts.remover.close()
        before, known = descriptors(), files(prepared)
        for number in range(STARTS):
            network = None if number % 4 == 0 else "none"
            assert engine.containers.run("starter", ["true"], remove=True, network=network).exit_code == 0  # type: ignore[union-attr]  # not detached
        engine.containers._parts.remover.close()
        assert descriptors() == before
        assert files(prepared) == known
        assert engine.containers.list(all=True) == []


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        try:
            found += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_kills_at_random_points_leave_nothing(prepared: Path) -> None:
    chance = random.Random(20261125)
    known = files(prepared)
    for number in range(KILLS):
        script = textwrap.dedent(LOOP.format(network="none" if number % 2 else "default"))
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.05, 0.3))
        victims = family(process.pid)
        # the engine, or one of: spawner, a monitor, an init, one that waits; now and then several
        for victim in chance.sample(victims, k=min(len(victims), chance.choice([1, 1, 2, 3]))):
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.wait()
        process.stdout.close()
    time.sleep(1)  # for the kernel to end what was killed; the next command then finds nothing but what is left behind
    with Engine(prepared) as engine:
        leaks.wait_until(lambda: engine.containers.list(all=True) == [], what="the end of all containers", seconds=30)
        result = engine.containers.run("starter", ["echo", "fine"], remove=True)
        assert result.stdout == "fine\n"  # type: ignore[union-attr]  # not detached
    assert files(prepared) == known


def processes_of(store: Path, engine: int) -> dict[str, int]:
    """Who is who, as far as they live; the container's record says it."""
    found = {"engine": engine, "spawner": 0, "monitor": 0, "init": 0}
    for path in (store / "containers").glob("*/monitor.json"):
        with suppress(FileNotFoundError):
            record = json.loads(path.read_text())
            found |= {"monitor": record["monitor"]["pid"], "init": record["init"]["pid"]}
            found["spawner"] = namespaces.parent(found["monitor"])
    return found


def test_whoever_is_killed_in_whatever_state_leaves_nothing(prepared: Path) -> None:
    every = [(role, state) for state in STATES for role in ROLES]
    chance = random.Random()
    known = files(prepared)
    for number, (role, state) in enumerate(every if SOAK else chance.sample(every, k=6)):
        script = PREAMBLE.format(network="default" if number % 2 else "none") + textwrap.dedent(STATES[state])
        script += "print('ready', flush=True)\ntime.sleep(600)\n"
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", (role, state)
        victim = processes_of(prepared, process.pid)[role]
        with suppress(ProcessLookupError):
            if victim:
                os.kill(victim, signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.wait()
        process.stdout.close()
        with Engine(prepared) as engine:
            for row in engine.containers.list(all=True):
                engine.containers.remove(row.id, force=True)
            assert engine.containers.run("starter", ["true"], remove=True).exit_code == 0  # type: ignore[union-attr]  # not detached
        assert files(prepared) == known, (role, state)
