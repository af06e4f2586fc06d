"""What is kept of a network in the state file, and what it means to the parts that carry it out."""

from __future__ import annotations

import hashlib
import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers import documents
from jupyter_containers.errors import Corrupt
from jupyter_containers.network.base import BridgeSettings

if TYPE_CHECKING:
    from pathlib import Path

BRIDGE, HOST, NONE, MACVLAN = "bridge", "host", "none", "macvlan"
PREDEFINED = (BRIDGE, HOST, NONE)


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network as it was created. ``created`` is ns since the epoch, ``mtu`` bytes (0: the host's).

    ``interface`` is the bridge, or the interface of the host that a macvlan network is on. ``auxiliary`` are addresses
    of others in the subnet, by name.
    """

    id: str
    name: str
    driver: str
    created: int
    interface: str = ""
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    subnet6: str = ""
    gateway6: str = ""
    ip_range6: str = ""
    auxiliary: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    icc: bool = True
    masquerade: bool = True
    mtu: int = 0
    options: dict[str, str] = {}
    labels: dict[str, str] = {}

    def encode(self) -> bytes:
        """The bytes for the state file."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> NetworkRecord:
        """Read what :meth:`encode` wrote.

        Raises
        ------
        Corrupt
            when the state file holds something else.
        """
        try:
            return documents.decode(data, cls)
        except msgspec.DecodeError as error:
            raise Corrupt(f"the record of a network is damaged: {error}") from error

    @property
    def predefined(self) -> bool:
        """Whether it is one that every store has."""
        return self.name in PREDEFINED

    @property
    def ipv4(self) -> IPv4Network | None:
        """The subnet."""
        return IPv4Network(self.subnet) if self.subnet else None

    @property
    def ipv6(self) -> IPv6Network | None:
        """The IPv6 subnet."""
        return IPv6Network(self.subnet6) if self.subnet6 else None

    @property
    def range4(self) -> IPv4Network | IPv6Network | None:
        """The part of the subnet that addresses are given out from."""
        return ip_network(self.ip_range) if self.ip_range else None

    @property
    def range6(self) -> IPv4Network | IPv6Network | None:
        """The same of IPv6."""
        return ip_network(self.ip_range6) if self.ip_range6 else None

    def settings(self) -> BridgeSettings:
        """How its bridge is to be."""
        return BridgeSettings(
            self.interface,
            self.ipv4,
            self.gateway,
            self.ipv6,
            self.gateway6,
            self.mtu,
            self.internal,
            self.icc,
            self.masquerade,
        )


def predefined(root: Path, bridge: str) -> tuple[NetworkRecord, ...]:
    """The networks that every store has; their ids are always the same."""

    def identity(name: str) -> str:
        return hashlib.sha256(os.fsencode(root) + b"\0" + name.encode()).hexdigest()

    return tuple(
        NetworkRecord(id=identity(name), name=name, driver=driver, created=0, interface=interface)
        for name, driver, interface in ((BRIDGE, BRIDGE, bridge), (HOST, HOST, ""), (NONE, "null", ""))
    )
