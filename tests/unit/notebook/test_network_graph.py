"""The picture and the tree of networks, made of a view without a kernel."""

from __future__ import annotations

from datetime import UTC, datetime

from jupyter_containers.commands.network_graph import page, tree
from jupyter_containers.engine.network.topology import (
    ContainerNode,
    NetworkNode,
    Plug,
    PublishedPort,
    Topology,
    WayOut,
)
from jupyter_containers.notebook import display
from jupyter_containers.notebook.drawing import network_graph
from jupyter_containers.notebook.pages import Page as ShownPage
from tests.support.pages import SVG, Page, drawings, well_formed, words

BRIDGE = NetworkNode(
    "a" * 64, "bridge", "bridge", "jc0", up=True, addresses=("10.0.0.1/24",), rules=True, translated=True
)
NONE = NetworkNode("b" * 64, "none", "null")


def container(number: int, *ports: PublishedPort, name: str = "") -> ContainerNode:
    plug = Plug("bridge", "eth0", f"jcv{number}", "jc0", "02:00", (f"10.0.0.{number}/24",), 5, 6)
    return ContainerNode(f"{number:064x}", name or f"c{number}", "app", "own", plugs=(plug,), ports=ports)


def topology(*containers: ContainerNode, shared: bool = False) -> Topology:
    ways = (WayOut("eth0", "tun" if shared else "", "", ("10.0.2.100/24",)),)
    holder = 7 if shared else 0
    return Topology(datetime.now(UTC), shared, holder, ways, True, (BRIDGE, NONE), containers)


def test_a_picture_has_a_line_for_each_pair_and_the_name_of_its_outer_end() -> None:
    port = PublishedPort(80, "tcp", "::1", 8080, "agent")
    found = topology(container(2, port), container(3))
    (drawing,) = drawings(well_formed(network_graph.picture(found)))
    told = words(drawing)
    assert {"jcv2", "jcv3", "c2", "eth0 10.0.0.2/24", "[::1]:8080 -> 80/tcp (agent)", "other machines", "NAT"} <= set(
        told
    )
    assert "none" not in told
    assert len(list(drawing.iter(f"{SVG}path"))) == 3


def test_the_frame_of_a_shared_namespace_is_dashed_and_says_so() -> None:
    (own,) = drawings(network_graph.picture(topology(container(2))))
    (shared,) = drawings(network_graph.picture(topology(container(2), shared=True)))
    assert "this host" in words(own)
    assert {"network namespace of this user's containers", "pasta or slirp4netns"} <= set(words(shared))
    assert next(shared.iter(f"{SVG}rect")).get("stroke-dasharray")
    assert not next(own.iter(f"{SVG}rect")).get("stroke-dasharray")


def test_many_containers_are_drawn_as_far_as_the_limit_and_counted() -> None:
    found = topology(*map(container, range(2, network_graph.MOST + 5)))
    picture = network_graph.picture(found)
    assert "… and 3 more containers" in picture
    assert len(picture) < 250_000


def test_hostile_names_are_no_markup_and_move_no_cursor() -> None:
    found = topology(container(2, name="<script>\x1b[2J"))
    html = well_formed(display.topology_html(found))
    assert "<script" not in html
    assert "\x1b" not in html + "\n".join(tree(found))


def test_a_page_of_networks_is_sentences_a_tree_in_text_and_tables() -> None:
    shown = ShownPage(page(topology(container(2, PublishedPort(80, "tcp", "0.0.0.0", 80, "nobody")))))
    assert "└─ jcv2 ── eth0  c2  10.0.0.2/24" in repr(shown)
    assert "by nobody: the agent has ended" in repr(shown)
    assert Page.of(shown._repr_html_()).texts("summary") == [
        "Networks (2)",
        "Interfaces (1)",
        "Ports (1)",
        "Containers (1)",
    ]
    assert shown["interfaces"].loc["c2", "outside"] == "jcv2"
    assert shown["ports"]["carrier"].tolist() == ["nobody"]
