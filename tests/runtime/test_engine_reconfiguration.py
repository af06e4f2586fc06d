"""``update`` of what takes a restart: variables, labels, mounts; what was written stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import Conflict, InvalidInput, NotFound, StartFailed, Unsupported
from tests.support import verbs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.engine import Engine

SCRIPT = 'echo "$A-$B-$(cat /data/x 2>/dev/null)" >> /runs; cat /runs; exec sleep 1000'


@pytest.fixture
def box(apart: None, engine: Engine) -> Engine:  # noqa: ARG001 - entered before the engine is made
    engine.images.pull("starter")
    options = {"env": ["A=1", "B=2"], "label": ["a=1", "b=2"], "network": "none", "volume": ["/old"], "stop_timeout": 0}
    engine.containers.run("starter", ["sh", "-c", SCRIPT], name="web", detach=True, **options)  # type: ignore[arg-type]  # options of run
    wait_until(lambda: printed(engine) == "1-2-\n", what="its first run")
    return engine


def whole(engine: Engine) -> str:
    return b"".join(entry.data for entry in engine.containers.logs("web")).decode()


def printed(engine: Engine) -> str:
    """By the last run."""
    text = whole(engine)
    return text[text.rfind("1-2-") :]


def test_it_starts_again_with_what_it_has_written(box: Engine, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("there")
    identity = box.containers.get("web").id
    box.containers.reconfigure(
        "web",
        env_add={"A": "3"},
        env_rm=["B"],
        label_add=["c=3"],
        label_rm=["a"],
        mount_add=[f"{tmp_path}:/data:ro", "type=volume,source=kept,target=/kept"],
        mount_rm=["/old"],
    )
    wait_until(lambda: printed(box) == "1-2-\n3--there\n", what="its second run")
    found = box.containers.inspect("web")
    assert (found["Id"], found["State"]["Status"]) == (identity, "running")
    assert {name: found["Config"]["Labels"].get(name) for name in "abc"} == {"a": None, "b": "2", "c": "3"}
    assert sorted(mount["Destination"] for mount in found["Mounts"]) == ["/data", "/kept"]
    assert box.volumes.list()[-1].containers in {("web",), ()}
    users = {row.name: row.containers for row in box.volumes.list()}
    assert users.pop("kept") == ("web",)
    assert list(users.values()) == [()]  # the anonymous one stays, and nothing uses it
    box.containers.stop("web", time=0)
    box.containers.reconfigure("web", env_add=["A=4"])
    assert box.containers.inspect("web")["State"]["Status"] == "exited"
    box.containers.start("web")
    wait_until(lambda: printed(box).endswith("4--there\n"), what="its third run")


def test_what_cannot_be_changes_nothing(box: Engine, tmp_path: Path) -> None:
    before = box.containers.inspect("web")
    for changes, kind, words in (
        ({"env_rm": ["NO"]}, InvalidInput, "no variable 'NO'"),
        ({"label_rm": ["no"]}, InvalidInput, "no label 'no'"),
        ({"env_add": ["=x"]}, InvalidInput, "environment variable"),
        ({"mount_rm": ["/none"]}, NotFound, "nothing is mounted on /none"),
        ({"mount_add": ["kept:/old"]}, Conflict, "/old already"),
        ({"mount_add": ["type=odd,target=/x"]}, Unsupported, "odd"),
        ({"mount_add": [f"type=bind,source={tmp_path}/no,target=/x"]}, NotFound, "/no"),
    ):
        with pytest.raises(kind, match=words):
            box.containers.reconfigure("web", **changes)
    assert box.containers.inspect("web") == before
    # A mount that fails only when it is made: the container goes on as it was.
    (tmp_path / "file").write_text("")
    with pytest.raises(StartFailed, match="/etc"):
        box.containers.reconfigure("web", mount_add=[f"{tmp_path}/file:/etc"], env_add=["A=9"])
    wait_until(lambda: whole(box).count("1-2-") == 3, what="its start as it was")
    assert box.containers.inspect("web")["Mounts"] == before["Mounts"]


def test_by_the_command_line(box: Engine) -> None:
    program = verbs.ours()
    assert program.good("update", "--env-add", "A=7", "--restart", "no", "web") == ["web"]
    wait_until(lambda: printed(box).endswith("7-2-\n"), what="its second run")
    assert program("update", "--env-rm", "NO", "web").status == 1
