"""Syntax trees back to text, in one canonical form that reads back as the same tree."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from jupyter_containers.build.dockerfile import heredocs, words
from jupyter_containers.build.dockerfile.nodes import DEFAULT_ESCAPE, Node, SyntaxTree
from jupyter_containers.build.dockerfile.parser import KEYWORDS, MAX_LINE, read_instruction
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.build.dockerfile.nodes import Directive

_PROTECTED = re.compile(r"[\\'\"\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_BREAKABLE = re.compile(r"(?<=[A-Za-z0-9])(?=[A-Za-z0-9])")
_PIECE = MAX_LINE // 8  # characters: even at four bytes each well within a line


def print_tree(tree: SyntaxTree) -> str:
    """The whole file: directives, then one instruction after the other; comments are not kept."""
    return print_nodes(tree.directives, tree.nodes, escape=tree.escape)


def print_nodes(directives: Iterable[Directive], nodes: Iterable[Node], *, escape: str = DEFAULT_ESCAPE) -> str:
    """Directives and instructions as a file whose escape character is ``escape``."""
    lines = [f"# {directive.name}={directive.value}\n" for directive in directives]
    return "".join(lines + [print_node(node, escape=escape) + "\n" for node in nodes])


def print_node(node: Node, *, escape: str = DEFAULT_ESCAPE) -> str:
    """One instruction without a line break at its end: the keyword in upper case, single spaces, heredocs below."""
    holder = _holder(node)
    line = _canonical(node)
    if node.line and not _reads_back(line, node, escape):
        # Quoting that the flags' rules and the heredocs' rules read differently: only the original text is safe.
        line = node.line
    line = _wrapped(line, escape)
    if re.search(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*\Z", line):
        line += "\f"  # white space that keeps the escape character from continuing the line
    return line + "".join(f"\n{document.content}{document.name}" for document in holder.heredocs)


def _holder(node: Node) -> Node:
    return _holder(node.child) if node.child else node


def _reads_back(line: str, node: Node, escape: str) -> bool:
    try:
        read = read_instruction(line, escape)
    except words.ArgumentsError:
        return False
    holder = _holder(node)
    opened = [] if holder.json or "<<" not in line else [doc.name for doc in heredocs.opened_by(line)]
    if holder.keyword not in {"RUN", "COPY", "ADD"}:
        opened = []
    return _bare(read) == _bare(node) and opened == [document.name for document in holder.heredocs]


def _bare(node: Node) -> Node:
    return replace(node, heredocs=(), child=_bare(node.child) if node.child else None)


def _canonical(node: Node) -> str:
    parts = [node.keyword, *(_flag(flag) for flag in node.flags)]
    arguments = _canonical(node.child) if node.child else _arguments(node)
    if arguments.startswith("--") and node.keyword in KEYWORDS:
        parts.append("--")
    return " ".join([*parts, arguments]) if arguments else " ".join(parts)


def _flag(flag: str) -> str:
    return _PROTECTED.sub(lambda match: f"\\{match[0]}", flag)


def _arguments(node: Node) -> str:
    if node.keyword == "HEALTHCHECK" and node.words:
        kind, *rest = node.words
        command = _json(rest) if node.json else " ".join(rest)
        return f"{kind} {command}" if command else kind
    if node.json:
        return _json(node.words)
    if node.keyword in {"ENV", "LABEL"}:
        if node.legacy:
            return " ".join(node.words)
        return " ".join(f"{name}={value}" for name, value in zip(node.words[::2], node.words[1::2], strict=True))
    return " ".join(node.words)


def _json(items: Iterable[str]) -> str:
    return json.dumps(list(items), ensure_ascii=False)


def _wrapped(line: str, escape: str) -> str:
    """Continue a line that is longer than a line may be."""
    if len(line) <= _PIECE * 2:
        return line
    pieces: list[str] = []
    start = 0
    for match in _BREAKABLE.finditer(line):
        if match.start() - start >= _PIECE:
            pieces.append(line[start : match.start()])
            start = match.start()
    return f"{escape}\n".join([*pieces, line[start:]])
