"""Variables, quotes and escapes in the words of a Dockerfile.

The rules are those of Docker's shell lexer as the Dockerfile reference describes them under "Environment
replacement": ``$name``, ``${name}``, ``${name:-word}`` and its kin, nested at will. They look like a shell's without
being one: there are no commands, no arithmetic, no tilde, and a special parameter such as ``$?`` is merely unset.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from jupyter_containers.build.dockerfile import globs
from jupyter_containers.build.dockerfile.nodes import DEFAULT_ESCAPE
from jupyter_containers.build.dockerfile.words import is_space
from jupyter_containers.errors import DockerfileError, SourceRange, size_text
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPECIAL = frozenset("@*#?-$!0")
_MAX_DEPTH = 50
_MAX_VALUES = 1 << 20
"""Characters that the variables of one text may bring in: some lines can ask for more than any memory holds."""
_UNKNOWN = SourceRange("Dockerfile", 1, 1)


class ExpansionError(ValueError):
    """A word cannot be expanded; :class:`Expander` adds the place and raises it as a DockerfileError."""


@dataclass(slots=True)
class _Words:
    """Collects a text and, beside it, the words it falls into."""

    text: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)

    def raw(self, text: str) -> None:
        """Add what never splits: quoted and escaped characters."""
        self.text.append(text)
        self.current.append(text)

    def split(self, text: str) -> None:
        """Add what splits at white space: plain characters and the values of variables."""
        self.text.append(text)
        for blank, run in groupby(text, is_space):
            if blank:
                self._end()
            else:
                self.current.append("".join(run))

    def _end(self) -> None:
        word = "".join(self.current)
        if word:
            self.words.append(word)
        self.current.clear()

    def finish(self) -> tuple[str, list[str]]:
        """The whole text and its words."""
        self._end()
        return "".join(self.text), self.words


class Lexer:
    """One pass over one text.

    Parameters
    ----------
    text
        What to expand.
    env
        The variables.
    escape
        The escape character.
    quotes
        Whether quotes mean anything (they do not inside a here-document).
    raw_quotes
        Whether quotes stay in the result.
    raw_escapes
        Whether escape characters stay in the result.
    keep_unset
        Whether a reference to a variable that is not set stays as it is instead of becoming empty.
    """

    def __init__(
        self,
        text: str,
        env: Mapping[str, str],
        *,
        escape: str = DEFAULT_ESCAPE,
        quotes: bool = True,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self._text = text
        self._at = 0
        self._env = env
        self._escape = escape
        self._quotes = quotes
        self._raw_quotes = raw_quotes
        self._raw_escapes = raw_escapes
        self._keep_unset = keep_unset
        self._depth = 0
        self._left = _MAX_VALUES
        self.unset: list[str] = []

    def run(self) -> tuple[str, list[str]]:
        """The expanded text, and the words it falls into.

        Raises
        ------
        ExpansionError
            on unbalanced quotes and braces, unknown modifiers, and ``${name?message}`` with name not set.
        """
        return self._until("", raw_escapes=self._raw_escapes)

    # -- characters --------------------------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    # -- the grammar -------------------------------------------------------------------------------------------------

    def _until(self, stop: str, *, raw_escapes: bool) -> tuple[str, list[str]]:
        if self._depth > _MAX_DEPTH:
            raise ExpansionError(f"substitutions are nested more than {_MAX_DEPTH} deep")
        self._depth += 1
        before, self._raw_escapes = self._raw_escapes, raw_escapes
        out = _Words()
        while char := self._peek():
            if char == stop:
                break
            if char == "$":
                out.split(self._value())
            elif self._quotes and char == "'":
                out.raw(self._single_quoted())
            elif self._quotes and char == '"':
                out.raw(self._double_quoted())
            elif self._next() == self._escape:
                out.raw((char if raw_escapes else "") + self._next())
            else:
                out.split(char)
        if stop and not char:
            raise ExpansionError(f"missing '{stop}' in substitution")
        self._at += len(stop)
        self._raw_escapes = before
        self._depth -= 1
        return out.finish()

    def _single_quoted(self) -> str:
        start = self._at
        end = self._text.find("'", start + 1)
        if end < 0:
            raise ExpansionError("unexpected end of statement while looking for matching single-quote")
        self._at = end + 1
        return self._text[start : end + 1] if self._raw_quotes else self._text[start + 1 : end]

    def _double_quoted(self) -> str:
        quote = self._next() if self._raw_quotes else self._next()[1:]
        out = [quote]
        while char := self._peek():
            if char == "$":
                out.append(self._value())
                continue
            self._at += 1
            if char == '"':
                return "".join([*out, quote])
            if char == self._escape:
                if self._raw_escapes:
                    out.append(char)
                if self._peek() and self._peek() in {'"', "$", self._escape}:
                    char = self._next()
            out.append(char)
        raise ExpansionError("unexpected end of statement while looking for matching double-quote")

    def _name(self) -> str:
        start = self._at
        first = self._peek()
        if first.isdecimal():
            while self._peek().isdecimal():
                self._at += 1
        elif first and first in _SPECIAL:
            self._at += 1
        else:
            while (char := self._peek()) and (char == "_" or char.isalpha() or char.isdecimal()):
                self._at += 1
        return self._text[start : self._at]

    def _lookup(self, name: str) -> str | None:
        value = self._env.get(name)
        if value is None and name not in self.unset:
            self.unset.append(name)
        return value

    def _plain(self, name: str, written: str) -> str:
        value = self._lookup(name)
        if value is None:
            return written if self._keep_unset else ""
        return value

    def _value(self) -> str:
        value = self._dollar()
        self._left -= len(value)
        if self._left < 0:
            raise ExpansionError(f"its variables hold more than {size_text(_MAX_VALUES)}")
        return value

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            return self._plain(name, f"${name}") if name else "$"
        self._at += 1
        first = self._peek()
        if not first:
            raise ExpansionError("missing '}' in substitution")
        if first in "{}:":
            raise ExpansionError("bad substitution")
        name = self._name()
        operator = self._next()
        if not operator:
            raise ExpansionError("missing '}' in substitution")
        if operator == "}":
            return self._plain(name, f"${{{name}}}")
        if operator == "/":
            return self._replacement(name)
        if operator == ":":
            operator += self._next()
        if operator[-1] not in "+-?#%" or operator == ":":
            raise ExpansionError(f"unsupported modifier ({operator}) in substitution")
        return self._modified(name, operator)

    def _modified(self, name: str, operator: str) -> str:
        kind = operator[-1]
        word, _ = self._until("}", raw_escapes=kind in "#%")
        # A default is the one case where a reference to an unset name is no mistake.
        value = self._env.get(name) if kind in "+-?" else self._lookup(name)
        if value is None and self._keep_unset:
            return f"${{{name}{operator}{word}}}"
        if kind in "#%":
            return self._trimmed(value or "", kind, word)
        missing = value is None or (operator[0] == ":" and not value)
        if kind == "+":
            return "" if missing else word
        if not missing:
            return value or ""
        if kind == "-":
            return word
        state = "unset" if value is None else "empty"
        raise ExpansionError(f"{name}: {word or f'is not allowed to be {state}'}")

    @staticmethod
    def _trimmed(value: str, kind: str, word: str) -> str:
        longest = word.startswith(kind)
        pattern = word[1:] if longest else word
        trim = globs.trim_prefix if kind == "#" else globs.trim_suffix
        try:
            return trim(value, pattern, longest=longest)
        except globs.PatternError as error:
            raise ExpansionError(f"invalid pattern ({pattern}) in substitution: {error}") from error

    def _replacement(self, name: str) -> str:
        everywhere = self._peek() == "/"
        self._at += everywhere
        pattern, _ = self._until("/", raw_escapes=True)
        text, _ = self._until("}", raw_escapes=True)
        value = self._lookup(name)
        if value is None and self._keep_unset:
            return f"${{{name}/{pattern}/{text}}}"
        try:
            return globs.replace(value or "", pattern, text, everywhere=everywhere)
        except globs.PatternError as error:
            raise ExpansionError(f"invalid pattern ({pattern}) in substitution: {error}") from error


class Expander:
    """Expands the words of one instruction with the variables as they were before it.

    ``unset`` collects, in order, the names that were referred to without a default and are not set: material for a
    check, not an error.

    Parameters
    ----------
    env
        The variables. Values are those from before the instruction, so ``ENV a=1 b=$a`` sees the old ``a``.
    escape
        The escape character of the file.
    source
        Where the instruction is, for errors.
    text
        Its text, for errors.
    """

    def __init__(
        self, env: Mapping[str, str], *, escape: str = DEFAULT_ESCAPE, source: SourceRange = _UNKNOWN, text: str = ""
    ) -> None:
        self._env = env
        self._escape = escape
        self._source = source
        self._text = text
        self.unset: list[str] = []

    def word(self, text: str) -> str:
        """The text with variables replaced, quotes and escapes removed; white space stays.

        Raises
        ------
        DockerfileError
            when the text is malformed or a required variable is not set.
        """
        return self._run(Lexer(text, self._env, escape=self._escape), text)[0]

    def words(self, text: str) -> list[str]:
        """The same, split at white space that is not quoted, also where a variable brought it in (EXPOSE)."""
        return self._run(Lexer(text, self._env, escape=self._escape), text)[1]

    def document(self, text: str) -> str:
        """The body of a here-document whose delimiter is not quoted.

        Quotes are ordinary characters; the escape character is always the backslash and, as in Docker, disappears
        from before any character.
        """
        return self._run(Lexer(text, self._env, quotes=False), text)[0]

    def _run(self, lexer: Lexer, text: str) -> tuple[str, list[str]]:
        try:
            return lexer.run()
        except ExpansionError as error:
            shown = text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what fits on a line
            raise DockerfileError(
                f"failed to process {shown!r}: {error}", source=self._source, text=self._text
            ) from error
        finally:
            self.unset += [name for name in lexer.unset if name not in self.unset]
