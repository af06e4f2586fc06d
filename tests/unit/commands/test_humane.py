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


def test_the_epoch_is_no_moment() -> None:
    assert humane.ago(datetime.fromtimestamp(0, UTC)) == humane.ago(None) == "N/A"


def test_what_moves_a_cursor_is_spelled_out() -> None:
    assert humane.visible("plain") == "plain"
    assert humane.visible("a\x1b[31m\tb\n") == r"a\x1b[31m\tb\n"
    assert humane.visible("a\tb\n", keep="\n\t") == "a\tb\n"
    assert humane.visible("a\u202eb\udc80\ud800é") == r"a\u202eb\x80\ud800é"


def test_what_was_printed_as_it_is_read_on_paper() -> None:
    assert humane.printed("\x1b[1;31mred\x1b[0m\r\n") == "red\n"
    assert humane.printed("10%\r90%\r100%\n") == "100%\n"
    assert humane.printed("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link") == "textlink"
    assert humane.printed("bell\x07\x00\n\tend") == "bell\\x07\\x00\n\tend"
    assert humane.printed("\x1b(Bplain") == "plain"


def test_text_that_every_encoding_takes() -> None:
    assert humane.encodable("caf\udce9") == r"caf\xe9"
    assert humane.encodable("é\x1b") == "é\x1b"
