"""What the networks of a store really are at this moment: bridges, veth pairs, addresses, ports, address translation.

Nothing is made, nothing is started. Interfaces are asked of the kernel, where the networks are: on the host, or in the
namespace that an ordinary user's containers share. What a container has inside is read from the procfs of its process.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Literal, TypeAlias

from jupyter_containers.engine import status
from jupyter_containers.engine.explain.xray import network as procfs
from jupyter_containers.engine.network import endpoints, networking
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.network.record import BRIDGE
from jupyter_containers.errors import EngineError
from jupyter_containers.network import bridge, devices, firewall, host
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_containers.engine.explain.xray.views import Interface as Inside
    from jupyter_containers.engine.network.endpoints import Endpoint
    from jupyter_containers.engine.network.record import NetworkRecord
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.network.devices import Device
    from jupyter_containers.network.namespace import OwnNamespace

Carrier: TypeAlias = Literal["kernel", "agent", "nobody"]
_TEXTS = ("net/dev", "net/route", "net/fib_trie", "net/if_inet6")


@dataclass(frozen=True, slots=True)
class WayOut:
    """An interface by which packets leave: ``kind`` is empty for hardware, ``tun`` for a helper's."""

    name: str
    kind: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetworkNode:
    """A network.

    Attributes
    ----------
    interface
        The bridge, or the interface of the host that it is on; empty for one without.
    up
        Whether the interface is there and up.
    addresses
        Of the bridge, as the kernel has them.
    subnets
        The addresses of its containers.
    rules
        Whether its table of the firewall is there; None where it needs none.
    translated
        Whether a rule gives what leaves the network the host's address.
    strangers
        Interfaces on the bridge that belong to no container that runs.
    """

    id: str
    name: str
    driver: str
    interface: str = ""
    up: bool = False
    mac: str = ""
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    internal: bool = False
    isolated: bool = False
    rules: bool | None = None
    translated: bool = False
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plug:
    """A container's place in a network.

    Attributes
    ----------
    network
        The name of the network.
    interface
        Inside: ``eth0``.
    outer
        The other end of the veth pair; empty where there is none.
    bridge
        What the outer end is plugged into; empty where it is not.
    addresses
        As the container has them, with the length of their prefix.
    received, sent
        Bytes since its start.
    """

    network: str
    interface: str
    outer: str = ""
    bridge: str = ""
    mac: str = ""
    addresses: tuple[str, ...] = ()
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of a container that is published, and who carries what comes: the kernel, the network agent, or nobody."""

    target: int
    protocol: str
    host: str
    number: int
    carrier: Carrier

    @property
    def shown(self) -> str:
        """``127.0.0.1:8080 -> 80/tcp``."""
        where = f"[{self.host}]" if ":" in self.host else self.host
        return f"{where}:{self.number} -> {self.target}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class ContainerNode:
    """A container that runs.

    ``mode`` is ``own`` for one with interfaces, ``none`` for one with loopback only, ``host``, or ``container`` where
    it has the network of the one that ``shares`` names. ``namespace`` is the inode of its network namespace.
    """

    id: str
    name: str
    image: str
    mode: Literal["own", "none", "host", "container"]
    shares: str = ""
    namespace: int | None = None
    plugs: tuple[Plug, ...] = ()
    ports: tuple[PublishedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """The networks of a store and what is in them.

    Attributes
    ----------
    shared
        Whether the bridges are in the namespace that an ordinary user's containers share; False: on the host.
    holder
        The process that keeps that namespace; 0 where there is none.
    ways_out
        Of where the bridges are: the interfaces of the default routes.
    forwards
        Whether IPv4 packets are passed on there.
    """

    time: datetime
    shared: bool
    holder: int
    ways_out: tuple[WayOut, ...]
    forwards: bool
    networks: tuple[NetworkNode, ...]
    containers: tuple[ContainerNode, ...] = field(default=())

    def members(self, network: str) -> list[tuple[ContainerNode, Plug]]:
        """The containers of a network, by their places."""
        return [(each, plug) for each in self.containers for plug in each.plugs if plug.network == network]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the kernel said of where the bridges are."""

    devices: Sequence[Device]
    numbers: Mapping[int, int]

    def named(self, name: str) -> Device | None:
        return next((each for each in self.devices if each.name == name), None)

    def outer_of(self, pid: int, inner: int) -> Device | None:
        """The end outside of a pair whose inner end is so numbered in the namespace of a process."""
        number = self.numbers.get(pid, -1)
        return next(
            (each for each in self.devices if each.peer == inner and number >= 0 and each.peer_namespace == number),
            None,
        )

    def name_of(self, number: int) -> str:
        return next((each.name for each in self.devices if each.number == number), "")


@dataclass(frozen=True, slots=True)
class _Carriers:
    """The ids of containers that the agent serves, and the beginnings of those whose ports the kernel has rules for."""

    served: frozenset[str]
    ruled: frozenset[str]


def look(parts: Parts, names: Sequence[str] = ()) -> Topology:
    """Look at all networks, or at those that are named and the containers in them.

    Raises
    ------
    NetworkNotFound, InvalidInput
        for a name of no network, or of several.
    """
    chosen = [networking.find(parts, name) for name in names] or networking.networks(parts)
    records = network_service.running(parts)
    pids = {record.id: pid for record in records if (pid := status.read(parts.paths, record.id).pid)}
    stands = network_setup.stand(parts)
    namespace = parts.network_namespace if stands else None
    seen = _Seen([], {})
    if namespace is not None:
        with suppress(OSError, EngineError):  # its holder has just ended
            seen = _Seen(*devices.look(pids.values(), namespace.socket))
    names_of = {each.id: each.name for each in networking.networks(parts)}
    wanted = {each.name for each in chosen}
    carriers = _carriers(parts, records)
    found = [_container(parts, record, pids.get(record.id), seen, names_of, carriers) for record in records]
    containers = [each for each in found if each and (not names or _within(each, wanted))]
    taken = {plug.outer for each in containers for plug in each.plugs}
    return Topology(
        time=datetime.now(UTC),
        shared=parts.host.rootless,
        holder=namespace.holder if namespace is not None else 0,
        ways_out=_ways_out(namespace, seen),
        forwards=namespace is not None and namespace.forwards(),
        networks=tuple(_network(each, seen, namespace, taken if not names else None) for each in chosen),
        containers=tuple(containers),
    )


def _global(addresses: Sequence[str]) -> tuple[str, ...]:
    """Without those that are of use on one link only."""
    return tuple(each for each in addresses if not ip_interface(each).is_link_local)


def _within(container: ContainerNode, wanted: set[str]) -> bool:
    return container.mode in wanted or any(plug.network in wanted for plug in container.plugs)


def _ways_out(namespace: OwnNamespace | None, seen: _Seen) -> tuple[WayOut, ...]:
    if namespace is None:
        return ()
    with suppress(OSError):  # its holder has just ended
        names = [name for name, net in host.route_table(namespace.holder or "self") if net.prefixlen == 0]
        found = [each for name in dict.fromkeys(names) if (each := seen.named(name))]
        return tuple(WayOut(each.name, each.kind, each.mac, _global(each.addresses)) for each in found)
    return ()


def _network(record: NetworkRecord, seen: _Seen, namespace: OwnNamespace | None, taken: set[str] | None) -> NetworkNode:
    """A network; ``taken`` are the interfaces that belong to containers, None where not all were looked at."""
    device = seen.named(record.interface) if record.interface else None
    subnets = tuple(filter(None, (record.subnet, record.subnet6)))
    base = NetworkNode(record.id, record.name, record.driver, record.interface, subnets=subnets)
    if device is None or namespace is None:
        return base
    is_bridge = record.driver == BRIDGE
    rules, translated = None, False
    if is_bridge:
        rules = translated = False
        with suppress(EngineError, OSError):  # a kernel without nftables
            rules = firewall.exists(record.interface, make=namespace.socket)
            translated = firewall.translates(record.interface, namespace.socket)
    plugged = [each.name for each in seen.devices if each.master == device.number]
    return NetworkNode(
        record.id,
        record.name,
        record.driver,
        record.interface,
        up=device.up,
        mac=device.mac,
        mtu=device.mtu,
        addresses=_global(device.addresses),
        subnets=subnets,
        internal=record.internal,
        isolated=not record.icc,
        rules=rules,
        translated=translated,
        strangers=tuple(each for each in plugged if taken is not None and each not in taken) if is_bridge else (),
    )


# -- containers ------------------------------------------------------------------------------------------------------


def _container(
    parts: Parts,
    record: ContainerRecord,
    pid: int | None,
    seen: _Seen,
    networks: Mapping[str, str],
    carriers: _Carriers,
) -> ContainerNode | None:
    """A container as its process has it; None for one that has just ended."""
    inside: dict[str, Inside] = {}
    namespace = None
    if pid:
        try:
            inside = {each.name: each for each in _interfaces(pid)}
            namespace = os.stat(f"/proc/{pid}/ns/net").st_ino
        except PermissionError:
            pass  # its namespaces may not be looked at; its interfaces may
        except OSError:
            return None
    plugs = tuple(_plug(each, pid, inside, seen, networks) for each in record.endpoints)
    shares = ""
    if record.network.startswith(endpoints.CONTAINER):
        rows = parts.state.find_containers(record.network.removeprefix(endpoints.CONTAINER))
        shares = type(record).decode(rows[0].record).name if rows else record.network
    mode: Literal["own", "none", "host", "container"] = (
        "own" if plugs else "container" if shares else "host" if record.network == "host" else "none"
    )
    return ContainerNode(
        record.id, record.name, record.image, mode, shares, namespace, plugs, tuple(_ports(record, carriers))
    )


def _interfaces(pid: int) -> list[Inside]:
    texts = {}
    for name in _TEXTS:
        path = f"/proc/{pid}/{name}"
        # A kernel without IPv6, or the process has ended: then net/dev lacks too.
        with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
            texts[name] = file.read()
    if "net/dev" not in texts:
        raise ProcessLookupError
    return procfs.interfaces({"namespaces": {}, "texts": texts, "descriptors": None, "refused": {}})


def _plug(
    place: Endpoint, pid: int | None, inside: Mapping[str, Inside], seen: _Seen, networks: Mapping[str, str]
) -> Plug:
    name = f"{bridge.INSIDE_PREFIX}{place.position}"
    found = inside.get(name)
    outer = seen.outer_of(pid, bridge.INSIDE_INDEX + place.position) if pid else None
    return Plug(
        network=networks.get(place.network, place.name),
        interface=name if found else "",
        outer=outer.name if outer else "",
        bridge=seen.name_of(outer.master) if outer else "",
        mac=place.mac,
        addresses=_global(found.addresses) if found else (),
        received=found.received if found else 0,
        sent=found.sent if found else 0,
    )


def _ports(record: ContainerRecord, carriers: _Carriers) -> list[PublishedPort]:
    found = []
    for port in record.bound:
        carrier: Carrier = "agent" if record.id in carriers.served else "nobody"
        if record.id[:12] in carriers.ruled and not firewall.is_loopback(port.host):
            carrier = "kernel"
        found.append(PublishedPort(port.target, port.protocol, port.host, port.first, carrier))
    return found


def _carriers(parts: Parts, records: Sequence[ContainerRecord]) -> _Carriers:
    if not any(record.bound for record in records):
        return _Carriers(frozenset(), frozenset())
    answer = parts.network_service.ask_running({"kind": "list"})
    served = frozenset(answer["containers"] if answer else ())
    ruled: frozenset[str] = frozenset()
    if not parts.host.rootless:
        with suppress(EngineError, OSError):  # a kernel without nftables
            ruled = frozenset(firewall.containers_with_ports())
    return _Carriers(served, ruled)
