"""The flags that each instruction takes, and reading them."""

from __future__ import annotations

import difflib
import enum
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile.words import ArgumentsError
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(enum.Enum):
    """How often a flag may stand, and what it holds."""

    TEXT = enum.auto()
    TEXTS = enum.auto()
    BOOLEAN = enum.auto()


_COPY = {
    "chmod": Kind.TEXT,
    "chown": Kind.TEXT,
    "exclude": Kind.TEXTS,
    "link": Kind.BOOLEAN,
}
FLAGS: Final[dict[str, dict[str, Kind]]] = {
    "FROM": {"platform": Kind.TEXT},
    "RUN": {"device": Kind.TEXTS, "mount": Kind.TEXTS, "network": Kind.TEXT, "security": Kind.TEXT},
    "COPY": {**_COPY, "from": Kind.TEXT, "parents": Kind.BOOLEAN},
    "ADD": {**_COPY, "checksum": Kind.TEXT, "keep-git-dir": Kind.BOOLEAN, "unpack": Kind.BOOLEAN},
    "HEALTHCHECK": dict.fromkeys(("interval", "retries", "start-interval", "start-period", "timeout"), Kind.TEXT),
}
"""The flags of each instruction; those not named take none."""

_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(slots=True)
class FlagValues:
    """The flags of one instruction, by kind."""

    text: dict[str, str] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    booleans: dict[str, bool] = field(default_factory=dict)


def read_flags(keyword: str, written: Iterable[str]) -> FlagValues:
    """Sort the flags of an instruction.

    Raises
    ------
    ArgumentsError
        for one that the instruction does not take, that stands twice, or whose value is of the wrong kind.
    """
    known = FLAGS.get(keyword, {})
    values = FlagValues()
    for flag in written:
        name, equals, value = flag[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            close = difflib.get_close_matches(name, known, n=1)
            raise ArgumentsError(f"unknown flag: --{name}" + (f" (did you mean --{close[0]}?)" if close else ""))
        if name in values.text or name in values.booleans:
            raise ArgumentsError(f"duplicate flag specified: --{name}")
        if kind is Kind.BOOLEAN:
            values.booleans[name] = _boolean(name, value if equals else "true")
        elif not equals:
            raise ArgumentsError(f"missing a value on flag: --{name}")
        elif kind is Kind.TEXT:
            values.text[name] = value
        else:
            values.texts[name] = (*values.texts.get(name, ()), value)
    return values


def _boolean(name: str, value: str) -> bool:
    found = _BOOLEANS.get(value.lower())
    if found is None:
        raise ArgumentsError(f"expecting boolean value for flag --{name}, not: {value}")
    return found
