"""Sizes and durations as Docker's users write them."""

from __future__ import annotations

import re

from jupyter_containers.errors import InvalidInput

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}


def parse_bytes(value: str | float, *, what: str = "size") -> int:
    """Bytes of ``64m``, ``1.5g``, ``1024`` (powers of 1024, either case); -1 stays -1 (no limit).

    Raises
    ------
    InvalidInput
        naming ``what``.
    """
    if isinstance(value, int | float):
        number = int(value)
    elif value.strip() == "-1":
        number = -1
    else:
        match = _SIZE.fullmatch(value.strip())
        if not match:
            raise InvalidInput(f"invalid {what} {value!r}", hint="write it as 512k, 64m or 2g")
        number = int(float(match[1]) * _FACTORS[match[2].lower()])
    if number < -1:
        raise InvalidInput(f"invalid {what} {value!r}: it is negative")
    return number
