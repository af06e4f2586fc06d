"""Bridges and addresses of this host, made and looked up with pyroute2's messages: what a start does not wait for.

pyroute2 encodes and decodes; the messages go by sockets of our own, since its sockets run an event loop, which fails in
a cell of a notebook. It is imported at the first message. What a start sends is in ``messages``, prebuilt.

Sources: rtnetlink(7), netlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_containers.linux import netlink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.network.nftables import Make

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 17, 18, 20, 22
_REQUEST, _DUMP, _EXCL, _CREATE = 0x1, 0x300, 0x200, 0x400
_ERROR, _DONE = 2, 3
_UP = 1
_IFA_F_NODAD = 0x02
_PATIENCE = 5.0


class Link(NamedTuple):
    """An interface: its number, its kind (``bridge``, ``macvlan``; empty for hardware), its addresses."""

    number: int
    kind: str
    addresses: list[IPv4Interface | IPv6Interface]


def bridge(name: str, mac: str) -> bytes:
    """Make a bridge and bring it up. It keeps this hardware address whatever is plugged into it."""
    kind = {"attrs": [("IFLA_INFO_KIND", "bridge")]}
    attributes = [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_LINKINFO", kind)]
    return _link(_NEWLINK, _CREATE | _EXCL, attributes, flags=_UP, change=_UP)


def up(index: int, alias: str = "") -> bytes:
    """Bring an interface up. ``alias`` is what ``ip link`` shows beside its name, 255 bytes at most."""
    attributes = [("IFLA_IFALIAS", alias)] if alias else []  # the kernel takes none of a link that is made
    return _link(_NEWLINK, 0, attributes, index=index, flags=_UP, change=_UP)


def removal(index: int) -> bytes:
    """Remove an interface."""
    return _link(_DELLINK, 0, [], index=index)


def address(index: int, own: IPv4Interface | IPv6Interface) -> bytes:
    """Give an interface an address; of IPv4 with the broadcast address of its network, of IPv6 without a probe."""
    attributes = [("IFA_LOCAL", str(own.ip)), ("IFA_ADDRESS", str(own.ip))]
    fields = {"family": socket.AF_INET6, "flags": _IFA_F_NODAD}
    if isinstance(own, IPv4Interface):
        attributes.append(("IFA_BROADCAST", str(own.network.broadcast_address)))
        fields = {"family": socket.AF_INET}
    return _address(_NEWADDR, _CREATE | _EXCL, attributes, index=index, prefixlen=own.network.prefixlen, **fields)


def find(name: str, make: Make = socket.socket) -> Link | None:
    """The interface of that name in this network namespace, or where ``make`` makes a socket; None if there is none.

    Raises :exc:`OSError` when the kernel refuses to say.
    """
    try:
        (found,) = _ask(_link(_GETLINK, 0, [("IFLA_IFNAME", name)]), make)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return None
    info = found.get_attr("IFLA_LINKINFO")
    index = found["index"]
    addresses = [
        ip_interface(f"{own}/{each['prefixlen']}")
        for each in _ask(_address(_GETADDR, _DUMP, []), make)
        if each["index"] == index and (own := each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"))
    ]
    return Link(index, (info.get_attr("IFLA_INFO_KIND") or "") if info else "", addresses)


def _link(kind: int, flags_of_request: int, attributes: list[tuple[str, Any]], **fields: int) -> bytes:
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415 - slow to import

    return _encode(ifinfmsg(), kind, flags_of_request, attributes, fields)


def _address(kind: int, flags_of_request: int, attributes: list[tuple[str, Any]], **fields: int) -> bytes:
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415 - slow to import

    return _encode(ifaddrmsg(), kind, flags_of_request, attributes, fields)


def _encode(message: Any, kind: int, flags: int, attributes: list[tuple[str, Any]], fields: dict[str, int]) -> bytes:
    message["header"]["type"] = kind
    message["header"]["flags"] = _REQUEST | flags
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


def _ask(request: bytes, make: Make) -> list[Any]:
    """The links or addresses that a request is answered with."""
    with make(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as channel:
        channel.settimeout(_PATIENCE)
        channel.bind((0, 0))
        channel.send(request)
        return list(_answers(channel, dump=int.from_bytes(request[6:8], "little") & _DUMP == _DUMP))


def _answers(channel: socket.socket, *, dump: bool) -> Iterator[Any]:
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415 - slow to import
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415 - slow to import

    classes = {_NEWLINK: ifinfmsg, _NEWADDR: ifaddrmsg}
    while True:
        for data in netlink.split(channel.recv(1 << 17)):
            kind = int.from_bytes(data[4:6], "little")
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -int.from_bytes(data[16:20], "little", signed=True)
                raise OSError(code, os.strerror(code))
            message = classes[kind](data)
            message.decode()
            yield message
        if not dump:
            return
