"""Address translation and isolation of a bridge network, and the ports of its containers: nftables tables of our own.

Rules of others are read (to say what is in their way), never changed. What the table of a bridge does:

- postrouting: what leaves the subnet by another interface gets the host's address, unless the network is internal; so
  does what a container sends to a published port of its own network, or the answer would not come back by the host;
- forward: between containers of the bridge everything passes; answers come in, and what a published port sends; nothing
  else comes in; nothing goes out under an address that is not the subnet's, and nothing at all of an internal network.

Containers of one network can therefore not reach those of another one: the other one's table drops it.

A container with ports that the kernel forwards has a table of its own, so that adding and removing them is one batch.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

from jupyter_containers.network import nftables as nft
from jupyter_containers.network import ruleset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.network.nftables import Make

PREFIX = "jupyter_containers_"
_PORTS = f"{PREFIX}ports_"
_LOOPBACK: dict[int, IPv4Network | IPv6Network] = {
    nft.IPV4: IPv4Network("127.0.0.0/8"),
    nft.IPV6: IPv6Network("::1/128"),
}


def table_name(bridge: str) -> str:
    """The table of a bridge."""
    return f"{PREFIX}{bridge}"


def exists(bridge: str, *, ipv6: bool = False, make: Make = socket.socket) -> bool:
    """Whether the bridge has its tables.

    Raises :exc:`~jupyter_containers.errors.Unsupported` where the kernel has no nftables.
    """
    name = table_name(bridge)
    return nft.exists(nft.IPV4, name, make) and (not ipv6 or nft.exists(nft.IPV6, name, make))


def translates(bridge: str, make: Make = socket.socket) -> bool:
    """Whether what leaves the network of a bridge gets the host's address."""
    name = table_name(bridge)
    return any(nft.exists(family, name, make) and nft.translates(family, name, make) for family in (nft.IPV4, nft.IPV6))


def install(
    bridge: str,
    subnets: Sequence[IPv4Network | IPv6Network],
    *,
    internal: bool = False,
    masquerade: bool = True,
    make: Make = socket.socket,
) -> None:
    """Make the tables of a bridge, one for each subnet, or replace them.

    Raises
    ------
    PermissionDenied
        This user may not.
    Unsupported
        The kernel has no nftables, or not what the rules need.
    """
    nft.transact(rules(bridge, subnets, internal=internal, masquerade=masquerade), make)


def rules(
    bridge: str, subnets: Sequence[IPv4Network | IPv6Network], *, internal: bool = False, masquerade: bool = True
) -> list[bytes]:
    """The messages of :func:`install`."""
    messages = []
    for subnet in subnets:
        messages += _rules(bridge, subnet, internal=internal, masquerade=masquerade)
    return messages


def _rules(bridge: str, subnet: IPv4Network | IPv6Network, *, internal: bool, masquerade: bool) -> list[bytes]:
    family = nft.IPV4 if subnet.version == 4 else nft.IPV6  # noqa: PLR2004 - the version of the protocol
    table = table_name(bridge)
    inward, outward = ruleset.interface(ruleset.IIFNAME, bridge), ruleset.interface(ruleset.OIFNAME, bridge)
    inside = ruleset.source(subnet)
    drop, accept = ruleset.verdict(ruleset.DROP), ruleset.verdict(ruleset.ACCEPT)
    postrouting = [[*inside, *outward, *ruleset.tracked(ruleset.CT_STATUS, ruleset.DNATED), ruleset.masquerade()]]
    if masquerade and not internal:
        elsewhere = ruleset.interface(ruleset.OIFNAME, bridge, nft.NOT_EQUAL)
        postrouting.append([*inside, *elsewhere, ruleset.masquerade()])
    forward = [
        [*inward, *ruleset.source(subnet, nft.NOT_EQUAL), drop],
        [*inward, *outward, accept],
        *([[*inward, drop]] if internal else []),
        *([] if internal else [[*outward, *ruleset.tracked(ruleset.CT_STATE, ruleset.ESTABLISHED_OR_RELATED), accept]]),
        *([] if internal else [[*outward, *ruleset.tracked(ruleset.CT_STATUS, ruleset.DNATED), accept]]),
        [*outward, drop],
    ]
    return [
        *ruleset.fresh_table(family, table),
        ruleset.chain(family, table, "postrouting", "nat", nft.HOOK_POSTROUTING, nft.PRIORITY_SRCNAT),
        ruleset.chain(family, table, "forward", "filter", nft.HOOK_FORWARD, nft.PRIORITY_FILTER),
        *(ruleset.rule(family, table, "postrouting", each) for each in postrouting),
        *(ruleset.rule(family, table, "forward", each) for each in forward),
    ]


def remove(bridge: str, make: Make = socket.socket) -> None:
    """Remove the tables of a bridge; it is no error if there are none."""
    _remove(table_name(bridge), make)


def _remove(table: str, make: Make = socket.socket) -> None:
    messages = []
    for family in (nft.IPV4, nft.IPV6):
        if nft.exists(family, table, make):
            messages += [nft.new_table(family, table), nft.delete_table(family, table)]
    if messages:
        nft.transact(messages, make)


def is_loopback(address: str) -> bool:
    """Whether no rule of the kernel's forwards what is sent there."""
    return ip_address(address).is_loopback


def ports_table(container: str) -> str:
    """The table of the ports of a container."""
    return f"{_PORTS}{container[:12]}"


def containers_with_ports() -> list[str]:
    """The beginnings of the ids of containers that have a table of ports."""
    return sorted({name.removeprefix(_PORTS) for _family, name in nft.tables() if name.startswith(_PORTS)})


def publish(container: str, ports: Sequence[tuple[str, str, int, str, int]]) -> None:
    """Forward ports of the host to a container, instead of those it had.

    Parameters
    ----------
    container
        Its id.
    ports
        Protocol, address and port on the host, address and port of the container. The address 0.0.0.0 stands for all
        of the host's but the loopback ones, which the kernel does not forward.
    """
    table = ports_table(container)
    by_family: dict[int, list[list[bytes]]] = {}
    for protocol, host, number, address, target in ports:
        where, to = ip_address(host), ip_address(address)
        if where.version != to.version or where.is_loopback:
            continue  # no rule of the kernel's does that: the forwarding process serves it
        family = nft.IPV4 if isinstance(to, IPv4Address) else nft.IPV6
        match = nft.to_this_host() if where.is_unspecified else nft.equals(where)
        by_family.setdefault(family, []).append(
            [*match, *nft.port(protocol, number), *nft.redirect(family, to, target)]
        )
    if not by_family:
        unpublish(container)
        return
    messages = []
    for family, each in by_family.items():
        loopback = nft.outside(_LOOPBACK[family])
        messages += nft.fresh_table(family, table)
        for name, hook in (("incoming", nft.HOOK_PREROUTING), ("outgoing", nft.HOOK_OUTPUT)):
            messages.append(nft.chain(family, table, name, "nat", hook, nft.PRIORITY_DSTNAT))
            messages += [nft.rule(family, table, name, [*loopback, *expressions]) for expressions in each]
    nft.transact(messages)


def unpublish(container: str) -> None:
    """Take away the table of a container's ports; it is no error if there is none."""
    _remove(ports_table(container))


foreign_forward_drops = nft.foreign_forward_drops
