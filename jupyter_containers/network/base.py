"""What the parts of the network package hand to the engine, and take from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from jupyter_containers.runtime.protocol import Interface

RESOLVER_ADDRESS = "127.0.0.11"
"""Where a container's questions for names are answered."""


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """How a bridge network is to be. Addresses left out are chosen when the bridge is made.

    Attributes
    ----------
    name
        Of the interface, 15 characters at most.
    subnet, gateway
        The addresses of its containers, and the bridge's own among them.
    subnet6, gateway6
        The same of IPv6; None and empty for a network without.
    mtu
        The size of packets in bytes; 0: as large as leaves this host whole.
    internal
        Nothing leaves the network, and nothing comes in.
    icc
        Containers of the network reach each other.
    masquerade
        What leaves gets the host's address.
    """

    name: str
    subnet: IPv4Network | None = None
    gateway: str = ""
    subnet6: IPv6Network | None = None
    gateway6: str = ""
    mtu: int = 0
    internal: bool = False
    icc: bool = True
    masquerade: bool = True


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
        The addresses of its containers; ``gateway`` is the bridge's own.
    mtu
        The size of packets in bytes; 0 for the kernel's default.
    notices
        What the user should know, a line each: what was switched on, or what is in the way.
    subnet6, gateway6
        The same of IPv6, where it has any.
    """

    name: str
    index: int
    subnet: IPv4Network
    gateway: str
    mtu: int = 0
    notices: tuple[str, ...] = ()
    subnet6: IPv6Network | None = None
    gateway6: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What a container's interface gets.

    Attributes
    ----------
    address
        An address of the network's subnet.
    address6
        One of its IPv6 subnet; empty where it has none.
    mac
        The hardware address; empty for the one that belongs to ``address``.
    position
        Which of the container's interfaces it is, counted from 0: ``eth0``.
    default
        The way to everything else goes by this interface.
    """

    address: str
    address6: str = ""
    mac: str = ""
    position: int = 0
    default: bool = True


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
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""


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
