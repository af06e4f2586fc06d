"""Tables, chains and rules of nftables as pyroute2 encodes them: what a bridge is given once, when it is made.

``nftables.transact`` sends the messages. pyroute2's own sockets do not: they run an event loop, which fails where one
runs already (a cell of a notebook), and send every rule in a batch of its own. It is imported at the first message
(80 ms); the rules of ports, which a start waits for, are in ``nftables`` instead.

Sources: nft(8); linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jupyter_containers.network import nftables as nft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

IIFNAME, OIFNAME = 6, 7
CT_STATE, CT_STATUS = 0, 2
ESTABLISHED_OR_RELATED, DNATED = 0x2 | 0x4, 0x20
DROP, ACCEPT = 0, 1
_SADDR = {4: 12, 6: 8}  # where the source address is in the header of each version

Expression = dict[str, Any]  # what pyroute2 encodes: nested lists of names and values


def fresh_table(family: int, name: str) -> list[bytes]:
    """An empty table in place of what was there."""
    from pyroute2.netlink.nfnetlink.nftsocket import nft_table_msg  # noqa: PLC0415 - slow to import

    attributes = [("NFTA_TABLE_NAME", name)]
    made = _encode(nft_table_msg(), family, nft.NEWTABLE, nft.CREATE, attributes)
    return [made, _encode(nft_table_msg(), family, nft.DELTABLE, 0, attributes), made]


def chain(family: int, table: str, name: str, kind: str, hook: int, priority: int) -> bytes:
    """A chain that the kernel calls itself, which accepts what no rule drops."""
    from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg  # noqa: PLC0415 - slow to import

    attributes = [
        ("NFTA_CHAIN_TABLE", table),
        ("NFTA_CHAIN_NAME", name),
        ("NFTA_CHAIN_HOOK", {"attrs": [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]}),
        ("NFTA_CHAIN_POLICY", ACCEPT),
        ("NFTA_CHAIN_TYPE", kind),
    ]
    return _encode(nft_chain_msg(), family, nft.NEWCHAIN, nft.CREATE, attributes)


def rule(family: int, table: str, chain_name: str, expressions: Sequence[Expression]) -> bytes:
    """A rule at the end of a chain."""
    from pyroute2.netlink.nfnetlink.nftsocket import nft_rule_msg  # noqa: PLC0415 - slow to import

    attributes = [
        ("NFTA_RULE_TABLE", table),
        ("NFTA_RULE_CHAIN", chain_name),
        ("NFTA_RULE_EXPRESSIONS", list(expressions)),
    ]
    return _encode(nft_rule_msg(), family, nft.NEWRULE, nft.CREATE | nft.APPEND, attributes)


def _encode(message: Any, family: int, kind: int, flags: int, attributes: list[tuple[str, Any]]) -> bytes:
    message["header"]["type"] = nft.SUBSYSTEM | kind
    message["header"]["flags"] = nft.REQUEST | nft.ACK | flags
    message["nfgen_family"] = family
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


# -- expressions -----------------------------------------------------------------------------------------------------


def _expression(kind: str, **fields: object) -> Expression:
    data = [(f"NFTA_{kind.upper()}_{name.upper()}", value) for name, value in fields.items()]
    return {"attrs": [("NFTA_EXPR_NAME", kind), ("NFTA_EXPR_DATA", {"attrs": data})]}


def _value(data: bytes) -> Expression:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _compare(operator: int, data: bytes) -> Expression:
    return _expression("cmp", sreg=1, op=operator, data=_value(data))


def _masked(mask: bytes) -> Expression:
    return _expression("bitwise", sreg=1, dreg=1, len=len(mask), mask=_value(mask), xor=_value(bytes(len(mask))))


def interface(key: int, name: str, operator: int = nft.EQUAL) -> list[Expression]:
    """The packet comes from, or goes to, the interface."""
    return [_expression("meta", key=key, dreg=1), _compare(operator, name.encode().ljust(16, b"\0"))]


def source(subnet: IPv4Network | IPv6Network, operator: int = nft.EQUAL) -> list[Expression]:
    """The packet's source is in the subnet."""
    packed = subnet.network_address.packed
    load = _expression("payload", dreg=1, base=1, offset=_SADDR[subnet.version], len=len(packed))
    return [load, _masked(subnet.netmask.packed), _compare(operator, packed)]


def tracked(key: int, bits: int) -> list[Expression]:
    """Connection tracking has one of the bits."""
    mask = _masked(bits.to_bytes(4, sys.byteorder))
    return [_expression("ct", key=key, dreg=1), mask, _compare(nft.NOT_EQUAL, bytes(4))]


def verdict(code: int) -> Expression:
    """Drop or accept."""
    data = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", code)]})]}
    return _expression("immediate", dreg=0, data=data)


def masquerade() -> Expression:
    """Give the packet the address of the interface it leaves by."""
    return _expression("masq")
