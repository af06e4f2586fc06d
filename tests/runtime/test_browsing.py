"""Looking at files of containers and volumes, running or not, without leaving their file tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.engine import Engine

MAKE = """\
mkdir -p /data/sub; printf 'hello\\n' > /data/a.txt; printf 'a\\0b' > /data/b; ln -s /etc/passwd /data/link
ln -s sub /data/there; mkfifo /data/pipe; printf one > /data/sub/one
"""


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_files_of_a_container(engine: Engine, running: bool) -> None:
    engine.images.pull("starter")
    script = f"{MAKE}touch /data/zz-ready; {'exec sleep 1000' if running else ''}"
    engine.containers.run("starter", ["sh", "-c", script], detach=running, name="box")
    if running:
        engine.containers.exec("box", ["sh", "-c", "until [ -e /data/zz-ready ]; do sleep 0.05; done"])
    found = engine.containers.list_files("box", "/data")
    assert (found.path, found.total) == ("/data", 7)
    rows = {each.name: each for each in found.entries}
    assert list(rows) == ["a.txt", "b", "link", "pipe", "sub", "there", "zz-ready"]
    assert (rows["a.txt"].mode, rows["a.txt"].size) == ("-rw-r--r--", 6)
    assert (rows["link"].mode[0], rows["link"].target) == ("l", "/etc/passwd")
    assert rows["sub"].is_directory
    assert not rows["there"].is_directory
    part = engine.containers.list_files("box", "/data", skip=1, limit=2)
    assert ([each.name for each in part.entries], part.total) == (["b", "link"], 7)
    assert [each.name for each in engine.containers.list_files("box", "/data/there").entries] == ["one"]
    read = engine.containers.read_file
    assert read("box", "/data/b", limit=100) == b"a\0b"
    assert read("box", "/data/link", limit=1 << 16) == read("box", "/etc/passwd", limit=1 << 16)  # of the container
    assert read("box", "/data/a.txt", limit=3, partly=True) == b"hel"
    with pytest.raises(InvalidInput, match=r"/data/a\.txt is larger than 3 bytes"):
        read("box", "/data/a.txt", limit=3)
    with pytest.raises(InvalidInput, match="/data/pipe is not a regular file"):
        read("box", "/data/pipe", limit=3)
    with pytest.raises(NotFound, match="/data/none"):
        read("box", "/data/none", limit=3)
    with pytest.raises(NotFound, match="/none"):
        engine.containers.list_files("box", "/none")
    with pytest.raises(InvalidInput, match=r"/data/a\.txt"):
        engine.containers.list_files("box", "/data/a.txt")


def test_files_of_a_volume_and_nothing_beside_it(engine: Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for you")
    engine.images.pull("starter")
    script = f"printf in > /v/in; ln -s {secret} /v/out; ln -s ../../../../..{secret} /v/up; ln -s /in /v/own"
    engine.containers.run("starter", ["sh", "-c", script], remove=True, volume=["data:/v"])
    found = engine.volumes.list_files("data")
    assert [each.name for each in found.entries] == ["in", "out", "own", "up"]
    read = engine.volumes.read_file
    assert read("data", "in", limit=10) == read("data", "/own", limit=10) == b"in"
    for name in ("out", "up", f"../../../..{os.fspath(secret)}"):
        with pytest.raises(NotFound):
            read("data", name, limit=100)
