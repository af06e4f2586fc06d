"""Argument parsing with the semantics of Go's pflag, which Docker's commands have.

``-it`` combines switches, ``-eA=b`` and ``-e A=b`` and ``--env=A=b`` mean the same, ``--bool=false`` turns a switch
off, ``--`` ends the options, and options may stand between arguments except for ``run`` and ``exec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.commands.model import Command, Option, Value

from jupyter_containers.commands.model import Arguments

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class HelpRequested(Exception):  # noqa: N818 - no error: the user asked for it
    """``--help`` was among the options."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name)
        self.command = command


def parse(command: Command, words: Sequence[str], *, program: str) -> Arguments:
    """Read the words after a verb.

    Raises
    ------
    UsageError
        with Docker's message and a pointer to the help of ``program``.
    HelpRequested
        when ``--help`` is among the options (``-h`` too, unless the verb has an option of that letter).
    """
    values: dict[str, Value] = {}
    positionals: list[str] = []
    rest = iter(words)
    try:
        for word in rest:
            if word == "--":
                positionals.extend(rest)
            elif word.startswith("--"):
                _long(command, word[2:], rest, values)
            elif word.startswith("-") and len(word) > 1:
                _short(command, word[1:], rest, values)
            else:
                positionals.append(word)
                if not command.interspersed:
                    positionals.extend(rest)
        command.check_count(tuple(positionals))
    except UsageError as error:
        pointer = f"see '{' '.join(filter(None, (program, command.name)))} --help'"
        raise UsageError(error.message, hint=f"{error.hint}; {pointer}" if error.hint else pointer) from None
    return Arguments(values, tuple(positionals))


def _long(command: Command, text: str, rest: Iterator[str], values: dict[str, Value]) -> None:
    name, equals, given = text.partition("=")
    if name == "help":
        raise HelpRequested(command)
    option = command.option(name)
    if option is None:
        raise UsageError(f"unknown flag: --{name}", hint=_similar_flag(command, name))
    if equals:
        _store(option, given, values)
    elif option.kind == "bool":
        values[option.long] = True
    else:
        _store(option, _next(option, f"--{name}", rest), values)


def _short(command: Command, text: str, rest: Iterator[str], values: dict[str, Value]) -> None:
    """``-it``, ``-eA=b``, ``-e=A=b``, ``-e A=b``: the first letter that takes a value takes what follows it."""
    while text:
        letter, text = text[0], text[1:]
        option = command.short(letter)
        if option is None:
            if letter == "h":
                raise HelpRequested(command)
            raise UsageError(f"unknown shorthand flag: {letter!r} in -{letter}{text}")
        if option.kind == "bool":
            if text.startswith("="):
                _store(option, text[1:], values)
                return
            values[option.long] = True
            continue
        _store(option, text.removeprefix("=") if text else _next(option, f"-{letter}", rest), values)
        return


def _next(option: Option, spelled: str, rest: Iterator[str]) -> str:
    try:
        return next(rest)
    except StopIteration:
        metavar = f", as in {spelled} {option.metavar}" if option.metavar else ""
        raise UsageError(f"flag needs an argument: {spelled}{metavar}") from None


def _store(option: Option, text: str, values: dict[str, Value]) -> None:
    if option.repeatable:
        held = values.get(option.long)
        values[option.long] = (*held, text) if isinstance(held, tuple) else (text,)
    else:
        values[option.long] = _convert(option, text)


def _convert(option: Option, text: str) -> Value:
    """The value of a text.

    Raises
    ------
    UsageError
        naming the option and what is wrong with the value.
    """

    def wrong(why: str, hint: str | None = None) -> UsageError:
        return UsageError(f'invalid argument "{text}" for "{option.shown}": {why}', hint=hint)

    match option.kind:
        case "bool":
            if text not in _TRUE | _FALSE:
                raise wrong("it is neither true nor false")
            return text in _TRUE
        case "integer" | "decimal":
            try:
                return int(text) if option.kind == "integer" else float(text)
            except ValueError:
                raise wrong("it is no whole number" if option.kind == "integer" else "it is no number") from None
        case "size":
            from jupyter_containers.engine.units import parse_bytes  # noqa: PLC0415 - the engine is slow to import

            try:
                return parse_bytes(text)
            except InvalidInput as error:
                raise wrong("it is no size", error.hint) from None
        case "text":
            if option.choices and text not in option.choices:
                raise wrong(f"it must be one of {', '.join(option.choices)}")
            return text


def _similar_flag(command: Command, name: str) -> str | None:
    import difflib  # noqa: PLC0415 - only on the way to an error

    close = difflib.get_close_matches(name, [option.long for option in command.options], n=1, cutoff=0.6)
    return f"did you mean --{close[0]}?" if close else None
