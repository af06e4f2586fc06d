"""The socket that messages to nftables go by, and the rules of published ports, which a start waits for.

Messages are bytes, sent as one batch that takes effect whole or not at all; those of a bridge are in ``ruleset``. Pure
but for :func:`transact` and what asks the kernel; standard library only, for the network agent imports it.

Sources: nft(8); linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

from jupyter_containers.errors import PermissionDenied, SystemFailure, Unsupported
from jupyter_containers.linux.netlink import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    Make = Callable[[int, int, int], socket.socket]  # a socket of this family, kind and protocol, in some namespace

_NETLINK_NETFILTER = 12
SUBSYSTEM = 10 << 8
NEWTABLE, _GETTABLE, DELTABLE, NEWCHAIN, _GETCHAIN, NEWRULE, _GETRULE = 0, 1, 2, 3, 4, 6, 7
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
REQUEST, ACK, _DUMP, CREATE, APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
_DONE, _ERROR = 3, 2
_NESTED = 0x8000
_PATIENCE = 5.0

IPV4, IPV6 = 2, 10
FAMILIES = {1: "inet", IPV4: "ip", IPV6: "ip6"}
HOOK_PREROUTING, HOOK_FORWARD, HOOK_OUTPUT, HOOK_POSTROUTING = 0, 2, 3, 4
PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT = -100, 0, 100
_ACCEPT = 1
EQUAL, NOT_EQUAL = 0, 1
_L4PROTO = 16
PROTOCOLS = {"tcp": 6, "udp": 17}

_DADDR = {4: 16, 16: 24}  # where the destination is in the header, by the length of an address
_FIB_ADDRTYPE, _FIB_DADDR, _RTN_LOCAL = 3, 2, 2
_NAT_DNAT = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7

Expression = bytes


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _nested(kind: int, *parts: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(parts))


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, struct.pack("!i" if number < 0 else "!I", number))


def _message(kind: int, family: int, flags: int, body: bytes) -> bytes:
    header = struct.pack("=BBH", family, 0, 0)
    return struct.pack("=IHHII", 20 + len(body), SUBSYSTEM | kind, flags, 0, 0) + header + body


def new_table(family: int, name: str) -> bytes:
    """Make a table, if there is none of that name."""
    return _message(NEWTABLE, family, REQUEST | ACK | CREATE, _text(1, name))


def delete_table(family: int, name: str) -> bytes:
    """Remove a table, which must exist, with all that is in it."""
    return _message(DELTABLE, family, REQUEST | ACK, _text(1, name))


def fresh_table(family: int, name: str) -> list[bytes]:
    """An empty table in place of what was there."""
    return [new_table(family, name), delete_table(family, name), new_table(family, name)]


def chain(family: int, table: str, name: str, kind: str, hook: int, priority: int) -> bytes:
    """A chain that the kernel calls itself, which accepts what no rule drops."""
    place = _nested(_CHAIN_HOOK, _number(1, hook), _number(2, priority))
    names = _text(_CHAIN_TABLE, table) + _text(_CHAIN_NAME, name)
    body = names + place + _number(_CHAIN_POLICY, _ACCEPT) + _text(_CHAIN_TYPE, kind)
    return _message(NEWCHAIN, family, REQUEST | ACK | CREATE, body)


def rule(family: int, table: str, chain_name: str, expressions: Sequence[Expression]) -> bytes:
    """A rule at the end of a chain."""
    body = _text(1, table) + _text(2, chain_name) + _nested(4, *expressions)
    return _message(NEWRULE, family, REQUEST | ACK | CREATE | APPEND, body)


# -- expressions -----------------------------------------------------------------------------------------------------


def _expression(name: str, *parts: bytes) -> Expression:
    return _nested(1, _text(1, name), _nested(2, *parts))


def _compare(operator: int, data: bytes) -> Expression:
    return _expression("cmp", _number(1, 1), _number(2, operator), _nested(3, _attribute(1, data)))


def _masked(mask: bytes) -> Expression:
    value = _nested(4, _attribute(1, mask)) + _nested(5, _attribute(1, bytes(len(mask))))
    return _expression("bitwise", _number(1, 1), _number(2, 1), _number(3, len(mask)), value)


def _destination(size: int) -> Expression:
    return _expression("payload", _number(1, 1), _number(2, 1), _number(3, _DADDR[size]), _number(4, size))


def outside(subnet: IPv4Network | IPv6Network) -> list[Expression]:
    """The packet's destination is not in the subnet."""
    packed = subnet.network_address.packed
    return [_destination(len(packed)), _masked(subnet.netmask.packed), _compare(NOT_EQUAL, packed)]


def equals(address: IPv4Address | IPv6Address) -> list[Expression]:
    """The packet's destination is the address."""
    return [_destination(len(address.packed)), _compare(EQUAL, address.packed)]


def to_this_host() -> list[Expression]:
    """The packet's destination is an address of this host."""
    load = _expression("fib", _number(1, 1), _number(2, _FIB_ADDRTYPE), _number(3, _FIB_DADDR))
    return [load, _compare(EQUAL, struct.pack("=I", _RTN_LOCAL))]


def port(protocol: str, number: int) -> list[Expression]:
    """The packet is for this TCP or UDP port."""
    kind = _expression("meta", _number(2, _L4PROTO), _number(1, 1))
    load = _expression("payload", _number(1, 1), _number(2, 2), _number(3, 2), _number(4, 2))
    return [kind, _compare(EQUAL, bytes([PROTOCOLS[protocol]])), load, _compare(EQUAL, struct.pack("!H", number))]


def redirect(family: int, address: IPv4Address | IPv6Address, number: int) -> list[Expression]:
    """Send the packet to another address and port (``dnat to``)."""
    return [
        _expression("immediate", _number(1, 1), _nested(2, _attribute(1, address.packed))),
        _expression("immediate", _number(1, 2), _nested(2, _attribute(1, struct.pack("!H", number)))),
        _expression("nat", _number(1, _NAT_DNAT), _number(2, family), _number(3, 1), _number(5, 2)),
    ]


# -- the socket ------------------------------------------------------------------------------------------------------


def _channel(make: Make) -> socket.socket:
    try:
        channel = make(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise Unsupported(f"the kernel has no nftables: {error.strerror}", hint="sudo modprobe nf_tables") from error
    channel.settimeout(_PATIENCE)
    channel.bind((0, 0))
    return channel


def transact(messages: Sequence[bytes], make: Make = socket.socket) -> None:
    """Send all messages as one batch and read an answer to each. ``make`` makes the socket, as in all that follow.

    Raises
    ------
    PermissionDenied
        This user may not.
    Unsupported
        The kernel has no nftables, or not what the rules need.
    """
    edge = struct.pack("=BBH", 0, 0, socket.htons(10))
    begin = struct.pack("=IHHII", 20, _BATCH_BEGIN, REQUEST, 0, 0) + edge
    end = struct.pack("=IHHII", 20, _BATCH_END, REQUEST, 0, 0) + edge
    numbered = [message[:8] + struct.pack("=I", at) + message[12:] for at, message in enumerate(messages, 1)]
    with _channel(make) as channel:
        channel.send(begin + b"".join(numbered) + end)
        expected = len(messages)
        while expected > 0:
            for _sequence, code in answers(channel.recv(65536)):
                if code:
                    raise _failure(code)
                expected -= 1


def exists(family: int, table: str, make: Make = socket.socket) -> bool:
    """Whether there is a table of that name."""
    message = _message(_GETTABLE, family, REQUEST, _text(1, table))
    with _channel(make) as channel:
        channel.send(message[:8] + struct.pack("=I", 1) + message[12:])
        code = dict(answers(channel.recv(65536))).get(1, 0)
    if code in {0, 2}:
        return code == 0
    raise SystemFailure(f"nftables: {os.strerror(code)}")


def tables(make: Make = socket.socket) -> list[tuple[int, str]]:
    """All tables there are: family and name."""
    with _channel(make) as channel:
        channel.send(_message(_GETTABLE, 0, REQUEST | _DUMP, b""))
        return [
            (data[16], _attributes(data[20:])[1].rstrip(b"\0").decode())
            for kind, data in _dump(channel)
            if kind == SUBSYSTEM | NEWTABLE
        ]


def translates(family: int, table: str, make: Make = socket.socket) -> bool:
    """Whether a rule of a table gives what leaves the host's address, whatever connection it belongs to."""
    kept = _text(1, "ct")  # a rule of a bridge's own that looks at the connection is for published ports
    with _channel(make) as channel:
        channel.send(_message(_GETRULE, family, REQUEST | _DUMP, _text(1, table)))
        return any(
            kind == SUBSYSTEM | NEWRULE
            and _attributes(data[20:]).get(1, b"").rstrip(b"\0") == table.encode()
            and _text(1, "masq") in data
            and kept not in data
            for kind, data in _dump(channel)
        )


def foreign_forward_drops(make: Make = socket.socket) -> list[str]:
    """The chains of others that drop what is forwarded unless a rule of theirs accepts it, as ``family table chain``.

    An ``accept`` of ours does not help there: every chain of a hook has to let a packet through (nft(8), "VERDICT").
    """
    found = []
    with _channel(make) as channel:
        channel.send(_message(_GETCHAIN, 0, REQUEST | _DUMP, b""))
        for kind, data in _dump(channel):
            family = FAMILIES.get(data[16])
            attributes = _attributes(data[20:])
            if kind != SUBSYSTEM | NEWCHAIN or family is None or _CHAIN_HOOK not in attributes:
                continue
            hook = _attributes(attributes[_CHAIN_HOOK]).get(1, b"")
            if int.from_bytes(hook, "big") == HOOK_FORWARD and attributes.get(_CHAIN_POLICY) == bytes(4):
                names = (attributes[at].rstrip(b"\0").decode() for at in (_CHAIN_TABLE, _CHAIN_NAME))
                found.append(" ".join([family, *names]))
    return found


def _failure(code: int) -> Exception:
    why = f"nftables: {os.strerror(code)}"
    if code in {1, 13}:
        return PermissionDenied(why, hint="Only root, or the owner of the network namespace, changes its rules.")
    if code in {2, 95, 93}:
        return Unsupported(
            f"{why}: the kernel lacks a part of nftables", hint="sudo modprobe nf_tables nft_masq nft_ct nft_fib"
        )
    return SystemFailure(why)


def _dump(channel: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The messages of an answer to a dump: type and whole message."""
    while True:
        data = channel.recv(1 << 17)
        position = 0
        while position + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, position)
            if kind == _DONE:
                return
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", data, position + 16)
                raise _failure(-code)
            yield kind, data[position : position + length]
            position += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by type, without the flags in the two highest bits."""
    found = {}
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:  # noqa: PLR2004 - the header's own length
            break
        found[kind & 0x3FFF] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found
