"""``.dockerignore``: which files of a context are left out.

Patterns are those of Go's ``filepath.Match`` with ``**`` added; ``!`` makes an exception, the last pattern that
matches decides, and a pattern that matches a directory holds for all below it (Dockerfile reference,
".dockerignore file").
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Self

from jupyter_containers.build.dockerfile.words import SPACE
from jupyter_containers.errors import DockerfileError, SourceRange
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


class PatternError(ValueError):
    """A pattern is malformed."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of the file, cleaned of ``.``, ``..`` and surplus slashes."""

    text: str
    exception: bool = False

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Read one line; None when it holds no pattern.

        Raises
        ------
        PatternError
            when the pattern is malformed.
        """
        if line.startswith("#"):
            return None
        text = line.strip(SPACE)
        exception = text.startswith("!")
        if exception:
            text = text[1:].strip(SPACE)
            if not text:
                raise PatternError('illegal exclusion pattern: "!"')
        if not text:
            return None
        pattern = cls(_clean(text), exception)
        _regex(pattern.text)
        return pattern


@dataclass(frozen=True, slots=True)
class Decision:
    """What the patterns say about one path.

    Parameters
    ----------
    excluded
        Whether the path is left out.
    descend
        Whether a walk has to look into it, were it a directory: it is not left out, or an exception may match below.
    matched
        Which groups of patterns matched it or a directory above it; handed to the decisions about what is below.
    """

    excluded: bool
    descend: bool
    matched: tuple[bool, ...]


class IgnoreMatcher:
    """Decides which paths of a context are left out.

    Neighbouring patterns of the same kind are tried as one regular expression. A walk passes each directory's
    decision to those about its entries, so that every path is matched once and excluded trees are not entered::

        below = matcher.decide("node_modules", matcher.root)
        if below.descend: ...

    Parameters
    ----------
    patterns
        In the order of the file.
    """

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self.patterns = tuple(patterns)
        self._groups = [
            (exception, re.compile("|".join(_regex(pattern.text) for pattern in group), re.DOTALL))
            for exception, group in groupby(self.patterns, key=lambda pattern: pattern.exception)
        ]
        self._exceptions = [pattern.text.split("/") for pattern in self.patterns if pattern.exception]
        self._components: dict[str, re.Pattern[str]] = {}
        self.root = Decision(excluded=False, descend=True, matched=(False,) * len(self._groups))
        """The decision about the context itself."""

    @classmethod
    def parse(cls, text: str, *, name: str = ".dockerignore") -> Self:
        """Read a ``.dockerignore`` file.

        Raises
        ------
        DockerfileError
            with the line that is malformed.
        """
        patterns: list[Pattern] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            try:
                pattern = Pattern.parse(line)
            except PatternError as error:
                raise DockerfileError(str(error), source=SourceRange(name, number, number), text=line) from error
            if pattern is not None:
                patterns.append(pattern)
        return cls(patterns)

    def decide(self, path: str, parent: Decision) -> Decision:
        """Decide about a path, relative to the context and written with ``/``, given its directory's decision."""
        matched = tuple(
            above or regex.fullmatch(path) is not None
            for above, (_, regex) in zip(parent.matched, self._groups, strict=True)
        )
        excluded = False
        for (exception, _), hit in zip(self._groups, matched, strict=True):
            if hit:
                excluded = not exception
        return Decision(excluded, not excluded or self._exception_below(path), matched)

    def excludes(self, path: str) -> bool:
        """Whether a path is left out, its directories considered."""
        decision = self.root
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            decision = self.decide("/".join(parts[:depth]), decision)
        return decision.excluded

    def _exception_below(self, directory: str) -> bool:
        return any(self._may_match_below(pattern, directory.split("/")) for pattern in self._exceptions)

    def _may_match_below(self, pattern: list[str], parts: list[str]) -> bool:
        for wanted, part in zip(pattern, parts, strict=False):
            if "**" in wanted:
                return True
            regex = self._components.get(wanted)
            if regex is None:
                regex = self._components[wanted] = re.compile(_regex(wanted), re.DOTALL)
            if not regex.fullmatch(part):
                return False
        return len(pattern) > len(parts)


def _clean(text: str) -> str:
    """Go's ``filepath.Clean``, without the leading slash."""
    parts: list[str] = []
    for part in text.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part == ".." and text.startswith("/"):
            continue
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _regex(pattern: str) -> str:
    """A regular expression for the whole of a path."""
    out: list[str] = []
    star = -1  # where in ``out`` the last star of this component stands
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "/" or pattern.startswith("**", at - 1):
            star = -1
        if pattern.startswith("**", at - 1):
            # ``**/`` is any number of directories, ``**`` at the end everything. Repetition adds nothing but time,
            # which would grow with the power of the number of them.
            at += 1
            at += pattern.startswith("/", at)
            while pattern.startswith("**/", at):
                at += 3
            out.append("(?:.*/)?" if at < len(pattern) else ".*")
        elif char == "*":
            if star >= 0:  # what stands between two stars is best at its first place: no other is tried
                out[star:] = [f"(?>[^/]*?{''.join(out[star + 1 :])})"]
            star = len(out)
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            piece, at = _character_class(pattern, at)
            out.append(piece)
        elif char == "\\":
            if at == len(pattern):
                raise PatternError(f"syntax error in pattern: {pattern!r} ends with a backslash")
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _class_member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_member(pattern, at + 1)
        if low > high:
            raise PatternError(f"syntax error in pattern: {pattern!r} has a range that runs backwards")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _class_member(pattern: str, at: int) -> tuple[str, int]:
    if at < len(pattern) and pattern[at] == "\\":
        at += 1
    elif at < len(pattern) and pattern[at] in "-]":
        raise PatternError(f"syntax error in pattern: unexpected {pattern[at]!r} in the class of {pattern!r}")
    if at >= len(pattern):
        raise PatternError(f"syntax error in pattern: the class of {pattern!r} is not closed")
    return pattern[at], at + 1
