"""The networks of a store as a picture: the ways out, the bridges, and the containers with what is plugged in where.

Three columns from left to right. A bridge stands beside the containers that are in it, a veth pair is a line between
the two with the name of its outer end; where an ordinary user's containers are stands in a dashed frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.commands import humane
from jupyter_containers.commands.network_graph import sentences, traits, way_out
from jupyter_containers.notebook.drawing import svg
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.network.topology import ContainerNode, NetworkNode, Topology

MOST: Final = 100
"""So many containers are drawn at most."""
_LINE, _PAD, _GAP = 17, 8, 14
_WAYS, _BRIDGES, _WIRES, _CONTAINERS = 168, 236, 150, 324
_SPACE: Final = 44
_BRACKET: Final = 16
_LETTERS: Final = 7.3
_CARRIED: Final = {"kernel": "kernel", "agent": "agent", "nobody": "nobody!"}


@dataclass(frozen=True, slots=True)
class _Box:
    """A box with lines, the first one bold; ``y`` is where it begins."""

    y: float
    lines: tuple[str, ...]

    @property
    def height(self) -> float:
        return 2 * _PAD + _LINE * len(self.lines) - 4

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def picture(found: Topology) -> str:
    """The picture as SVG."""
    told = " ".join(sentences(found))
    left = _WAYS + _SPACE
    right = left + _BRIDGES + _WIRES
    drawing = svg.Picture("Networks", f"{told} The same is in the tables.", width=right + _CONTAINERS + _BRACKET)
    top = 26.0
    shown, places, bottom = _containers(found, top)
    bridges = _bridges(found, shown, places, top)
    bottom = max([bottom, *(box.y + box.height + _GAP for box in bridges.values())])
    middle = (top + bottom - _GAP) / 2
    inside = [box for name, box in bridges.items() if name not in ({"host", "none"} if found.shared else {"none"})]
    frame = max((box.y + box.height for box in inside), default=top + 20)
    where = "network namespace of this user's containers" if found.shared else "this host"
    drawing.box(left - 18, 4, _BRIDGES + 36, frame + 6, dashed=found.shared, line=0.7)
    drawing.text(left - 10, 18, where, size=11, faint=True)
    _ways(drawing, found, bridges, left, middle)
    for network in found.networks:
        if network.name in bridges:
            _bridge(drawing, network, bridges[network.name], left)
    for each in shown:
        _wires(drawing, each, places[each.id], bridges, (left + _BRIDGES, right))
    by_name = {each.name: places[each.id] for each in shown}
    for each in shown:
        if each.shares in by_name:
            _shared(drawing, by_name[each.shares], places[each.id], right + _CONTAINERS)
        _container(drawing, each, places[each.id], right)
    if more := len(found.containers) - len(shown):
        drawing.text(right, bottom + 4, f"… and {more} more containers", faint=True)
    return drawing.svg()


def _ordered(found: Topology) -> list[NetworkNode]:
    """Those of the host and of nobody last."""
    return sorted(found.networks, key=lambda each: each.name in {"host", "none"})


def _containers(found: Topology, top: float) -> tuple[list[ContainerNode], dict[str, _Box], float]:
    """The containers in the order of their networks, so that few lines cross, and where each stands."""
    order = {each.name: at for at, each in enumerate(_ordered(found))}

    names = {each.name: each for each in found.containers}

    def first(each: ContainerNode) -> tuple[int, str, bool]:
        other = names.get(each.shares)
        if other is not None and not other.shares:
            return *first(other)[:2], True  # below the one whose network it has
        networks = [plug.network for plug in each.plugs] or [each.mode]
        return min(order.get(name, len(order)) for name in networks), each.name, False

    shown = sorted(found.containers, key=first)[:MOST]
    places, y = {}, top
    for each in shown:
        places[each.id] = box = _Box(y, tuple(_lines(each)))
        y += box.height + _GAP
    return shown, places, y


def _lines(container: ContainerNode) -> list[str]:
    plugs = [f"{plug.interface or '(no interface)'} {', '.join(plug.addresses)}" for plug in container.plugs]
    words = {"none": ["loopback only"], "host": ["the host's interfaces"], "own": []}
    modes = words.get(container.mode, [f"the network of {container.shares}"])
    ports = [f"{port.shown} ({_CARRIED[port.carrier]})" for port in container.ports]
    return [container.name, *plugs, *modes, *ports]


def _bridges(found: Topology, shown: Sequence[ContainerNode], places: dict[str, _Box], top: float) -> dict[str, _Box]:
    """Each network beside the middle of its containers, below the one before; ``none`` is no place."""
    boxes: dict[str, _Box] = {}
    y = top
    for network in _ordered(found):
        mine = [
            places[each.id].middle
            for each in shown
            if each.mode == network.name or any(plug.network == network.name for plug in each.plugs)
        ]
        if network.name in {"none", "host"} and not mine:
            continue
        box = _Box(0, tuple(_network_lines(network)))
        wanted = sum(mine) / len(mine) - box.height / 2 if mine else y
        boxes[network.name] = _Box(max(y, wanted), box.lines)
        y = boxes[network.name].y + box.height + _GAP
    return boxes


def _network_lines(network: NetworkNode) -> list[str]:
    if network.name == "host":
        return ["host", "no network of its own"]
    if network.name == "none":
        return ["none", "nothing but loopback"]
    words = traits(network).strip(" ,")
    address, _, rest = words.partition(", ")
    device = f"{network.driver} {network.interface}".strip()
    stale = [f"{len(network.strangers)} interfaces of nobody"] if network.strangers else []
    return [network.name, device, *filter(None, (address, rest)), *stale]


def _write(drawing: svg.Picture, box: _Box, x: float, width: float, *, fill: str, dashed: bool, tip: str) -> None:
    drawing.box(x, box.y, width, box.height, fill=fill, opacity=0.14, dashed=dashed, tip=tip)
    most = int((width - 2 * _PAD) / _LETTERS)
    for at, line in enumerate(box.lines):
        text = humane.shorten(humane.visible(line), most)
        drawing.text(x + _PAD, box.y + _PAD + 8 + at * _LINE, text, bold=at == 0, fixed=at > 0, size=12 if at else 13)


def _bridge(drawing: svg.Picture, network: NetworkNode, box: _Box, x: float) -> None:
    tip = f"{network.name}: {network.driver} {network.interface} {network.mac}".strip()
    fill = svg.GREY if network.name in {"host", "none"} else svg.BLUE if network.rules is not False else svg.RED
    _write(drawing, box, x, _BRIDGES, fill=fill, dashed=not network.up, tip=tip)


def _container(drawing: svg.Picture, each: ContainerNode, box: _Box, x: float) -> None:
    traffic = "; ".join(
        f"{plug.interface} {plug.mac} received {humane.size(plug.received)}, sent {humane.size(plug.sent)}"
        for plug in each.plugs
    )
    _write(drawing, box, x, _CONTAINERS, fill=svg.GREEN, dashed=False, tip=f"{each.name}, {each.image}: {traffic}")


def _wires(
    drawing: svg.Picture, each: ContainerNode, box: _Box, bridges: dict[str, _Box], ends: tuple[float, float]
) -> None:
    """A line for each place of a container: solid where both ends of a pair are there."""
    x1, x2 = ends
    for at, plug in enumerate(each.plugs):
        if plug.network in bridges:
            y = box.y + _PAD + 4 + (at + 1) * _LINE
            label = plug.outer or ("" if plug.interface else "not plugged in")
            _wire(drawing, (x1, bridges[plug.network].middle), (x2, y), label, dashed=not plug.bridge)
    if each.mode in bridges:
        _wire(drawing, (x1, bridges[each.mode].middle), (x2, box.middle), "", dashed=True)


def _shared(drawing: svg.Picture, of: _Box, box: _Box, x: float) -> None:
    """A line from a container to the one whose network it has."""
    out = x + _BRACKET - 2
    drawing.path(f"M{x:g} {of.middle:g}H{out:g}V{box.middle:g}H{x:g}", dashed=True, tip="the same network namespace")


def _wire(
    drawing: svg.Picture, start: tuple[float, float], end: tuple[float, float], label: str, *, dashed: bool
) -> None:
    (x1, y1), (x2, y2) = start, end
    flat = x2 - 104
    half = (x1 + flat) / 2
    drawing.path(f"M{x1:g} {y1:g}C{half:g} {y1:g} {half:g} {y2:g} {flat:g} {y2:g}H{x2:g}", dashed=dashed, tip=label)
    if label:
        drawing.text(flat + 4, y2 - 3, label, size=10, fixed=True, faint=True)


def _ways(drawing: svg.Picture, found: Topology, bridges: dict[str, _Box], left: float, middle: float) -> None:
    """The ways out, and a line from each bridge that one leads to."""
    lines = [line for way in found.ways_out for line in (way_out(way.name, ""), *way.addresses)]
    helper = ["pasta or slirp4netns"] if any(way.kind == "tun" for way in found.ways_out) else []
    box = _Box(0, ("other machines", *(lines or ["no way there"]), *helper))
    box = _Box(max(26.0, middle - box.height / 2), box.lines)
    _write(drawing, box, 0, _WAYS, fill=svg.ORANGE, dashed=not lines, tip="where packets leave")
    for network in found.networks:
        reached = network.driver == "macvlan" or network.translated or (network.up and not network.internal)
        if network.name not in bridges or not lines or not (reached and network.interface):
            continue
        x1, y1, x2, y2 = _WAYS, box.middle, left, bridges[network.name].middle
        half = (x1 + x2) / 2
        tip = "with the host's address (NAT)" if network.translated else "with its own address"
        drawing.path(f"M{x1:g} {y1:g}C{half:g} {y1:g} {half:g} {y2:g} {x2:g} {y2:g}", tip=tip)
