"""The options of run: texts become lists, nonsense is refused by name."""

from __future__ import annotations

import pytest

from jupyter_containers.engine.options import (
    RunKeywords,
    RunOptions,
    merge_environment,
    resolve_environment,
    signal_number,
    split_pairs,
)
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import EngineError, InvalidInput, UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("64m", 64 * 2**20), ("64M", 64 * 2**20), ("64mb", 64 * 2**20), ("64MiB", 64 * 2**20), ("1.5g", 1536 * 2**20),
     ("512", 512), (512, 512), ("1k", 1024), ("-1", -1), ("10b", 10)],
)  # fmt: skip
def test_sizes_are_powers_of_1024(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "m", "64x", "-5", "1e3", "64 m b"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid memory limit"):
        parse_bytes(text, what="memory limit")


def test_keywords_take_one_text_a_list_or_a_mapping() -> None:
    options = RunOptions.of({"env": {"A": "1", "B": "x=y"}, "volume": "/a:/b", "cap_drop": ["ALL"], "memory": "64m"})
    assert options.env == ("A=1", "B=x=y")
    assert options.volume == ("/a:/b",)
    assert options.cap_drop == ("ALL",)
    assert options.memory == "64m"


def test_an_unknown_keyword_is_named() -> None:
    with pytest.raises(UsageError, match="no option 'memmory'"):
        RunOptions.of({"memmory": "64m"})


def test_the_keyword_types_and_the_options_are_the_same_set() -> None:
    assert set(RunKeywords.__annotations__) == set(RunOptions.__struct_fields__)


@pytest.mark.parametrize(
    "options",
    [RunOptions(name="-x"), RunOptions(pull="often"), RunOptions(cpus=0), RunOptions(workdir="relative"),
     RunOptions(restart="sometimes"), RunOptions(restart="always:3"), RunOptions(restart="on-failure:x"),
     RunOptions(restart="always", remove=True), RunOptions(log_driver="syslog"), RunOptions(log_driver="nothing"),
     RunOptions(log_opt=("max-size",)), RunOptions(log_opt=("nosuch=1",)), RunOptions(log_opt=("max-file=3",))],
)  # fmt: skip
def test_contradictions_are_refused(options: RunOptions) -> None:
    with pytest.raises(EngineError):
        options.check()


def test_a_bare_variable_takes_the_callers_value_or_is_left_out() -> None:
    assert resolve_environment(["A=1", "B", "C"], {"B": "2"}) == ["A=1", "B=2"]
    with pytest.raises(InvalidInput):
        resolve_environment(["=1"], {})


def test_later_variables_win_in_the_place_of_the_first() -> None:
    assert merge_environment(["A=1", "B=2"], ["A=3", "C=4"]) == ["A=3", "B=2", "C=4"]


def test_a_label_without_a_value_is_empty() -> None:
    assert split_pairs(["a", "b=c=d"]) == {"a": "", "b": "c=d"}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"hostname": "h" * 65}, "host name"),
        ({"hostname": ""}, "host name"),
        ({"stop_signal": "FOO"}, "no signal 'FOO'"),
        ({"dns": "one.one.one.one"}, "no IP address"),
    ],
)
def test_nonsense_is_refused_before_anything_is_made(keywords: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        RunOptions.of(keywords).check()


@pytest.mark.parametrize(("name", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", 37)])
def test_signals_are_written_in_several_ways(name: str, number: int) -> None:
    assert signal_number(name) == number


def test_what_is_no_utf8_cannot_be_recorded() -> None:
    record = ContainerRecord(
        id="a", name="b", image="c", image_id="d", digest="e", created=0, args=("echo", "x\udcff"), env=(), cwd="/",
        user="", hostname="h", network="none", chains=(), labels={}, stop_signal="SIGTERM", stop_timeout=1,
        memory_limit=None, options=RunOptions(),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match=r"not UTF-8: b'x\\xff'"):
        record.encode()
