from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jupyter_containers.errors import UsageError
from jupyter_containers.notebook.words import Word, expand, join_continued, split, variable_lookup


def texts(line: str) -> list[str]:
    return [word.text for word in split(line)[0]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run --rm alpine echo hi", ["run", "--rm", "alpine", "echo", "hi"]),
        ("sh -c 'a b' \"c d\"", ["sh", "-c", "a b", "c d"]),
        (r"a\ b '\n' \"", ["a b", r"\n", '"']),
        (r'"a\"b\$c\d"', [r'a"b$c\d']),
        ("x'y'\"z\"", ["xyz"]),
        ("'' \"\"", ["", ""]),
        ("a # b", ["a", "#", "b"]),
        ("ps --format '{{.Names}}'", ["ps", "--format", "{{.Names}}"]),
        ("--format {{.Names}} $HOME {a}b a{b}", ["--format", "{{.Names}}", "$HOME", "{a}b", "a{b}"]),
        ("'{x}' \"{x}\"", ["{x}", "{x}"]),
    ],
)
def test_words_are_split_as_a_shell_does(line: str, words: list[str]) -> None:
    found, silenced = split(line)
    assert found == [Word(text) for text in words]
    assert not silenced


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("run {image}", "image"),
        ('run {df["a b"]}', 'df["a b"]'),
        ("run {{'a': 'b'}['a']} x", None),
        ("run { 1 + 1 }", " 1 + 1 "),
        ("run {f({'a': 1})}", "f({'a': 1})"),
        ("run {a b}", None),
    ],
)
def test_a_whole_word_in_braces_is_an_expression(line: str, expression: str | None) -> None:
    found = [word.text for word in split(line)[0] if word.is_expression]
    assert found == ([expression] if expression else [])


@pytest.mark.parametrize(
    ("line", "words", "silenced"),
    [
        ("ps;", ["ps"], True),
        ("ps ;", ["ps"], True),
        ("ps; ", ["ps"], True),
        ("ps {x};", ["ps", "x"], True),
        ("ps {x} ;", ["ps", "x"], True),
        (r"find -exec ls \;", ["find", "-exec", "ls", ";"], False),
        ("sh -c 'a;'", ["sh", "-c", "a;"], False),
        ("a;b", ["a;b"], False),
        (";", [], True),
    ],
)
def test_a_bare_semicolon_at_the_end_silences(line: str, words: list[str], silenced: bool) -> None:
    assert (texts(line), split(line)[1]) == (words, silenced)


@pytest.mark.parametrize("line", ["'a", 'a "b', "'"])
def test_an_open_quote_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="quote is not closed") as refused:
        split(line)
    assert "backslash" in str(refused.value.hint)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_what_a_shell_would_quote_comes_back(words: list[str]) -> None:
    assert texts(shlex.join(words)) == words


@given(st.text(alphabet="ab {}'\"\\;\t"))
def test_lines_without_expressions_are_split_as_the_standard_library_does(line: str) -> None:
    try:
        found, silenced = split(line)
    except UsageError:
        with pytest.raises(ValueError, match=r"No closing|No escaped"):
            shlex.split(line)
        return
    assume(not silenced and not any(word.is_expression for word in found))
    try:
        expected = shlex.split(line)
    except ValueError:
        # A backslash at the very end: taken literally here.
        assert line.endswith("\\")
        return
    assert [word.text for word in found] == expected


def test_values_are_one_argument_each() -> None:
    class Thing:
        id = "sha256:abc"

    values = {"a": "x  'y' $Z", "b": 3, "c": Path("/tmp/a b"), "d": Thing()}
    words, _ = split("{a} {b} {c} {d} plain")
    assert expand(words, lambda source: values[source]) == ["x  'y' $Z", "3", "/tmp/a b", "sha256:abc", "plain"]


@pytest.mark.parametrize(
    ("line", "message"),
    [("{missing}", r"\{missing\} cannot be evaluated: NameError"), ("{[1]}", r"\{\[1\]\} is a list")],
)
def test_an_expression_without_a_usable_value_is_refused(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        expand(split(line)[0], eval)
    assert refused.value.hint


def test_a_head_line_goes_on_after_a_backslash() -> None:
    assert join_continued("run \\", "  alpine \\\n  ls\nbody\n") == ("run    alpine    ls", "body\n")
    assert join_continued("run x", "body\n") == ("run x", "body\n")
    assert join_continued("run \\", None) == ("run \\", None)
    assert join_continued("run a\\\\", "body") == ("run a\\\\", "body")
    assert join_continued("run \\", "") == ("run  ", "")


def test_variables_come_from_the_notebook_first() -> None:
    lookup = variable_lookup({"A": 1, "B": object(), "D": True}, {"A": "env", "B": "env", "C": "env"})
    assert [lookup(name) for name in "ABCDE"] == ["1", "env", "env", "True", None]


def test_a_variable_that_cannot_be_one_is_named() -> None:
    lookup = variable_lookup({"frame": [1], "nothing": None}, {"nothing": "env"})
    assert lookup("nothing") == "env"
    with pytest.raises(UsageError, match="frame is a list in the notebook"):
        lookup("frame")
