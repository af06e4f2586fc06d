"""All interfaces of a network namespace as the kernel has them, and whose the other ends of veth pairs are.

An outer end says which number the inner one has, and by which number its own namespace knows the other one; the same
number is given for the namespace of a process. Read by messages of its own, for a namespace may have hundreds.

Sources: rtnetlink(7); linux/if_link.h, linux/if_addr.h, linux/net_namespace.h.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from jupyter_containers.linux import netlink
from jupyter_containers.network.messages import attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jupyter_containers.network.nftables import Make

_NEWLINK, _GETLINK, _NEWADDR, _GETADDR, _NEWNSID, _GETNSID = 16, 18, 20, 22, 88, 90
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_LINK_NETNSID, _INFO_KIND = 18, 37, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NETNSA_NSID, _NETNSA_PID = 1, 2
_KINDS = 0x3FFF
_HEADER = 16
_PATIENCE = 5.0


class Device(NamedTuple):
    """An interface.

    Attributes
    ----------
    number, name
        Of it.
    kind
        ``bridge``, ``veth``, ``tun``; empty for hardware.
    master
        The number of the bridge it is plugged into; 0 for none.
    peer, peer_namespace
        The number of the interface it ends at, or is on, and by which number this namespace knows that one's; 0 and -1
        where there is none.
    mac
        Its hardware address.
    mtu
        The size of packets in bytes.
    up
        Whether it is up.
    addresses
        With the length of their prefix: ``10.88.0.1/24``.
    """

    number: int
    name: str
    kind: str
    master: int
    peer: int
    peer_namespace: int
    mac: str
    mtu: int
    up: bool
    addresses: tuple[str, ...] = ()


def look(pids: Iterable[int] = (), make: Make = socket.socket) -> tuple[list[Device], dict[int, int]]:
    """All interfaces, and by which number their namespace knows that of each process; those it does not are left out.

    ``make`` makes the socket, in the namespace that is meant. Raises :exc:`OSError` when the kernel refuses to say.
    """
    with make(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as channel:
        channel.settimeout(_PATIENCE)
        channel.bind((0, 0))
        found = [_device(each) for each in _ask(channel, _GETLINK, struct.pack("=B15x", 0), dump=True)]
        addresses: dict[int, list[str]] = {}
        for each in _ask(channel, _GETADDR, struct.pack("=B7x", 0), dump=True):
            index, text = _address(each)
            addresses.setdefault(index, []).append(text)
        known = {pid: number for pid in pids if (number := _number_of(channel, pid)) >= 0}
    return [each._replace(addresses=tuple(addresses.get(each.number, ()))) for each in found], known


def _number_of(channel: socket.socket, pid: int) -> int:
    body = struct.pack("=B3x", 0) + attribute(_NETNSA_PID, struct.pack("=I", pid))
    try:
        (answer,) = _ask(channel, _GETNSID, body)
    except OSError:
        return -1  # it has just ended
    return _signed(_attributes(answer[_HEADER + 4 :]).get(_NETNSA_NSID))


def _device(message: bytes) -> Device:
    _family, _type, number, flags, _change = struct.unpack_from("=BxHiII", message, _HEADER)
    attributes = _attributes(message[_HEADER + 16 :])
    info = _attributes(attributes.get(_IFLA_LINKINFO, b""))
    return Device(
        number=number,
        name=_text(attributes.get(_IFLA_IFNAME, b"")),
        kind=_text(info.get(_INFO_KIND, b"")),
        master=_number(attributes.get(_IFLA_MASTER)),
        peer=_number(attributes.get(_IFLA_LINK)),
        peer_namespace=_signed(attributes.get(_IFLA_LINK_NETNSID)),
        mac=attributes.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(attributes.get(_IFLA_MTU)),
        up=bool(flags & _UP),
    )


def _address(message: bytes) -> tuple[int, str]:
    _family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", message, _HEADER)
    attributes = _attributes(message[_HEADER + 8 :])
    own = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
    return index, f"{ip_address(own)}/{prefix}"


def _ask(channel: socket.socket, kind: int, body: bytes, *, dump: bool = False) -> Iterator[bytes]:
    """The messages that the kernel answers with."""
    flags = _REQUEST | (_DUMP if dump else 0)
    channel.send(struct.pack("=IHHII", _HEADER + len(body), kind, flags, 1, 0) + body)
    while True:
        for message in netlink.split(channel.recv(1 << 17)):
            (answer,) = struct.unpack_from("=H", message, 4)
            if answer == _DONE:
                return
            if answer == _ERROR:
                code = -_signed(message[_HEADER : _HEADER + 4])
                raise OSError(code, os.strerror(code))
            if answer in {_NEWLINK, _NEWADDR, _NEWNSID}:
                yield message
        if not dump:
            return


def _attributes(data: bytes) -> Mapping[int, bytes]:
    found = {}
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:  # noqa: PLR2004 - the header's own length
            break
        found[kind & _KINDS] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "little")


def _signed(data: bytes | None) -> int:
    return -1 if data is None else int.from_bytes(data, "little", signed=True)
