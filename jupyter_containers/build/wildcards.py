r"""The wildcards of sources in COPY and ADD: Go's ``filepath.Match`` by path component, and ``**`` for any depth.

``*`` and ``?`` do not match ``/``; ``[a-z]`` and ``[^a]`` are character classes; ``\`` protects the next character.
"""

from __future__ import annotations

import re
from functools import lru_cache

from jupyter_containers.build.dockerfile import globs
from jupyter_containers.errors import InvalidInput

_SPECIAL = re.compile(r"[*?\[\\]")
_WILD = re.compile(r"(?:\\.|[^*?\[\\])*[*?\[]", re.DOTALL)


def has_wildcard(text: str) -> bool:
    """Whether an unprotected ``*``, ``?`` or ``[`` is in it."""
    return bool(_WILD.match(text))


def unescape(text: str) -> str:
    """A component without wildcards as the name it stands for."""
    return re.sub(r"\\(.)", r"\1", text) if _SPECIAL.search(text) else text


@lru_cache(maxsize=512)
def component(pattern: str) -> re.Pattern[str]:
    """The expression that one component of a path must match in full.

    Raises :class:`~jupyter_containers.errors.InvalidInput` when the pattern is malformed.
    """
    pieces = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "."
        elif char == "[":
            text, at = _character_class(pattern, at)
            pieces[-1] += text
        elif char == "\\":
            if at == len(pattern):
                raise InvalidInput(f"the pattern {pattern!r} ends with a backslash")
            pieces[-1] += re.escape(pattern[at])
            at += 1
        else:
            pieces[-1] += re.escape(char)
    return re.compile(globs.chain(pieces, star=".*", last=".*"), re.DOTALL)


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while at < len(pattern) and (pattern[at] != "]" or not ranges):
        low, at = _class_character(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_character(pattern, at + 1)
        if low > high:
            raise InvalidInput(f"the pattern {pattern!r} has the empty range {low}-{high}")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    if at >= len(pattern):
        raise InvalidInput(f"the pattern {pattern!r} has a [ without ]")
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    escaped = pattern[at : at + 1] == "\\"
    at += escaped
    if at >= len(pattern) or (pattern[at] in "-]" and not escaped):
        raise InvalidInput(f"the pattern {pattern!r} has a malformed character class")
    return pattern[at], at + 1
