"""What the journal says of images, networks and volumes, beside containers: kept across processes, as Docker's."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.verbs import Program


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


def test_events_by_template_and_filter(program: Program) -> None:
    """What Docker tells of the same verbs, in the same order."""
    (begin,) = program.good("create", "--network", "none", "--name", "marker", program.image, "true")
    (since,) = program.good("inspect", "-f", "{{.Created}}", "marker")
    program.good("tag", program.image, "jc-events:1")
    program.good("rmi", "jc-events:1")
    program.good("volume", "create", "jc-events")
    program.good("run", "--name", "told", "--network", "none", "-v", "jc-events:/x", program.image, "true")
    program.good("rename", "told", "told-2")
    program.good("rm", "told-2")
    program.good("volume", "rm", "jc-events")
    program.good("rm", "marker")
    program.good("volume", "prune", "-f")
    until = str(int(time.time()) + 1)  # Docker counts whole seconds

    def events(form: str, *words: str) -> list[str]:
        return program.good("events", "--since", since, "--until", until, "--format", form, *words)

    of_volumes = events("{{.Type}} {{.Action}} {{.Actor.ID}}", "-f", "type=volume", "-f", "volume=jc-events")
    assert list(dict.fromkeys(of_volumes)) == [
        f"volume {action} jc-events" for action in ("create", "mount", "unmount", "destroy")
    ]
    assert events("{{.Action}}", "-f", "event=prune") == ["prune"]
    assert events("{{.Action}}", "-f", "type=image") == ["tag", "untag"]
    assert events("{{.Actor.Attributes.nosuch}}", "-f", "event=die") == ["<no value>"]
    of_one = events("{{.Action}} {{.Status}} {{.From}}", "-f", "container=told-2")
    assert of_one == [f"{action} {action} {program.image}" for action in ("rename", "destroy")]
    assert events('{{index .Actor.Attributes "oldName"}}', "-f", "event=rename") == ["/told"]
    assert events('{{.ID}} {{index .Actor.Attributes "exitCode"}}', "-f", "event=die")[0].endswith(" 0")
    assert events("{{.ID}}", "-f", "container=marker", "-f", "event=create") == [begin]
    by_image = events("{{.Action}}", "-f", f"image={program.image.partition(':')[0]}", "-f", "type=container")
    assert {"create", "start", "die", "destroy"} <= set(by_image)
    whole = [json.loads(text) for text in events("{{json .}}", "-f", "type=container")]
    assert {(each["status"], each["id"]) for each in whole} == {(each["Action"], each["Actor"]["ID"]) for each in whole}
