"""``network graph``: what the networks really are, as a tree in letters and as tables; a notebook draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Column, Grid, Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.network.topology import ContainerNode, NetworkNode, Plug, Topology

_CARRIERS = ("kernel", "agent", "nobody")
_MODES = ("own", "none", "host", "container")
CARRIED = {"kernel": "by the kernel", "agent": "by the network agent", "nobody": "by nobody: the agent has ended"}
"""Who carries what comes to a published port, in words."""


def _graph(context: Context, arguments: Arguments) -> Page:
    return page(context.engine().networks.topology(*arguments.positionals), full=arguments.flag("no-trunc"))


def page(found: Topology, *, full: bool = False) -> Page:
    """A topology to read: sentences, a tree, and its networks, interfaces, containers and ports as tables."""
    networks, containers = found.networks, found.containers
    plugs = [(each, plug) for each in containers for plug in each.plugs]
    ports = [(each, port) for each in containers for port in each.ports]
    grids = (
        Grid(
            "Networks",
            (
                Column("NETWORK", "network", "text", tuple(each.name for each in networks)),
                Column("DRIVER", "driver", "text", tuple(each.driver for each in networks)),
                Column("INTERFACE", "interface", "text", tuple(each.interface for each in networks)),
                Column("UP", "up", "flag", tuple(each.up for each in networks)),
                Column("ADDRESSES", "addresses", "text", tuple(", ".join(each.addresses) for each in networks)),
                Column("NAT", "nat", "flag", tuple(each.translated for each in networks)),
                Column("INTERNAL", "internal", "flag", tuple(each.internal for each in networks)),
                Column("RULES", "rules", "flag", tuple(each.rules for each in networks)),
                Column("ID", "id", "text", tuple(each.id for each in networks), short=True),
            ),
            full=full,
        ),
        Grid(
            "Interfaces",
            (
                Column("CONTAINER", "container", "text", tuple(each.name for each, _ in plugs)),
                Column("INTERFACE", "interface", "text", tuple(plug.interface for _, plug in plugs)),
                Column("ADDRESSES", "addresses", "text", tuple(", ".join(plug.addresses) for _, plug in plugs)),
                Column("OUTSIDE", "outside", "text", tuple(plug.outer for _, plug in plugs)),
                Column("BRIDGE", "bridge", "text", tuple(plug.bridge for _, plug in plugs)),
                Column("NETWORK", "network", "text", tuple(plug.network for _, plug in plugs)),
                Column("MAC", "mac", "text", tuple(plug.mac for _, plug in plugs)),
                Column("RECEIVED", "received", "size", tuple(plug.received for _, plug in plugs)),
                Column("SENT", "sent", "size", tuple(plug.sent for _, plug in plugs)),
                Column("ID", "id", "text", tuple(each.id for each, _ in plugs), short=True),
            ),
            full=full,
        ),
        Grid(
            "Ports",
            (
                Column("CONTAINER", "container", "text", tuple(each.name for each, _ in ports)),
                Column("HOST", "host", "text", tuple(port.host for _, port in ports)),
                Column("PORT", "port", "count", tuple(port.number for _, port in ports)),
                Column("TARGET", "target", "count", tuple(port.target for _, port in ports)),
                Column("PROTOCOL", "protocol", "choice", tuple(port.protocol for _, port in ports), ("tcp", "udp")),
                Column("CARRIED BY", "carrier", "choice", tuple(port.carrier for _, port in ports), _CARRIERS),
                Column("ID", "id", "text", tuple(each.id for each, _ in ports), short=True),
            ),
            full=full,
        ),
        Grid(
            "Containers",
            (
                Column("CONTAINER", "container", "text", tuple(each.name for each in containers)),
                Column("MODE", "mode", "choice", tuple(each.mode for each in containers), _MODES),
                Column("SHARES", "shares", "text", tuple(each.shares for each in containers)),
                Column("NAMESPACE", "namespace", "count", tuple(each.namespace for each in containers)),
                Column("ID", "id", "text", tuple(each.id for each in containers), short=True),
            ),
            full=full,
        ),
    )
    return Page("Networks", tuple(sentences(found)), grids, found, full=full, drawn=tuple(tree(found)))


def sentences(found: Topology) -> Iterator[str]:
    """What is to be said of all networks."""
    if found.shared and found.holder:
        yield f"The bridges are in a network namespace of this user's, kept by process {found.holder}."
    elif found.shared:
        yield "No container runs, so there is no network namespace for this user's networks now."
    else:
        yield "The bridges are in the network namespace of this host."
    running = len(found.containers)
    yield f"{running} {'container runs' if running == 1 else 'containers run'}."
    if found.shared and found.holder and not found.ways_out:
        yield "Nothing leads from there to other machines."
    if not found.forwards and any(each.up for each in found.networks):
        yield "IPv4 packets are not passed on: containers reach each other, and nobody else."
    for each in found.networks:
        if each.up and each.rules is False:
            yield f"The firewall rules of {each.name} are gone: the next start in it puts them back."


def tree(found: Topology) -> Iterator[str]:
    """The ways out, then each network with its containers and their published ports."""
    for way in found.ways_out:
        yield f"way out: {way_out(way.name, way.kind)}  {', '.join(way.addresses)}".rstrip()
    for network in found.networks:
        members = found.members(network.name)
        under = [(lines[0], lines[1:]) for lines in (_member(each, plug) for each, plug in members)]
        if network.name in {"host", "none"}:
            under += [(each.name, _ports(each)) for each in found.containers if each.mode == network.name]
        under += [(f"{name}  belongs to no container that runs", []) for name in network.strangers]
        if under or network.interface:
            yield heading(network)
            yield from _branches(under)
    shared = [(f"{each.name}  has the network of {each.shares}", ()) for each in found.containers if each.shares]
    if shared:
        yield "containers in the network of another one"
        yield from _branches(shared)


def way_out(name: str, kind: str) -> str:
    """``eth0``; ``eth0, of pasta or slirp4netns``."""
    return f"{name}, of pasta or slirp4netns" if kind == "tun" else name


def heading(network: NetworkNode) -> str:
    """``back: bridge jc12345678 10.88.1.1/24, NAT``."""
    if not network.interface:
        return network.name
    return f"{network.name}: {network.driver} {network.interface}{traits(network)}"


def traits(network: NetworkNode) -> str:
    """What is special of a network, for a line that begins with its name."""
    shown = " ".join(network.addresses or network.subnets)
    words = [
        *(["NAT"] if network.translated else []),
        *(["internal"] if network.internal else []),
        *(["containers apart"] if network.isolated else []),
        *(["no rules"] if network.up and network.rules is False else []),
        *(["not up"] if network.interface and not network.up else []),
    ]
    return "".join([f" {shown}" if shown else "", *(f", {word}" for word in words)])


def _member(container: ContainerNode, plug: Plug) -> list[str]:
    ends = [end for end in (plug.outer, plug.interface) if end]
    first = "  ".join(filter(None, (" ── ".join(ends), container.name, ", ".join(plug.addresses))))
    return [first, *(_ports(container) if plug is container.plugs[0] else [])]


def _ports(container: ContainerNode) -> list[str]:
    return [f"{port.shown}  {CARRIED[port.carrier]}" for port in container.ports]


def _branches(items: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    for at, (line, below) in enumerate(items):
        last = at == len(items) - 1
        yield f"{'└─' if last else '├─'} {humane.visible(line)}"
        for number, each in enumerate(below):
            yield f"{' ' if last else '│'}  {'└─' if number == len(below) - 1 else '├─'} {humane.visible(each)}"


COMMANDS = (
    Command(
        ("network graph",),
        "network",
        "Show what the networks really are: bridges, veth pairs, addresses, ports, NAT",
        _graph,
        (Option("no-trunc", "Show ids in full", kind="bool"),),
        (Argument("NETWORK", minimum=0, maximum=None, completes="network"),),
        examples=("network graph", "network graph backend"),
        python=("networks.topology",),
    ),
)
