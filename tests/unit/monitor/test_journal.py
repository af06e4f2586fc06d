from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from jupyter_containers.monitor import journal

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_event_is_written_as_docker_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "events"
    journal.append(str(path), "container", "die", "c" * 64, {"name": 'a"b', "exitCode": "3"})
    found = json.loads(path.read_text())
    assert found["timeNano"] // 10**9 == found["time"]
    assert (found["Type"], found["Action"], found["scope"]) == ("container", "die", "local")
    assert found["Actor"] == {"ID": "c" * 64, "Attributes": {"name": 'a"b', "exitCode": "3"}}


def test_its_size_is_bounded_and_no_line_is_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LARGEST", 4000)
    path = tmp_path / "events"

    def write(number: int) -> None:
        for _ in range(100):
            journal.append(str(path), "container", "start", str(number), {})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert sorted(os.listdir(tmp_path)) == ["events", "events.1"]
    for name in ("events", "events.1"):
        lines = (tmp_path / name).read_text().splitlines()
        assert all(json.loads(line)["Action"] == "start" for line in lines)
        assert (tmp_path / name).stat().st_size < 6000


def test_a_place_that_cannot_be_written_loses_the_event_alone(tmp_path: Path) -> None:
    journal.append(str(tmp_path / "gone" / "events"), "container", "start", "x", {})
    assert os.listdir(tmp_path) == []
