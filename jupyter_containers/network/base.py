"""What the parts of the network package hand to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from jupyter_containers.runtime.protocol import Interface


@dataclass(frozen=True, slots=True)
class BridgeNetwork:
    """A bridge network that is up.

    Attributes
    ----------
    name
        The bridge's interface name.
    index
        Its number.
    subnet
        The addresses of its containers; the first one is the bridge's own, ``gateway``.
    mtu
        The size of packets in bytes; 0 for the kernel's default.
    notices
        What the user should know, a line each: what was switched on, or what is in the way.
    """

    name: str
    index: int
    subnet: IPv4Network
    gateway: str
    mtu: int = 0
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's place in a network: what the runtime has to do, and what results from it.

    ``prefix`` is the length of the network's prefix.
    """

    interfaces: tuple[Interface, ...]
    address: str
    prefix: int
    gateway: str
    mac: str


@dataclass(frozen=True, slots=True)
class Connection:
    """How a rootless container reaches the outside.

    Attributes
    ----------
    helper
        ``pasta``, ``slirp4netns``, or ``none`` where there is only loopback.
    address, gateway
        Inside the container; empty without a helper.
    name_server
        Where the helper answers questions of the domain name system; empty without one.
    notice
        What the user should know, one line, or empty.
    """

    helper: str
    address: str = ""
    gateway: str = ""
    name_server: str = ""
    notice: str = ""
