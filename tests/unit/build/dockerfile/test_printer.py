"""Printing: what is printed reads back as the same, and is printed the same again."""

from __future__ import annotations

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from jupyter_containers.build.dockerfile import parse_tree, print_node, print_tree
from jupyter_containers.build.dockerfile.nodes import Node
from jupyter_containers.build.dockerfile.parser import KEYWORDS, MAX_LINE
from jupyter_containers.errors import DockerfileError

PIECES = [
    *(" ", " ", "\t", "\n", "\x0b", "\x0c", "\xa0", "\\", "\\\n", "\\\\", "`", "`\n", "#"),
    *('"', "'", "$", "${", "${x:-y}", "[", "]", ",", '"a"', "=", "a=b", "--x=", "--", "a", "b", "é", "CMD "),
    *("<<EOF", '<<-"E"', "\nEOF\n", "\n\tE\n"),
]


def lines() -> st.SearchStrategy[str]:
    arguments = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
    return st.builds("{} {}\n".format, st.sampled_from([*sorted(KEYWORDS), "RUN", "COPY"]), arguments)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["", "# escape=`\n", "# syntax=x\n# unknown=1\n"]), st.lists(lines(), min_size=1, max_size=4))
def test_printing_keeps_the_meaning_and_is_stable(head: str, body: list[str]) -> None:
    try:
        tree = parse_tree(head + "".join(body))
    except DockerfileError:
        reject()  # nothing to print
    printed = print_tree(tree)
    again = parse_tree(printed)
    assert again == tree
    assert print_tree(again) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("from  a  as b", "FROM a as b"),
        ("run   a   b", "RUN a   b"),
        ('cmd [ "a" , "\\u00e9" ]', 'CMD ["a", "é"]'),
        ("RUN --mount='type=cache,target=/a b' x", r"RUN --mount=type=cache,target=/a\ b x"),
        ("RUN -- --x", "RUN -- --x"),
        ("RUN a \\\n  # c\n  b", "RUN a   b"),
        ('healthcheck --retries=3 cmd ["x"]', 'HEALTHCHECK --retries=3 cmd ["x"]'),
        ("onbuild   copy  a\tb", "ONBUILD COPY a b"),
        ("ENV a  b  c", "ENV a b  c"),
        ("ENV a=1   b=2", "ENV a=1 b=2"),
        ("COPY <<-E /x\n\tx\n\tE", "COPY <<-E /x\n\tx\nE"),
        # An escape character that white space keeps from continuing the line must stay kept from it.
        ("RUN a\\\f", "RUN a\\\f"),
        # Here the flag's quotes decide whether the here-document is seen, so the text stays as it is.
        ("RUN --x='${a' <<EOF\nEOF", "RUN --x='${a' <<EOF\nEOF"),
        # Joined with single spaces the words would be an array.
        ('COPY ["a",\v"b"]', 'COPY ["a",\v"b"]'),
    ],
)
def test_forms(text: str, printed: str) -> None:
    assert print_node(parse_tree(text).nodes[0]) == printed


def test_a_node_made_by_hand_is_printed() -> None:
    node = Node("ONBUILD", child=Node("RUN", flags=("--network=none",), words=("--x",)))
    assert print_node(node) == "ONBUILD RUN --network=none -- --x"


def test_a_long_instruction_is_continued() -> None:
    word = "abcdefgh" * (MAX_LINE // 8)
    text = f"RUN {word} \\\n  {word}\n"
    tree = parse_tree(text)
    printed = print_tree(tree)
    assert max(map(len, printed.split("\n"))) < MAX_LINE
    assert parse_tree(printed) == tree
