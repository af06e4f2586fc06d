"""``network graph``: what is told of networks is what the kernel has."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.commands.context import Context
from jupyter_containers.commands.network_graph import page, tree
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.results import Page
from jupyter_containers.commands.table import find
from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.errors import NetworkNotFound
from tests.support.own_network import run

if TYPE_CHECKING:
    from jupyter_containers.engine.network.topology import ContainerNode, Topology

SLEEP = ["sleep", "1000"]


def begin(engine: Engine, name: str, **keywords: Any) -> None:
    engine.containers.run("starter", SLEEP, detach=True, name=name, stop_timeout=0, **keywords)


def node(found: Topology, name: str) -> ContainerNode:
    return next(each for each in found.containers if each.name == name)


def own_addresses(engine: Engine, name: str, interface: str) -> set[str]:
    """As the container's own ``ip`` says."""
    result = engine.containers.exec(name, ["ip", "addr", "show", interface])
    assert isinstance(result, RunResult)
    words = [line.split() for line in result.stdout.splitlines()]
    return {each[1] for each in words if each[0] in {"inet", "inet6"} and not each[1].startswith("fe80:")}


def test_bridges_pairs_addresses_and_modes_are_those_that_are_there(net: Engine) -> None:
    net.networks.create("back", subnet=["10.77.0.0/24", "fd00:77::/64"], internal=True)
    begin(net, "web")
    begin(net, "db", network=["name=back,ip=10.77.0.9", "bridge"])
    begin(net, "side", network="container:web")
    begin(net, "alone", network="none")
    found = net.networks.topology()
    networks = {each.name: each for each in found.networks}
    assert {name: (each.up, each.translated, each.internal, each.rules) for name, each in networks.items()} == {
        "bridge": (True, True, False, True),
        "back": (True, False, True, True),
        "host": (False, False, False, None),
        "none": (False, False, False, None),
    }
    assert networks["back"].addresses == ("10.77.0.1/24", "fd00:77::1/64")
    assert [each.strangers for each in found.networks] == [(), (), (), ()]
    assert [(each.name, plug.interface) for each, plug in found.members("back")] == [("db", "eth0")]
    for name in ("web", "db"):
        for plug in node(found, name).plugs:
            assert set(plug.addresses) == own_addresses(net, name, plug.interface)
            assert plug.bridge == networks[plug.network].interface
            assert plug.outer.startswith("jcv")
    assert (node(found, "side").mode, node(found, "side").shares) == ("container", "web")
    assert node(found, "side").namespace == node(found, "web").namespace
    assert (node(found, "alone").mode, node(found, "alone").plugs) == ("none", ())
    assert (found.shared, bool(found.holder)) == (os.geteuid() != 0, os.geteuid() != 0)
    only = net.networks.topology("back")
    assert [each.name for each in only.networks] == ["back"]
    assert [each.name for each in only.containers] == ["db"]
    net.networks.disconnect("back", "db")
    (plug,) = node(net.networks.topology(), "db").plugs
    assert plug.network == "bridge"
    with pytest.raises(NetworkNotFound):
        net.networks.topology("nowhere")


@pytest.mark.root
def test_the_other_end_of_each_pair_is_the_containers_own(net: Engine) -> None:
    """Two containers with interfaces of the same number inside: what ip(8) says of the pairs, by namespace."""
    for name in ("one", "two"):
        begin(net, name)
    found = net.networks.topology()
    for name in ("one", "two"):
        (plug,) = node(found, name).plugs
        pid = net.containers.inspect(name)["State"]["Pid"]
        inside = f"nsenter --target {pid} --net ip -j link show eth0".split()
        (inner,) = json.loads(subprocess.run(inside, capture_output=True, check=True).stdout)
        outside = ["ip", "-j", "link", "show", plug.outer]
        (outer,) = json.loads(subprocess.run(outside, capture_output=True, check=True).stdout)
        assert inner["link_index"] == outer["ifindex"]
        assert inner["address"] == plug.mac
        assert outer["master"] == plug.bridge


def test_ports_and_who_carries_them(net: Engine) -> None:
    begin(net, "web", publish=["127.0.0.1:38180:80", "0.0.0.0:38181:81/udp"])
    ports = node(net.networks.topology(), "web").ports
    assert [port.shown for port in ports] == ["127.0.0.1:38180 -> 80/tcp", "0.0.0.0:38181 -> 81/udp"]
    assert [port.carrier for port in ports] == ["agent", "kernel" if os.geteuid() == 0 else "agent"]


@pytest.mark.root
def test_what_was_flushed_or_does_not_belong_there_is_told(net: Engine) -> None:
    begin(net, "web")
    (network,) = net.networks.topology("bridge").networks
    run("nft flush ruleset", "ip link add stray type veth peer name other")
    run(f"ip link set stray master {network.interface}")
    found = net.networks.topology()
    (network,) = (each for each in found.networks if each.name == "bridge")
    assert (network.rules, network.translated, network.strangers) == (False, False, ("stray",))
    told = page(found)
    assert "The firewall rules of bridge are gone: the next start in it puts them back." in told.words
    assert "stray  belongs to no container that runs" in "\n".join(tree(found))
    run("ip link del stray")


def test_a_look_makes_and_starts_nothing(net: Engine) -> None:
    for _ in range(2):
        found = net.networks.topology()
        assert (found.containers, found.holder) == ((), 0)
        assert [each.up for each in found.networks] == [False] * 3


def test_the_verb_gives_a_tree_and_tables(net: Engine) -> None:
    net.networks.create("back")
    begin(net, "db", network="back", publish=["38180:80"])
    command, words = find(["network", "graph", "back"], program="x")
    told = command.handler(Context(lambda: net), parse(command, words, program="x"))
    assert isinstance(told, Page)
    (plug,) = node(net.networks.topology(), "db").plugs
    assert told.drawn[-2:] == (
        f"└─ {plug.outer} ── eth0  db  {plug.addresses[0]}",
        "   └─ 127.0.0.1:38180 -> 80/tcp  by the network agent",
    )
    assert [grid.noun for grid in told.grids] == ["Networks", "Interfaces", "Ports", "Containers"]
