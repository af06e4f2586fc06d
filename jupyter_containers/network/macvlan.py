"""Macvlan networks: containers with hardware addresses of their own on an interface of the host.

The host itself cannot reach them by that interface, nor they the host: a property of the kernel's macvlan devices.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from jupyter_containers.errors import Unavailable
from jupyter_containers.network import ipam, messages
from jupyter_containers.network.base import Attachment
from jupyter_containers.network.bridge import INSIDE_INDEX, INSIDE_PREFIX

if TYPE_CHECKING:
    from jupyter_containers.network.base import BridgeSettings, Place
    from jupyter_containers.runtime.protocol import Interface

MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}


def attachment(parent: str, settings: BridgeSettings, place: Place, mode: str = "bridge") -> Attachment:
    """A container's interface on an interface of the host.

    Raises
    ------
    Unavailable
        The host has no such interface any more.
    """
    try:
        index = socket.if_nametoindex(parent)
    except OSError as error:
        raise Unavailable(f"this host has no interface {parent}, which the network is on") from error
    mac = place.mac or ipam.mac_of(place.address)
    inside = INSIDE_INDEX + place.position
    name = f"{INSIDE_PREFIX}{place.position}"
    message, offset = messages.macvlan(index, (name, inside), mac, MODES[mode])
    assert settings.subnet is not None
    prefix, prefix6 = settings.subnet.prefixlen, settings.subnet6.prefixlen if settings.subnet6 else 0
    batch = messages.address(inside, place.address, prefix) + messages.link_up(inside)
    gateways = [settings.gateway]
    if place.address6 and prefix6:
        batch += messages.address(inside, place.address6, prefix6)
        gateways.append(settings.gateway6)
    gateways = [] if settings.internal else [gateway for gateway in gateways if gateway]
    if place.default:
        batch += b"".join(messages.default_route(gateway) for gateway in gateways)
    interface: Interface = {"name": name, "host": [(message, offset)], "inside": [batch]}
    return Attachment((interface,), place.address, prefix, (gateways or [""])[0], mac, place.address6, prefix6)
