"""The few rtnetlink messages a container's start needs. Pure, and quick to import.

A message has no sequence number and no process id yet: :func:`jupyter_containers.linux.netlink.transact` sends it.
Sources: rtnetlink(7), netlink(7); linux/if_link.h, linux/veth.h.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

_NEWLINK, _NEWADDR, _NEWROUTE, _DELROUTE = 16, 20, 24, 25
_CREATE, _EXCL = 0x400, 0x200
_UP = 1
_AF_INET, _AF_INET6 = 2, 10
_NESTED = 0x8000

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_NET_NS_PID = 19
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_BRPORT_ISOLATED = 33
_MACVLAN_MODE, _MACVLAN_BRIDGE = 1, 4
_VETH_INFO_PEER = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 0x02
_RTA_GATEWAY = 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 3, 0, 1

PLACEHOLDER = 0x7FFF_FFFF
"""Stands for the pid of a container's init until the monitor knows it."""


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute: length, type, data, padding to four bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def request(kind: int, flags: int, body: bytes) -> bytes:
    """A message with its header."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack("=I", number))


def _link_header(index: int, *, up: bool) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, _UP * up, _UP * up)


def _hardware(mac: str) -> bytes:
    return attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))


def link_up(index: int) -> bytes:
    """Bring an interface up."""
    return request(_NEWLINK, 0, _link_header(index, up=True))


def address(index: int, host: str, prefix: int) -> bytes:
    """Give an interface an address; of IPv4 with the broadcast address of its network, of IPv6 without a probe."""
    own = ip_address(host)
    packed = own.packed
    body = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if own.version == 6:  # noqa: PLR2004 - the version of the protocol
        header = struct.pack("=BBBBI", _AF_INET6, prefix, _IFA_F_NODAD, 0, index)
        return request(_NEWADDR, _CREATE | _EXCL, header + body)
    broadcast = (int.from_bytes(packed, "big") | (1 << 32 - prefix) - 1).to_bytes(4, "big")
    header = struct.pack("=BBBBI", _AF_INET, prefix, 0, 0, index)
    return request(_NEWADDR, _CREATE | _EXCL, header + body + attribute(_IFA_BROADCAST, broadcast))


def default_route(gateway: str) -> bytes:
    """Send everything that has no better route to a gateway; the kernel finds the interface."""
    return request(_NEWROUTE, _CREATE | _EXCL, _route(gateway))


def remove_default_route(gateway: str) -> bytes:
    """Take that route away again."""
    return request(_DELROUTE, 0, _route(gateway))


def _route(gateway: str) -> bytes:
    to = ip_address(gateway)
    family = _AF_INET if to.version == 4 else _AF_INET6  # noqa: PLR2004 - the version of the protocol
    header = struct.pack(
        "=BBBBBBBBI", family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0
    )
    return header + attribute(_RTA_GATEWAY, to.packed)


def isolate(index: int) -> bytes:
    """Keep an interface on a bridge from all others that are kept so; the bridge itself it reaches."""
    data = attribute(_BRPORT_ISOLATED, b"\1")
    info = _text(_INFO_SLAVE_KIND, "bridge") + attribute(_INFO_SLAVE_DATA | _NESTED, data)
    return request(_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, 0, 0) + attribute(_IFLA_LINKINFO | _NESTED, info))


def macvlan(parent: int, inside: tuple[str, int], mac: str, mode: int = _MACVLAN_BRIDGE) -> tuple[bytes, int]:
    """Make an interface with an address of its own on an interface of the host, in a container's namespace.

    Returns as :func:`veth` does.
    """
    info = _text(_INFO_KIND, "macvlan") + attribute(_INFO_DATA | _NESTED, _number(_MACVLAN_MODE, mode))
    body = _link_header(inside[1], up=False) + _text(_IFLA_IFNAME, inside[0]) + _hardware(mac)
    body += _number(_IFLA_LINK, parent) + attribute(_IFLA_LINKINFO | _NESTED, info)
    message = request(_NEWLINK, _CREATE | _EXCL, body + _number(_IFLA_NET_NS_PID, PLACEHOLDER))
    return message, len(message) - 4


def veth(host: tuple[str, int], master: int, inside: tuple[str, int], mac: str, mtu: int = 0) -> tuple[bytes, int]:
    """Make a pair of interfaces, one end on a bridge of ours and up, the other in a container's namespace.

    The kernel takes the number of the inner end only where the outer one has a number too; with both known, everything
    that is done inside can be prepared outside.

    Parameters
    ----------
    host, inside
        Name and number of each end.
    master
        The number of the bridge.
    mac
        The hardware address inside.
    mtu
        Of both ends in bytes; 0 for the kernel's default.

    Returns
    -------
    The message, and the offset of the container's pid in it (:data:`PLACEHOLDER` so far).
    """
    size = _number(_IFLA_MTU, mtu) if mtu else b""
    peer = _link_header(inside[1], up=False) + _text(_IFLA_IFNAME, inside[0]) + _hardware(mac) + size
    peer += _number(_IFLA_NET_NS_PID, PLACEHOLDER)
    data = attribute(_VETH_INFO_PEER | _NESTED, peer)
    info = _text(_INFO_KIND, "veth") + attribute(_INFO_DATA | _NESTED, data)
    body = _link_header(host[1], up=True) + _text(_IFLA_IFNAME, host[0]) + _number(_IFLA_MASTER, master) + size
    message = request(_NEWLINK, _CREATE | _EXCL, body + attribute(_IFLA_LINKINFO | _NESTED, info))
    return message, len(message) - 4
