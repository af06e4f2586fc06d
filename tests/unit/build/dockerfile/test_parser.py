"""The parser: places, directives, heredocs, and that it refuses or understands any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build import dockerfile
from jupyter_containers.build.dockerfile.parser import MAX_LINE, parse_tree
from jupyter_containers.errors import DockerfileError, SourceRange


def test_a_node_knows_its_place_its_text_and_its_line() -> None:
    tree = parse_tree("FROM a\n\n# why\nRUN one && \\\n  # not this\n  two\n", name="Containerfile")
    node = tree.nodes[1]
    assert node.source == SourceRange("Containerfile", 4, 6)
    assert node.text == "RUN one && \\\n  # not this\n  two"
    assert node.line == "RUN one &&   two"
    assert node.comments == ("why",)


def test_comments_belong_to_the_next_instruction_only() -> None:
    tree = parse_tree("FROM a\n# lost\n\n# kept\nRUN b\nRUN c\n")
    assert [node.comments for node in tree.nodes] == [(), ("kept",), ()]


def test_a_heredoc_belongs_to_the_place_of_its_instruction() -> None:
    tree = parse_tree("FROM a\nRUN <<EOF\nb\nEOF\nRUN c\n")
    assert [str(node.source) for node in tree.nodes] == ["Dockerfile:1", "Dockerfile:2-4", "Dockerfile:5"]
    assert tree.nodes[1].text == "RUN <<EOF\nb\nEOF"


def test_the_child_of_onbuild_has_a_line_of_its_own() -> None:
    child = parse_tree("FROM a\nONBUILD  RUN <<E\nx\nE\n").nodes[1].child
    assert child is not None
    assert (child.line, child.source.first, child.heredocs[0].content) == ("RUN <<E", 2, "x\n")


def test_a_long_line_is_refused() -> None:
    assert parse_tree("RUN " + "x" * (MAX_LINE - 4)).nodes
    with pytest.raises(DockerfileError, match=r"^Dockerfile:2: line is longer than 65535 bytes"):
        parse_tree("FROM a\nRUN " + "é" * (MAX_LINE // 2))


def test_deep_onbuild_is_refused_without_recursion() -> None:
    with pytest.raises(DockerfileError, match="chaining ONBUILD"):
        parse_tree("ONBUILD " * 5000 + "RUN x")


def test_deep_json_is_a_shell_command() -> None:
    node = parse_tree("RUN " + "[" * 30000).nodes[0]
    assert not node.json


@pytest.mark.parametrize("text", ['RUN ["a"] && b', 'RUN ["a"] # note', 'RUN ["a"]]'])
def test_what_follows_an_array_is_ignored(text: str) -> None:
    assert parse_tree(text).nodes[0].words == ("a",)


def test_lone_surrogates_in_json_become_replacement_characters() -> None:
    assert parse_tree('RUN ["\\ud800x"]').nodes[0].words == ("\ufffdx",)


def test_a_trigger_is_one_instruction() -> None:
    assert dockerfile.parse_trigger("COPY a b").keyword == "COPY"
    with pytest.raises(DockerfileError, match="an ONBUILD trigger is one instruction"):
        dockerfile.parse_trigger("RUN a\nRUN b")


def test_directives_are_found_by_name() -> None:
    parsed = dockerfile.parse("# Check = skip=all\n# syntax=x\nFROM a\n")
    assert (parsed.directive("check"), parsed.directive("syntax"), parsed.directive("escape")) == (
        "skip=all",
        "x",
        None,
    )


def test_equality_is_that_of_meaning() -> None:
    assert dockerfile.parse("FROM a\nRUN b \\\n c\n") == dockerfile.parse("from   a\n\n# x\nrun b  c\n", name="other")
    assert dockerfile.parse("FROM a\nRUN b") != dockerfile.parse("FROM a\nRUN c")


def test_a_control_character_is_no_space() -> None:
    with pytest.raises(DockerfileError, match="unknown instruction: \x1f"):
        dockerfile.parse("FROM a\n\x1f\n")


WORDS = [
    "FROM a",
    "RUN",
    "COPY",
    "ONBUILD",
    "ENV",
    "HEALTHCHECK",
    "--mount=",
    "type=cache",
    "<<E",
    "E",
    "\n",
    "\n",
    " ",
]
TEXT = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*WORDS, "\\", '"', "'", "$", "{", "[", ",", "=", "#"]), max_size=25).map("".join),
)


@given(TEXT)
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        parsed = dockerfile.parse(text)
    except DockerfileError as error:
        last = text.count("\n") + 1
        assert 1 <= error.source.first <= error.source.last <= last  # noqa: PT017 - both outcomes are right
    else:
        assert parsed.instructions
