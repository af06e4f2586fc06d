"""Messages of the domain name system, as far as a name server for containers reads and writes them. Pure.

Sources: RFC 1035 (sections 3 and 4), RFC 3596 (AAAA), RFC 6891 (EDNS).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from jupyter_containers.records import dataclass

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
NOERROR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 2, 3, 4, 5
TTL = 10
"""Seconds an answer may be kept: containers come and go."""
SMALLEST_UDP = 512

_HEADER = struct.Struct("!6H")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION = 0x8000, 0x0400, 0x0200, 0x0080
_OPCODE, _COPIED = 0x7800, 0x0110  # recursion desired, checking disabled
_INTERNET = 1
_LONGEST_LABEL, _LONGEST_NAME = 63, 253
_POINTER = 0xC0


class MalformedError(ValueError):
    """Not a question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query: ``name`` in lower case without the last dot; ``end`` is where the question ends in the message."""

    id: int
    flags: int
    name: str
    kind: int
    end: int
    size: int = SMALLEST_UDP


def parse(data: bytes) -> Question:
    """Read a query.

    Raises
    ------
    MalformedError
        for anything else.
    """
    if len(data) < _HEADER.size:
        raise MalformedError("too short")
    identity, flags, questions, _answers, _authorities, additional = _HEADER.unpack_from(data)
    if flags & _RESPONSE or questions != 1:
        raise MalformedError("not one question")
    name, position = _name(data, _HEADER.size)
    if position + 4 > len(data):
        raise MalformedError("the question is cut off")
    kind, kind_class = struct.unpack_from("!HH", data, position)
    position += 4
    if kind_class not in {_INTERNET, ANY}:
        raise MalformedError("another class")
    size = SMALLEST_UDP
    # The only record a query has besides its question is that of EDNS, whose name is the root.
    if additional and data[position : position + 3] == b"\0" + struct.pack("!H", OPT) and position + 5 <= len(data):
        size = max(size, int.from_bytes(data[position + 3 : position + 5], "big"))
    return Question(identity, flags, name, kind, position, size)


def _name(data: bytes, position: int) -> tuple[str, int]:
    labels: list[str] = []
    length = 0
    while True:
        if position >= len(data):
            raise MalformedError("the name is cut off")
        size = data[position]
        position += 1
        if size == 0:
            return ".".join(labels), position
        length += size + 1
        if size > _LONGEST_LABEL or length > _LONGEST_NAME + 1 or position + size > len(data):
            raise MalformedError("the name is not one")
        labels.append(data[position : position + size].decode("ascii", "surrogateescape").lower())
        position += size


def encode_name(name: str) -> bytes:
    """A name as labels."""
    labels = [label.encode("ascii", "surrogateescape") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def answer(query: bytes, question: Question, records: list[tuple[int, bytes]], *, code: int = NOERROR) -> bytes:
    """An answer with records for the name that was asked for: type and data of each."""
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION | question.flags & (_OPCODE | _COPIED) | code
    header = _HEADER.pack(question.id, flags, 1, len(records), 0, 0)
    body = b"".join(
        struct.pack("!HHHIH", _POINTER << 8 | _HEADER.size, kind, _INTERNET, TTL, len(data)) + data
        for kind, data in records
    )
    return header + query[_HEADER.size : question.end] + body


def fit(response: bytes, question: Question) -> bytes:
    """The answer as it goes by UDP: where it is too long it only says so, and the client asks again by TCP."""
    if len(response) <= question.size:
        return response
    identity, flags, _questions, _answers, _, _ = _HEADER.unpack_from(response)
    header = _HEADER.pack(identity, flags | _TRUNCATED, 1, 0, 0, 0)
    return header + response[_HEADER.size : question.end]


def address_record(address: str) -> tuple[int, bytes]:
    """The record of an address."""
    found = ip_address(address)
    return (A if found.version == 4 else AAAA), found.packed  # noqa: PLR2004 - the version of the protocol


def address_of(name: str) -> str | None:
    """The address that a name of the reverse tree stands for."""
    if name.endswith(".in-addr.arpa"):
        labels = name.removesuffix(".in-addr.arpa").split(".")
        try:
            return str(IPv4Address(".".join(reversed(labels))))
        except ValueError:
            return None
    if name.endswith(".ip6.arpa"):
        digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
        try:
            return str(IPv6Address(bytes.fromhex(digits)))
        except ValueError:
            return None
    return None


def with_id(data: bytes, identity: int) -> bytes:
    """The same message under another number."""
    return struct.pack("!H", identity) + data[2:]
