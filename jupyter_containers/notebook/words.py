"""How the line of a magic becomes arguments: a shell's quoting, and ``{expression}`` for values of the notebook.

Only a whole, unquoted word ``{…}`` is an expression, and its value is one argument whatever it contains. Everything
else stays as it is: ``{{.Names}}`` of Go templates, ``$VAR``, ``a{b}c``, and anything in quotes.
"""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import UsageError
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ESCAPABLE_IN_QUOTES = '"\\$`\n'
_QUOTE = "close it on the same line; a quote that is meant as itself has a backslash before it"
_EXPRESSION = "an unquoted word in braces is an expression of the notebook; in quotes it stays as it is"


@dataclass(frozen=True, slots=True)
class Word:
    """One argument, or an expression whose value is one."""

    text: str
    is_expression: bool = False


def join_continued(line: str, body: str | None) -> tuple[str, str | None]:
    """Join the head line of a cell with the lines after it while it ends with a backslash, as a shell does."""
    while body is not None and line.endswith("\\") and not line.endswith("\\\\"):
        following, _, body = body.partition("\n")
        line = f"{line[:-1]} {following}"
    return line, body


def split(line: str) -> tuple[list[Word], bool]:
    """The words of a line, and whether it ended with the ``;`` that keeps a notebook from showing the value.

    Raises
    ------
    UsageError
        when a quote is not closed.
    """
    words: list[Word] = []
    position, silenced = 0, False
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        expression = _expression(line, position)
        if expression is not None:
            words.append(Word(expression, is_expression=True))
            position += len(expression) + 2
            silenced = line[position:].strip() == ";"
            if silenced:
                break
            continue
        text, position, silenced = _word(line, position)
        words.append(Word(text))
    if silenced and words and not words[-1].is_expression:
        text = words.pop().text[:-1]
        words += [Word(text)] if text else []
    return words, silenced


def _word(line: str, position: int) -> tuple[str, int, bool]:
    """One word with its quotes resolved, where it ends, and whether it ends the line with a bare ``;``."""
    text: list[str] = []
    bare = False
    while position < len(line) and not line[position].isspace():
        char = line[position]
        bare = False
        if char == "'":
            end = line.find("'", position + 1)
            if end < 0:
                raise UsageError(f"a single quote is not closed: {line[position:]}", hint=_QUOTE)
            text.append(line[position + 1 : end])
            position = end + 1
        elif char == '"':
            inner, position = _double_quoted(line, position)
            text.append(inner)
        elif char == "\\" and position + 1 < len(line):
            text.append(line[position + 1])
            position += 2
        else:
            bare = char == ";"
            text.append(char)
            position += 1
    return "".join(text), position, bare and not line[position:].strip()


def _double_quoted(line: str, start: int) -> tuple[str, int]:
    text: list[str] = []
    position = start + 1
    while position < len(line):
        char = line[position]
        if char == '"':
            return "".join(text), position + 1
        if char == "\\" and position + 1 < len(line) and line[position + 1] in _ESCAPABLE_IN_QUOTES:
            position += 1
            char = line[position]
        text.append(char)
        position += 1
    raise UsageError(f"a double quote is not closed: {line[start:]}", hint=_QUOTE)


def _expression(line: str, start: int) -> str | None:
    """The Python expression in the braces that begin at ``start`` and end a word, None where there is none."""
    if line[start] != "{" or line.startswith("{{", start):
        return None
    end = line.find("}", start)
    while end >= 0:
        if end + 1 == len(line) or line[end + 1].isspace() or line[end + 1 :].strip() == ";":
            source = line[start + 1 : end]
            try:
                ast.parse(source.strip(), mode="eval")
            except (SyntaxError, ValueError):
                pass
            else:
                return source
        end = line.find("}", end + 1)
    return None


def expand(words: Sequence[Word], evaluate: Callable[[str], object]) -> list[str]:
    """The words with their expressions evaluated.

    Raises
    ------
    UsageError
        when an expression fails or has a value that is no argument.
    """
    return [_value(word.text, evaluate) if word.is_expression else word.text for word in words]


def _value(source: str, evaluate: Callable[[str], object]) -> str:
    try:
        value = evaluate(source.strip())
    except Exception as error:  # whatever the user's expression raises becomes the message
        raise UsageError(
            f"{{{source}}} cannot be evaluated: {type(error).__name__}: {error}", hint=_EXPRESSION
        ) from error
    text = scalar_text(value)
    if text is None and isinstance(identity := getattr(value, "id", None), str):
        text = identity
    if text is None:
        raise UsageError(
            f"{{{source}}} is {_article(type(value).__name__)}, which is no argument",
            hint="use a text, a number, a path, an image or a container",
        )
    return text


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def scalar_text(value: object) -> str | None:
    """The argument that a text, a number or a path makes; None for anything else."""
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if isinstance(path, str) else os.fsdecode(path)
    return None


def variable_lookup(namespace: Mapping[str, Any], environment: Mapping[str, str]) -> Callable[[str], str | None]:
    """What a bare ``-e NAME`` means: the notebook's text, number or path, else the environment's.

    It raises UsageError where the notebook has a NAME that is no such value and the environment has none.
    """

    def lookup(name: str) -> str | None:
        value = namespace.get(name)
        text = scalar_text(value)
        if text is not None or name in environment or value is None:
            return environment.get(name) if text is None else text
        raise UsageError(
            f"{name} is {_article(type(value).__name__)} in the notebook, which cannot be the value of a variable",
            hint=f"write {name}=VALUE, or make it a text, a number or a path",
        )

    return lookup
