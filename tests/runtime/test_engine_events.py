"""What the journal says of images, networks and volumes, beside containers: kept across processes, as Docker's."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def told(root: Path, filters: Sequence[str] = ()) -> list[str]:
    """As another process reads it."""
    with Engine(root) as other:
        found = other.events(since="1h", until="0s", filters=filters)
        return [f"{each.type} {each.action}" for each in found]


def test_images_and_volumes(engine: Engine, store_root: Path) -> None:
    engine.images.pull("starter")
    image = engine.images.tag("starter", "mine:1")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    archive.seek(0)
    engine.images.import_archive(archive)
    engine.containers.run("mine:1", ["true"], name="job", volume="kept:/kept", network="none")
    engine.containers.remove("job")
    engine.volumes.remove("kept")
    engine.images.remove("mine:1")
    engine.images.remove("starter")
    assert told(store_root, ["type=image", "type=volume"]) == [
        "image pull",
        "image tag",
        "image import",
        "volume create",
        "volume mount",
        "volume unmount",
        "volume destroy",
        "image untag",
        "image untag",
        "image delete",
    ]
    assert told(store_root, ["event=mount", "volume=kept"]) == ["volume mount"]
    assert told(store_root, [f"image={image.id}", "event=tag"]) == ["image tag"]
    names = [each.attributes["name"] for each in engine.events(since="1h", until="0s", filters=["event=tag"])]
    assert names == ["mine:1"]
    whole = told(store_root)
    assert whole.index("volume mount") < whole.index("container start")
    assert whole.index("container die") < whole.index("volume unmount")


@pytest.mark.root
def test_networks(engine: Engine, store_root: Path) -> None:
    engine.images.pull("starter")
    engine.networks.create("back")
    engine.networks.create("more")
    engine.containers.run("starter", ["sleep", "1000"], detach=True, name="web", network="back")
    engine.networks.connect("more", "web")
    engine.networks.disconnect("back", "web")
    engine.containers.stop("web", time=0)
    wait_until(lambda: told(store_root).count("network disconnect") == 2, what="its disconnection")
    engine.containers.remove("web")
    engine.networks.remove("back")
    engine.networks.remove("more")
    found = [
        (each.action, each.attributes["name"])
        for each in engine.events(since="1h", until="0s", filters=["type=network"])
    ]
    assert found == [
        ("create", "back"),
        ("create", "more"),
        ("connect", "back"),
        ("connect", "more"),
        ("disconnect", "back"),
        ("disconnect", "more"),
        ("destroy", "back"),
        ("destroy", "more"),
    ]
    assert told(store_root, ["network=back", "event=connect"]) == ["network connect"]
