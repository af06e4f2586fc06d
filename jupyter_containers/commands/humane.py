"""Numbers for people, in the words of Docker's command line: ``7.83MB``, ``2 hours``, ``0.3s``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
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
# Control characters, marks that turn the direction of writing, halves of characters (names that are no UTF-8)
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HALVES: Final = re.compile("[\ud800-\udfff]")
# Sequences that colour, move and name things on a terminal (ECMA-48): CSI, OSC and their like, two characters
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_ONE = {"second": "1 second", "minute": "About a minute", "hour": "About an hour"}


def size(count: float) -> str:
    """Bytes with three significant digits and decimal units, as image listings show them: ``7.83MB``."""
    unit = 0
    while count >= 1000 and unit < len(_DECIMAL) - 1:  # noqa: PLR2004 - decimal units
        count /= 1000
        unit += 1
    return f"{count:.3g}{_DECIMAL[unit]}" if count < 999.5 else f"{count:.0f}{_DECIMAL[unit]}"  # noqa: PLR2004 - rounds to 1e+03


def binary(count: float) -> str:
    """Bytes with four significant digits and binary units, as memory is shown: ``23.54GiB``."""
    unit = 0
    while count >= 1024 and unit < len(_BINARY) - 1:  # noqa: PLR2004 - binary units
        count /= 1024
        unit += 1
    return f"{count:.4g}{_BINARY[unit]}"


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
    """How long ago: ``2 hours ago``; ``N/A`` where it is not known: builds that can be repeated write the epoch."""
    if moment is None or not moment.timestamp():
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


def visible(text: str, keep: str = "") -> str:
    r"""Text in which nothing moves a cursor or turns the direction of writing: such characters are spelled ``\x1b``.

    Those in ``keep`` stay.
    """
    if text.isprintable():
        return text
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _spelled(found[0]), text)


def _spelled(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # noqa: PLR2004 - a byte that is no UTF-8, as PEP 383 keeps it
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii") if number < 0xD800 else f"\\u{number:04x}"  # noqa: PLR2004


def encodable(text: str) -> str:
    r"""Text that every encoding takes: bytes of a name that are no UTF-8 are spelled ``\xff``."""
    return text if text.isascii() else _HALVES.sub(lambda found: _spelled(found[0]), text)


def printed(text: str) -> str:
    """What a program printed as it is read on paper: without colours and movements of the cursor."""
    text = _SEQUENCE.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))  # a return overwrites
    return visible("\n".join(lines), keep="\n\t")
