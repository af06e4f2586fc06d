from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.linux import netlink


def test_loopback_is_asked_to_come_up() -> None:
    data = netlink.loopback_up()
    length, kind, flags = struct.unpack_from("=IHH", data)
    assert (length, kind, flags) == (len(data), 16, 5)
    assert struct.unpack_from("=BxHiII", data, 16) == (0, 0, 1, 1, 1)


def test_a_pid_is_put_in_place() -> None:
    assert netlink.patch(b"abcdefgh", 2, 0x04030201) == b"ab\x01\x02\x03\x04gh"
    assert netlink.patch(b"abcd", -1, 7) == b"abcd"


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_a_batch_falls_apart_into_its_messages(bodies: list[bytes]) -> None:
    messages = [netlink.message(16, 0, body) for body in bodies]
    padded = b"".join(message + bytes(-len(message) % 4) for message in messages)
    assert netlink.split(padded) == messages


@given(st.binary(max_size=200))
def test_nonsense_from_the_kernel_ends(data: bytes) -> None:
    assert isinstance(netlink.answers(data), list)
    assert isinstance(netlink.split(data), list)


def test_answers_have_their_errno() -> None:
    good = struct.pack("=IHHIIi", 20, 2, 0, 7, 0, 0)
    bad = struct.pack("=IHHIIi", 20, 2, 0, 8, 0, -17)
    assert netlink.answers(good + bad) == [(7, 0), (8, 17)]


def test_a_refused_request_raises() -> None:
    nothing = netlink.message(16, 0, bytes(4) + (99999999).to_bytes(4, "little") + bytes(8))
    with pytest.raises(OSError, match="network message 0"):
        netlink.transact([nothing])
    netlink.transact([])
