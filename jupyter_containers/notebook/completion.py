"""Completion in cells: verbs, options and their values, names of the store, paths, and the body of a build.

IPython's matchers of version 2 are given the whole cell. Text before the cursor is enough here, so the same works in
Lab, Notebook, a terminal and VS Code, which hands over one line only. Nothing is started for it: names of the store
are known once a verb has used the engine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.table import every, groups
from jupyter_containers.notebook import attendance, offers
from jupyter_containers.notebook.grammar import NOTEBOOK
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jupyter_containers.commands.model import Argument, Command, Option
    from jupyter_containers.notebook.session import Session

_LINE = re.compile(r"(?:^|[\s=(])%%?container\s+(?P<rest>.*)$", re.DOTALL)
_CELL = re.compile(r"\s*%%container\s")
_WORD = re.compile(r"""(?:"[^"]*"?|'[^']*'?|\\.|\S)+""")


@dataclass(slots=True)
class _Place:
    """Where a line has come to: an option that waits for its value, the arguments, the options that were given."""

    waiting: Option | None = None
    positionals: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    only_arguments: bool = False
    """After ``--``."""


def complete(context: Any, session: Session, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The matcher: what may stand at the cursor of an IPython ``CompletionContext``."""
    from IPython.core.completer import SimpleCompletion  # noqa: PLC0415 - it is there when this is called

    lines = context.full_text.split("\n")[: context.cursor_line]
    text = "\n".join([*lines, context.line_with_cursor[: context.cursor_position]])
    word, found = candidates(text, offers.Surroundings(session, namespace))
    texts = [each for each in dict.fromkeys(found) if each.startswith(word)]
    if not texts:
        return {"completions": []}
    token = context.token if word.endswith(context.token) else ""
    # IPython cuts words at ':' and '=' and replaces only the last piece: offer what follows the pieces before it.
    before = word.removesuffix(token)
    return {
        "completions": [SimpleCompletion(each.removeprefix(before), type="container") for each in texts],
        "suppress": True,
        "ordered": True,
        "matched_fragment": token,
    }


def candidates(text: str, around: offers.Surroundings) -> tuple[str, list[str]]:
    """The last word of a cell's text up to the cursor, and what may stand there in its place."""
    line, body = _parts(text)
    match = _LINE.search(line)
    if match is None:
        return "", []
    rest = match["rest"]
    words = _WORD.findall(rest)
    last = words.pop() if words and not _ended(rest) else ""
    if body is not None:
        return _in_body([*words, last] if last else words, body, around)
    if last.startswith(("{", '"', "'")):
        return last, []  # an expression is Python's, and IPython completes it
    return last, list(_in_line(words, last, around))


def _parts(text: str) -> tuple[str, str | None]:
    """The line of a magic, continued ones joined, and the body of a cell where the text reaches it."""
    lines = text.lstrip().split("\n") if _CELL.match(text) else text.split("\n")
    if not _CELL.match(text):
        line = lines.pop()
        while lines and lines[-1].endswith("\\"):
            line = f"{lines.pop()[:-1]} {line}"
        return line, None
    line = lines.pop(0)
    while lines and line.endswith("\\"):
        line = f"{line[:-1]} {lines.pop(0)}"
    return line, "\n".join(lines) if lines else None


def _ended(text: str) -> bool:
    return text[-1:].isspace() and text[-2:-1] != "\\"


def _in_line(words: list[str], last: str, around: offers.Surroundings) -> Iterable[str]:
    place = _walk(NOTEBOOK, words)
    if place.waiting is not None:
        return offers.of_value(place.waiting, last, around, python="python" in place.given)
    asked = place.positionals
    if not asked:
        return _flags(NOTEBOOK, last, around) if last.startswith("-") else [*_first_words(), "help"]
    if asked[0] == "help":
        asked = asked[1:]
        if not asked:
            return _first_words()
    command, rest = _command(asked)
    if command is None:
        if len(asked) == 1 and asked[0] in groups():
            return sorted(name.split()[1] for each in every() for name in each.names if name.startswith(f"{asked[0]} "))
        return []
    return _of_command(attendance.extended(command), rest, last, around, python="python" in place.given)


def _first_words() -> list[str]:
    return [*(each.name for each in every() if " " not in each.name), *sorted(groups())]


def _command(words: list[str]) -> tuple[Command | None, list[str]]:
    for command in every():
        for name in command.names:
            parts = name.split()
            if words[: len(parts)] == parts:
                return command, words[len(parts) :]
    return None, words


def _of_command(
    command: Command, words: list[str], last: str, around: offers.Surroundings, *, python: bool
) -> Iterable[str]:
    place = _walk(command, words)
    if place.waiting is not None:
        return offers.of_value(place.waiting, last, around, python=python or "python" in place.given)
    if place.positionals and not command.interspersed:
        place.only_arguments = True
    if last.startswith("-") and not place.only_arguments:
        return _flags(command, last, around)
    argument = _argument_at(command.arguments, len(place.positionals))
    if argument is None:
        return []
    found = offers.of_argument(argument.completes, last, around)
    return [each for each in found if argument.maximum is not None or each not in place.positionals]


def _flags(command: Command, last: str, around: offers.Surroundings) -> Iterable[str]:
    """Options, or after ``--name=`` the values of one."""
    name, equals, value = last.removeprefix("--").partition("=")
    if not equals:
        return [f"--{option.long}" for option in command.options]
    option = command.option(name)
    if option is None or not last.startswith("--"):
        return []
    return (f"--{name}={each}" for each in offers.of_value(option, value, around, python=False))


def _walk(command: Command, words: list[str]) -> _Place:
    """Read the words before the cursor; what is wrong with them is no matter of completion."""
    place = _Place()
    for word in words:
        if place.waiting is not None:
            place.waiting = None
        elif place.only_arguments or not word.startswith("-") or word == "-":
            place.positionals.append(word)
            place.only_arguments |= not command.interspersed
        elif word == "--":
            place.only_arguments = True
        else:
            name, equals, _value = word.removeprefix("--").partition("=")
            option = command.option(name) if word.startswith("--") else _last_short(command, word[1:])
            if option is not None:
                place.given.add(option.long)
                place.waiting = option if option.kind != "bool" and not equals else None
    return place


def _last_short(command: Command, letters: str) -> Option | None:
    """The option of ``-it`` that may wait for a value: that of the last letter, where the others are switches."""
    for count, letter in enumerate(letters, 1):
        option = command.short(letter)
        if option is None or (option.kind != "bool" and count < len(letters)):
            return None
        if count == len(letters):
            return option
    return None


def _argument_at(arguments: Iterable[Argument], place: int) -> Argument | None:
    argument = None
    for count, argument in enumerate(arguments):
        if count == place:
            return argument
    return argument if argument is not None and argument.maximum is None else None


def _in_body(words: list[str], body: str, around: offers.Surroundings) -> tuple[str, list[str]]:
    """The end of a Dockerfile in a cell; any other body is a script, or Python that IPython completes."""
    command, rest = _command(_walk(NOTEBOOK, words).positionals)
    if command is None or command.body != "dockerfile":
        return "", []
    from jupyter_containers.build.dockerfile.offers import offer  # noqa: PLC0415 - only for the body of a build

    found = offer(body)
    texts = list(found.texts)
    last = found.word.removeprefix(found.prefix)
    if found.images:
        texts += offers.of_argument("image", last, around)
    if found.paths:
        # without a folder it is the one of the notebook, as for the build
        folder = (_walk(command, rest).positionals or ["."])[0]
        texts += offers.paths(last, folder)
    return found.word, [f"{found.prefix}{each}" for each in texts]
