"""Cutting arguments into words, and finding heredocs and wildcards in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build.dockerfile import globs, words
from jupyter_containers.build.dockerfile.heredocs import opened_by, opener
from jupyter_containers.build.dockerfile.nodes import Heredoc


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("a --b", (), "a --b"),
        ("--a b", ("--a",), "b"),
        ("--a=1  --b c", ("--a=1", "--b"), "c"),
        ("--a='x y' b", ("--a=x y",), "b"),
        (r"--a=x\ y b", ("--a=x y",), "b"),
        ('--a="x b', ("--a=x b",), ""),
        ("-- --a", (), "--a"),
        ("--a -- --b", ("--a",), "--b"),
        ("--a\\", ("--a",), ""),
        ("-a b", (), "-a b"),
        ("", (), ""),
    ],
)
def test_flags(text: str, flags: tuple[str, ...], rest: str) -> None:
    assert words.split_flags(text) == (flags, rest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ("a", "b")),
        ("  a  ", ("a",)),
        ('"a b" c', ('"a b"', "c")),
        (r"a\ b c", (r"a\ b", "c")),
        (r'"a\" b" c', (r'"a\" b"', "c")),
        (r"'a\' b", (r"'a\'", "b")),
        ('"a b', ('"a b',)),
        ("a\\", ("a",)),
        ("\\", ()),
        ("", ()),
    ],
)
def test_quoted_words(text: str, expected: tuple[str, ...]) -> None:
    assert words.split_quoted(text, "\\") == expected


@given(st.text())
def test_blanks_and_keyword_agree(text: str) -> None:
    first, rest = words.split_keyword(text)
    found = words.split_blanks(text)
    assert (found[0] if found else "") == first
    assert len(rest) < len(text) + 1


@pytest.mark.parametrize(
    ("word", "heredoc"),
    [
        ("<<A", Heredoc("A", "")),
        ("<<-A", Heredoc("A", "", strip_tabs=True)),
        ("<<'A'", Heredoc("A", "", expand=False)),
        ('<<"A B"', Heredoc("A B", "", expand=False)),
        (r"<<\A", Heredoc("A", "", expand=False)),
        ("3<<A", Heredoc("A", "", descriptor=3)),
        ("<<$A", Heredoc("$A", "")),
        ("<<", None),
        ("<<-", None),
        ("<<<A", None),
        ("<A", None),
        ("x<<A", None),
        ("<<A<<B", None),
        ("<<A B", None),
        ("<<'A", None),
    ],
)
def test_openers(word: str, heredoc: Heredoc | None) -> None:
    assert opener(word) == heredoc


def test_a_line_opens_several() -> None:
    assert [found.name for found in opened_by("RUN a <<ONE && b 2<<-'TWO x' \"<<NOT\" >c")] == ["ONE", "TWO x"]
    assert opened_by("RUN echo it's <<EOF") == []


@given(st.text(alphabet="ab", max_size=8), st.text(alphabet="ab*?", max_size=5))
def test_trimming_agrees_with_trying_every_cut(value: str, pattern: str) -> None:
    def matches(text: str) -> bool:
        return bool(globs._regex(globs._tokens(pattern), longest=True).fullmatch(text))

    cuts = [cut for cut in range(len(value) + 1) if matches(value[:cut])]
    assert globs.trim_prefix(value, pattern, longest=False) == (value[cuts[0] :] if cuts else value)
    assert globs.trim_prefix(value, pattern, longest=True) == (value[cuts[-1] :] if cuts else value)
    cuts = [cut for cut in range(len(value) + 1) if matches(value[cut:])]
    assert globs.trim_suffix(value, pattern, longest=False) == (value[: cuts[-1]] if cuts else value)
    assert globs.trim_suffix(value, pattern, longest=True) == (value[: cuts[0]] if cuts else value)
