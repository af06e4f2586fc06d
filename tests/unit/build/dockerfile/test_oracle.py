"""Agreement with Docker's own parser, where the ``dockerfile`` package, which wraps it, is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_containers.build.dockerfile.parser import KEYWORDS, parse_tree
from jupyter_containers.errors import DockerfileError

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile.nodes import Node

oracle = pytest.importorskip("dockerfile", reason="Docker's parser (the dockerfile package) is not installed")

CASES = sorted((Path(__file__).parents[3] / "corpus" / "dockerfile" / "cases").glob("*.dockerfile"))
# ASCII only: Docker's parser reads flags and HEALTHCHECK byte by byte and garbles other letters there.
PIECES = [
    *(" ", " ", " ", "\t", "\n", "\n", "\r\n", "\x0b", "\x0c"),
    *("\\", "\\\n", "\\ \n", "`", "`\n", "# escape=`\n", "#", "# syntax=x\n"),
    *('"', "'", "$", "${x:-y}", "{", "}", "[", "]", ",", '"a"', "=", "a=b", "--x=y", "--", "a"),
    *("<<", "<<EOF", '<<-"E"', "3<<E", "\nEOF\n", "\n\tE\n", "NONE", "ONBUILD "),
]
Row = tuple[object, ...]


def ours(text: str) -> list[Row] | None:
    try:
        tree = parse_tree(text)
    except DockerfileError:
        return None
    return [_row(node) for node in tree.nodes]


def _row(node: Node) -> Row:
    holder = node.child or node
    documents = tuple((document.name, document.content) for document in holder.heredocs)
    place = (node.source.first, node.source.last)
    if holder.keyword not in KEYWORDS or holder.keyword == "ONBUILD":
        return (node.keyword, place)  # Docker's parser drops the arguments of what it does not know
    return (node.keyword, place, holder.keyword, holder.json, node.flags, holder.words, documents)


def theirs(text: str) -> list[Row] | None:
    try:
        commands = oracle.parse_string(text)
    except oracle.GoParseError:
        return None
    if any(command.cmd is None for command in commands):
        return None  # an empty instruction, which Docker refuses one step later
    rows: list[Row] = []
    for command in commands:
        keyword, child = command.cmd.upper(), (command.sub_cmd or command.cmd).upper()
        place = (command.start_line, command.end_line)
        if child not in KEYWORDS or (child == "ONBUILD"):
            rows.append((keyword, place))
            continue
        documents = tuple((document.name, document.content) for document in command.heredocs)
        rows.append((keyword, place, child, command.json, command.flags, command.value, documents))
    return rows


# The binding drops the here-documents and the flags of what ONBUILD holds.
def _comparable(rows: list[Row] | None) -> list[Row] | None:
    return rows and [row[:4] + row[5:6] if row[0] == "ONBUILD" and len(row) > 2 else row for row in rows]


def instruction() -> st.SearchStrategy[str]:
    keyword = st.sampled_from([*sorted(KEYWORDS), "RUN", "COPY", "run", "FOO", "#", ""])
    arguments = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
    return st.builds("{} {}\n".format, keyword, arguments)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_corpus_is_read_alike(path: Path) -> None:
    text = path.read_bytes().decode()
    assert _comparable(ours(text)) == _comparable(theirs(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(instruction(), min_size=1, max_size=5).map("".join))
def test_files_are_read_alike(text: str) -> None:
    assert _comparable(ours(text)) == _comparable(theirs(text))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "FROM", "RUN", "ENV"]), max_size=20).map("".join))
def test_debris_is_read_alike(text: str) -> None:
    assert _comparable(ours(text)) == _comparable(theirs(text))


def test_the_oracle_is_the_go_parser() -> None:
    assert "dockerfile" in sys.modules
    assert "run" in {command.lower() for command in oracle.all_cmds()}
