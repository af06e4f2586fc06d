"""``.dockerignore``: patterns one by one, their order, and walks that skip what they may."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build.dockerfile.ignore import IgnoreMatcher
from jupyter_containers.errors import DockerfileError


def excluded(patterns: str, path: str) -> bool:
    return IgnoreMatcher.parse(patterns).excludes(path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("a", "ab", False),
        ("/a", "a", True),
        ("a/", "a", True),
        ("./a", "a", True),
        ("a//b", "a/b", True),
        ("a/../b", "b", True),
        ("../a", "a", False),
        ("/../a", "a", True),
        ("  a  ", "a", True),
        ("a b", "a b", True),
        ("*", "a", True),
        ("*", ".hidden", True),
        ("*", "a/b", True),
        ("*.c", "x.c", True),
        ("*.c", "d/x.c", False),
        ("*/x.c", "d/x.c", True),
        ("*/*/x", "a/x", False),
        ("?.c", "x.c", True),
        ("?.c", "xx.c", False),
        ("a?c", "a/c", False),
        ("**", "a/b", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "a/b/xx", False),
        ("**/x", "a/x/y", True),
        ("**/*.c", "x.c", True),
        ("**/*.c", "a/b/x.c", True),
        ("a/**", "a", False),
        ("a/**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "az", False),
        ("**x", "a/x", True),
        ("a**z", "a/b/z", True),
        ("a**z", "ab/z", True),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[^a-c]x", "dx", True),
        ("[^a]x", "a/x", False),
        ("x[^a]y", "x/y", False),
        (r"[\]]x", "]x", True),
        (r"[\--0]x", "-x", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"\#x", "#x", True),
        (" #x", "#x", True),
        ("a.c", "abc", False),
        ("a+b(c)", "a+b(c)", True),
        ("é*", "été", True),
        (".", "a", False),
        ("/", "a", False),
    ],
)
def test_patterns(pattern: str, path: str, *, expected: bool) -> None:
    assert excluded(pattern, path) is expected


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        ("*\n!a", "a", False),
        ("*\n!a", "a/b", False),
        ("*\n!a", "b", True),
        ("!a\n*", "a", True),
        ("*\n!a/b\na/b/c", "a/b/c", True),
        ("*\n!a/b\na/b/c", "a/b/d", False),
        ("a\n!a/b", "a/c", True),
        ("a\n!a/b", "a/b/c", False),
        ("**/*.md\n!README.md", "README.md", False),
        ("**/*.md\n!README.md", "docs/README.md", True),
        ("**/*.md\n!**/README.md", "docs/README.md", False),
        ("a\n! a", "a", False),
        ("#a\n\n  \na", "a", True),
        ("# a", "# a", False),
        ("\ufeffa\r\nb\r\n", "b", True),
        ("", "a", False),
    ],
)
def test_the_last_pattern_decides(patterns: str, path: str, *, expected: bool) -> None:
    assert excluded(patterns, path) is expected


@pytest.mark.parametrize(
    ("patterns", "directory", "descend"),
    [
        ("a", "a", False),
        ("a", "b", True),
        ("a\n!b", "a", False),
        ("a\n!a/b", "a", True),
        ("a\n!a/b/c", "a/b", True),
        ("a\n!a/b/c", "a/x", False),
        ("a\n!*/b", "a", True),
        ("a\n!**/b", "a/x/y", True),
        ("*\n!x*z/b", "xyz", True),
        ("*\n!x*z/b", "abc", False),
        ("*\n!a", "a", True),
        ("a\n!a/b\na", "a/b", False),
    ],
)
def test_a_walk_enters_excluded_directories_only_for_exceptions(
    patterns: str, directory: str, *, descend: bool
) -> None:
    matcher = IgnoreMatcher.parse(patterns)
    decision = matcher.root
    parts = directory.split("/")
    for depth in range(len(parts)):
        decision = matcher.decide("/".join(parts[: depth + 1]), decision)
    assert decision.descend is descend


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("!", 'illegal exclusion pattern: "!"'),
        ("[", "is not closed"),
        ("[a", "is not closed"),
        ("[]", "unexpected"),
        ("[^]", "unexpected"),
        ("[-a]", "unexpected"),
        ("[b-a]", "runs backwards"),
        ("a\\", "ends with a backslash"),
    ],
)
def test_malformed_patterns_are_refused_with_their_line(pattern: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=r"^\.dockerignore:2: ") as caught:
        IgnoreMatcher.parse(f"ok\n{pattern}\n")
    assert message in caught.value.message


NAMES = st.sampled_from(["a", "b", "ab", "c.d"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "!"]),
    st.lists(st.sampled_from(["a", "b", "ab", "*", "**", "a*", "?", "[ab]", "c.d", "**b"]), min_size=1, max_size=4).map(
        "/".join
    ),
)


@pytest.mark.timeout(10)
def test_repeated_wildcards_take_no_time() -> None:
    assert not excluded("**/" * 30 + "x", "a/" * 30 + "y")
    assert excluded("**/" * 30 + "x", "a/" * 30 + "x")
    assert excluded("a/" + "**/" * 5 + "**", "a/b")


@given(st.lists(PATTERNS, max_size=6), PATHS)
def test_a_walk_finds_all_that_is_included(patterns: list[str], path: str) -> None:
    matcher = IgnoreMatcher.parse("\n".join(patterns))
    if matcher.excludes(path):
        assert any(not pattern.startswith("!") for pattern in patterns)
        return
    decision = matcher.root
    parts = path.split("/")
    for depth in range(1, len(parts)):
        decision = matcher.decide("/".join(parts[:depth]), decision)
        assert decision.descend


@given(st.text(alphabet="ab*?", min_size=1, max_size=6), st.text(alphabet="ab", min_size=1, max_size=6))
def test_single_components_are_like_fnmatch(pattern: str, name: str) -> None:
    if "**" not in pattern:
        assert excluded(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        matcher = IgnoreMatcher.parse(text)
    except DockerfileError as error:
        assert error.source.file == ".dockerignore"  # noqa: PT017 - both outcomes are right
    else:
        assert matcher.root.descend
