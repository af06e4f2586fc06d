"""Address translation and isolation of a bridge network, in one nftables table of our own.

The messages are encoded by pyroute2 and sent on a socket of ours, as one batch that takes effect whole or not at all:
pyroute2's own sockets run an event loop, which fails where one runs already (a cell of a notebook), and send every rule
in a batch of its own. Rules of others are read (to say what is in their way), never changed.

What the table of a bridge does:

- postrouting: what leaves the subnet by another interface gets the host's address;
- forward: between containers of the bridge everything passes; answers come in; nothing else comes in; nothing goes out
  under an address that is not the subnet's.

Containers of one network can therefore not reach those of another one: the other one's table drops it.

Sources: nft(8); linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import PermissionDenied, SystemFailure, Unsupported
from jupyter_containers.linux.netlink import answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Network

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = 0, 1, 2, 3, 4, 6
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _ACK, _DUMP, _CREATE, _APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
_DONE, _ERROR = 3, 2
_IPV4 = 2

_HOOK_FORWARD, _HOOK_POSTROUTING = 2, 4
_PRIORITY_FILTER, _PRIORITY_SRCNAT = 0, 100
_DROP, _ACCEPT = 0, 1
_EQUAL, _NOT_EQUAL = 0, 1
_IIFNAME, _OIFNAME = 6, 7
_CT_STATE, _CT_STATUS = 0, 2
_ESTABLISHED_OR_RELATED, _DNATED = 0x2 | 0x4, 0x20
_SADDR, _DADDR = 12, 16
# NFTA_CHAIN_TABLE, _NAME, _HOOK and _POLICY; NFTA_HOOK_HOOKNUM
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_HOOK_NUMBER = 1
_FAMILIES = {1: "inet", 2: "ip"}
_PATIENCE = 5.0

_Expression = dict[str, Any]  # what pyroute2 encodes: nested lists of names and values


def table_name(bridge: str) -> str:
    """The table of a bridge."""
    return f"jupyter_containers_{bridge}"


def exists(bridge: str) -> bool:
    """Whether the bridge has its table. Does not need pyroute2.

    Raises :exc:`~jupyter_containers.errors.Unsupported` where the kernel has no nftables.
    """
    name = table_name(bridge).encode() + b"\0"
    body = struct.pack("=BBH", _IPV4, 0, 0) + struct.pack("=HH", 4 + len(name), 1) + name + bytes(-len(name) % 4)
    message = struct.pack("=IHHII", 16 + len(body), _SUBSYSTEM | _GETTABLE, _REQUEST, 1, 0) + body
    with _channel() as channel:
        channel.send(message)
        code = dict(answers(channel.recv(65536))).get(1, 0)
    if code in {0, 2}:
        return code == 0
    raise SystemFailure(f"nftables: {os.strerror(code)}")


def install(bridge: str, subnet: IPv4Network) -> None:
    """Make the table of a bridge, or replace it.

    Raises
    ------
    PermissionDenied
        This user may not.
    Unsupported
        The kernel has no nftables, or not what the rules need.
    """
    table = table_name(bridge)
    messages = [_table(_NEWTABLE, table), _table(_DELTABLE, table), _table(_NEWTABLE, table)]
    messages.append(_base_chain(table, "postrouting", "nat", _HOOK_POSTROUTING, _PRIORITY_SRCNAT))
    messages.append(_base_chain(table, "forward", "filter", _HOOK_FORWARD, _PRIORITY_FILTER))
    inside = _network(_SADDR, subnet, _EQUAL)
    messages += [
        _rule(table, chain, expressions)
        for chain, expressions in (
            ("postrouting", [*inside, *_name(_OIFNAME, bridge, _NOT_EQUAL), _expression("masq")]),
            ("forward", [*_name(_IIFNAME, bridge), *_network(_SADDR, subnet, _NOT_EQUAL), _verdict(_DROP)]),
            ("forward", [*_name(_IIFNAME, bridge), *_name(_OIFNAME, bridge), _verdict(_ACCEPT)]),
            ("forward", [*_name(_OIFNAME, bridge), *_ct(_CT_STATE, _ESTABLISHED_OR_RELATED), _verdict(_ACCEPT)]),
            ("forward", [*_name(_OIFNAME, bridge), *_ct(_CT_STATUS, _DNATED), _verdict(_ACCEPT)]),
            ("forward", [*_name(_OIFNAME, bridge), _verdict(_DROP)]),
        )
    ]
    _transact(messages)


def remove(bridge: str) -> None:
    """Remove the table of a bridge; it is no error if there is none."""
    _transact([_table(_NEWTABLE, table_name(bridge)), _table(_DELTABLE, table_name(bridge))])


def foreign_forward_drops() -> list[str]:
    """The chains of others that drop what is forwarded unless a rule of theirs accepts it, as ``family table chain``.

    An ``accept`` of ours does not help there: every chain of a hook has to let a packet through (nft(8), "VERDICT").
    Does not need pyroute2.
    """
    message = struct.pack("=IHHIIBBH", 20, _SUBSYSTEM | _GETCHAIN, _REQUEST | _DUMP, 1, 0, 0, 0, 0)
    found = []
    with _channel() as channel:
        channel.send(message)
        for kind, data in _dump(channel):
            family = _FAMILIES.get(data[16])
            chain = _attributes(data[20:])
            if kind != _SUBSYSTEM | _NEWCHAIN or family is None or _CHAIN_HOOK not in chain:
                continue
            hook = _attributes(chain[_CHAIN_HOOK]).get(_HOOK_NUMBER, b"")
            if int.from_bytes(hook, "big") == _HOOK_FORWARD and chain.get(_CHAIN_POLICY) == bytes(4):
                names = (chain[at].rstrip(b"\0").decode() for at in (_CHAIN_TABLE, _CHAIN_NAME))
                found.append(" ".join([family, *names]))
    return found


# -- messages --------------------------------------------------------------------------------------------------------


def _encode(message: Any, kind: int, flags: int, attributes: Iterable[tuple[str, Any]]) -> bytes:
    message["header"]["type"] = _SUBSYSTEM | kind
    message["header"]["flags"] = flags
    message["nfgen_family"] = _IPV4
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)


def _table(kind: int, name: str) -> bytes:
    from pyroute2.netlink.nfnetlink.nftsocket import nft_table_msg  # noqa: PLC0415 - slow to import

    flags = _REQUEST | _ACK | (_CREATE if kind == _NEWTABLE else 0)
    return _encode(nft_table_msg(), kind, flags, [("NFTA_TABLE_NAME", name)])


def _base_chain(table: str, name: str, kind: str, hook: int, priority: int) -> bytes:
    from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg  # noqa: PLC0415 - slow to import

    place = {"attrs": [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]}
    attributes = [
        ("NFTA_CHAIN_TABLE", table),
        ("NFTA_CHAIN_NAME", name),
        ("NFTA_CHAIN_HOOK", place),
        ("NFTA_CHAIN_POLICY", _ACCEPT),
        ("NFTA_CHAIN_TYPE", kind),
    ]
    return _encode(nft_chain_msg(), _NEWCHAIN, _REQUEST | _ACK | _CREATE, attributes)


def _rule(table: str, chain: str, expressions: list[_Expression]) -> bytes:
    from pyroute2.netlink.nfnetlink.nftsocket import nft_rule_msg  # noqa: PLC0415 - slow to import

    attributes = [
        ("NFTA_RULE_TABLE", table),
        ("NFTA_RULE_CHAIN", chain),
        ("NFTA_RULE_EXPRESSIONS", expressions),
    ]
    return _encode(nft_rule_msg(), _NEWRULE, _REQUEST | _ACK | _CREATE | _APPEND, attributes)


def _expression(kind: str, **fields: object) -> _Expression:
    data = [(f"NFTA_{kind.upper()}_{name.upper()}", value) for name, value in fields.items()]
    return {"attrs": [("NFTA_EXPR_NAME", kind), ("NFTA_EXPR_DATA", {"attrs": data})]}


def _value(data: bytes) -> _Expression:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _compare(operator: int, data: bytes) -> _Expression:
    return _expression("cmp", sreg=1, op=operator, data=_value(data))


def _masked(mask: bytes) -> _Expression:
    return _expression("bitwise", sreg=1, dreg=1, len=len(mask), mask=_value(mask), xor=_value(bytes(len(mask))))


def _name(key: int, name: str, operator: int = _EQUAL) -> list[_Expression]:
    """The packet comes from, or goes to, the interface."""
    return [_expression("meta", key=key, dreg=1), _compare(operator, name.encode().ljust(16, b"\0"))]


def _network(offset: int, subnet: IPv4Network, operator: int) -> list[_Expression]:
    """An address of the packet's IPv4 header is in the subnet."""
    load = _expression("payload", dreg=1, base=1, offset=offset, len=4)
    return [load, _masked(subnet.netmask.packed), _compare(operator, subnet.network_address.packed)]


def _ct(key: int, bits: int) -> list[_Expression]:
    """Connection tracking has one of the bits."""
    return [
        _expression("ct", key=key, dreg=1),
        _masked(bits.to_bytes(4, sys.byteorder)),
        _compare(_NOT_EQUAL, bytes(4)),
    ]


def _verdict(code: int) -> _Expression:
    verdict = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", code)]})]}
    return _expression("immediate", dreg=0, data=verdict)


# -- transport -------------------------------------------------------------------------------------------------------


def _channel() -> socket.socket:
    try:
        channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise Unsupported(f"the kernel has no nftables: {error.strerror}", hint="sudo modprobe nf_tables") from error
    channel.settimeout(_PATIENCE)
    channel.bind((0, 0))
    return channel


def _transact(messages: list[bytes]) -> None:
    """Send all messages as one batch and read an answer to each."""
    edge = struct.pack("=BBH", 0, 0, socket.htons(10))
    begin = struct.pack("=IHHII", 20, _BATCH_BEGIN, _REQUEST, 0, 0) + edge
    end = struct.pack("=IHHII", 20, _BATCH_END, _REQUEST, 0, 0) + edge
    numbered = [message[:8] + struct.pack("=I", at) + message[12:] for at, message in enumerate(messages, 1)]
    with _channel() as channel:
        channel.send(begin + b"".join(numbered) + end)
        expected = len(messages)
        while expected > 0:
            for _sequence, code in answers(channel.recv(65536)):
                if code:
                    raise _failure(code)
                expected -= 1


def _failure(code: int) -> Exception:
    why = f"nftables: {os.strerror(code)}"
    if code in {1, 13}:
        return PermissionDenied(why, hint="Only root, or the owner of the network namespace, changes its rules.")
    if code in {2, 95, 93}:
        return Unsupported(
            f"{why}: the kernel lacks a part of nftables", hint="sudo modprobe nf_tables nft_masq nft_ct"
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
