"""``--progress rawjson``: what readers of BuildKit's SolveStatus rely on."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.rawjson import RawProgress
from jupyter_containers.events import Notice, Output, StepError, StepFinished, StepOutput, StepStarted, Transfer
from tests.unit.commands.test_progress_lines import BUILD

if TYPE_CHECKING:
    from jupyter_containers.events import Event

NOW = "2026-01-02T03:04:05Z"


def told(events: list[Event]) -> list[dict[str, Any]]:
    lines: list[str] = []
    sink = RawProgress(lines.append, lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    for event in events:
        sink(event)
    sink.close()
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


def test_a_build() -> None:
    first, found, second, *logs, ended, export, naming, exported = told(BUILD)
    (vertex,) = first["vertexes"]
    assert vertex["digest"].startswith("sha256:")
    assert (vertex["name"], vertex["started"]) == ("[base 1/2] FROM alpine", NOW)
    assert found["vertexes"] == [{**vertex, "completed": NOW, "cached": True}]
    digest = second["vertexes"][0]["digest"]
    assert [log["logs"][0]["stream"] for log in logs] == [1, 2]
    assert b"".join(base64.b64decode(log["logs"][0]["data"]) for log in logs) == "one\ntäo\r\nrest".encode()
    assert {log["logs"][0]["vertex"] for log in logs} == {digest}
    assert ended["vertexes"] == [{**second["vertexes"][0], "completed": NOW}]
    assert export["vertexes"][0]["name"] == "exporting to image"
    assert [status["id"] for status in naming["statuses"]] == [
        "writing image sha256:" + "ab" * 32,
        "naming to tool:1",
    ]
    assert exported["vertexes"][0]["completed"] == NOW


def test_inputs_errors_transfers_and_warnings() -> None:
    key = "ab" * 32
    started, failed, begun, waiting, done, warning, *note = told(
        [
            StepStarted(key, 2, 2, "", "RUN x", 2, ("image:a",)),
            StepError(key, "it failed", 1.0),
            Transfer("blob", "downloading", 5, 10),
            Transfer("blob", "done", 10, 10),
            Notice("mind this", "warning"),
            Notice("by the way"),
            Output("stdout", b"no progress"),
        ]
    )
    assert started["vertexes"][0]["digest"] == f"sha256:{key}"
    (image,) = told([StepStarted("image:a", 1, 2, "", "FROM a", 1)])
    assert started["vertexes"][0]["inputs"] == [image["vertexes"][0]["digest"]]
    assert failed["vertexes"][0]["error"] == "it failed"
    assert begun["vertexes"][0]["name"] == "[internal] transfers"
    assert waiting["statuses"][0] == {
        "id": "blob",
        "vertex": begun["vertexes"][0]["digest"],
        "name": "downloading",
        "current": 5,
        "total": 10,
        "timestamp": NOW,
        "started": NOW,
    }
    assert done["statuses"][0]["completed"] == NOW
    assert base64.b64decode(warning["warnings"][0]["short"]) == b"mind this"
    assert [line["vertexes"][0]["name"] for line in note] == ["by the way", "by the way"]


def test_what_was_not_begun_can_end() -> None:
    (line,) = told([StepFinished("x", cached=False, seconds=0)])
    assert line["vertexes"][0]["completed"] == NOW
    assert told([StepOutput("x", "stdout", b"")])[0]["logs"][0]["data"] == ""
