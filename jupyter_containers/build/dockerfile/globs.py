"""The wildcards of ``${name#pattern}``, ``${name%pattern}`` and ``${name/pattern/text}``.

``*`` and ``?`` only, as in POSIX shells but without bracket expressions (Dockerfile reference, "Environment
replacement"); a backslash protects either of them, itself, a slash or a closing brace.
"""

from __future__ import annotations

import re


class PatternError(ValueError):
    """A backslash in a pattern protects a character that needs none."""


def _tokens(pattern: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\":
            char = pattern[at : at + 1]
            at += 1
            if char not in {"*", "?", "\\", "}", "/"}:
                raise PatternError(f"invalid escape '\\{char}'")
            tokens.append(re.escape(char))
        elif char == "*":
            if tokens[-1:] != ["*"]:
                tokens.append("*")
        else:
            tokens.append("." if char == "?" else re.escape(char))
    return tokens


def chain(pieces: list[str], *, star: str, last: str) -> str:
    """An expression for pieces with stars between them, whose time does not grow with the power of their number.

    Where another star follows, the first place of a piece is as good as any: no other is tried. ``last`` stands for the
    last star.
    """
    first, *middle = pieces
    if not middle:
        return first
    end = middle.pop()
    return first + "".join(f"(?>{star}?{piece})" for piece in middle) + last + end


def _regex(tokens: list[str], *, longest: bool) -> re.Pattern[str]:
    pieces = [""]
    for part in tokens:
        if part == "*":
            pieces.append("")
        else:
            pieces[-1] += part
    return re.compile(chain(pieces, star=".*", last=".*" if longest else ".*?"))


def trim_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """The value without the shortest or longest beginning that matches."""
    found = _regex(_tokens(pattern), longest=longest).match(value)
    return value[found.end() :] if found else value


def trim_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """The value without the shortest or longest end that matches."""
    found = _regex(_tokens(pattern)[::-1], longest=longest).match(value[::-1])
    return value[: len(value) - found.end()] if found else value


def replace(value: str, pattern: str, text: str, *, everywhere: bool) -> str:
    """The value with the first or every longest match replaced; an empty match right after another does not count."""
    pieces: list[str] = []
    copied, last = 0, -1
    for found in _regex(_tokens(pattern), longest=True).finditer(value):
        if found.end() == found.start() == last:
            continue
        pieces += [value[copied : found.start()], text]
        copied = last = found.end()
        if not everywhere:
            break
    return "".join(pieces) + value[copied:]
