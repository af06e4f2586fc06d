"""Choosing subnets and addresses. Pure: what is taken is given, and nothing is remembered."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

POOL = IPv4Network("10.88.0.0/14")
"""Where subnets come from: private addresses (RFC 1918) that Docker does not take by default."""
PREFIX = 24
_GATEWAY = 1


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


def gateway(subnet: IPv4Network) -> str:
    """The address of the bridge itself."""
    return str(subnet[_GATEWAY])


def allocate(subnet: IPv4Network, used: Collection[str], *, wanted: str | None = None) -> str:
    """An address for a container: ``wanted``, or the first free one after the gateway.

    Raises
    ------
    InvalidInput
        ``wanted`` is not an address for containers of this subnet.
    Unavailable
        It is in use, or all are.
    """
    if wanted is not None:
        try:
            address = IPv4Address(wanted)
        except ValueError as error:
            raise InvalidInput(f"not an IPv4 address: {wanted!r}") from error
        if address not in subnet or address in {subnet[0], subnet[_GATEWAY], subnet[-1]}:
            raise InvalidInput(f"{wanted} is not an address for a container of {subnet}")
        if str(address) in used:
            raise Unavailable(f"the address {wanted} belongs to another container")
        return str(address)
    for address in _hosts(subnet):
        if str(address) not in used:
            return str(address)
    raise Unavailable(f"all addresses of {subnet} are in use")


def _hosts(subnet: IPv4Network) -> Iterator[IPv4Address]:
    """All but the network's own address, the gateway's and the broadcast address."""
    first, last = int(subnet[_GATEWAY]) + 1, int(subnet[-1])
    return (IPv4Address(number) for number in range(first, last))


def mac_of(address: str) -> str:
    """The hardware address for an IPv4 address: locally administered, and the same whenever the address is given out.

    So a neighbour that remembers the address of a container now gone still reaches the new one.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x63" + IPv4Address(address).packed)
