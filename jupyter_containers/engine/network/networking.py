"""Which networks a container gets, its addresses there, and the files that tell it about names."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine import status
from jupyter_containers.engine.network import endpoints as reading
from jupyter_containers.engine.network import record as network_record
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.network.record import BRIDGE, HOST, MACVLAN, NONE, NetworkRecord
from jupyter_containers.errors import (
    EngineError,
    InvalidInput,
    NetworkInUse,
    NetworkNotFound,
    PermissionDenied,
    SystemFailure,
    Unavailable,
    Unsupported,
)
from jupyter_containers.network import files as contents
from jupyter_containers.network import host, ipam, rootless
from jupyter_containers.network.base import RESOLVER_ADDRESS, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jupyter_containers.engine.network.endpoints import Endpoint
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.network.base import Attachment

_POLL = 0.01
RESOLVED_UPSTREAM = "/run/systemd/resolve/resolv.conf"


def networks(parts: Parts) -> list[NetworkRecord]:
    """All networks of the store: those that every store has, and those that were made."""
    made = [NetworkRecord.decode(data) for data in parts.state.networks()]
    return [*network_record.predefined(parts.paths.root, parts.bridge.name), *made]


def find(parts: Parts, name: str) -> NetworkRecord:
    """A network by name, id, or the beginning of its id.

    Raises
    ------
    NetworkNotFound
        when there is none.
    InvalidInput
        when several ids begin so.
    """
    known = networks(parts)
    exact = [each for each in known if name in {each.name, each.id}]
    found = exact or [each for each in known if name and each.id.startswith(name)]
    if len(found) > 1:
        raise InvalidInput(f"several networks have an id that begins with {name}", hint="give more of its digits")
    if not found:
        raise NetworkNotFound(f"no such network: {name}", hint=f"make it: network create {name}")
    return found[0]


@contextmanager
def using(parts: Parts, places: Iterable[Endpoint]) -> Iterator[None]:
    """While containers are put into networks: these stay meanwhile. Raises NetworkNotFound.

    Several may do so at once; who takes one away waits for them, and they for it.
    """
    with ExitStack() as held:
        for each in places:
            if each.name == BRIDGE:
                if parts.has_own_bridge():
                    held.enter_context(_locked(parts, BRIDGE, fcntl.LOCK_SH))
                continue
            network = find(parts, each.network or each.name)
            held.enter_context(_locked(parts, network.id, fcntl.LOCK_SH))
            find(parts, network.id)  # it may have gone while the lock was waited for
        yield


@contextmanager
def ending(parts: Parts, network: NetworkRecord, *, patience: float = 0) -> Iterator[None]:
    """While a network is taken away; raises NetworkInUse when containers are being put into it for so many seconds."""
    key = BRIDGE if network.predefined else network.id
    deadline = time.monotonic() + patience
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(_locked(parts, key, fcntl.LOCK_EX | fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise NetworkInUse(f"containers are being connected to the network {network.name}") from None
                time.sleep(_POLL)
        yield
    if not network.predefined:
        with suppress(FileNotFoundError):
            os.unlink(_lock_file(parts, key))  # who waits for it will find that there is no such network


@contextmanager
def _locked(parts: Parts, network: str, operation: int) -> Iterator[None]:
    descriptor = os.open(_lock_file(parts, network), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _lock_file(parts: Parts, network: str) -> str:
    return f"{parts.paths.run}/network-{network[:16]}.lock"


# -- deciding --------------------------------------------------------------------------------------------------------


def choose(
    parts: Parts, options: RunOptions, identify: Callable[[str], str], *, bring_up: bool = True
) -> tuple[str, tuple[Endpoint, ...], list[str]]:
    """The network mode, the places in networks, and what the user should know about them.

    The default is the bridge; where this host has none, and where nobody asked for it by name, a network of the
    container's own with nothing but loopback. Without ``bring_up`` nothing is made, and a bridge is assumed.

    Raises
    ------
    NetworkNotFound, InvalidInput, Unsupported
        for a network there is not, that this host does not allow, or an address that is not of it.
    """
    wanted = reading.read(options)
    first = wanted[0].name
    if first in {HOST, NONE} or first.startswith(reading.CONTAINER):
        _refuse_beside(first, wanted[0], options)
        if first.startswith(reading.CONTAINER):
            return reading.CONTAINER + identify(first.removeprefix(reading.CONTAINER)), (), []
        return first, (), []
    if first == "default" and bring_up:
        return _default(parts, wanted)
    if first == "default":
        wanted, first = _on_bridge(wanted), BRIDGE
    return first, tuple(settle(parts, wanted)), _up(parts, wanted) if bring_up else []


def _refuse_beside(mode: str, wanted: Endpoint, options: RunOptions) -> None:
    """What makes no sense for a container without interfaces of its own."""
    given = [
        name
        for name, value in (
            ("ip", wanted.ip),
            ("ip6", wanted.ip6),
            ("mac-address", wanted.mac_address),
            ("network-alias", wanted.aliases),
            ("publish", mode != HOST and (options.publish or options.publish_all)),
        )
        if value
    ]
    if given:
        raise InvalidInput(f"--{given[0]} cannot be used with --network {mode}", hint="leave one of them out")
    if mode.startswith(reading.CONTAINER) and (options.dns or options.add_host or options.hostname):
        raise InvalidInput(
            f"--dns, --add-host and --hostname cannot be used with --network {mode}: they are the other container's"
        )


def _default(parts: Parts, wanted: list[Endpoint]) -> tuple[str, tuple[Endpoint, ...], list[str]]:
    wanted = _on_bridge(wanted)
    settled = tuple(settle(parts, wanted))
    try:
        return BRIDGE, settled, _up(parts, wanted)
    except (PermissionDenied, Unsupported, SystemFailure) as error:
        return NONE, (), [f"the container has only a loopback network: {error}"]


def _on_bridge(wanted: list[Endpoint]) -> list[Endpoint]:
    return [msgspec.structs.replace(wanted[0], name=BRIDGE), *wanted[1:]]


def settle(parts: Parts, wanted: Sequence[Endpoint], *, taken: Sequence[int] = ()) -> list[Endpoint]:
    """Find the networks and check the addresses; each place gets the next interface that is free."""
    found = []
    free = (number for number in range(len(wanted) + len(taken) + 1) if number not in taken)
    for each in wanted:
        record = find(parts, each.name)
        if record.name in {HOST, NONE}:
            raise InvalidInput(f"a container cannot be in {record.name} and in another network")
        if record.name == BRIDGE and (each.ip or each.ip6):
            raise InvalidInput(
                "an address can be chosen in a network of your own only",
                hint="make one: network create --subnet 10.5.0.0/24 NAME",
            )
        if record.name == BRIDGE and each.aliases:
            raise InvalidInput("aliases are for networks of your own only", hint="make one: network create NAME")
        for text, subnet, gateway in (
            (each.ip, record.ipv4, record.gateway),
            (each.ip6, record.ipv6, record.gateway6),
        ):
            if text and subnet is None:
                raise InvalidInput(f"{text}: the network {record.name} has no subnet for it")
            if text and subnet is not None:
                ipam.allocate(subnet, record.auxiliary.values(), wanted=text, gateway=gateway)
        found.append(msgspec.structs.replace(each, name=record.name, network=record.id, position=next(free)))
    return found


def is_down(parts: Parts, name: str) -> bool:
    """Whether the bridge of a network has to be made for a container."""
    record = find(parts, name)
    return record.driver == BRIDGE and network_setup.look(parts, record) is None


def _up(parts: Parts, wanted: Sequence[Endpoint]) -> list[str]:
    """Bring the networks up; what is to be said of it."""
    notices: list[str] = []
    with using(parts, wanted):
        for each in wanted:
            record = find(parts, each.name)
            if record.driver == BRIDGE:
                notices += network_setup.ensure(parts, record).notices
    return list(dict.fromkeys(notices))


# -- attaching -------------------------------------------------------------------------------------------------------


def attach(parts: Parts, record: ContainerRecord) -> tuple[ContainerRecord, list[Attachment]]:
    """Take addresses and prepare the interfaces: the record with them, and what the runtime has to do."""
    if not record.endpoints:
        return record, []
    networks = [find(parts, each.network) for each in record.endpoints]
    way_out = default_of(record.endpoints, networks)
    made = [
        join(parts, record.id, each, network, default=each is way_out)
        for each, network in zip(record.endpoints, networks, strict=True)
    ]
    return with_endpoints(record, [each for each, _ in made]), [attachment for _, attachment in made]


def with_endpoints(record: ContainerRecord, endpoints: Sequence[Endpoint]) -> ContainerRecord:
    """The record with other places in networks."""
    address = endpoints[0].address if endpoints else ""
    return msgspec.structs.replace(record, endpoints=tuple(endpoints), address=address)


def default_of(endpoints: Sequence[Endpoint], networks: Sequence[NetworkRecord]) -> Endpoint | None:
    """The place by which everything goes that is not in a network of the container's."""
    able = [each for each, network in zip(endpoints, networks, strict=True) if not network.internal]
    return max(able, key=lambda each: each.gw_priority, default=None)


def join(
    parts: Parts, identity: str, endpoint: Endpoint, network: NetworkRecord, *, default: bool
) -> tuple[Endpoint, Attachment]:
    """Take the addresses of one place, and prepare its interface."""
    if network.driver == MACVLAN:
        subnet, subnet6, gateway, gateway6 = network.ipv4, network.ipv6, network.gateway, network.gateway6
        key = network.id
    else:
        up = network_setup.ensure(parts, network)
        subnet, subnet6, gateway, gateway6 = up.subnet, up.subnet6, up.gateway, up.gateway6
        key = up.name
    assert subnet is not None
    reserved = set(network.auxiliary.values())
    with parts.state.allocation(key) as (held, taken):

        def take(wanted: str, subnet: ipam.Network, gateway: str, within: ipam.Network | None) -> str:
            version = ":" if subnet.version == 6 else "."  # noqa: PLR2004 - the version of the protocol
            mine = next((address for address, owner in held.items() if owner == identity and version in address), "")
            # The default network has had another subnet when another store, or a route of the host, has taken its own.
            if mine and wanted in {"", mine} and ip_address(mine) in subnet:
                return mine
            if mine:
                del held[mine]
            address = _free(parts, subnet, held, reserved, wanted=wanted, gateway=gateway, within=within)
            taken[address] = identity
            return address

        address = take(endpoint.ip, subnet, gateway, network.range4)
        address6 = take(endpoint.ip6, subnet6, gateway6, network.range6) if subnet6 else ""
    place = Place(address, address6, endpoint.mac_address, endpoint.position, default)
    if network.driver == MACVLAN:
        from jupyter_containers.network import macvlan  # noqa: PLC0415 - few networks are so

        attachment = macvlan.attachment(
            network.interface, network.settings(), place, network.options.get("macvlan_mode", "bridge")
        )
    else:
        attachment = network_setup.bridge_of(parts, network).attachment(place)
    done = msgspec.structs.replace(endpoint, address=address, address6=address6, mac=attachment.mac)
    return done, attachment


def _free(
    parts: Parts,
    subnet: ipam.Network,
    held: dict[str, str],
    reserved: set[str],
    *,
    wanted: str,
    gateway: str,
    within: ipam.Network | None,
) -> str:
    try:
        return ipam.allocate(subnet, {*held, *reserved}, wanted=wanted or None, gateway=gateway, within=within)
    except Unavailable:
        # Containers that ended keep theirs until somebody needs it.
        for address, owner in list(held.items()):
            if not status.read(parts.paths, owner).running:
                del held[address]
        return ipam.allocate(subnet, {*held, *reserved}, wanted=wanted or None, gateway=gateway, within=within)


# -- files -----------------------------------------------------------------------------------------------------------


def files(parts: Parts, record: ContainerRecord) -> dict[str, bytes]:
    """The files a container gets, by their place in it: of its own, or as the one has whose network it shares."""
    if record.network.startswith(reading.CONTAINER):
        rows = parts.state.find_containers(record.network.removeprefix(reading.CONTAINER))
        return files(parts, type(record).decode(rows[0].record)) if rows else {}
    options = record.options
    addresses = [address for each in record.endpoints for address in (each.address, each.address6) if address]
    extra = [_host_entry(text) for text in options.add_host]
    gateway = host_gateway(parts, record) if extra else ""
    found = {
        "/etc/hostname": contents.hostname_file(record.hostname),
        "/etc/hosts": contents.hosts_file(record.hostname, addresses, extra, gateway=gateway),
    }
    if any(each.name != BRIDGE for each in record.endpoints):
        found["/etc/resolv.conf"] = agent_resolv_conf(options)
    elif record.network != NONE:
        rootless_helper = parts.host.rootless and record.network != HOST
        found["/etc/resolv.conf"] = resolv_conf(record.network, options, through_helper=rootless_helper)
    return found


def host_gateway(parts: Parts, record: ContainerRecord) -> str:
    """The host as the container sees it; empty where it does not."""
    if record.network == HOST:
        return "127.0.0.1"
    if parts.host.rootless:
        return host.address()
    bridges = [network for each in record.endpoints if (network := find(parts, each.network)).driver == BRIDGE]
    return network_setup.bridge_of(parts, bridges[0]).ensure().gateway if bridges else ""


def resolv_conf(network: str, options: RunOptions | None = None, *, through_helper: bool = False) -> bytes:
    """The resolver configuration for a network; ``through_helper``: where the way out answers questions itself."""
    known = upstream() if network != HOST else _read("/etc/resolv.conf")
    servers: Sequence[str] = options.dns if options else ()
    if through_helper and not servers:
        servers = [rootless.NAME_SERVER]
    return contents.resolv_conf(
        known,
        servers=servers,
        search=options.dns_search if options else None,
        options=options.dns_option if options else None,
        host_loopback=network == HOST,
    )


def agent_resolv_conf(options: RunOptions) -> bytes:
    """The resolver configuration of a container that asks the network agent."""
    return contents.resolv_conf(
        _read("/etc/resolv.conf"),
        servers=[RESOLVER_ADDRESS],
        search=options.dns_search,
        options=options.dns_option or ("ndots:0",),
    )


def upstream() -> bytes:
    """The host's resolver configuration, in the form that names servers and no stub on a loopback address."""
    known = _read("/etc/resolv.conf")
    if contents.needs_upstream(known) and os.path.exists(RESOLVED_UPSTREAM):
        return _read(RESOLVED_UPSTREAM)
    return known


def _host_entry(text: str) -> tuple[str, str]:
    name, colon, address = text.partition(":")
    if not name or not colon or not address:
        raise InvalidInput(f"invalid extra host {text!r}", hint="write it as name:address")
    return name, address


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


# -- the end ---------------------------------------------------------------------------------------------------------


def release(parts: Parts) -> None:
    """Take away the bridges of a store that is not the user's own, when none of its containers runs or is started."""
    if parts.host.rootless or not parts.has_own_bridge() or parts.busy():
        return
    try:
        # Interfaces of containers that have just ended may still be there; they go by themselves.
        for record in networks(parts):
            if record.driver == BRIDGE and os.path.exists(f"/sys/class/net/{record.interface}"):
                with ending(parts, record):
                    if not parts.busy():
                        network_setup.bridge_of(parts, record).remove()
    except EngineError:
        # It stays, as that of the user's own store does; nothing depends on its removal.
        return
