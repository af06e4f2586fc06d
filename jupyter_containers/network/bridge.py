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
import socket
import struct
import time
from contextlib import contextmanager
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import TYPE_CHECKING

from jupyter_containers.errors import Conflict, PermissionDenied, SystemFailure, Timeout, Unsupported
from jupyter_containers.linux.netlink import transact
from jupyter_containers.network import firewall, host, ipam, links, messages
from jupyter_containers.network.base import Attachment, BridgeNetwork, BridgeSettings, Place
from jupyter_containers.network.namespace import OwnNamespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from ipaddress import IPv6Network

    from jupyter_containers.runtime.protocol import Interface

DEFAULT_NAME = "jc0"
INSIDE_PREFIX = "eth"
LOCK = "/run/jupyter-containers.network.lock"

# The number of the interface inside. The kernel numbers from 1 on; a number of ours must not meet one of its own there.
INSIDE_INDEX = 1000
# Numbers of the outer ends are drawn at random from here on, far above those that the kernel gives out in turn.
_OUTER_FIRST, _OUTER_MASK = 1 << 24, (1 << 28) - 1
_SIOCGIFADDR, _SIOCGIFNETMASK, _SIOCGIFINDEX = 0x8915, 0x891B, 0x8933
_PATIENCE = 10.0
ALIAS = "jupyter-containers "  # and the store: what `ip link` says of a bridge
_LONGEST_ALIAS = 255


def name_for(root: str, default_root: str) -> str:
    """The bridge of a store: each store has its own, since each counts its own addresses."""
    if os.path.realpath(root) == os.path.realpath(default_root):
        return DEFAULT_NAME
    return "jc" + sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:8]


class Bridge:
    """A bridge of ours.

    Parameters
    ----------
    settings
        How it is to be, or the name of one that has the defaults.
    pool
        Where its subnet is taken from when it is made.
    lock
        A file that is locked while something is made, so that two processes do not choose the same subnet.
    namespace
        Where it is; None: the network namespace of this process.
    reserved
        Subnets that are not to be chosen.
    store
        Whose bridge it is, for those who look at the interfaces of the host.
    """

    def __init__(
        self,
        settings: BridgeSettings | str = DEFAULT_NAME,
        *,
        pool: IPv4Network = ipam.POOL,
        lock: str = LOCK,
        namespace: OwnNamespace | None = None,
        reserved: Callable[[], Iterable[IPv4Network]] = tuple,
        store: str = "",
    ) -> None:
        self.settings = BridgeSettings(settings) if isinstance(settings, str) else settings
        self._namespace = namespace or OwnNamespace()
        self._reserved = reserved
        self.name = self.settings.name
        self._pool = pool
        self._lock = lock
        self._store = store
        self._network: BridgeNetwork | None = None
        self._holder = 0  # of the namespace when the network was looked at last

    def ensure(self) -> BridgeNetwork:
        """The network, set up if it is not. When it is, this takes 0.2 ms.

        Raises
        ------
        PermissionDenied
            This user may not administer the network here.
        Unsupported
            The kernel lacks bridges, address translation, or forwarding may not be switched on.
        Conflict
            The subnet asked for is in use elsewhere on this host.
        """
        if self._network is not None and self._stands(self._network):
            return self._network
        settings, namespace = self.settings, self._namespace
        with locked(self._lock):
            index, address = _look(self.name, namespace)
            if index == 0 or address is None:
                index, address = self._make(index)
            subnets: list[IPv4Network | IPv6Network] = [address.network]
            subnets += [settings.subnet6] if settings.subnet6 else []
            if not firewall.exists(self.name, ipv6=settings.subnet6 is not None, make=namespace.socket):
                firewall.install(
                    self.name,
                    subnets,
                    internal=settings.internal,
                    masquerade=settings.masquerade,
                    make=namespace.socket,
                )
            notices = namespace.forward(ipv6=settings.subnet6 is not None and not settings.internal)
            if not settings.internal:
                notices += [_explain(self.name, chain) for chain in firewall.foreign_forward_drops(namespace.socket)]
        self._holder = namespace.holder
        self._network = BridgeNetwork(
            self.name,
            index,
            address.network,
            str(address.host),
            settings.mtu or namespace.mtu(),
            tuple(notices),
            settings.subnet6,
            settings.gateway6,
        )
        return self._network

    def look(self) -> BridgeNetwork | None:
        """The network as it stands, nothing of it made; None if it is not up."""
        found = links.find(self.name, self._namespace.socket)
        if found is None:
            return None
        if found.kind != "bridge":
            raise _no_bridge(self.name)
        own = next((each for each in found.addresses if isinstance(each, IPv4Interface)), None)
        if own is None:
            return None
        settings = self.settings
        return BridgeNetwork(
            self.name, found.number, own.network, str(own.ip), 0, (), settings.subnet6, settings.gateway6
        )

    def attachment(self, place: Place | str) -> Attachment:
        """A container's end of this network, with one of its addresses (``ipam.allocate``).

        Pure, once the network is up, apart from two random numbers. May be used once.
        """
        return attachment(self._network or self.ensure(), self.settings, place)

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
            self._send(links.removal(index), f"remove {name}", ignore=errno.ENODEV)
        return stale

    def _without_carrier(self) -> set[str]:
        return {name for name in self.ports() if name.startswith("jcv") and host.attribute(name, "carrier") == "0"}

    def remove(self) -> None:
        """Remove the bridge and its rules. Containers on it lose their network."""
        self._network = None
        with locked(self._lock):
            firewall.remove(self.name, self._namespace.socket)
            index, _address = _look(self.name, self._namespace)
            if index:
                self._send(links.removal(index), f"remove the bridge {self.name}", ignore=errno.ENODEV)

    def release(self) -> bool:
        """Remove the bridge and its rules if nothing is plugged into it. Returns whether it is gone."""
        if self.ports():
            return False
        self.remove()
        return True

    def _stands(self, network: BridgeNetwork) -> bool:
        if holder := self._namespace.holder:
            return holder == self._holder
        index, address = _look(self.name, self._namespace)
        return (
            index == network.index
            and address is not None
            and address.network == network.subnet
            and self._namespace.forwards()
            and firewall.exists(self.name, ipv6=network.subnet6 is not None, make=self._namespace.socket)
        )

    def _make(self, index: int) -> tuple[int, _Address]:
        """Make the device (unless it has the number ``index``), choose its subnet and give it the gateway's address."""
        settings = self.settings
        if settings.subnet:
            subnet = settings.subnet
            refuse_overlap(subnet, [each for each in self._namespace.routes() if each.prefixlen])
        else:
            subnet = ipam.choose_subnet([*unavailable(self._namespace), *self._reserved()], pool=self._pool)
        gateway = settings.gateway or ipam.gateway(subnet)
        if index == 0:
            self._send(links.bridge(self.name, ipam.mac_of(gateway)), f"make the bridge {self.name}")
            index, _ = _look(self.name, self._namespace)
        self._namespace.switch_ipv6(self.name, on=settings.subnet6 is not None)
        own = IPv4Interface((gateway, subnet.prefixlen))
        self._send(links.address(index, own), f"give {self.name} the address {gateway}")
        if settings.subnet6:
            own6 = IPv6Interface((settings.gateway6, settings.subnet6.prefixlen))
            what = f"give {self.name} the address {settings.gateway6}"
            self._send(links.address(index, own6), what, ignore=errno.EEXIST)
        alias = f"{ALIAS}{self._store}"
        alias = alias if alias.isprintable() and len(os.fsencode(alias)) <= _LONGEST_ALIAS else ALIAS.strip()
        self._send(links.up(index, alias), f"bring up {self.name}")
        return index, _Address(IPv4Address(gateway), subnet)

    def _send(self, message: bytes, what: str, *, ignore: int = 0) -> None:
        try:
            transact([message], self._namespace.socket)
        except OSError as error:
            if error.errno == ignore:
                return
            text = f"cannot {what}: {os.strerror(error.errno or 0)}"
            if error.errno in {errno.EPERM, errno.EACCES}:
                raise PermissionDenied(text, hint="Use --network none, or run as root.") from error
            if error.errno == errno.EOPNOTSUPP:
                raise Unsupported(text, hint="sudo modprobe bridge veth") from error
            raise SystemFailure(text) from error


def unavailable(namespace: OwnNamespace) -> list[IPv4Network]:
    """What a subnet that is chosen must not cover: where a packet may go from the namespace, and from this host."""
    return [*namespace.routes(), *(net for _, net in host.route_table()), *host.name_servers()]


def refuse_overlap(subnet: IPv4Network | IPv6Network, taken: Iterable[IPv4Network | IPv6Network]) -> None:
    """Raise :exc:`~jupyter_containers.errors.Conflict` where a subnet overlaps with one that is in use."""
    for each in taken:
        if each.version == subnet.version and each.overlaps(subnet):
            raise Conflict(
                f"the subnet {subnet} overlaps with {each}, which this host has a route to",
                hint="choose another one with --subnet, or leave it out",
            )


def attachment(network: BridgeNetwork, settings: BridgeSettings, place: Place | str) -> Attachment:
    """See :meth:`Bridge.attachment`."""
    place = Place(place) if isinstance(place, str) else place
    mac = place.mac or ipam.mac_of(place.address)
    inside = INSIDE_INDEX + place.position
    name = f"{INSIDE_PREFIX}{place.position}"
    outer = (f"jcv{os.urandom(5).hex()}", _OUTER_FIRST + (int.from_bytes(os.urandom(4)) & _OUTER_MASK))
    pair, offset = messages.veth(outer, network.index, (name, inside), mac, network.mtu)
    prefix, prefix6 = network.subnet.prefixlen, network.subnet6.prefixlen if network.subnet6 else 0
    # One batch: the kernel works it off in order.
    batch = messages.address(inside, place.address, prefix) + messages.link_up(inside)
    gateways = [] if settings.internal else [network.gateway]
    if place.address6 and prefix6:
        batch += messages.address(inside, place.address6, prefix6)
        gateways += [] if settings.internal else [network.gateway6]
    if place.default:
        batch += b"".join(messages.default_route(gateway) for gateway in gateways)
    interface: Interface = {
        "name": name,
        "host": [(pair, offset)] if settings.icc else [(pair, offset), (messages.isolate(outer[1]), -1)],
        "inside": [batch],
    }
    gateway, gateway6 = [*gateways, "", ""][:2] if prefix6 and place.address6 else ((gateways or [""])[0], "")
    return Attachment((interface,), place.address, prefix, gateway, mac, place.address6, prefix6, gateway6)


class _Address:
    """An interface's own address, and the network it is in."""

    __slots__ = ("host", "network")

    def __init__(self, host: IPv4Address, network: IPv4Network) -> None:
        self.host = host
        self.network = network


def _look(name: str, namespace: OwnNamespace) -> tuple[int, _Address | None]:
    """The number of a bridge and its IPv4 address (netdevice(7)); 0 where there is no such interface.

    Every start asks this, so it is a few calls of the kernel and no messages.
    """
    request = struct.pack("16s16x", name.encode())
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            (index,) = struct.unpack_from("=i", fcntl.ioctl(channel, _SIOCGIFINDEX, request), 16)
        except OSError:
            return 0, None
        if not namespace.is_bridge(name):
            raise _no_bridge(name)
        try:
            own = fcntl.ioctl(channel, _SIOCGIFADDR, request)[20:24]
            mask = fcntl.ioctl(channel, _SIOCGIFNETMASK, request)[20:24]
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.ENODEV}:
                raise
            return index, None
    prefix = int.from_bytes(mask, "big").bit_count()
    return index, _Address(IPv4Address(own), IPv4Network((own, prefix), strict=False))


def _no_bridge(name: str) -> Unsupported:
    return Unsupported(f"there is an interface {name} that is no bridge", hint=f"ip link delete {name}")


def _explain(bridge: str, chain: str) -> str:
    return (
        f"the chain {chain!r} of this host drops what is forwarded: containers reach each other and this host only, "
        f'unless it is told otherwise (nft insert rule {chain} iifname "{bridge}" accept; '
        f'nft insert rule {chain} oifname "{bridge}" ct state related,established accept)'
    )


@contextmanager
def locked(path: str) -> Iterator[None]:
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
