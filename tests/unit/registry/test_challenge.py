from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.registry.challenge import Challenge, parse_challenges

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "registry.example",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ("Basic realm=plain", [Challenge("basic", {"realm": "plain"})]),
        ('BASIC  REALM = "a \\"b\\" \\\\ c"', [Challenge("basic", {"realm": 'a "b" \\ c'})]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ("Negotiate YWJj==, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (
            'Digest realm="a, b", qop="auth", Bearer realm="c"',
            [Challenge("digest", {"realm": "a, b", "qop": "auth"}), Challenge("bearer", {"realm": "c"})],
        ),
        (", ,Basic realm=x,", [Challenge("basic", {"realm": "x"})]),
        ('Bearer realm="first", realm="second"', [Challenge("bearer", {"realm": "first"})]),
        ('Bearer realm="unterminated', [Challenge("bearer")]),
        ("", []),
    ],
)
def test_challenges_of_the_rfc(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header]) == expected


def test_several_fields_are_one_list() -> None:
    assert [challenge.scheme for challenge in parse_challenges(["Basic realm=a", "Bearer realm=b"])] == [
        "basic",
        "bearer",
    ]


@given(st.lists(st.tuples(TOKENS, st.dictionaries(TOKENS, VALUES, min_size=1, max_size=4)), min_size=1, max_size=3))
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )
    assert parse_challenges([header]) == [Challenge(scheme, parameters) for scheme, parameters in challenges]


@given(st.text(max_size=200))
def test_no_header_breaks_the_parser(header: str) -> None:
    assert all(challenge.scheme for challenge in parse_challenges([header]))
