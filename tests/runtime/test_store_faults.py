"""What happens to a store from outside: its state file is damaged, its disk is full, the clock is set back."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.errors import Corrupt, EngineError, NotFound
from tests.support import leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def wipe(path: Path) -> None:
    path.write_bytes(b"this was a database once" * 1000)


def tear(path: Path) -> None:
    """Overwrite all but the first page, which is what a bad sector or a bad copy does."""
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def bite(path: Path) -> None:
    """One page in the middle: most can still be read."""
    data = bytearray(path.read_bytes())
    data[6 * 4096 : 7 * 4096] = os.urandom(4096)
    path.write_bytes(data)


def test_a_state_file_of_nothing_is_made_anew(store_root: Path, no_leaks: None) -> None:
    """Nothing else is there: images come from the index, data of volumes is kept, files of containers set aside."""
    del no_leaks
    with Engine(store_root) as engine:
        engine.images.pull("starter")
        engine.containers.run(
            "starter", ["sh", "-c", "echo mine >/v/file; echo own >/own"], volume="data:/v", name="job"
        )
        job, volume = engine.containers.get("job").id, engine.volumes.get("data").id
    wipe(store_root / "state.sqlite")
    (store_root / "state.copy").unlink()
    (store_root / "state.changes").unlink(missing_ok=True)
    told: list[str] = []
    with Engine(store_root, on_event=lambda event: told.append(str(event))) as engine:
        assert [row.repository for row in engine.images.list()] == ["starter"]
        engine.volumes.rename(volume, "again")
        done = engine.containers.run("starter", ["cat", "/v/file"], volume="again:/v", remove=True)
        assert isinstance(done, RunResult)
        assert done.stdout == "mine\n"
        assert engine.containers.list(all=True) == []
    for text in ("the state file was damaged", "1 images were found", volume[:12], job[:12]):
        assert any(text in line for line in told), (text, told)
    (files,) = (store_root / "lost+found").glob(f"*/{job}")
    assert (files / "upper" / "own").read_text() == "own\n"


@pytest.mark.parametrize("harm", [wipe, tear, bite])
def test_a_damaged_state_file_is_repaired_from_its_copy(
    store_root: Path, no_leaks: None, harm: Callable[[Path], None]
) -> None:
    del no_leaks
    with Engine(store_root) as engine:
        engine.images.pull("starter")
        for number in range(20):
            engine.containers.create("starter", ["true"], name=f"more-{number}")
        engine.containers.run(
            "starter", ["sh", "-c", "echo mine >/v/file; echo own >/own"], volume="data:/v", name="job"
        )
    harm(store_root / "state.sqlite")
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jupyter_containers.engine.repair.state_file.COPY_EVERY", 0)
        for _ in range(2):  # damage in the middle is found out by the first who comes by it
            try:
                with Engine(store_root, on_event=lambda event: told.append(str(event))) as engine:
                    engine.containers.list(all=True)
                    engine.volumes.list()
                    engine.images.list()
            except Corrupt as error:
                told.append(str(error.hint))
    with Engine(store_root, on_event=lambda event: told.append(str(event))) as engine:
        assert [row.repository for row in engine.images.list()] == ["starter"]
        engine.containers.start("job")
        engine.containers.wait("job")
        done = engine.containers.run("starter", ["cat", "/v/file"], volume="data:/v", remove=True)
        assert isinstance(done, RunResult)
        assert done.stdout == "mine\n"
        engine.containers.remove("job")
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id)
    assert any("the state file was damaged" in line for line in told), told


@pytest.mark.parametrize("harm", [wipe, tear, bite])
@pytest.mark.parametrize("copied", [True, False], ids=["with a copy", "without one"])
def test_what_came_after_the_last_copy_is_had_back(
    store_root: Path, no_leaks: None, harm: Callable[[Path], None], *, copied: bool
) -> None:
    """Containers, volumes and what was done with them: by name, and able to start."""
    del no_leaks
    with pytest.MonkeyPatch.context() as patch:
        if not copied:  # as after a kill -9 in the first minutes
            patch.setattr("jupyter_containers.engine.repair.state_file.copy", lambda _paths, _state: None)
        with Engine(store_root) as engine:
            engine.images.pull("starter")
            engine.containers.create("starter", ["true"], name="early")
            engine.volumes.create("gone")
        with Engine(store_root) as engine:
            engine.images.tag("starter", "mine:1")
            script = "cat /v/file /own; echo mine >/v/file; echo own >/own"
            engine.containers.run("mine:1", ["sh", "-c", script], volume="data:/v", name="job")
            engine.containers.rename("early", "late")
            engine.containers.update("job", restart="on-failure:2")
            engine.volumes.rename("data", "kept")
            engine.volumes.remove("gone")
            before = engine.containers.inspect("job")
    assert (store_root / "state.copy").exists() == copied
    harm(store_root / "state.sqlite")
    told: list[str] = []
    for _ in range(2):  # damage in the middle is found out by the first who comes by it
        with (
            suppress(Corrupt, EngineError),
            Engine(store_root, on_event=lambda event: told.append(str(event))) as engine,
        ):
            engine.containers.list(all=True)
            engine.volumes.list()
    with Engine(store_root, on_event=lambda event: told.append(str(event))) as engine:
        assert {row.name for row in engine.containers.list(all=True)} == {"job", "late"}
        assert [row.name for row in engine.volumes.list()] == ["kept"]
        assert {row.tag for row in engine.images.list()} == {"1", "latest"}
        after = engine.containers.inspect("job")
        for part in ("Id", "Config", "HostConfig"):
            assert after[part] == before[part]
        engine.containers.start("job")
        engine.containers.wait("job")
        assert [entry.data for entry in engine.containers.logs("job")][-2:] == [b"mine\n", b"own\n"]
        for name in ("job", "late"):
            engine.containers.remove(name)
        engine.volumes.remove("kept")
    assert any("the state file was damaged" in line for line in told), told


def test_a_damaged_file_that_others_use_is_left_alone(store_root: Path) -> None:
    with Engine(store_root) as engine:
        engine.images.pull("starter")
        wipe(store_root / "state.sqlite")
        for path in store_root.glob("state.sqlite-*"):
            path.unlink()
        with pytest.raises(Corrupt, match="other processes use it"):
            Engine(store_root).images.list()
    with Engine(store_root) as engine:
        assert [row.repository for row in engine.images.list()] == ["starter"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=700", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


def files(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root))
        for directory in ("containers", "scratch", "volumes", "run/containers", "content/ingest")
        for path in (root / directory).rglob("*")
        if not path.name.startswith(".")
    )


@pytest.mark.root
def test_a_full_disk(small: Path) -> None:
    root = small / "store"
    before = leaks.take(root)
    with Engine(root) as engine:
        engine.images.pull("starter")
        engine.containers.run("starter", ["true"], remove=True)
        engine.containers._parts.remover.close()
        known = files(root)
        done = engine.containers.run("starter", ["sh", "-c", "cat /dev/zero >/big"], remove=True)
        assert isinstance(done, RunResult)
        assert done.exit_code != 0
        assert "No space left on device" in done.stderr
        filler = small / "filler"
        with pytest.raises(OSError, match="No space left"):
            fill(filler)
        actions: dict[str, Callable[[], Any]] = {
            "run": lambda: engine.containers.run("starter", ["true"], remove=True, network="none"),
            "named": lambda: engine.containers.run("starter", ["true"], detach=True, name="named", volume="data:/v"),
            "build": lambda: engine.images.build(dockerfile="FROM starter\nRUN echo 1 >/one\n", tag="built"),
            "volume": lambda: engine.volumes.create("more"),
        }
        for action in actions.values():
            with suppress(EngineError):  # "no space left", or it has still found some
                action()
        with Engine(root) as other:
            other.containers.list(all=True)
        filler.unlink()
        with suppress(NotFound):
            engine.containers.remove("named", force=True)
        for row in engine.volumes.list():
            engine.volumes.remove(row.name)
        for action in actions.values():
            action()
        engine.containers.remove("named", force=True)
        for row in engine.volumes.list():
            engine.volumes.remove(row.name)
    with Engine(root) as engine:
        engine.containers.run("starter", ["true"], remove=True)
        engine.containers._parts.remover.close()
        assert files(root) == known
    assert leaks.remaining(root, before) == []


def test_the_clock_is_set_back(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made tomorrow is no obstacle today."""
    engine.images.pull("starter")
    now = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now() + 86_400_000_000_000)
        engine.containers.run(
            "starter", ["sh", "-c", "echo out; sleep 1000"], detach=True, name="job", volume="data:/v"
        )
    (row,) = engine.containers.list()
    assert row.status.startswith("Up ")
    engine.containers.restart("job", time=0)
    assert [entry.data for entry in engine.containers.logs("job")][:1] == [b"out\n"]
    engine.containers.stop("job", time=0)
    assert engine.containers.inspect("job")["State"]["Status"] == "exited"
    assert "stop" in [event.action for event in engine.events(since="1h", until="0s")]
    engine.containers.remove("job")
    assert [row.name for row in engine.volumes.list()] == ["data"]
