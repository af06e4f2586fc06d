from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jupyter_containers.commands import humane

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (7_834_123, "7.83MB"), (123_456_789, "123MB"), (10**12, "1TB")],
)
def test_sizes_have_three_digits_and_decimal_units(count: int, text: str) -> None:
    assert humane.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (HOUR, "About an hour"),
        (1.4 * HOUR, "About an hour"),
        (1.6 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (2 * DAY, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_durations_are_in_dockers_words(seconds: float, text: str) -> None:
    assert humane.duration(seconds) == text


def test_ago() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert humane.ago(now - timedelta(hours=2), now) == "2 hours ago"
    assert humane.ago(now + timedelta(hours=2), now) == "Less than a second ago"
    assert humane.ago(None) == "N/A"


def test_texts_are_shortened_with_a_mark() -> None:
    assert humane.shorten("sleep", 5) == "sleep"
    assert humane.shorten("sleep 1", 5) == "slee…"
    assert humane.short_id("sha256:" + "ab" * 32) == "ab" * 6
