"""Kill -9 between any two steps that make, change or remove a volume: it is there whole, or it is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine, RunResult

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, signal, sys
from jupyter_containers import Engine
from jupyter_containers.state import State
from jupyter_containers.volumes import Draft, VolumeStore
def die(*arguments, **keywords):
    if {after}:
        original(*arguments, **keywords)
    os.kill(os.getpid(), signal.SIGKILL)
engine = Engine()
engine.volumes, engine.containers
original = {owner}.{name}
{owner}.{name} = die
{action}
"""
RUN = 'engine.containers.run("declares", ["true"], volume="fresh:/data", name="victim")'


@pytest.fixture
def prepared(store_root: Path, no_leaks: None) -> Path:  # noqa: ARG001 - the check runs after the test
    """A store with an image, and with a volume that has its content."""
    with Engine(store_root) as engine:
        engine.images.build(
            dockerfile="FROM starter\nRUN mkdir -p /data/sub && echo one > /data/sub/a\nVOLUME /data /other\n",
            tag="declares",
        )
        engine.containers.run("declares", ["true"], volume="mine:/data", remove=True)
        engine.volumes.export("mine", store_root / "mine.tar")
    return store_root


@pytest.mark.parametrize(
    ("action", "step"),
    [
        *((RUN, step) for step in ("Draft.fill", "Draft.place", "State.add_volume", "State.add_container")),
        ('engine.containers.create("declares", name="victim")', "Draft.place"),
        ('engine.volumes.create("fresh")', "Draft.place"),
        ('engine.volumes.create("fresh")', "State.add_volume"),
        ('engine.volumes.clone("mine", "fresh")', "Draft.copy"),
        ('engine.volumes.clone("mine", "fresh")', "Draft.place"),
        ('engine.volumes.load("fresh", engine._paths.root / "mine.tar")', "Draft.read_archive"),
        ('engine.volumes.load("mine", engine._paths.root / "mine.tar")', "Draft.replace"),
        ('engine.volumes.remove("mine")', "State.remove_volume"),
        ('engine.volumes.remove("mine")', "VolumeStore.remove"),
        ('engine.containers.run("declares", ["true"], remove=True)', "State.remove_container"),
        ('engine.containers.run("declares", ["true"], remove=True)', "VolumeStore.remove"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_a_volume_is_whole_or_not_there(prepared: Path, action: str, step: str, after: bool) -> None:
    owner, name = step.split(".")
    script = textwrap.dedent(SCRIPT).format(owner=owner, name=name, after=after, action=action)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Engine(prepared) as engine:
        deadline = time.monotonic() + 10
        while {row.name for row in engine.containers.list(all=True)} - {"victim"}:
            assert time.monotonic() < deadline, "what was to be removed at its end is still there"
            time.sleep(0.02)  # its monitor, which nobody waits for any more, is ending
        rows = {row.name: row for row in engine.volumes.list()}
        stored = {name for name in os.listdir(prepared / "volumes") if not name.startswith(".")}
        assert stored == {engine.volumes.get(name).id for name in rows}
        assert os.listdir(prepared / "scratch") == ["lock"]
        assert {row.containers for row in rows.values() if row.anonymous} <= {("victim",)}
        for volume in rows.keys() & {"mine", "fresh"} - ({"fresh"} if "create" in action else set()):
            result = engine.containers.run("starter", ["cat", "/v/sub/a"], volume=f"{volume}:/v", remove=True)
            assert isinstance(result, RunResult)
            assert result.stdout == "one\n", volume
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, volumes=True)
        assert engine.volumes.prune().removed == ()


def test_many_at_once_make_one_volume(prepared: Path) -> None:
    """Threads of two engines create and use the same new volumes: one of each name, all filled, none lost."""
    failures: list[BaseException] = []

    def work(engine: Engine) -> None:
        try:
            for number in range(3):
                options = {"volume": f"shared{number}:/data", "remove": True}
                result = engine.containers.run("declares", ["cat", "/data/sub/a"], **options)  # type: ignore[arg-type]  # names of options
                assert isinstance(result, RunResult)
                assert result.stdout == "one\n", result
        except BaseException as error:  # noqa: BLE001 - shown below, with the thread gone
            failures.append(error)

    with Engine(prepared) as first, Engine(prepared) as second:
        threads = [threading.Thread(target=work, args=(engine,)) for engine in (first, second) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [row.name for row in first.volumes.list()] == ["mine", "shared0", "shared1", "shared2"]
        stored = [name for name in os.listdir(prepared / "volumes") if not name.startswith(".")]
        assert len(stored) == 4
