"""Bringing bridge networks up where they are: on the host, or in the namespace that a user's containers share."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jupyter_containers.engine.network.record import BRIDGE, NetworkRecord
from jupyter_containers.errors import EngineError
from jupyter_containers.network import bridge, rootless
from jupyter_containers.network.namespace import SharedNamespace
from jupyter_containers.records import replace
from jupyter_containers.runtime import lifecycle

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.network.base import BridgeNetwork


def bridge_of(parts: Parts, record: NetworkRecord) -> bridge.Bridge:
    """The bridge of a network."""
    if record.predefined:
        return parts.bridge
    return parts.bridges.setdefault(record.id, parts.make_bridge(record.settings()))


def subnets(parts: Parts) -> list[IPv4Network]:
    """Those of the networks that were made, whether they are up or not."""
    made = [NetworkRecord.decode(data) for data in parts.state.networks()]
    return [net for each in made if each.driver == BRIDGE and (net := each.ipv4)]


def ensure(parts: Parts, record: NetworkRecord) -> BridgeNetwork:
    """Bring a bridge network up, if it is not, and its way out."""
    up = bridge_of(parts, record).ensure()
    missing = "" if record.internal or not parts.host.rootless else _way_out(parts)
    return replace(up, notices=(*up.notices, missing)) if missing else up


def addresses(parts: Parts, record: NetworkRecord) -> tuple[str, str, str]:
    """Subnet, range and gateway of a network; those of the default bridge are known while it is up."""
    if record.driver == BRIDGE and not record.subnet:
        found = look(parts, record)
        return (str(found.subnet), "", found.gateway) if found else ("", "", "")
    return record.subnet, record.ip_range, record.gateway


def look(parts: Parts, record: NetworkRecord) -> BridgeNetwork | None:
    """A bridge network as it stands; None if it is not up."""
    return bridge_of(parts, record).look() if stand(parts) else None


def stand(parts: Parts) -> bool:
    """Whether bridges can be up: those of an ordinary user are as long as a container needs them."""
    return not parts.host.rootless or parts.network_service.runs() or bool(namespace_in_use(parts))


def _way_out(parts: Parts) -> str:
    """Connect the network namespace that an ordinary user's containers share to the outside; what is in the way."""
    namespace = parts.network_namespace
    assert isinstance(namespace, SharedNamespace)
    with bridge.locked(parts.network_lock):
        holder = namespace.holder
        if rootless.connected(holder):
            return ""
        try:
            return rootless.connect(holder).notice
        except EngineError as error:
            return f"the container has no way to other machines: {error.message}"


def repair_way_out(parts: Parts) -> list[str]:
    """Connect the shared network namespace again when its helper was killed; what was done."""
    namespace = parts.network_namespace
    assert isinstance(namespace, SharedNamespace)
    if rootless.connected(namespace.holder) or rootless.unavailable():
        return []
    return [_way_out(parts) or "the way of containers to other machines was gone and is there again"]


def namespace_in_use(parts: Parts) -> str:
    """The path of the network namespace that the containers which run share; empty where there is none."""
    own = os.stat("/proc/self/ns/net").st_ino
    for pid in lifecycle.monitors(str(parts.paths.running), str(parts.paths.containers)):
        path = f"/proc/{pid}/ns/net"
        with suppress(OSError):  # it has just ended
            if os.stat(path).st_ino != own:
                return path
    return ""
