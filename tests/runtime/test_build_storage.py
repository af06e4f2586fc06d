"""What builds keep in the store: cache mounts carried from one store to another, the disk that all of it takes."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from jupyter_containers import cli
from jupyter_containers.engine import Engine
from jupyter_containers.errors import Conflict, LayerCorrupt, NotFound
from tests.runtime.test_build_language import build, output

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "FROM starter\nRUN --mount=type=cache,target=/c,id=mine ls /c > /seen; echo {0} > /c/{0}; chmod 600 /c/{0}\n"


def test_a_cache_mount_is_carried_to_another_store(engine: Engine, tmp_path: Path, store_root: Path) -> None:
    build(engine, TEXT.format("one"))
    archive = tmp_path / "mine.tar"
    engine.builds.export_cache_mount("mine", archive)
    with tarfile.open(archive) as tar:
        assert tar.getmember("one").mode == 0o600
    with Engine(store_root.with_name(f"{store_root.name}-2")) as other:
        other.builds.load_cache_mount("mine", archive)
        assert output(other, build(other, TEXT.format("two")), "cat /seen") == "one\n"
        broken = tmp_path / "broken.tar"
        broken.write_bytes(b"no archive" * 100)
        with pytest.raises(LayerCorrupt):
            other.builds.load_cache_mount("mine", broken)
        assert output(other, build(other, TEXT.format("three")), "cat /seen") == "one\ntwo\n"
        with pytest.raises(LayerCorrupt):
            other.builds.load_cache_mount("new", broken)
        (mount,) = other.builds.cache_mounts()
        assert (mount.id, mount.bytes, mount.busy) == ("mine", 14, False)
        _path, fd = other._parts.cache_mounts.acquire("mine", "locked", lambda _path: None, None)  # type: ignore[arg-type]
        with pytest.raises(Conflict, match="in use"):
            other.builds.load_cache_mount("mine", archive)
        with pytest.raises(Conflict, match="in use"):
            other.builds.export_cache_mount("mine", archive)
        with pytest.raises(Conflict, match="in use"):
            other.builds.remove_cache_mount("mine")
        os.close(fd)
        other.builds.remove_cache_mount("mine")
        with pytest.raises(NotFound, match="no cache mount"):
            other.builds.remove_cache_mount("mine")


def test_the_disk_that_everything_takes(engine: Engine, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    base = build(engine, "FROM starter\nRUN head -c 100000 /dev/urandom > /x\n", tag="base")
    build(engine, "FROM base\nRUN head -c 50000 /dev/urandom > /y\n", tag="top")
    gone = build(engine, "FROM base\nRUN head -c 30000 /dev/urandom > /z\n")
    engine.images.remove(gone.id)
    container = engine.containers.create("base", ["sh", "-c", "head -c 7000 /dev/zero > /f"], network="none")
    engine.containers.start(container.id)
    engine.containers.wait(container.id)
    engine.volumes.create("data")
    usage = engine.disk_usage()
    images, containers, volumes, cache = usage.totals
    starter = engine.images.layers("starter")[0].size
    assert (images.total, images.active, images.size) == (3, 1, starter + 150_000)
    assert images.reclaimable == 50_000
    assert (containers.total, containers.active, containers.size, containers.reclaimable) == (1, 0, 7000, 7000)
    assert (volumes.total, volumes.active, volumes.size) == (1, 0, 0)
    assert cache.total == 3
    assert (
        cache.size == cache.reclaimable == 30_000 + next(i for i in usage.cache if "/z" in i.description).size - 30_000
    )
    row = next(row for row in usage.images if row.repository == "base")
    assert (row.id, row.shared_size, row.unique_size, row.containers) == (base.id, starter + 100_000, 0, 1)
    assert cli.main(["system", "df"]) == 0
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert lines[2] == "Containers      1         0         7kB       7kB (100%)"
    assert cli.main(["system", "df", "-v"]) == 0
    assert "Build cache usage:" in capsysbinary.readouterr().out.decode()
