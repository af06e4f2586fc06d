"""Kill -9 of whoever works on a store, in the middle: the next command finds it whole and clears up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jupyter_containers.engine import Engine, RunResult
from tests.support import leaks

BUILD = """
from jupyter_containers import Engine
from jupyter_containers.events import StepOutput
def told(event):
    if isinstance(event, StepOutput):
        print("working", flush=True)
Engine().images.build(dockerfile='''FROM starter
RUN echo one > /one
RUN echo here; head -c 5000000 /dev/zero > /big; sleep 60
''', tag="killed", sink=told)
"""
RUN = """
from jupyter_containers import Engine
from jupyter_containers.events import Output
def told(event):
    if isinstance(event, Output):
        print("working", flush=True)
command = ["/bin/sh", "-c", "echo here; sleep 60"]
Engine().containers.run("starter", command, name="victim", remove={remove}, sink=told)
"""


def kill_in_the_middle(script: str, *, after: float = 0.0) -> None:
    """Run a script in a process of its own, wait until its container speaks, kill it."""
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"working\n"
            time.sleep(after)
        finally:
            process.kill()


@pytest.fixture
def prepared(store_root: Path, no_leaks: None) -> Path:  # noqa: ARG001 - the check runs after the test
    with Engine(store_root) as engine:
        engine.images.pull("starter")
    return store_root


def test_a_build_that_is_killed_leaves_nothing_and_can_be_repeated(prepared: Path) -> None:
    before = leaks.take(prepared)
    kill_in_the_middle(BUILD)
    with Engine(prepared) as engine:
        assert [row.repository for row in engine.images.list()] == ["starter"]
        image = engine.images.build(dockerfile="FROM starter\nRUN echo one > /one\nRUN echo two > /two\n", tag="again")
        assert image.build is not None
        assert [step.cached for step in image.build.steps if step.text.startswith("RUN")] == [True, False]
    assert leaks.remaining(prepared, before) == []
    assert os.listdir(prepared / "scratch") == ["lock"]
    assert os.listdir(prepared / "content" / "ingest") == []


@pytest.mark.parametrize("remove", [True, False])
def test_a_run_that_is_killed_ends_its_container(prepared: Path, remove: bool) -> None:
    kill_in_the_middle(RUN.format(remove=remove))
    with Engine(prepared) as engine:
        leaks.wait_until(lambda: engine.containers.list() == [], what="the end of the container")
        rows = engine.containers.list(all=True)
        assert [row.exit_code for row in rows] == ([] if remove else [137])
        result = engine.containers.run("starter", ["echo", "fine"], remove=True)
        assert isinstance(result, RunResult)
        assert result.stdout == "fine\n"
        for row in rows:
            engine.containers.remove(row.id)
    assert os.listdir(prepared / "containers") == []


ENTERED = """
import os, signal
from jupyter_containers.engine import Engine
from jupyter_containers.engine.launch import creation
add = creation._add
def add_and_die(*arguments):
    add(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
creation._add = add_and_die
Engine().containers.run("starter", ["true"], remove=True)
"""


HALF_REMOVED = """
import os, signal
from jupyter_containers.engine import Engine
from jupyter_containers.engine.launch import creation
creation._forget = lambda *_arguments, **_keywords: os.kill(os.getpid(), signal.SIGKILL)
engine = Engine()
engine.containers.run("starter", ["no-such-program"])
"""


# The process that removes directories for an ordinary user's engine dies when it has, and then the engine does.
UNANSWERED = """
from jupyter_containers.engine import Engine
engine = Engine()
trees = engine.containers._parts.trees
remove = trees.remove
def remove_and_fail(path):
    remove(path)
    raise RuntimeError
trees.remove = remove_and_fail
engine.containers.run("starter", ["no-such-program"])
"""


@pytest.mark.parametrize("script", [ENTERED, HALF_REMOVED, UNANSWERED], ids=["entered", "half removed", "unanswered"])
def test_a_run_that_is_killed_before_or_after_it_runs_leaves_no_container(prepared: Path, script: str) -> None:
    ended = subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False)
    assert ended.returncode == (1 if script is UNANSWERED else -signal.SIGKILL)
    with Engine(prepared) as engine:
        assert engine.containers.list(all=True) == []
        assert [event.action for event in engine.events(since="1h", until="0s")][-1] == "destroy"
    assert os.listdir(prepared / "run" / "containers") == []


def test_a_killed_monitor_takes_its_container_along(prepared: Path) -> None:
    with Engine(prepared) as engine:
        engine.containers.run("starter", ["sleep", "60"], name="orphan", detach=True)
        (row,) = engine.containers.list()
        assert row.pid is not None
        parent = int(Path(f"/proc/{row.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        leaks.wait_until(lambda: engine.containers.list() == [], what="the end of the container")
        (row,) = engine.containers.list(all=True)
        assert (row.state, row.exit_code) == ("exited", 137)
        engine.containers.remove("orphan")


def test_a_killed_spawner_is_replaced(prepared: Path) -> None:
    with Engine(prepared) as engine:
        engine.containers.run("starter", ["true"], remove=True)
        pid = engine.containers._parts.spawner.pid
        os.kill(pid, signal.SIGKILL)
        leaks.wait_until(lambda: not leaks.alive(pid), what="the end of the spawner")
        result = engine.containers.run("starter", ["echo", "again"], remove=True)
        assert isinstance(result, RunResult)
        assert result.stdout == "again\n"


def test_an_interrupt_stops_the_container_and_goes_on(prepared: Path) -> None:
    script = """
    import signal, threading, os, time
    from jupyter_containers import Engine
    engine = Engine()
    threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    command = ["/bin/sh", "-c", "trap 'exit 9' INT; while true; do sleep 0.1; done"]
    try:
        engine.containers.run("starter", command, remove=True)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic() - begun < 10, engine.containers.list(all=True))
    engine.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "interrupted True []\n", done.stderr
    leaks.wait_until(lambda: leaks.take(prepared).processes == frozenset(), what="the end of its processes")
