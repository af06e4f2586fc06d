"""Completion of the magics' lines: verbs, options, images and containers.

IPython's matchers of version 2 are given the whole cell. Text before the cursor is enough here, so the same works in
Lab, Notebook, a terminal and VS Code, which hands over one line only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import asked
from jupyter_containers.commands.table import every, groups
from jupyter_containers.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.commands.model import Argument, Command, Completes, Option
    from jupyter_containers.notebook.session import Session

_HEAD = re.compile(r"(?:^|[\s=(])%%?container\s+(?P<rest>.*)$")
_NOTEBOOK_FLAGS = {"-o": True, "--out": True, "--no-raise": False, "--quiet": False, **asked.FLAGS}
_DOCKERFILE = (
    "FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL"
)
_BUILD_CELL = re.compile(r"\s*%%container\s(?:.*\s)?build(?:\s|$)")


def complete(context: Any, session: Session) -> dict[str, Any]:
    """The matcher: what may stand at the cursor of an IPython ``CompletionContext``."""
    from IPython.core.completer import SimpleCompletion  # noqa: PLC0415 - it is there when this is called

    lines = context.full_text.split("\n")
    line = context.line_with_cursor[: context.cursor_position]
    found = candidates(line, lines[0] if context.cursor_line else "", session)
    if not found:
        return {"completions": []}
    typed = re.search(r"\S*$", line)
    word = typed[0] if typed else ""
    token = context.token
    # IPython cuts words at ':' and '=' and replaces only the last piece: offer what follows the pieces before it.
    before = word.removesuffix(token) if word.endswith(token) else word
    texts = [text.removeprefix(before) for text in found if text.startswith(word)]
    return {
        "completions": [SimpleCompletion(text, type="container") for text in texts],
        "suppress": bool(texts),
        "ordered": True,
        "matched_fragment": token if word.endswith(token) else "",
    }


def candidates(line: str, head: str, session: Session) -> list[str]:
    """What may complete the last word of ``line``; ``head`` is the cell's first line when the cursor is below it."""
    if head:
        in_dockerfile = _BUILD_CELL.match(head) and line.strip() == line.lstrip() and " " not in line.strip()
        return _DOCKERFILE.split() if in_dockerfile else []
    match = _HEAD.search(line)
    if match is None:
        return []
    *words, _last = match["rest"].split(" ")
    words = [word for word in words if word]
    while words and words[0] in _NOTEBOOK_FLAGS:
        words = words[2 if _NOTEBOOK_FLAGS[words[0]] else 1 :]
    command, rest = _command(words)
    if command is None:
        if rest and rest[0] in groups():
            return sorted(name.split()[1] for each in every() for name in each.names if name.startswith(f"{rest[0]} "))
        return (
            []
            if rest
            else [*(each.name for each in every() if " " not in each.name), *sorted(groups()), *_NOTEBOOK_FLAGS]
        )
    return _of_command(command, rest, match["rest"].split(" ")[-1], session)


def _command(words: list[str]) -> tuple[Command | None, list[str]]:
    for command in every():
        for name in command.names:
            parts = name.split()
            if words[: len(parts)] == parts:
                return command, words[len(parts) :]
    return None, words


def _of_command(command: Command, words: list[str], last: str, session: Session) -> list[str]:
    positionals = 0
    waiting: Option | None = None
    for word in words:
        if waiting is not None:
            waiting = None
        elif word.startswith("-") and len(word) > 1:
            option = command.option(word[2:]) if word.startswith("--") else command.short(word[-1])
            waiting = option if option is not None and option.kind != "bool" else None
        else:
            positionals += 1
    if waiting is not None:
        return list(waiting.choices) or _names(waiting.completes, session)
    if positionals and not command.interspersed:
        last = ""
    if last.startswith("-"):
        return [f"--{option.long}" for option in command.options]
    argument = _argument_at(command.arguments, positionals)
    return _names(argument.completes, session) if argument else []


def _argument_at(arguments: Iterable[Argument], place: int) -> Argument | None:
    argument = None
    for count, argument in enumerate(arguments):
        if count == place:
            return argument
    return argument if argument is not None and argument.maximum is None else None


def _names(kind: Completes, session: Session) -> list[str]:
    """Names in the store; none before the engine was used, for completion must be quick and change nothing."""
    if not session.started or kind not in {"image", "container", "network", "volume", "name"}:
        return []
    engine = session.engine()
    names: list[str] = []
    try:
        if kind in {"container", "name"}:
            names += [row.name for row in engine.containers.list(all=True)]
        if kind == "volume":
            names += [row.name for row in engine.volumes.list()]
        if kind == "network":
            names += [row.name for row in engine.networks.list()]
        if kind in {"image", "name"}:
            names += [f"{row.repository}:{row.tag}" for row in engine.images.list() if row.repository is not None]
    except EngineError:
        # A store that cannot be read says so when a verb is run, not while somebody types.
        return []
    return sorted(set(names))
