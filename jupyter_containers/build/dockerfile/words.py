"""How the arguments of an instruction are cut into flags, words, pairs and JSON arrays.

White space is what Go's ``unicode.IsSpace`` calls so, because Docker's parser is written with it; Python's
``str.isspace`` knows four control characters more.
"""

from __future__ import annotations

import json
import re
from typing import Final

SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class ArgumentsError(ValueError):
    """The arguments are malformed; the parser adds the place and raises it as a DockerfileError."""


def is_space(char: str) -> bool:
    """Whether a character separates words."""
    return char in SPACE


def split_keyword(line: str) -> tuple[str, str]:
    """The first word of a logical line, and the rest without surrounding space."""
    first, *rest = _BLANKS.split(line.strip(SPACE), maxsplit=1)
    return first, rest[0].strip(SPACE) if rest else ""


def split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """Take the leading ``--flag`` words off; a lone ``--`` ends them.

    Quotes group and disappear, a backslash protects the next character whatever the escape directive says.
    """
    flags: list[str] = []
    at = 0
    while True:
        at = _skip_space(text, at)
        if not text.startswith("--", at):
            return tuple(flags), text[at:].strip(SPACE)
        word, at = _flag_word(text, at)
        if word == "--":
            return tuple(flags), text[at:].strip(SPACE)
        flags.append(word)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and is_space(text[at]):
        at += 1
    return at


def _flag_word(text: str, at: int) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\":
            if at < len(text):
                word.append(text[at])
            at += 1
        elif quote:
            if char == quote:
                quote = ""
            else:
                word.append(char)
        elif char in "'\"":
            quote = char
        elif is_space(char):
            break
        else:
            word.append(char)
    return "".join(word), at


def split_blanks(text: str) -> tuple[str, ...]:
    """Words between blanks, whatever quotes say (FROM, COPY, ADD, EXPOSE, VOLUME)."""
    stripped = text.strip(SPACE)
    return tuple(_BLANKS.split(stripped)) if stripped else ()


def split_quoted(text: str, escape: str) -> tuple[str, ...]:
    """Words between spaces outside quotes; quotes and escapes stay in them (ENV, LABEL, ARG)."""
    words: list[str] = []
    at = _skip_space(text, 0)
    while at < len(text):
        word, at = _quoted_word(text, at, escape)
        if word:
            words.append(word)
        at = _skip_space(text, at)
    return tuple(words)


def _quoted_word(text: str, at: int, escape: str) -> tuple[str, int]:
    start, quote, dropped = at, "", False
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'":
            if at + 1 == len(text):
                dropped = True  # an escape character at the very end protects nothing and disappears
            at += 2
            continue
        at += 1
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif is_space(char):
            return text[start : at - 1], at
    return text[start : len(text) - dropped], len(text)


def split_pairs(text: str, escape: str, keyword: str) -> tuple[tuple[str, ...], bool]:
    """Names and values of ENV and LABEL in turn, and whether the form without equals sign was used."""
    words = split_quoted(text, escape)
    if not words:
        return (), False
    if "=" not in words[0]:
        parts = _BLANKS.split(text, maxsplit=1)
        if len(parts) < 2:  # noqa: PLR2004 - a name and a value
            raise ArgumentsError(f"{keyword} must have two arguments")
        return (parts[0], parts[1]), True
    flat: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ArgumentsError(f'can\'t find = in "{word}": must be of the form name=value')
        flat += [name, value]
    return tuple(flat), False


def _no_constant(name: str) -> float:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def read_json(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None when the text does not start with one and so is a command for the shell.

    As in Docker, what follows the array is ignored: ``CMD ["a"] # note`` is the array.

    Raises
    ------
    ArgumentsError
        when it is an array that holds something else than strings.
    """
    if not text.startswith("["):
        return None
    try:
        value: object = _DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    strings = [item for item in value if isinstance(item, str)]
    if len(strings) != len(value):
        raise ArgumentsError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(_SURROGATE.sub("\ufffd", item) for item in strings)
