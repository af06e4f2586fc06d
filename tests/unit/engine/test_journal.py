from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import journal as reading
from jupyter_containers.errors import InvalidInput
from jupyter_containers.monitor import journal as writing

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, action: str, identity: str = "c1", **attributes: str) -> None:
    writing.append(str(path), "container", action, identity, {"image": "alpine", **attributes})


def actions(path: Path, *filters: str) -> list[str]:
    return [found.action for found in reading.read(path, since=0, until=time.time_ns(), filters=filters)]


def test_filters_are_dockers(tmp_path: Path) -> None:
    path = tmp_path / "events"
    write(path, "start", name="web", tier="front")
    write(path, "exec_create: ls -l", name="web")
    write(path, "health_status: healthy", name="web")
    write(path, "die", "d2", name="job")
    writing.append(str(path), "image", "pull", "alpine:latest", {})
    assert actions(path) == ["start", "exec_create: ls -l", "health_status: healthy", "die", "pull"]
    assert actions(path, "container=web") == ["start", "exec_create: ls -l", "health_status: healthy"]
    assert actions(path, "container=d") == ["die"]
    assert actions(path, "event=die", "event=start") == ["start", "die"]
    assert actions(path, "event=exec_create") == ["exec_create: ls -l"]
    assert actions(path, "event=health_status: healthy") == ["health_status: healthy"]
    assert actions(path, "event=die", "container=web") == []
    assert actions(path, "label=tier") == actions(path, "label=tier=front") == ["start"]
    assert actions(path, "label=tier=back") == []
    assert actions(path, "type=image") == actions(path, "image=alpine:latest", "type=image") == ["pull"]
    assert len(actions(path, "image=alpine", "scope=local")) == 5
    for wrong in ("event", "colour=red"):
        with pytest.raises(InvalidInput, match="invalid filter"):
            reading.matcher([wrong])


def test_it_is_followed_also_when_it_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LARGEST", 1000)
    path = tmp_path / "events"
    found: list[str] = []

    def follow() -> None:
        for happening in reading.read(path, since=0):
            found.append(happening.action)
            if happening.action == "19":
                return

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    for number in range(20):
        write(path, str(number))
        if number % 3 == 0:
            time.sleep(0.06)
    reader.join(10)
    assert found == [str(number) for number in range(20)]
    assert (tmp_path / "events.1").exists()


def test_from_now_on_is_the_default_and_damage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events"
    write(path, "before")
    with path.open("ab") as file:
        file.write(b'{"Type":"x"}\nhalf\n')
    until = time.time_ns() + 300_000_000
    found: list[str] = []
    reader = threading.Thread(
        target=lambda: found.extend(each.action for each in reading.read(path, until=until)), daemon=True
    )
    reader.start()
    time.sleep(0.1)
    write(path, "after")
    reader.join(10)
    assert found == ["after"]
