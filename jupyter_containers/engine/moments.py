"""Moments as Docker's ``--since`` and ``--until`` take them, and as logs and events show them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from jupyter_containers.errors import InvalidInput

SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)


def parse_moment(text: str) -> int:
    """Nanoseconds since the epoch.

    ``10m`` or ``1h30m`` (ago), ``1700000000`` or ``1700000000.5`` (seconds since the epoch), or a date with or without
    time and time zone as RFC 3339 has them, ``2026-01-02T15:04:05Z``; without a zone the local one is meant.

    Raises
    ------
    InvalidInput
        for anything else.
    """
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))
    if match := _DATE.fullmatch(text):
        return _date(text, match)
    from jupyter_containers.build.dockerfile.durations import parse_duration  # noqa: PLC0415 - only for a duration

    try:
        return time.time_ns() - parse_duration(text)
    except ValueError:
        raise InvalidInput(
            f"invalid moment {text!r}", hint="write it as 10m (ago), 2026-01-02T15:04:05Z or seconds since the epoch"
        ) from None


def _date(text: str, match: re.Match[str]) -> int:
    date, hour, minute, second, fraction, zone = match.groups()
    whole = f"{date}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone or ""))
    except ValueError as error:
        raise InvalidInput(f"invalid moment {text!r}: {error}") from None
    return int(moment.timestamp()) * SECOND + int((fraction or "").ljust(9, "0"))


def moment(given: str | datetime | None) -> int | None:
    """The same for a datetime; None stays None."""
    if given is None or isinstance(given, str):
        return None if given is None else parse_moment(given)
    since = given.astimezone(UTC) - _EPOCH  # in whole numbers: a float of today's seconds is exact to 256 ns only
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000


def stamp(nanoseconds: int) -> str:
    """A moment in UTC with nine digits of a second, as logs have it: such texts compare as the moments do."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"
