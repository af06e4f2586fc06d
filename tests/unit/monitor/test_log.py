from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.monitor import log as logging
from jupyter_containers.monitor import record

if TYPE_CHECKING:
    from pathlib import Path


@given(st.lists(st.binary(max_size=50_000), max_size=4))
def test_nothing_is_lost_and_no_entry_is_too_long(chunks: list[bytes]) -> None:
    rest, entries = b"", []
    for chunk in chunks:
        whole, rest = logging.split(rest + chunk)
        entries += whole
    assert b"".join(entries) + rest == b"".join(chunks)
    assert all(len(entry) <= logging.LONGEST for entry in entries)
    assert all(b"\n" not in entry[:-1] for entry in entries)


def test_a_long_line_is_not_cut_inside_a_character() -> None:
    (first, *_), _rest = logging.split(b"x" + "\u20ac".encode() * 10_000)
    assert first.decode() == "x" + "\u20ac" * 5461


def test_entries(tmp_path: Path) -> None:
    log = logging.Log({"path": str(tmp_path / "log")})
    assert not (tmp_path / "log").exists()
    log.write("stdout", b'a "quoted" \xff\n')
    log.write("stderr", b"no newline")
    log.write("stdout", b"b")
    log.write("stdout", b"c\n")
    log.close()
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(entry["stream"], entry["log"]) for entry in entries] == [
        ("stdout", 'a "quoted" \ufffd\n'),
        ("stdout", "bc\n"),
        ("stderr", "no newline"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["time"]) for entry in entries)
    assert log.problem == ""


@pytest.mark.parametrize(("files", "expected"), [(1, {"log"}), (3, {"log", "log.1", "log.2"})])
def test_rotation(tmp_path: Path, files: int, expected: set[str]) -> None:
    log = logging.Log({"path": str(tmp_path / "log"), "max_size": 500, "max_file": files})
    for number in range(40):
        log.write("stdout", f"line {number}\n".encode())
    log.close()
    assert set(os.listdir(tmp_path)) == expected
    assert all(os.path.getsize(tmp_path / name) <= 500 for name in expected)
    last = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert last["log"] == "line 39\n"


def test_a_full_disk_is_noted_and_goes_on() -> None:
    log = logging.Log({"path": "/dev/full"})
    log.write("stdout", b"line\n")
    log.close()
    assert log.problem == "log: No space left on device"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_records_are_json(value: object) -> None:
    assert json.loads(record.text(value)) == value


def test_a_record_is_whole_or_not_there(tmp_path: Path) -> None:
    record.write(str(tmp_path / "exit"), {"code": 0})
    record.write(str(tmp_path / "exit"), {"code": 1})
    assert json.loads((tmp_path / "exit").read_text()) == {"code": 1}
    assert os.listdir(tmp_path) == ["exit"]
