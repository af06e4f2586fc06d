"""The modes of ``--chmod``: octal, or symbolic as chmod(1) reads them (``u=rwX,go=rX``)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

_OCTAL: Final = re.compile(r"[0-7]{1,4}")
_CLAUSE: Final = re.compile(r"(?P<who>[ugoa]*)(?P<actions>(?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION: Final = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFT: Final = {"u": 6, "g": 3, "o": 0}
_BITS: Final = {"r": 4, "w": 2, "x": 1}
_EXECUTE: Final = 0o111


@lru_cache(maxsize=64)
def parse_mode(text: str) -> Callable[[int, bool], int]:
    """A function from the mode that a file has, and whether it is a directory, to the one it gets.

    Without ``u``, ``g``, ``o`` or ``a`` an action is for all: there is no umask to look at.

    Raises
    ------
    InvalidInput
        when it is no mode.
    """
    if _OCTAL.fullmatch(text):
        number = int(text, 8)
        return lambda _mode, _directory: number
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    steps: list[tuple[str, str, str]] = []
    for clause in clauses:
        if clause is None:
            raise InvalidInput(f"invalid mode {text!r}", hint="write it as 644, or as chmod does: u=rwX,go=rX, +x, g-w")
        who = "ugo" if clause["who"] in {"", "a"} or "a" in clause["who"] else clause["who"]
        steps += [(who, action, what) for action, what in _ACTION.findall(clause["actions"])]

    def change(mode: int, directory: bool) -> int:
        for who, action, what in steps:
            mode = _act(mode, who, action, what, directory=directory)
        return mode

    return change


def _act(mode: int, who: str, action: str, what: str, *, directory: bool) -> int:
    mask = wanted = 0
    for name in who:
        shift = _SHIFT[name]
        mask |= 7 << shift
        if what in _SHIFT and what:
            wanted |= (mode >> _SHIFT[what] & 7) << shift
            continue
        wanted |= sum(_BITS[letter] << shift for letter in set(what) & _BITS.keys())
        if "X" in what and (directory or mode & _EXECUTE):
            wanted |= 1 << shift
        if "s" in what and name != "o":
            wanted |= 0o4000 if name == "u" else 0o2000
    if "u" in who:
        mask |= 0o4000
    if "g" in who:
        mask |= 0o2000
    if "o" in who:
        mask |= 0o1000
    if "t" in what and "o" in who:
        wanted |= 0o1000
    if action == "+":
        return mode | wanted
    if action == "-":
        return mode & ~wanted
    # chmod(1): the set-id bits of a directory are kept unless they are named.
    kept = mode & 0o6000 if directory else 0
    return mode & ~mask | wanted | kept
