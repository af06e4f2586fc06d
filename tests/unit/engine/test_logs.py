"""Reading logs of Docker's json-file form: tails, following, bytes that are no text."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_containers.engine import logs

if TYPE_CHECKING:
    from pathlib import Path


def line(text: str, stream: str = "stdout") -> str:
    return json.dumps({"log": text, "stream": stream, "time": "2026-01-02T03:04:05.123456789Z"}) + "\n"


def test_entries_have_stream_bytes_and_time(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line("one\n") + line("two", "stderr"))
    first, second = logs.read(path)
    assert first == logs.LogEntry("stdout", b"one\n", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC))
    assert (second.stream, second.data) == ("stderr", b"two")


def test_no_file_has_no_entries(tmp_path: Path) -> None:
    assert list(logs.read(tmp_path / "none")) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(count=st.integers(0, 30), tail=st.integers(0, 40), width=st.integers(1, 9000))
def test_a_tail_is_the_end_of_the_log(tmp_path: Path, count: int, tail: int, width: int) -> None:
    path = tmp_path / "log.json"
    path.write_text("".join(line(f"{number}{'x' * width}\n") for number in range(count)))
    found = [entry.data for entry in logs.read(path, tail=tail)]
    assert found == ([entry.data for entry in logs.read(path)][-tail:] if tail else [])


def test_following_ends_when_the_container_does_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    alive = threading.Event()
    alive.set()

    def write() -> None:
        with path.open("a") as file:
            for number in range(20):
                file.write(line(f"{number}\n"))
                file.flush()
        alive.clear()

    writer = threading.Thread(target=write)
    writer.start()
    found = [int(entry.data) for entry in logs.read(path, follow=alive.is_set)]
    writer.join()
    assert found == list(range(20))
