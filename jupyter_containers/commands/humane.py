"""Numbers for people, in the words of Docker's command line: ``7.83MB``, ``2 hours``, ``0.3s``."""

from __future__ import annotations

from datetime import UTC, datetime

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WEEK, _MONTH, _YEAR = 7 * _DAY, 30 * _DAY, 365 * _DAY
# (below this many seconds, the unit's name, its length in seconds): the coarsest unit that still says something
_STEPS = (
    (_MINUTE, "second", 1),
    (_HOUR, "minute", _MINUTE),
    (48 * _HOUR, "hour", _HOUR),
    (14 * _DAY, "day", _DAY),
    (60 * _DAY, "week", _WEEK),
    (2 * _YEAR, "month", _MONTH),
)
_ONE = {"second": "1 second", "minute": "About a minute", "hour": "About an hour"}


def size(count: float) -> str:
    """Bytes with three significant digits and decimal units, as image listings show them: ``7.83MB``."""
    unit = 0
    while count >= 1000 and unit < len(_DECIMAL) - 1:  # noqa: PLR2004 - decimal units
        count /= 1000
        unit += 1
    return f"{count:.3g}{_DECIMAL[unit]}" if count < 999.5 else f"{count:.0f}{_DECIMAL[unit]}"  # noqa: PLR2004 - rounds to 1e+03


def duration(seconds: float) -> str:
    """A length of time in one unit: ``Less than a second``, ``About an hour``, ``3 weeks``."""
    if seconds < 1:
        return "Less than a second"
    for limit, unit, length in _STEPS:
        if seconds < limit:
            count = round(seconds / length) if unit == "hour" else int(seconds // length)
            return _ONE[unit] if count <= 1 and unit in _ONE else f"{count} {unit}s"
    return f"{int(seconds // _YEAR)} years"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago: ``2 hours ago``; ``N/A`` where the moment is not known."""
    if moment is None:
        return "N/A"
    passed = ((now or datetime.now(UTC)) - moment).total_seconds()
    return f"{duration(max(passed, 0))} ago"


def seconds(value: float) -> str:
    """A measured time of a step: ``4ms``, ``1.3s``, ``75.2s``."""
    return f"{value * 1000:.0f}ms" if value < 1 else f"{value:.1f}s"


def milliseconds(value: float) -> str:
    """A measured time that may be short: ``4 ms``, ``1.2 s``."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, the last one ``…`` where something was left out."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short_id(identity: str) -> str:
    """The first 12 hexadecimal digits of an id or a digest."""
    return identity.removeprefix("sha256:")[:12]
