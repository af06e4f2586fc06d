"""Raw rtnetlink: messages made elsewhere are sent as they are, and loopback is brought up.

The messages themselves come prebuilt from the network package; this module only patches, sends and reads the answers.
Sources: netlink(7), rtnetlink(7), RFC 3549.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NETLINK_ROUTE = 0
_NLMSG_ERROR = 2
_HEADER = 16
_RTM_NEWLINK = 16
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_IFF_UP = 1
_LOOPBACK_INDEX = 1


def _integer(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=value < 0)


def message(kind: int, flags: int, body: bytes, *, sequence: int = 1) -> bytes:
    """One netlink message: header and body."""
    return (
        _integer(_HEADER + len(body), 4)
        + _integer(kind, 2)
        + _integer(flags | _NLM_F_REQUEST | _NLM_F_ACK, 2)
        + _integer(sequence, 4)
        + _integer(0, 4)
        + body
    )


def loopback_up() -> bytes:
    """The message that brings up ``lo``, the first interface of every network namespace."""
    body = bytes(4) + _integer(_LOOPBACK_INDEX, 4) + _integer(_IFF_UP, 4) + _integer(_IFF_UP, 4)
    return message(_RTM_NEWLINK, 0, body)


def patch(data: bytes, offset: int, value: int) -> bytes:
    """A message with a 32-bit number put in at ``offset``; a negative offset leaves it as it is."""
    if offset < 0:
        return data
    return data[:offset] + _integer(value, 4) + data[offset + 4 :]


def answers(data: bytes) -> list[tuple[int, int]]:
    """``(sequence, errno)`` of every acknowledgement in what the kernel sent; errno 0 is success."""
    found = []
    position = 0
    while position + _HEADER <= len(data):
        length = int.from_bytes(data[position : position + 4], "little")
        kind = int.from_bytes(data[position + 4 : position + 6], "little")
        if length < _HEADER:
            break
        if kind == _NLMSG_ERROR:
            code = int.from_bytes(data[position + _HEADER : position + _HEADER + 4], "little", signed=True)
            found.append((int.from_bytes(data[position + 8 : position + 12], "little"), -code))
        position += (length + 3) & ~3
    return found


def split(data: bytes) -> list[bytes]:
    """The single messages of a batch."""
    messages = []
    position = 0
    while position + _HEADER <= len(data):
        length = int.from_bytes(data[position : position + 4], "little")
        if length < _HEADER:
            break
        messages.append(data[position : position + length])
        position += (length + 3) & ~3
    return messages


def with_ack(data: bytes) -> bytes:
    """A request padded to four bytes, with NLM_F_REQUEST and NLM_F_ACK set in its header."""
    flags = int.from_bytes(data[6:8], "little") | _NLM_F_REQUEST | _NLM_F_ACK
    return data[:6] + _integer(flags, 2) + data[8:] + bytes(-len(data) % 4)


def transact(batches: list[bytes], make: Callable[[int, int, int], socket] = socket) -> None:
    """Send requests to the kernel of this network namespace, batch after batch, and check every answer.

    ``make``: makes the socket; one of another namespace sends them there.

    Raises
    ------
    OSError
        The first failure, with the number of its batch in the text. Batches after it are not sent.
    """
    if not batches:
        return
    channel = make(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_ROUTE)
    try:
        channel.bind((0, 0))
        for number, batch in enumerate(batches):
            requests = [with_ack(request) for request in split(batch)]
            channel.send(b"".join(requests))
            _await_answers(channel, number, len(requests))
    finally:
        channel.close()


def _await_answers(channel: socket, number: int, expected: int) -> None:
    while expected > 0:
        for _sequence, code in answers(channel.recv(65536)):
            if code:
                raise OSError(code, f"network message {number}: {os.strerror(code)}")
            expected -= 1
