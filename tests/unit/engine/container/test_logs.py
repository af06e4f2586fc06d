"""Reading logs of Docker's json-file form: tails, following, bytes that are no text."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_containers.engine.container import logs
from jupyter_containers.engine.moments import parse_moment
from jupyter_containers.monitor.log import Log

if TYPE_CHECKING:
    from pathlib import Path


def line(text: str, stream: str = "stdout") -> str:
    return json.dumps({"log": text, "stream": stream, "time": "2026-01-02T03:04:05.123456789Z"}) + "\n"


def test_entries_have_stream_bytes_and_time(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line("one\n") + line("two", "stderr"))
    first, second = logs.read(path)
    moment, stamp = datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC), "2026-01-02T03:04:05.123456789Z"
    assert first == logs.LogEntry("stdout", b"one\n", moment, stamp)
    assert (second.stream, second.data) == ("stderr", b"two")


def test_no_file_has_no_entries(tmp_path: Path) -> None:
    assert list(logs.read(tmp_path / "none")) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(count=st.integers(0, 30), tail=st.integers(0, 40), width=st.integers(1, 9000))
def test_a_tail_is_the_end_of_the_log(tmp_path: Path, count: int, tail: int, width: int) -> None:
    path = tmp_path / "log.json"
    path.write_text("".join(line(f"{number}{'x' * width}\n") for number in range(count)))
    found = [entry.data for entry in logs.read(path, logs.Selection(tail))]
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


def texts(path: Path, selection: logs.Selection | None = None) -> list[str]:
    return [entry.data.decode() for entry in logs.read(path, selection)]


def test_rotated_files_are_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    for name, numbers in (("log.json.2", range(3)), ("log.json.1", range(3, 6)), ("log.json", range(6, 8))):
        (tmp_path / name).write_text("".join(line(str(number)) for number in numbers))
    assert texts(path) == list("01234567")
    for tail in range(10):
        assert texts(path, logs.Selection(tail)) == list("01234567")[8 - min(tail, 8) :]


@pytest.mark.parametrize(("files", "size"), [(3, 400), (50, 150)])
def test_following_goes_on_across_rotations(tmp_path: Path, files: int, size: int) -> None:
    path = tmp_path / "log.json"
    log = Log({"path": str(path), "max_size": size, "max_file": files})
    alive = threading.Event()
    alive.set()
    found: list[int] = []

    def follow() -> None:
        found.extend(int(entry.data) for entry in logs.read(path, follow=alive.is_set))

    reader = threading.Thread(target=follow)
    reader.start()
    for number in range(40):
        log.write("stdout", f"{number}\n".encode())
        if number % 3 == 0:
            time.sleep(0.06)  # the reader looks every 50 ms; three entries are less than a file
    log.close()
    alive.clear()
    reader.join(10)
    assert found == list(range(40))
    assert len(list(tmp_path.iterdir())) <= files


def test_a_span_of_time(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    stamps = [f"2026-01-02T03:04:0{second}.000000000Z" for second in range(5)]
    path.write_text(
        "".join(json.dumps({"log": stamp[18], "stream": "stdout", "time": stamp}) + "\n" for stamp in stamps)
    )
    since, until = parse_moment("2026-01-02T03:04:01Z"), parse_moment("2026-01-02T03:04:03Z")
    assert texts(path, logs.Selection(since=since)) == list("1234")
    assert texts(path, logs.Selection(until=until)) == list("0123")
    assert texts(path, logs.Selection(tail=3, since=since, until=until)) == list("23")


def test_what_a_killed_monitor_left_half_written_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line("one") + '{"log":"tw' + line("three") + line("four"))
    assert texts(path) == ["one", "four"]


def test_details_are_kept_with_each_entry(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    log = Log({"path": str(path), "attrs": {"tier": 'a"b'}})
    log.write("stdout", b"x\n")
    log.close()
    (entry,) = logs.read(path)
    assert entry.details == {"tier": 'a"b'}
    assert list(json.loads(path.read_text())) == ["log", "stream", "attrs", "time"]
