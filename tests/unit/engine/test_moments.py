from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from jupyter_containers.engine.moments import moment, parse_moment, stamp
from jupyter_containers.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("2026-01-02T03:04:05Z", 1_767_323_045_000_000_000),
        ("2026-01-02T03:04:05.000000007Z", 1_767_323_045_000_000_007),
        ("2026-01-02T05:04:05+02:00", 1_767_323_045_000_000_000),
        ("2026-01-02Z", 1_767_312_000_000_000_000),
    ],
)
def test_moments_as_docker_takes_them(text: str, nanoseconds: int) -> None:
    assert parse_moment(text) == nanoseconds


def test_a_duration_is_that_long_ago_and_no_zone_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(parse_moment("1h30m") - (time.time_ns() - 5400 * 10**9)) < 10**9
    monkeypatch.setenv("TZ", "UTC-3")
    time.tzset()
    try:
        assert parse_moment("2026-01-02T06:04:05") == parse_moment("2026-01-02T03:04:05Z")
        assert parse_moment("2026-01-02T06:04") == parse_moment("2026-01-02T03:04:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-01-02T99:00", "5 m", "1.1.1"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid moment"):
        parse_moment(text)


def test_stamps_compare_as_moments_do() -> None:
    moments = [0, 1, 999_999_999, 10**9, 1_767_323_045_000_000_007]
    assert [stamp(each) for each in moments] == sorted(stamp(each) for each in moments)
    assert all(parse_moment(stamp(each)) == each for each in moments)


def test_a_datetime_is_taken_to_the_microsecond() -> None:
    begin, first = datetime(2026, 11, 26, 2, 0, 0, tzinfo=UTC), 1_795_658_400_000_000_000
    wrong = [n for n in range(1000) if moment(begin + timedelta(microseconds=n)) != first + n * 1000]
    assert wrong == []
