"""What the network agent is told of a container: its names and its ports; and what is done when it is not there."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.engine import status
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.network.endpoints import Endpoint
from jupyter_containers.engine.network.record import BRIDGE
from jupyter_containers.engine.record import ContainerRecord, change
from jupyter_containers.errors import EngineError, PermissionDenied, PortInUse, SystemFailure
from jupyter_containers.linux import namespaces
from jupyter_containers.network import firewall, nftables, port_holder
from jupyter_containers.network.ports import Port

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from jupyter_containers.engine.parts import Parts


def needed(parts: Parts, record: ContainerRecord) -> bool:
    """Whether a container needs the agent: it has names to be asked for, or published ports.

    For an ordinary user every container in a network does: the agent has the namespace that their networks are in.
    """
    named = any(each.name != BRIDGE for each in record.endpoints)
    return bool(record.ports) or named or (parts.host.rootless and bool(record.endpoints))


def serve(parts: Parts, record: ContainerRecord, pid: int) -> ContainerRecord:
    """Have a container served whose namespaces are there. The record, with the ports that were bound.

    Raises
    ------
    PortInUse, PermissionDenied, SystemFailure
        when it cannot be.
    """
    answer = parts.network_service.ask(_message(record, pid))
    if answer["kind"] != "served":
        raise _failure(parts, record, answer)
    bound = tuple(Port(target, protocol, host, number, number) for protocol, host, number, target in answer["ports"])
    return change(parts.state, record.id, lambda current: msgspec.structs.replace(current, bound=bound))


def told(parts: Parts, record: ContainerRecord) -> None:
    """Tell the agent of a container that may run what has changed."""
    pid = status.read(parts.paths, record.id).pid
    if pid and needed(parts, record):
        serve(parts, record, pid)


def _message(record: ContainerRecord, pid: int) -> dict[str, Any]:
    """What the agent is told. It serves the container until its monitor ends, which keeps the network namespace."""
    monitor = namespaces.parent(pid)
    named = [each for each in record.endpoints if each.name != BRIDGE]
    places = [
        {
            "network": each.network,
            "names": _names(record, each.aliases, each.name),
            "title": f"{record.name}.{each.name}",
            "addresses": [address for address in (each.address, each.address6) if address],
        }
        for each in named
    ]
    addresses = [address for each in record.endpoints for address in (each.address, each.address6) if address]
    return {
        "kind": "serve",
        "id": record.id,
        "pid": pid,
        "monitor": monitor,
        "start_time": namespaces.start_time(monitor),
        "places": places,
        "servers": list(record.options.dns) or None,
        "addresses": addresses,
        "ports": [[each.protocol, each.host, each.first, each.last, each.target] for each in record.ports],
    }


def _names(record: ContainerRecord, aliases: Sequence[str], network: str) -> list[str]:
    own = [record.name, record.id[:12], *aliases]
    return list(dict.fromkeys(name.lower() for each in own for name in (each, f"{each}.{network}")))


def _failure(parts: Parts, record: ContainerRecord, answer: dict[str, Any]) -> EngineError:
    code = answer["errno"]
    if "port" not in answer:
        return SystemFailure(f"cannot set up the network of {record.name}: {answer['detail'] or os.strerror(code)}")
    protocol, host, first, last, target = answer["port"]
    port = Port(target, protocol, host, first, last)
    where = port.where if first == last else f"{port.where}-{last}"
    text = f"cannot publish port {target}/{protocol} of {record.name} at {where}"
    if code == errno.EADDRINUSE:
        holder = _holder(parts, record, port)
        return PortInUse(
            f"{text}: the port is already in use{f' by {holder}' if holder else ''}",
            hint="stop what has it, or choose another port",
        )
    if code == errno.EACCES:
        return PermissionDenied(
            f"{text}: ports below 1024 are for root",
            hint="choose a higher one, or: sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
        )
    if code == errno.EADDRNOTAVAIL:
        return SystemFailure(f"{text}: this host has no such address", hint="0.0.0.0 stands for all of its addresses")
    return SystemFailure(f"{text}: {os.strerror(code)}")


def _holder(parts: Parts, record: ContainerRecord, port: Port) -> str:
    """Who has a port: a container of this store, or a program of this host; empty where it cannot be seen."""
    for other in running(parts):
        if other.id != record.id and any(
            (each.protocol, each.first) == (port.protocol, port.first) for each in other.bound
        ):
            return f"the container {other.name}"
    return port_holder.find(port.protocol, port.first)


# -- looking after ---------------------------------------------------------------------------------------------------


def running(parts: Parts) -> list[ContainerRecord]:
    """The containers that run; as quick with thousands of others."""
    alive = [name for name in os.listdir(parts.paths.running) if status.read(parts.paths, name).running]
    return [ContainerRecord.decode(row.record) for row in parts.state.containers(alive)]


def repair(parts: Parts, owned: Callable[[Parts, str], bool], alive: Collection[str]) -> list[str]:
    """Put right what was killed or flushed: the agent, and the rules of networks and ports. One line for each thing.

    ``alive`` are the ids of the containers that run.
    """
    try:
        records = [ContainerRecord.decode(row.record) for row in parts.state.containers(alive)]
        served = [record for record in records if record.endpoints]
        if not served and parts.host.rootless:
            return []
        repaired = [] if parts.host.rootless else [*_repair_rules(parts, served), *_sweep(parts, served, owned)]
        repaired += _repair_agent(parts, [record for record in served if needed(parts, record)])
        return repaired + (network_setup.repair_way_out(parts) if parts.host.rootless else [])
    except EngineError as error:
        return [f"networks could not be looked after: {error.message}"]


def _repair_agent(parts: Parts, wanting: Sequence[ContainerRecord]) -> list[str]:
    if not wanting:
        return []
    answer = parts.network_service.ask_running({"kind": "list"})
    known = answer["containers"] if answer else {}
    repaired = []
    for record in wanting:
        pid = status.read(parts.paths, record.id).pid
        if record.id in known or not pid:
            continue
        fixed = msgspec.structs.replace(record, ports=record.bound)
        parts.network_service.ask(_message(fixed, pid))
        repaired.append(f"the names and ports of {record.name} are served again")
    return repaired


def _repair_rules(parts: Parts, served: Sequence[ContainerRecord]) -> list[str]:
    if not served:
        return []
    tables = {name for _family, name in nftables.tables()}
    repaired = []
    used = {each.network for record in served for each in record.endpoints}
    for network in networking.networks(parts):
        if network.id in used and network.driver == BRIDGE and firewall.table_name(network.interface) not in tables:
            with networking.using(parts, [Endpoint(name=network.name, network=network.id)]):
                network_setup.ensure(parts, network)
            repaired.append(f"the firewall rules of the network {network.name} were gone and are there again")
    for record in served:
        rules = kernel_ports(record)
        if rules and firewall.ports_table(record.id) not in tables:
            firewall.publish(record.id, rules)
            repaired.append(f"the firewall rules for the ports of {record.name} were gone and are there again")
    return repaired


def kernel_ports(record: ContainerRecord) -> list[tuple[str, str, int, str, int]]:
    """The ports that the kernel forwards itself."""
    addresses = [address for each in record.endpoints for address in (each.address, each.address6) if address]
    return [
        (port.protocol, port.host, port.first, address, port.target)
        for port in record.bound
        for address in addresses
        if (":" in port.host) == (":" in address) and not firewall.is_loopback(port.host)
    ]


def _sweep(parts: Parts, served: Sequence[ContainerRecord], owned: Callable[[Parts, str], bool]) -> list[str]:
    """Remove the ports of containers of this store that do not run."""
    alive = {record.id[:12] for record in served}
    stale = [
        name
        for name in firewall.containers_with_ports()
        if name not in alive and any(not owned(parts, row.id) for row in parts.state.find_containers(name))
    ]
    for name in stale:
        firewall.unpublish(name)
    return [f"the firewall rules for the ports of {name} were removed" for name in stale]
