"""Messages with descriptors over SOCK_SEQPACKET sockets."""

from __future__ import annotations

import marshal
import os
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Sequence
    from typing import Any

MOST_DESCRIPTORS = 8
_INLINE = 60_000
_INT = 4


def pack(message: dict[str, Any]) -> bytes:
    """A message as bytes."""
    return marshal.dumps(message, 4)


def unpack(data: bytes) -> dict[str, Any] | None:
    """What :func:`pack` made of a message; None where the bytes are not of one."""
    try:
        message: Any = marshal.loads(data)  # noqa: S302 - written by this program, for the same user
    except (EOFError, ValueError, TypeError):
        return None
    return message if isinstance(message, dict) else None


def send(channel: socket, message: dict[str, Any], descriptors: Sequence[int] = (), flags: int = 0) -> None:
    """Send a message and copies of descriptors; what is too long for one packet goes by an anonymous file.

    Raises
    ------
    OSError
        EPIPE or ECONNRESET when nobody is left at the other end.
    """
    data = pack(message)
    if len(data) <= _INLINE:
        _send(channel, b"i" + data, descriptors, flags)
        return
    spill = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(spill), "wb") as file:
            file.write(data)
        _send(channel, b"f", [*descriptors, spill], flags)
    finally:
        os.close(spill)


def _send(channel: socket, data: bytes, descriptors: Sequence[int], flags: int) -> None:
    numbers = b"".join(descriptor.to_bytes(_INT, "little") for descriptor in descriptors)
    ancillary = [(SOL_SOCKET, SCM_RIGHTS, numbers)] if numbers else []
    channel.sendmsg([data], ancillary, flags | MSG_NOSIGNAL)


def receive(channel: socket, flags: int = 0) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and its descriptors, close-on-exec; ``(None, [])`` when the other end is closed."""
    try:
        data, ancillary = _receive(channel, flags)
    except ConnectionResetError:
        # It was closed with something of ours unread. That is told once, ahead of what was said before the end.
        data, ancillary = _receive(channel, flags)
    descriptors: list[int] = []
    for _level, _kind, numbers in ancillary:
        descriptors += [
            int.from_bytes(numbers[at : at + _INT], "little") for at in range(0, len(numbers) - _INT + 1, _INT)
        ]
    if not data:
        close_all(descriptors)
        return None, []
    if data[:1] == b"f":
        with os.fdopen(descriptors.pop(), "rb") as file:
            file.seek(0)
            data = b"i" + file.read()
    message: dict[str, Any] = marshal.loads(data[1:])  # noqa: S302 - both ends are this program, of one user
    return message, descriptors


def _receive(channel: socket, flags: int) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    data, ancillary, _flags, _address = channel.recvmsg(
        _INLINE + 4096, CMSG_LEN(MOST_DESCRIPTORS * _INT), flags | MSG_CMSG_CLOEXEC
    )
    return data, ancillary


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors; those of -1 are none."""
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
