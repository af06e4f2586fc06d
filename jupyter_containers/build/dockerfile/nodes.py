"""The syntax tree of a Dockerfile: what the text says, before it is known what it means."""

from __future__ import annotations

import re

from jupyter_containers.errors import SourceRange
from jupyter_containers.records import dataclass, field

DEFAULT_ESCAPE = "\\"

_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Directive:
    """A parser directive, ``# name=value`` at the top of the file.

    ``name`` is in lower case.
    """

    name: str
    value: str
    source: SourceRange = field(compare=False)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document of RUN, COPY or ADD.

    Parameters
    ----------
    name
        The delimiter without its quotes, which is the name of the file that COPY makes of it.
    content
        The lines as the file has them, each with its end.
    expand
        Whether variables are expanded in it: no part of the delimiter was quoted.
    strip_tabs
        Whether it was opened with ``<<-``.
    descriptor
        The number before ``<<``, 0 where there is none.
    """

    name: str
    content: str
    expand: bool = True
    strip_tabs: bool = False
    descriptor: int = 0

    @property
    def text(self) -> str:
        """The content, without leading tabs when it was opened with ``<<-``."""
        return _LEADING_TABS.sub("", self.content) if self.strip_tabs else self.content


@dataclass(frozen=True, slots=True)
class Node:
    """One instruction as written.

    Parameters
    ----------
    keyword
        The instruction's name in upper case.
    flags
        ``--name`` and ``--name=value``, unquoted, in order.
    words
        The arguments: elements of the JSON array, words, or the one text of a shell form. For ENV and LABEL names
        and values alternate. Quotes and variables are untouched.
    json
        Whether the arguments were a JSON array.
    legacy
        Whether ENV or LABEL was written without an equals sign.
    heredocs
        In the order of their delimiters.
    child
        The instruction that ONBUILD holds.
    line
        The instruction on one line: continuations joined, comments removed, heredocs left out.
    text
        The lines of the file.
    source
        Where they are.
    comments
        The comment lines directly above, without their marks.
    empty_lines
        Numbers of empty lines inside a continuation, which newer versions of the language warn about.
    """

    keyword: str
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    json: bool = False
    legacy: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    child: Node | None = None
    line: str = field(default="", compare=False)
    text: str = field(default="", compare=False)
    source: SourceRange = field(default=SourceRange("Dockerfile", 1, 1), compare=False)
    comments: tuple[str, ...] = field(default=(), compare=False)
    empty_lines: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class SyntaxTree:
    """A whole file: its directives, its instructions, and its escape character."""

    name: str = field(compare=False)
    directives: tuple[Directive, ...]
    nodes: tuple[Node, ...]
    escape: str = DEFAULT_ESCAPE
