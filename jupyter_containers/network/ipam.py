"""Choosing subnets and addresses. Pure but for one random number: what is taken is given, and nothing is remembered."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from jupyter_containers.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

POOL = IPv4Network("10.88.0.0/14")
"""Where subnets come from: private addresses (RFC 1918) that Docker does not take by default."""
PREFIX = 24
_GATEWAY = 1
_ULA = 0xFD << 120
_SEARCH = 1 << 16

Network: TypeAlias = IPv4Network | IPv6Network


def choose_subnet(taken: Iterable[IPv4Network], *, pool: IPv4Network = POOL, prefix: int = PREFIX) -> IPv4Network:
    """The first subnet of the pool that overlaps with no network in ``taken``.

    A network of prefix length 0 (the default route) is no obstacle.

    Raises :exc:`~jupyter_containers.errors.Unavailable` when none is left.
    """
    obstacles = [network for network in taken if network.prefixlen > 0]
    for subnet in pool.subnets(new_prefix=prefix):
        if not any(subnet.overlaps(network) for network in obstacles):
            return subnet
    raise Unavailable(f"no subnet of {pool} is free: routes of this host cover all of them")


def choose_subnet6(taken: Iterable[IPv6Network]) -> IPv6Network:
    """A unique local subnet that is drawn at random (RFC 4193) and overlaps with nothing in ``taken``."""
    obstacles = list(taken)
    while True:
        subnet = IPv6Network((_ULA | int.from_bytes(os.urandom(5)) << 80, 64))
        if not any(subnet.overlaps(network) for network in obstacles):
            return subnet


def gateway(subnet: Network) -> str:
    """The address of the bridge itself."""
    return str(subnet[_GATEWAY])


def allocate(
    subnet: Network,
    used: Collection[str],
    *,
    wanted: str | None = None,
    gateway: str | None = None,
    within: Network | None = None,
) -> str:
    """An address for a container: ``wanted``, or the first free one of the subnet, or of ``within`` in it.

    Raises
    ------
    InvalidInput
        ``wanted`` is not an address for containers of this subnet.
    Unavailable
        It is in use, or all are.
    """
    own = ip_address(gateway) if gateway else subnet[_GATEWAY]
    if wanted is not None:
        try:
            address = ip_address(wanted)
        except ValueError as error:
            raise InvalidInput(f"not an IP address: {wanted!r}") from error
        if address.version != subnet.version or address not in subnet or address in {subnet[0], own, subnet[-1]}:
            raise InvalidInput(f"{wanted} is not an address for a container of {subnet}")
        if str(address) in used:
            raise Unavailable(f"the address {wanted} belongs to another container")
        return str(address)
    for found in islice(_hosts(subnet, within), _SEARCH):
        if found != own and str(found) not in used:
            return str(found)
    raise Unavailable(f"all addresses of {within or subnet} are in use")


def _hosts(subnet: Network, within: Network | None) -> Iterator[IPv4Address | IPv6Address]:
    """All but the network's own address and the broadcast address."""
    part = within or subnet
    first = max(int(part[0]), int(subnet[0]) + 1)
    last = min(int(part[-1]), int(subnet[-1]) - 1)
    kind = IPv4Address if isinstance(subnet, IPv4Network) else IPv6Address
    return (kind(number) for number in range(first, last + 1))


def mac_of(address: str) -> str:
    """The hardware address for an IPv4 address: locally administered, and the same whenever the address is given out.

    So a neighbour that remembers the address of a container now gone still reaches the new one.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x63" + IPv4Address(address).packed)
