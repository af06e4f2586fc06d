"""The bridge network: a bridge device of ours with address translation, for whoever may administer the network.

The first use sets up the device, its rules and forwarding; every later one only looks whether they are there. They stay
when the last container is gone, as a route that other programs may rely on, until :meth:`Bridge.remove` or a reboot.

A container's end costs three messages prepared here and sent by its own small processes. Interfaces are never deleted:
they end with the container's namespace, which the kernel does in the background, where a deletion would take 16 ms.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
import struct
import time
from contextlib import contextmanager
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from jupyter_containers.errors import PermissionDenied, SystemFailure, Timeout, Unsupported
from jupyter_containers.linux.netlink import transact
from jupyter_containers.network import firewall, ipam, messages
from jupyter_containers.network.base import Attachment, BridgeNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.runtime.protocol import Interface

DEFAULT_NAME = "jc0"
INSIDE_NAME = "eth0"
LOCK = "/run/jupyter-containers.network.lock"

# The number of the interface inside. The kernel numbers from 1 on; a number of ours must not meet one of its own there.
_INSIDE_INDEX = 1000
# Numbers of the outer ends are drawn at random from here on, far above those that the kernel gives out in turn.
_OUTER_FIRST, _OUTER_BITS = 1 << 24, 28
_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_ETHERNET_MTU = 1500
_PATIENCE = 10.0


def name_for(root: str, default_root: str) -> str:
    """The bridge of a store: each store has its own, since each counts its own addresses."""
    if os.path.realpath(root) == os.path.realpath(default_root):
        return DEFAULT_NAME
    return "jc" + sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:8]


class Bridge:
    """A bridge of ours in the network namespace of this process.

    Parameters
    ----------
    name
        Of the interface, 15 characters at most.
    pool
        Where its subnet is taken from when it is made.
    lock
        A file that is locked while something is made, so that two processes do not choose the same subnet.
    """

    def __init__(self, name: str = DEFAULT_NAME, *, pool: IPv4Network = ipam.POOL, lock: str = LOCK) -> None:
        self.name = name
        self._pool = pool
        self._lock = lock
        self._network: BridgeNetwork | None = None

    def ensure(self) -> BridgeNetwork:
        """The network, set up if it is not. When it is, this takes 0.2 ms.

        Raises
        ------
        PermissionDenied
            This user may not administer the network here.
        Unsupported
            The kernel lacks bridges, address translation, or forwarding may not be switched on.
        """
        if self._network is not None and self._stands(self._network):
            return self._network
        with _locked(self._lock):
            notices: list[str] = []
            index, address = _look(self.name)
            if index == 0 or address is None:
                index, address = self._make(index)
            network, gateway = IPv4Network(address.network), str(address.host)
            if not firewall.exists(self.name):
                firewall.install(self.name, network)
            if _enable_forwarding():
                notices.append("IPv4 forwarding was off on this host and is on now: containers need it")
            notices += [_explain(self.name, chain) for chain in firewall.foreign_forward_drops()]
        self._network = BridgeNetwork(self.name, index, network, gateway, _mtu(), tuple(notices))
        return self._network

    def attachment(self, address: str) -> Attachment:
        """A container's end of this network, with one of its addresses (``ipam.allocate``).

        Pure, once the network is up, apart from two random numbers. May be used once.
        """
        network = self._network or self.ensure()
        mac = ipam.mac_of(address)
        outer = (f"jcv{secrets.token_hex(5)}", _OUTER_FIRST + secrets.randbits(_OUTER_BITS))
        pair, offset = messages.veth(outer, network.index, (INSIDE_NAME, _INSIDE_INDEX), mac, network.mtu)
        prefix = network.subnet.prefixlen
        interface: Interface = {
            "name": INSIDE_NAME,
            "host": [(pair, offset)],
            # One batch: the kernel works it off in order.
            "inside": [
                messages.address(_INSIDE_INDEX, address, prefix)
                + messages.link_up(_INSIDE_INDEX)
                + messages.default_route(network.gateway)
            ],
        }
        return Attachment((interface,), address, prefix, network.gateway, mac)

    def ports(self) -> list[str]:
        """The interfaces on the bridge: one for each container that runs, or that the kernel is about to take down."""
        try:
            return sorted(os.listdir(f"/sys/class/net/{self.name}/brif"))
        except FileNotFoundError:
            return []

    def remove_stale(self, *, wait: float = 1.0) -> list[str]:
        """Remove interfaces of ours on the bridge whose inner end has been down for ``wait`` seconds. Their names.

        An interface ends with its container's namespace, so there is one only if a start was cut off between its steps
        and something else keeps the namespace.
        """
        before = self._without_carrier()
        if not before:
            return []
        time.sleep(wait)
        stale = sorted(before & self._without_carrier())
        for name in stale:
            try:
                index = socket.if_nametoindex(name)
            except OSError:
                continue  # the kernel was faster
            _send(messages.remove_link(index), f"remove {name}", ignore=errno.ENODEV)
        return stale

    def _without_carrier(self) -> set[str]:
        return {name for name in self.ports() if name.startswith("jcv") and _read(name, "carrier") == "0"}

    def remove(self) -> None:
        """Remove the bridge and its rules. Containers on it lose their network."""
        self._network = None
        with _locked(self._lock):
            firewall.remove(self.name)
            index, _address = _look(self.name)
            if index:
                _send(messages.remove_link(index), f"remove the bridge {self.name}", ignore=errno.ENODEV)

    def release(self) -> bool:
        """Remove the bridge and its rules if nothing is plugged into it. Returns whether it is gone."""
        if self.ports():
            return False
        self.remove()
        return True

    def _stands(self, network: BridgeNetwork) -> bool:
        index, address = _look(self.name)
        return (
            index == network.index
            and address is not None
            and address.network == network.subnet
            and _forwarding()
            and firewall.exists(self.name)
        )

    def _make(self, index: int) -> tuple[int, _Address]:
        """Make the device (unless it has the number ``index``), choose its subnet and give it the gateway's address."""
        subnet = ipam.choose_subnet([*(net for _, net in _route_table()), *_name_servers()], pool=self._pool)
        gateway = ipam.gateway(subnet)
        if index == 0:
            _send(messages.bridge(self.name, ipam.mac_of(gateway)), f"make the bridge {self.name}")
            index = socket.if_nametoindex(self.name)
        _disable_ipv6(self.name)
        _send(messages.address(index, gateway, subnet.prefixlen), f"give {self.name} the address {gateway}")
        _send(messages.link_up(index), f"bring up {self.name}")
        return index, _Address(IPv4Address(gateway), subnet)


class _Address:
    """An interface's own address, and the network it is in."""

    __slots__ = ("host", "network")

    def __init__(self, host: IPv4Address, network: IPv4Network) -> None:
        self.host = host
        self.network = network


def _look(name: str) -> tuple[int, _Address | None]:
    """The number of a bridge and its IPv4 address (netdevice(7)); 0 where there is no such interface."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return 0, None
    if not os.path.isdir(f"/sys/class/net/{name}/bridge"):
        raise Unsupported(f"there is an interface {name} that is no bridge", hint=f"ip link delete {name}")
    request = struct.pack("16s16x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            host = fcntl.ioctl(channel, _SIOCGIFADDR, request)[20:24]
            mask = fcntl.ioctl(channel, _SIOCGIFNETMASK, request)[20:24]
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.ENODEV}:
                raise
            return index, None
    prefix = int.from_bytes(mask, "big").bit_count()
    return index, _Address(IPv4Address(host), IPv4Network((host, prefix), strict=False))


def _route_table() -> list[tuple[str, IPv4Network]]:
    """Routes of this host: interface and destination (proc_pid_net(5); addresses in the byte order of the machine)."""
    found = []
    with open("/proc/net/route", encoding="ascii") as file:
        for line in list(file)[1:]:
            fields = line.split()
            network, mask = (int(fields[at], 16) for at in (1, 7))
            found.append((fields[0], IPv4Network((struct.pack("=I", network), mask.bit_count()), strict=False)))
    return found


def _mtu() -> int:
    """The largest packet that leaves this host whole, in bytes, where that is less than Ethernet's 1500; else 0."""
    sizes = [_read(interface, "mtu") for interface, network in _route_table() if network.prefixlen == 0]
    return min((int(size) for size in sizes if size.isdigit() and int(size) < _ETHERNET_MTU), default=0)


def _name_servers() -> list[IPv4Network]:
    """The host's name servers, which a subnet must not cover though they may be reached by the default route."""
    found = []
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file if line.startswith("nameserver")]
    except OSError:
        return []
    for word in words:
        try:
            found.append(IPv4Network(word[1]))
        except (ValueError, IndexError):
            continue
    return found


def _forwarding() -> bool:
    with open(_FORWARDING, "rb", buffering=0) as file:
        return file.read(1) == b"1"


def _enable_forwarding() -> bool:
    """Switch on IPv4 forwarding; whether it was off."""
    if _forwarding():
        return False
    try:
        with open(_FORWARDING, "wb", buffering=0) as file:
            file.write(b"1")
    except OSError as error:
        raise Unsupported(
            f"IPv4 forwarding is off and cannot be switched on: {error.strerror}",
            hint="sudo sysctl -w net.ipv4.ip_forward=1",
        ) from error
    return True


def _disable_ipv6(name: str) -> None:
    """Containers have IPv4 only; without this they could reach the host by addresses no rule of ours knows."""
    path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
    if not os.path.exists(path):
        return
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(b"1")
    except OSError as error:
        raise Unsupported(f"IPv6 cannot be switched off on {name}: {error.strerror}") from error


def _explain(bridge: str, chain: str) -> str:
    return (
        f"the chain {chain!r} of this host drops what is forwarded: containers reach each other and this host only, "
        f'unless it is told otherwise (nft insert rule {chain} iifname "{bridge}" accept; '
        f'nft insert rule {chain} oifname "{bridge}" ct state related,established accept)'
    )


def _read(name: str, attribute: str) -> str:
    try:
        with open(f"/sys/class/net/{name}/{attribute}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""  # gone meanwhile, or the attribute has no value while the interface is down


def _send(message: bytes, what: str, *, ignore: int = 0) -> None:
    try:
        transact([message])
    except OSError as error:
        if error.errno == ignore:
            return
        text = f"cannot {what}: {os.strerror(error.errno or 0)}"
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise PermissionDenied(text, hint="Use --network none, or run as root.") from error
        if error.errno == errno.EOPNOTSUPP:
            raise Unsupported(text, hint="sudo modprobe bridge veth") from error
        raise SystemFailure(text) from error


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock; it goes with the process, however that ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PermissionDenied(f"{path}: {error.strerror}", hint="Only root sets up a bridge network.") from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Timeout(f"{path} has been locked by another process for {_PATIENCE:.0f} s") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
