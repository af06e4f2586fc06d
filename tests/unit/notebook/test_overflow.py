from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.events import Output
from jupyter_containers.notebook import overflow
from jupyter_containers.notebook.overflow import Overflow
from jupyter_containers.notebook.sink import CellSink

if TYPE_CHECKING:
    import pytest


class Cell:
    """What a cell shows."""

    def __init__(self, limit: int) -> None:
        self.streams = ""
        self.displays: list[tuple[Any, str, bool]] = []
        self.overflow = Overflow(self._write, lambda *shown: self.displays.append(shown), limit)

    def _write(self, _stream: str, text: str) -> None:
        self.streams += text


def test_little_output_is_passed_on() -> None:
    cell = Cell(1000)
    cell.overflow.add("stdout", "a\n")
    cell.overflow.add("stderr", "b")
    cell.overflow.close()
    assert (cell.streams, cell.displays) == ("a\nb", [])


def test_of_much_output_the_beginning_and_the_end_are_shown() -> None:
    cell = Cell(20_000)
    for number in range(100_000):
        cell.overflow.add("stdout", f"line {number}\n")
    cell.overflow.where = "logs web"
    cell.overflow.close()
    cell.overflow.close()
    assert cell.streams.startswith("line 0\nline 1\n")
    assert cell.streams.endswith("\n")
    assert len(cell.streams) <= 20_000
    bundle, identity, update = cell.displays[-1]
    note, first, *_, last, end = bundle["text/plain"].split("\n")
    assert (first.split()[0], last, end) == ("line", "line 99999", "")
    left_out = int(note.split()[1])
    shown = bundle["text/plain"].count("\n") - 1
    assert left_out + shown + cell.streams.count("\n") == 100_000
    assert note.endswith("are left out here; logs web")
    assert len(bundle["text/html"]) < 2 * overflow.TAIL
    assert {each[1] for each in cell.displays} == {identity}
    assert [each[2] for each in cell.displays[:1]] == [False]
    assert update


def test_it_is_drawn_a_few_times_a_second_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    cell = Cell(1)
    for _ in range(1000):
        now[0] += 0.001
        cell.overflow.add("stdout", "x\n")
    assert 2 <= len(cell.displays) <= 5


def test_one_endless_line_is_bounded_too() -> None:
    cell = Cell(110)
    cell.overflow.add("stdout", "x" * 5_000_000)
    cell.overflow.close()
    assert cell.streams == "x" * 10
    assert len(cell.displays[-1][0]["text/plain"]) < overflow.TAIL + 200


def test_a_sink_bounds_progress_in_lines_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[Any] = []
    sink = CellSink(None, publish=lambda *each: shown.append(each), limit=110)
    sink(Output("stdout", b"0123456789"))
    sink._lines(Output("stdout", b""))
    sink._write_error("more\n")
    sink.close()
    assert capsys.readouterr() == ("0123456789", "")
    assert shown[-1][0]["text/plain"] == "…\nmore\n"


def test_changing_streams_count_too() -> None:
    cell = Cell(1000)
    for _ in range(100):
        cell.overflow.add("stdout", "a\n")
        cell.overflow.add("stderr", "b\n")
    cell.overflow.close()
    assert len(cell.streams) < 30
    assert cell.displays
