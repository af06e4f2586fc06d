"""Templates as Docker's ``--format`` takes them: the part of Go's text/template that scripts use.

``{{.Names}}``, ``{{range .Mounts}}{{.Source}} {{end}}``, ``{{if}} … {{else}} … {{end}}``, ``{{with}}``, variables,
pipelines, comparisons, and Docker's functions (json, join, split, title, lower, upper, pad, truncate, println). Values
are what JSON has; a callable is a method. Source: the documentation of Go's text/template, Docker's "Format command and
log output".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jupyter_containers.commands.go_functions import FUNCTIONS, lookup, shown, truth
from jupyter_containers.errors import InvalidInput
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ACTION: Final = re.compile(
    r"\{\{(-?)((?:[^}\"`']|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|'[^']*'|\}(?!\}))*?)(-?)\}\}", re.DOTALL
)
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>:=|[|(),])"
    r"|(?P<word>\$?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|\$(?:\.[A-Za-z_]\w*)*|(?:\.[A-Za-z_]\w*)+|\.))"
)
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "r": "\r"}
_CONSTANTS: Final[dict[str, Any]] = {"true": True, "false": False, "nil": None}

Operand: TypeAlias = "tuple[str, Any]"
Pipeline: TypeAlias = "list[list[Operand]]"


@dataclass(slots=True)
class _Node:
    """A piece of a template: ``text``, or an action with what belongs to it."""

    kind: str
    text: str = ""
    pipeline: Pipeline = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    body: list[_Node] = field(default_factory=list)
    other: list[_Node] = field(default_factory=list)


class Template:
    """A template that was read.

    Raises
    ------
    InvalidInput
        when it cannot be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = _split(text)
        self._at = 0
        self._nodes, end = self._parse()
        if end:
            raise self._wrong(f"{{{{{end}}}}} without a beginning")

    def render(self, value: Any, functions: Mapping[str, Any] | None = None) -> str:
        """The text for a value; raises InvalidInput for a field it does not have."""
        return "".join(_Run({**FUNCTIONS, **(functions or {})}, value).nodes(self._nodes, value))

    def fields(self) -> list[str]:
        """The names of the fields of the value itself, in their order."""
        found: list[str] = []
        _collect(self._nodes, found)
        return list(dict.fromkeys(found))

    def _wrong(self, why: str) -> InvalidInput:
        return InvalidInput(f"the template {self._text!r} cannot be read: {why}", hint="it is like --format '{{.ID}}'")

    def _parse(self, *, inside: bool = False) -> tuple[list[_Node], str]:
        """Nodes up to ``end`` or ``else``, which is returned; empty at the end of the text."""
        nodes: list[_Node] = []
        while self._at < len(self._pieces):
            kind, text = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                nodes.append(_Node("text", text))
                continue
            word, _, rest = text.partition(" ")
            if word in {"end", "else"}:
                return nodes, text
            if word in {"if", "range", "with"}:
                nodes.append(self._block(word, rest))
            elif text and not text.startswith("/*"):
                nodes.append(self._action("print", text))
        if inside:
            raise self._wrong("an {{end}} is missing")
        return nodes, ""

    def _block(self, word: str, rest: str) -> _Node:
        node = self._action(word, rest)
        node.body, end = self._parse(inside=True)
        if end.startswith("else"):
            condition = end.removeprefix("else").strip()
            if condition.startswith(("if ", "with ")):
                kind, _, more = condition.partition(" ")
                node.other = [self._block(kind, more)]
                return node
            node.other, _end = self._parse(inside=True)
        return node

    def _action(self, kind: str, text: str) -> _Node:
        tokens = self._tokens(text)
        names = []
        marks = [at for at, token in enumerate(tokens) if token == ("mark", ":=")]
        if marks:
            names = [str(value) for sort, value in tokens[: marks[0]] if sort == "word"]
            tokens = tokens[marks[0] + 1 :]
        pipeline, rest = self._pipeline(tokens)
        if rest or not pipeline:
            raise self._wrong(f"{text!r} is no expression")
        return _Node(kind, text, pipeline, names)

    def _tokens(self, text: str) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self._wrong(f"{text[at:].strip()!r} is not understood")
            kind, value = match.lastgroup, match[match.lastgroup]
            joined = match.start(kind) == at and found and found[-1] == ("mark", ")")
            found.append(("after" if joined and value.startswith(".") else kind, value))
            at = match.end()
        return found

    def _pipeline(
        self, tokens: list[tuple[str, Any]], *, nested: bool = False
    ) -> tuple[Pipeline, list[tuple[str, Any]]]:
        """Commands up to the end, or to the closing parenthesis, and what comes after that."""
        commands: Pipeline = [[]]
        closed = not nested
        while tokens:
            kind, value = tokens[0]
            tokens = tokens[1:]
            if kind == "mark" and value == ")" and nested:
                closed = True
                break
            if kind == "mark" and value == "|":
                commands.append([])
            elif kind == "mark" and value == "(":
                inner, tokens = self._pipeline(tokens, nested=True)
                commands[-1].append(("pipeline", inner))
            elif kind == "after":
                commands[-1][-1:] = [("chain", (commands[-1][-1], value))]
            elif kind == "string":
                commands[-1].append(("value", _unquoted(value)))
            elif kind == "number":
                commands[-1].append(("value", float(value) if "." in value else int(value)))
            elif kind == "word" and value in _CONSTANTS:
                commands[-1].append(("value", _CONSTANTS[value]))
            elif kind == "word":
                commands[-1].append(("field" if value.startswith((".", "$")) else "function", value))
            else:
                raise self._wrong(f"{value!r} is not expected")
        if not all(commands) or not closed:
            raise self._wrong("an expression is missing")
        return commands, tokens


def _split(text: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    at = 0
    trim = False
    for match in _ACTION.finditer(text):
        before = text[at : match.start()]
        before = before.lstrip() if trim else before
        before = before.rstrip() if match[1] else before
        pieces += [("text", before)] if before else []
        pieces.append(("action", match[2].strip()))
        at, trim = match.end(), bool(match[3])
    rest = text[at:].lstrip() if trim else text[at:]
    if "{{" in rest:
        raise InvalidInput(f"the template {text!r} cannot be read: an action is not closed", hint="close it with }}")
    return [*pieces, ("text", rest)] if rest else pieces


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])


def _collect(nodes: Iterable[_Node], found: list[str]) -> None:
    def of(pipeline: Pipeline) -> None:
        for command in pipeline:
            for kind, value in command:
                if kind == "pipeline":
                    of(value)
                elif kind == "chain":
                    of([[value[0]]])
                elif kind == "field" and value.startswith(".") and value != ".":
                    found.append(value[1:].split(".")[0])

    for node in nodes:
        of(node.pipeline)
        _collect(node.body, found)
        _collect(node.other, found)


class _Run:
    """One rendering; ``$`` and other variables live here."""

    def __init__(self, functions: Mapping[str, Any], root: Any) -> None:
        self._functions = functions
        self._variables: dict[str, Any] = {"$": root}

    def nodes(self, nodes: Iterable[_Node], dot: Any) -> list[str]:
        """The texts of nodes."""
        out: list[str] = []
        for node in nodes:
            if node.kind == "text":
                out.append(node.text)
            else:
                out += self._node(node, dot)
        return out

    def _node(self, node: _Node, dot: Any) -> list[str]:
        value = self._pipeline(node.pipeline, dot)
        if node.kind == "range":
            return self._range(node, value, dot)
        for name in node.names:
            self._variables[name] = value
        if node.kind == "print":
            return [] if node.names else [shown(value)]
        if truth(value):
            return self.nodes(node.body, value if node.kind == "with" else dot)
        return self.nodes(node.other, dot)

    def _range(self, node: _Node, value: Any, dot: Any) -> list[str]:
        pairs = sorted(value.items()) if isinstance(value, dict) else list(enumerate(value or ()))
        if not pairs:
            return self.nodes(node.other, dot)
        out: list[str] = []
        for key, each in pairs:
            given = (each,) if len(node.names) == 1 else (key, each)
            self._variables.update(zip(node.names, given, strict=False))
            out += self.nodes(node.body, each)
        return out

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = None
        for number, command in enumerate(pipeline):
            value = self._command(command, dot, (value,) if number else ())
        return value

    def _command(self, command: list[Operand], dot: Any, piped: tuple[Any, ...]) -> Any:
        (kind, name), *rest = command
        arguments = (*(self._operand(operand, dot) for operand in rest), *piped)
        if kind == "function":
            function = self._functions.get(name)
            if function is None:
                raise InvalidInput(f"a template has no function {name!r}", hint=f"it has {', '.join(FUNCTIONS)}")
            return _called(name, function, arguments)
        value = self._operand((kind, name), dot)
        if callable(value):
            return _called(name, value, arguments)
        if arguments:
            raise InvalidInput(f"{name} of a template takes no argument")
        return value

    def _operand(self, operand: Operand, dot: Any) -> Any:
        kind, value = operand
        match kind:
            case "value":
                return value
            case "pipeline":
                return self._pipeline(value, dot)
            case "function":
                return self._command([operand], dot, ())
            case "chain":
                return _followed(self._operand(value[0], dot), value[1].split("."))
            case _:
                pass  # a field
        first, *names = value.split(".")
        base = dot
        if first:
            if first not in self._variables:
                raise InvalidInput(f"a template has no variable {first}")
            base = self._variables[first]
        return _followed(base, names)


def _followed(value: Any, names: Iterable[str]) -> Any:
    for name in names:
        if name:
            value = lookup(value, name)
    return value


def _called(name: str, function: Any, arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise InvalidInput(
            f"{name} of a template cannot work on {', '.join(map(shown, arguments))}: {error}"
        ) from error
