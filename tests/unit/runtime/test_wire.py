from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


def test_messages_keep_their_borders(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    for number in range(3):
        wire.send(near, {"kind": "x", "number": number, "data": b"\0\xff", "none": None, "list": ["\u00e9"]})
    for number in range(3):
        message, descriptors = wire.receive(far)
        assert message == {"kind": "x", "number": number, "data": b"\0\xff", "none": None, "list": ["\u00e9"]}
        assert descriptors == []


@pytest.mark.parametrize("size", [10, 59_000, 61_000, 3_000_000])
def test_long_messages_arrive_with_their_descriptors(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    near, far = pair
    read, write = os.pipe()
    wire.send(near, {"data": "x" * size}, [write])
    os.close(write)
    message, descriptors = wire.receive(far)
    assert message == {"data": "x" * size}
    (copy,) = descriptors
    assert not os.get_inheritable(copy)
    os.write(copy, b"hello")
    os.close(copy)
    assert os.read(read, 10) == b"hello"
    assert os.read(read, 10) == b""
    os.close(read)


def test_the_end_is_no_message(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    near.close()
    assert wire.receive(far) == (None, [])
    with pytest.raises(BrokenPipeError):
        wire.send(far, {"kind": "x"})


def test_what_was_said_before_the_end_is_heard_though_our_own_message_was_not_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    wire.send(near, {"kind": "go"})
    wire.send(far, {"kind": "failed", "step": "mounts"})
    wire.send(far, {"kind": "failed", "step": "more"})
    far.close()  # the init of a container ends before it comes to the gate
    assert wire.receive(near, socket.MSG_DONTWAIT) == ({"kind": "failed", "step": "mounts"}, [])
    assert wire.receive(near, socket.MSG_DONTWAIT) == ({"kind": "failed", "step": "more"}, [])
    assert wire.receive(near, socket.MSG_DONTWAIT) == (None, [])
