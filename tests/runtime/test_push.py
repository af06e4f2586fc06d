"""``push``: an image goes to a real registry, and comes from there into another store."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.errors import ImageNotFound, InvalidInput, RegistryUnavailable
from jupyter_containers.events import Event, Transfer
from tests.support.registry import docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.engine import Image
    from tests.support.registry import Registry

pytestmark = pytest.mark.usefixtures("no_leaks")
TEXT = "FROM starter\nRUN echo hello > /note\n"


@pytest.fixture
def registry(tmp_path: Path, need_tool: Callable[[str], str]) -> Iterator[Registry]:
    need_tool("docker-registry")
    with docker_registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def built(engine: Engine, registry: Registry) -> Image:
    """An image of two names in the registry."""
    made = engine.images.build(dockerfile=TEXT, tag=f"{registry.host}/team/tool:1")
    engine.images.tag(made.names[0], f"{registry.host}/team/tool:2")
    return made


def test_what_is_pushed_comes_back_elsewhere(engine: Engine, built: Image, store_root: Path) -> None:
    name = built.names[0]
    seen: list[Event] = []
    pushed = engine.images.push(name, sink=seen.append)
    assert {event.status for event in seen if isinstance(event, Transfer) and event.ended} == {"done"}
    second = store_root.with_name(f"{store_root.name}-2")
    with Engine(second) as other:
        pulled = other.images.pull(name)
        assert (pulled.id, pulled.digest) == (built.id, pushed.digest)
        other.images.remove(name)
    shutil.rmtree(second)
    seen.clear()
    assert engine.images.push(name, sink=seen.append) == pushed
    assert {event.status for event in seen if isinstance(event, Transfer) and event.ended} == {"exists"}
    told = list(engine.events(filters=["event=push"], since="10m", until="0s"))
    assert [(event.type, event.attributes["name"]) for event in told] == [("image", name)] * 2


def test_the_command_says_what_dockers_does(engine: Engine, built: Image) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jupyter_containers", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    repository = built.names[0].removesuffix(":1")
    pushed = engine.images.push(built.names[0])
    line = f"1: digest: {pushed.digest} size: {pushed.size}\n"
    assert call("push", built.names[0]).stdout == line
    assert call("push", "-a", repository).stdout == line + line.replace("1:", "2:", 1)
    assert call("image", "push", "-q", built.names[0]).stdout == f"{built.names[0]}\n"
    refused = call("push", f"{repository}:3")
    assert refused.returncode == 1
    assert "no such image" in refused.stderr.lower() or "no image" in refused.stderr


def test_what_cannot_be_pushed(engine: Engine, built: Image) -> None:
    engine.images.pull("starter")
    with pytest.raises(InvalidInput, match="made on each machine"):
        engine.images.push("starter")
    with pytest.raises(ImageNotFound):
        engine.images.push("nosuch:1")
    with pytest.raises(ImageNotFound, match="no image here has the name"):
        engine.images.push(built.id.short)
    engine.images.tag(built.names[0], "localhost:1/nobody/there:1")
    with pytest.raises(RegistryUnavailable, match="localhost:1"):
        engine.images.push("localhost:1/nobody/there:1")
