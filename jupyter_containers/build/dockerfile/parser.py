"""From the text of a Dockerfile to its syntax tree.

The language is that of the Dockerfile reference, version 1 of the ``docker/dockerfile`` front end: parser directives,
comments, continuations, here-documents, shell and JSON forms, flags. What an instruction means is not known here; see
:mod:`.convert`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import heredocs, words
from jupyter_containers.build.dockerfile.nodes import DEFAULT_ESCAPE, Directive, Heredoc, Node, SyntaxTree
from jupyter_containers.errors import DockerfileError, SourceRange
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINE: Final = 65535  # bytes; Docker refuses longer ones

_DIRECTIVE = re.compile(r"#[ \t\f\r]*([a-zA-Z][a-zA-Z0-9]*)[ \t\f\r]*=[ \t\f\r]*([^ \t\f\r].*?)[ \t\f\r]*")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_ESCAPES = frozenset({"\\", "`"})
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})
_MAX_ONBUILD = 8


def parse_tree(text: str, *, name: str = "Dockerfile") -> SyntaxTree:
    r"""Read a Dockerfile.

    Parameters
    ----------
    text
        The whole file. A byte order mark is skipped; lines end with ``\n`` or ``\r\n``.
    name
        What the file is called in messages.

    Raises
    ------
    DockerfileError
        with the line that is wrong.
    """
    return _Parser(text, name).run()


@dataclass(slots=True)
class _Logical:
    """Lines joined by continuations."""

    line: str
    first: int
    last: int
    empty: tuple[int, ...] = ()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._lines = text.removeprefix("\ufeff").split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._name = name
        self._at = 0  # lines read so far, which is the number of the last line read
        self._directives: list[Directive] = []
        self._set_escape(DEFAULT_ESCAPE)

    def run(self) -> SyntaxTree:
        self._check_lengths()
        self._read_directives()
        nodes: list[Node] = []
        comments: list[str] = []
        while self._at < len(self._lines):
            if _is_comment(self._lines[self._at]):
                comments.append(self._lines[self._at].lstrip(words.SPACE)[1:].strip(words.SPACE))
                self._at += 1
                continue
            logical = self._logical_line()
            if logical is not None:
                nodes.append(self._node(logical, tuple(comments)))
            comments = []
        if not nodes:
            last = max(1, len(self._lines))
            raise DockerfileError("file with no instructions", source=SourceRange(self._name, last, last))
        return SyntaxTree(self._name, tuple(self._directives), tuple(nodes), self._escape)

    def _error(self, message: str, first: int, last: int, *, hint: str | None = None) -> DockerfileError:
        text = "\n".join(self._lines[first - 1 : last])
        return DockerfileError(message, source=SourceRange(self._name, first, last), text=text, hint=hint)

    def _check_lengths(self) -> None:
        for number, line in enumerate(self._lines, 1):
            # A character has four bytes at most, so that most lines need no encoding to be known short enough.
            if len(line) * 4 > MAX_LINE and len(line.encode(errors="surrogatepass")) > MAX_LINE:
                raise self._error(f"line is longer than {MAX_LINE} bytes", number, number)

    # -- directives --------------------------------------------------------------------------------------------------

    def _set_escape(self, escape: str) -> None:
        self._escape = escape
        mark = re.escape(escape)
        self._continuation = re.compile(rf"(?:(?<!{mark}){mark})[ \t]*\Z")

    def _read_directives(self) -> None:
        """Take the directives at the top; any other line ends them, also a comment of their form and unknown name."""
        for number, raw in enumerate(self._lines, 1):
            match = _DIRECTIVE.fullmatch(raw.rstrip("\r").lstrip(words.SPACE))
            if match is None or match[1].lower() not in _DIRECTIVES:
                return
            self._directive(match[1].lower(), match[2], number)
            self._at = number

    def _directive(self, key: str, value: str, number: int) -> None:
        if any(known.name == key for known in self._directives):
            raise self._error(f"only one {key} parser directive can be used", number, number)
        if key == "escape":
            if value not in _ESCAPES:
                raise self._error(f"invalid escape token {value!r} does not match ` or \\", number, number)
            self._set_escape(value)
        self._directives.append(Directive(key, value, SourceRange(self._name, number, number)))

    # -- lines -------------------------------------------------------------------------------------------------------

    def _continued(self, line: str) -> tuple[str, bool]:
        match = self._continuation.search(line)
        return (line[: match.start()], True) if match else (line, False)

    def _logical_line(self) -> _Logical | None:
        first = self._at + 1
        line, more = self._continued(self._lines[self._at].rstrip("\r").lstrip(words.SPACE))
        self._at += 1
        if not line and not more:
            return None
        pieces, empty = [line], []
        while more and self._at < len(self._lines):
            line = self._lines[self._at].rstrip("\r")
            self._at += 1
            if not line.strip(words.SPACE):
                empty.append(self._at)
            elif not _is_comment(line):
                line, more = self._continued(line)
                pieces.append(line)
        joined = "".join(pieces)
        if not joined.strip(words.SPACE):
            raise self._error("a continuation without an instruction", first, self._at)
        return _Logical(joined, first, self._at, tuple(empty))

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _node(self, logical: _Logical, comments: tuple[str, ...]) -> Node:
        try:
            node = read_instruction(logical.line, self._escape)
        except words.ArgumentsError as error:
            raise self._error(str(error), logical.first, logical.last) from error
        found = self._heredocs(node, logical)
        line = logical.line.strip(words.SPACE)
        text = "\n".join(self._lines[logical.first - 1 : self._at])
        source = SourceRange(self._name, logical.first, self._at)
        if node.child is not None:
            # The trigger's own line, found by taking one keyword after the other off.
            node = replace(node, child=_placed(node.child, words.split_keyword(line)[1], text, source, found))
        return replace(
            node,
            heredocs=() if node.child else found,
            line=line,
            text=text,
            source=source,
            comments=comments,
            empty_lines=logical.empty,
        )

    def _heredocs(self, node: Node, logical: _Logical) -> tuple[Heredoc, ...]:
        holder = node.child or node
        if holder.keyword not in _WITH_HEREDOCS or holder.json or "<<" not in logical.line:
            return ()
        return tuple(self._heredoc_body(opened, logical) for opened in heredocs.opened_by(logical.line))

    def _heredoc_body(self, opened: Heredoc, logical: _Logical) -> Heredoc:
        start = self._at
        while self._at < len(self._lines):
            line = self._lines[self._at].rstrip("\r")
            self._at += 1
            if (line.lstrip("\t") if opened.strip_tabs else line) == opened.name:
                body = self._lines[start : self._at - 1]
                return replace(opened, content="".join(f"{part}\n" for part in body))
        raise self._error(
            "unterminated heredoc",
            logical.first,
            logical.last,
            hint=f"put {opened.name} alone on a line after the last line of the document",
        )


def _is_comment(line: str) -> bool:
    return line.lstrip(words.SPACE).startswith("#")


def _placed(node: Node, line: str, text: str, source: SourceRange, found: tuple[Heredoc, ...]) -> Node:
    if node.child is None:
        return replace(node, heredocs=found, line=line, text=text, source=source)
    inner = _placed(node.child, words.split_keyword(line)[1], text, source, found)
    return replace(node, child=inner, line=line, text=text, source=source)


# -- arguments of each instruction -------------------------------------------------------------------------------------


def read_instruction(line: str, escape: str, *, depth: int = 0) -> Node:
    """One logical line as a node without a place.

    Raises
    ------
    ArgumentsError
        when its arguments are malformed.
    """
    keyword, rest = words.split_keyword(line)
    name = keyword.upper()
    if name == "ONBUILD":
        flags, args = words.split_flags(rest)
        if depth == _MAX_ONBUILD:
            raise words.ArgumentsError("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        child = read_instruction(args, escape, depth=depth + 1) if args else None
        return Node(name, flags, child=child)
    reader = _READERS.get(name)
    if reader is None:
        return Node(name, (), (rest,) if rest else ())
    flags, args = words.split_flags(rest)
    return replace(reader(name, args, escape), flags=flags)


def _blanks(name: str, args: str, _escape: str) -> Node:
    return Node(name, words=words.split_blanks(args))


def _text(name: str, args: str, _escape: str) -> Node:
    return Node(name, words=(args,) if args else ())


def _quoted(name: str, args: str, escape: str) -> Node:
    return Node(name, words=words.split_quoted(args, escape))


def _pairs(name: str, args: str, escape: str) -> Node:
    flat, legacy = words.split_pairs(args, escape, name)
    return Node(name, words=flat, legacy=legacy)


def _json_or_text(name: str, args: str, escape: str) -> Node:
    array = words.read_json(args)
    return _text(name, args, escape) if array is None else Node(name, words=array, json=True)


def _json_or_blanks(name: str, args: str, escape: str) -> Node:
    array = words.read_json(args)
    return _blanks(name, args, escape) if array is None else Node(name, words=array, json=True)


def _health(name: str, args: str, escape: str) -> Node:
    kind, rest = words.split_keyword(args)
    if not kind:
        return Node(name)
    command = _json_or_text(name, rest, escape)
    return replace(command, words=(kind, *command.words))


_READERS: Final[dict[str, Callable[[str, str, str], Node]]] = {
    "ADD": _json_or_blanks,
    "ARG": _quoted,
    "CMD": _json_or_text,
    "COPY": _json_or_blanks,
    "ENTRYPOINT": _json_or_text,
    "ENV": _pairs,
    "EXPOSE": _blanks,
    "FROM": _blanks,
    "HEALTHCHECK": _health,
    "LABEL": _pairs,
    "MAINTAINER": _text,
    "RUN": _json_or_text,
    "SHELL": _json_or_text,
    "STOPSIGNAL": _text,
    "USER": _text,
    "VOLUME": _json_or_blanks,
    "WORKDIR": _text,
}
KEYWORDS: Final = frozenset({*_READERS, "ONBUILD"})
"""Every instruction of the language."""
