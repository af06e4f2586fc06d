"""Which network a container gets, its address there, and the files that tell it about names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.engine import status
from jupyter_containers.errors import (
    EngineError,
    InvalidInput,
    PermissionDenied,
    SystemFailure,
    Unavailable,
    Unsupported,
)
from jupyter_containers.network import files as contents
from jupyter_containers.network import ipam, rootless

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.network.base import Attachment

BRIDGE, NONE, HOST, PRIVATE = "bridge", "none", "host", "private"
MODES = (BRIDGE, NONE, HOST)
RESOLVED_UPSTREAM = "/run/systemd/resolve/resolv.conf"


def choose(parts: Parts, wanted: str | None) -> tuple[str, list[str]]:
    """The network to use and what the user should know about it.

    Root's default is the bridge; where this host has none, and where nobody asked for it by name, a network of the
    container's own with nothing but loopback. Others get one that a helper connects to the outside (``private``).

    Raises
    ------
    Unsupported
        for a network there is not, or that this host does not allow.
    """
    if wanted not in {None, "default", *MODES}:
        raise Unsupported(f"there is no network {wanted!r}", hint=f"use one of {', '.join(MODES)}")
    if wanted in {NONE, HOST}:
        return str(wanted), []
    if parts.host.rootless:
        missing = rootless.unavailable()
        return (NONE, [missing]) if missing else (PRIVATE, [])
    try:
        return BRIDGE, list(parts.bridge.ensure().notices)
    except (PermissionDenied, Unsupported, SystemFailure) as error:
        if wanted is not None:
            raise
        return NONE, [f"the container has only a loopback network: {error}"]


def attach(parts: Parts, record: ContainerRecord) -> Attachment | None:
    """Take an address and prepare the interfaces; None for a network without."""
    if record.network != BRIDGE:
        return None
    bridge = parts.bridge
    network = bridge.ensure()
    with parts.state.allocation(network.name) as (held, taken):
        mine = next((address for address, owner in held.items() if owner == record.id), None)
        address = mine or _free_address(parts, network.subnet, held)
        if mine is None:
            taken[address] = record.id
    return bridge.attachment(address)


def _free_address(parts: Parts, subnet: IPv4Network, held: dict[str, str]) -> str:
    try:
        return ipam.allocate(subnet, held)
    except Unavailable:
        # Containers that ended keep theirs until somebody needs it.
        for address, owner in list(held.items()):
            if not status.read(parts.paths, owner).running:
                del held[address]
        return ipam.allocate(subnet, held)


def connects_late(record: ContainerRecord) -> bool:
    """Whether :func:`connect` has to be called once the container's namespaces are there."""
    return record.network == PRIVATE


def connect(pid: int) -> None:
    """Connect a rootless container to the outside, before its program starts."""
    rootless.connect(pid)


def files(record: ContainerRecord, attachment: Attachment | None) -> list[tuple[str, str, bytes]]:
    """The files a container gets: place in it, name in its run directory, content."""
    addresses = [attachment.address] if attachment else []
    gateway = attachment.gateway if attachment else (rootless.GATEWAY if record.network == PRIVATE else "")
    extra = [_host_entry(text) for text in record.options.add_host]
    found = [
        ("/etc/hostname", "hostname", contents.hostname_file(record.hostname)),
        ("/etc/hosts", "hosts", contents.hosts_file(record.hostname, addresses, extra, gateway=gateway)),
    ]
    if record.network != NONE:
        found.append(("/etc/resolv.conf", "resolv.conf", resolv_conf(record.network, record.options.dns)))
    return found


def resolv_conf(network: str, servers: Sequence[str] = ()) -> bytes:
    """The resolver configuration for a network; ``servers`` instead of the host's."""
    host = _read("/etc/resolv.conf")
    if network != HOST and contents.needs_upstream(host) and os.path.exists(RESOLVED_UPSTREAM):
        host = _read(RESOLVED_UPSTREAM)
    if network == PRIVATE and not servers:
        servers = [rootless.NAME_SERVER]
    return contents.resolv_conf(host, servers=servers, host_loopback=network == HOST)


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


def release(parts: Parts) -> None:
    """Take away the bridge of a store that is not the user's own, when none of its containers runs or is started."""
    if parts.host.rootless or not parts.has_own_bridge() or parts.busy():
        return
    try:
        # Interfaces of containers that have just ended may still be there; they go by themselves.
        parts.bridge.remove()
    except EngineError:
        # It stays, as that of the user's own store does; nothing depends on its removal.
        return
