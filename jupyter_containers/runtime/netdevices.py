"""Network interfaces of the host that move into a container: ``linux.netDevices``. Imported only where there are some.

The interface keeps its attributes and its permanent global addresses, which the kernel takes away in a move, may get
another name, and is brought up. Where it goes when the container ends is the kernel's affair.

Sources: OCI runtime specification 1.3, config-linux.md "Network Devices"; rtnetlink(7), netlink(7), namespaces(7).
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, if_nameindex, if_nametoindex, socket
from errno import EEXIST, ENODEV

from jupyter_containers.linux import netlink, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jupyter_containers.oci.runtime_spec import NetDevice

_NEWLINK, _NEWADDR, _GETADDR = 16, 20, 22
_DUMP, _CREATE, _EXCLUSIVE = 0x300, 0x400, 0x200
_DONE = 3
_HEADER, _ADDRESS_HEADER, _INDEX_AT, _SCOPE_AT = 16, 8, 4, 3
_UP = 1
_IFNAME, _NET_NS_FD = 3, 28
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS, _IFA_RT_PRIORITY = 1, 2, 4, 8, 9
_PERMANENT = 0x80
_KEPT_FLAGS = 0x02 | 0x100 | 0x200  # no duplicate detection, temporary addresses of it are managed, no prefix route


def move(devices: Mapping[str, NetDevice], target: int, moved: dict[str, str]) -> None:
    """Move interfaces of this network namespace to another, given by a descriptor.

    ``moved`` gets, name there by name here, those that were moved, also where a later one fails.

    Raises
    ------
    OSError
        Naming the interface: ENODEV where it is not there, EEXIST where its name is taken in the container.
    """
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for name, device in devices.items():
            try:
                moved[_move(name, device.get("name") or name, own, target)] = name
            except OSError as error:
                reason = {ENODEV: "no such interface", EEXIST: "its name is taken in the container"}.get(
                    error.errno or 0, os.strerror(error.errno or 0).lower()
                )
                raise OSError(error.errno, f"linux.netDevices.{name}: {reason}") from None
    finally:
        os.close(own)


def give_back(moved: Mapping[str, str], target: int) -> None:
    """Undo a move, for a container that does not come to be: with it the kernel would remove what is not hardware."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(target, syscalls.CLONE_NEWNET)
    try:
        move({there: {"name": here} for there, here in moved.items()}, own, {})
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNET)
        os.close(own)


def _move(name: str, wanted: str, own: int, target: int) -> str:
    """Move one interface; the name it has then."""
    try:
        index = if_nametoindex(name)
    except OSError:
        raise OSError(ENODEV, os.strerror(ENODEV)) from None
    addresses = list(_addresses(index))
    before = _interfaces(own, target)
    if wanted in before.values():
        raise OSError(EEXIST, os.strerror(EEXIST))
    attributes = _attribute(_IFNAME, wanted.encode() + b"\0") + _attribute(_NET_NS_FD, target.to_bytes(4, "little"))
    netlink.transact([netlink.message(_NEWLINK, 0, _link(index, up=False) + attributes)])
    after = _interfaces(own, target)
    # the kernel keeps the number unless the other namespace has it, and makes the name of a template such as eth%d
    number = next(number for number in after if number not in before)
    messages = [netlink.message(_NEWADDR, _CREATE | _EXCLUSIVE, _renumbered(each, number)) for each in addresses]
    messages.append(netlink.message(_NEWLINK, 0, _link(number, up=True)))
    _inside(own, target, messages)
    return after[number]


def _interfaces(own: int, target: int) -> dict[int, str]:
    syscalls.setns(target, syscalls.CLONE_NEWNET)
    try:
        return dict(if_nameindex())
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNET)


def _inside(own: int, target: int, messages: list[bytes]) -> None:
    syscalls.setns(target, syscalls.CLONE_NEWNET)
    try:
        netlink.transact(messages)
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNET)


def _link(index: int, *, up: bool) -> bytes:
    """``struct ifinfomsg``."""
    return bytes(4) + index.to_bytes(4, "little") + (_UP * up).to_bytes(4, "little") * 2


def _attribute(kind: int, data: bytes) -> bytes:
    return (4 + len(data)).to_bytes(2, "little") + kind.to_bytes(2, "little") + data + bytes(-len(data) % 4)


def _addresses(index: int) -> Iterator[bytes]:
    """The permanent addresses of global scope of an interface, as bodies of messages that would add them."""
    for kind, body in _dump(_GETADDR):
        if kind != _NEWADDR or int.from_bytes(body[_INDEX_AT:8], "little") != index or body[_SCOPE_AT]:
            continue
        found = dict(_attributes(body[_ADDRESS_HEADER:]))
        flags = int.from_bytes(found.get(_IFA_FLAGS, body[2:3]), "little")
        if not flags & _PERMANENT:
            continue
        kept = b"".join(
            _attribute(key, found[key])
            for key in (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_RT_PRIORITY)
            if key in found
        )
        yield (
            body[:2] + bytes(1) + body[3:8] + kept + _attribute(_IFA_FLAGS, (flags & _KEPT_FLAGS).to_bytes(4, "little"))
        )


def _renumbered(body: bytes, index: int) -> bytes:
    return body[:_INDEX_AT] + index.to_bytes(4, "little") + body[8:]


def _dump(kind: int) -> Iterator[tuple[int, bytes]]:
    """Type and body of every message of a dump."""
    channel = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)
    try:
        channel.bind((0, 0))
        request = bytearray(netlink.message(kind, _DUMP, bytes(_ADDRESS_HEADER)))
        request[6:8] = (_DUMP | 1).to_bytes(2, "little")  # a dump is not acknowledged besides
        channel.send(request)
        while True:
            for message in netlink.split(channel.recv(1 << 16)):
                found = int.from_bytes(message[4:6], "little")
                if found == _DONE:
                    return
                yield found, message[_HEADER:]
    finally:
        channel.close()


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        length = int.from_bytes(data[position : position + 2], "little")
        if length < 4:  # noqa: PLR2004 - an attribute's header
            return
        yield (
            int.from_bytes(data[position + 2 : position + 4], "little") & 0x3FFF,
            data[position + 4 : position + length],
        )
        position += (length + 3) & ~3
