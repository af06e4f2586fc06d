from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.commands.terminal import DetachKeys, key_sequence
from jupyter_containers.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-@,a", b"\x00a"),
        ("ctrl-[,ctrl-_,DEL", b"\x1b\x1f\x7f"),
        ("CTRL-A", b"\x01"),
        ("", b""),
    ],
)
def test_keys_are_read_as_docker_reads_them(text: str, keys: bytes) -> None:
    assert key_sequence(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "ü", "ctrl-pq"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no key"):
        key_sequence(text)


def test_keys_are_found_across_reads_and_what_only_begins_like_them_passes() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"a\x10") == (b"a", False)
    assert keys.feed(b"b") == (b"\x10b", False)
    assert keys.feed(b"\x10\x10") == (b"\x10", False)
    assert keys.feed(b"\x11rest") == (b"", True)


@given(st.lists(st.binary(max_size=5)), st.sampled_from([b"\x10\x11", b"aab", b"x", b""]))
def test_nothing_is_lost_or_added(pieces: list[bytes], keys: bytes) -> None:
    finder = DetachKeys(keys)
    passed = b""
    for piece in pieces:
        data, found = finder.feed(piece)
        passed += data
        if found:
            break
    given_bytes = b"".join(pieces)
    assert given_bytes.startswith(passed)
    assert len(given_bytes) - len(passed) < len(keys) or keys in given_bytes or not keys
