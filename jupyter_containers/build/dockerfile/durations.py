"""Durations in Go's notation, ``1m30s``, as HEALTHCHECK takes them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_LIMIT = 2**63
_MAX_LENGTH = 64


def parse_duration(text: str) -> int:
    """Nanoseconds.

    Raises
    ------
    ValueError
        when it is none, or more than 292 years.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0
    total, at = Fraction(0), 0
    while at < len(rest) <= _MAX_LENGTH and (match := _PART.match(rest, at)):
        total += Fraction(match[1].rstrip(".")) * _UNITS[match[2]]
        at = match.end()
    if not rest or at != len(rest) or total >= _LIMIT:
        raise ValueError(f"invalid duration {text!r}")
    return sign * int(total)


def format_duration(nanoseconds: int) -> str:
    """The shortest text that :func:`parse_duration` reads as this many nanoseconds."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    parts: list[str] = []
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return sign + ("".join(parts) or "0s")
