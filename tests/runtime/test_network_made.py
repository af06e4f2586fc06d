"""Networks that users make: addresses, isolation, several for one container, live changes."""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Container, Engine, RunResult
from jupyter_containers.errors import (
    Conflict,
    EngineError,
    InvalidInput,
    NameInUse,
    NetworkInUse,
    NetworkNotFound,
    NotFound,
    Unsupported,
)
from tests.support.own_network import run

if TYPE_CHECKING:
    from pathlib import Path


def sh(engine: Engine, script: str, **keywords: Any) -> str:
    """What a script prints in a container that is removed afterwards."""
    result = engine.containers.run("starter", ["sh", "-c", script], remove=True, **keywords)
    assert isinstance(result, RunResult)
    return result.stdout


def serve(engine: Engine, name: str, **keywords: Any) -> Container:
    """A container in the background that answers on port 8080 with its name."""
    script = f"while true; do echo {name} | nc -l -p 8080; done"
    made = engine.containers.run("starter", ["sh", "-c", script], detach=True, name=name, stop_timeout=0, **keywords)
    assert isinstance(made, Container)
    return made


def within(engine: Engine, name: str, script: str) -> str:
    result = engine.containers.exec(name, ["sh", "-c", script])
    assert isinstance(result, RunResult)
    return result.stdout.strip()


def address(engine: Engine, network: str, name: str) -> str:
    members = engine.networks.inspect(network)["Containers"].values()
    return next(str(each["IPv4Address"]) for each in members if each["Name"] == name).partition("/")[0]


ASK = "for n in 1 2 3 4 5; do nc -w 1 {0} 8080 </dev/null && break; sleep 0.1; done"


@pytest.mark.root
def test_a_network_has_what_was_asked_for(net: Engine) -> None:
    net.networks.create(
        "back",
        subnet=["10.77.0.0/24", "fd00:77::/64"],
        gateway="10.77.0.254",
        ip_range="10.77.0.128/25",
        aux_address={"printer": "10.77.0.129"},
        labels={"team": "data"},
        options={"com.docker.network.bridge.name": "jcback", "com.docker.network.driver.mtu": "1300"},
    )
    found = net.networks.inspect("back")
    assert found["IPAM"]["Config"] == [
        {
            "Subnet": "10.77.0.0/24",
            "IPRange": "10.77.0.128/25",
            "Gateway": "10.77.0.254",
            "AuxiliaryAddresses": {"printer": "10.77.0.129"},
        },
        {"Subnet": "fd00:77::/64", "Gateway": "fd00:77::1"},
    ]
    assert (found["EnableIPv6"], found["Internal"], found["Labels"]) == (True, False, {"team": "data"})
    seen = sh(net, "ip addr show eth0; ip route; ip -6 route", network="back")
    assert "mtu 1300" in seen
    assert "inet 10.77.0.128/24" in seen
    assert "inet6 fd00:77::2/64" in seen
    assert "default via 10.77.0.254 dev eth0" in seen
    assert "default via fd00:77::1 dev eth0" in seen
    assert "inet 10.77.0.130/24" in sh(net, "ip addr", network="back", ip="10.77.0.130")
    bridge = subprocess.run(["ip", "addr", "show", "jcback"], capture_output=True, text=True, check=True).stdout
    assert "10.77.0.254/24" in bridge


def test_addresses_are_kept_apart_and_given_back(net: Engine) -> None:
    net.networks.create("tiny", subnet="10.77.0.0/29", ip_range="10.77.0.4/31")
    serve(net, "one", network="tiny", ip="10.77.0.4", mac_address="02:00:00:00:00:07")
    assert "02:00:00:00:00:07" in within(net, "one", "cat /sys/class/net/eth0/address")
    with pytest.raises(EngineError, match=r"10\.77\.0\.4 belongs to another container"):
        sh(net, "true", network="tiny", ip="10.77.0.4")
    assert "10.77.0.5" in sh(net, "ip addr", network="tiny")
    serve(net, "two", network="tiny")
    with pytest.raises(EngineError, match=r"all addresses of 10\.77\.0\.4/31"):
        sh(net, "true", network="tiny")
    net.containers.stop("one")
    assert "10.77.0.4" in sh(net, "ip addr", network="tiny")
    assert [row.name for row in net.containers.list(all=True)] == ["two", "one"]


def test_networks_are_apart_from_each_other(net: Engine) -> None:
    net.networks.create("back")
    net.networks.create("front")
    serve(net, "web", network="back")
    target = address(net, "back", "web")
    assert sh(net, ASK.format(target), network="back").strip() == "web"
    assert sh(net, f"nc -w 1 {target} 8080 </dev/null", network="front") == ""
    assert sh(net, f"nc -w 1 {target} 8080 </dev/null") == ""
    assert sh(net, ASK.format(target), network=["front", "back"]).strip() == "web"
    assert sh(net, "ip route | grep default", network=["front", "name=back,gw-priority=3"]).split()[4] == "eth1"


@pytest.mark.root
def test_an_internal_network_has_no_way_out(net: Engine) -> None:
    run(
        "ip link add outside0 type veth peer name outside1",
        "ip address add 198.51.100.1/24 dev outside0",
        "ip link set outside0 up",
    )
    with socket.create_server(("198.51.100.1", 8080)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        net.networks.create("closed", internal=True)
        net.networks.create("open")
        assert sh(net, "ip route | grep default", network="closed") == ""
        assert sh(net, ASK.format("198.51.100.1"), network="open").strip() == "out"
        assert sh(net, "nc -w 1 198.51.100.1 8080 </dev/null; echo $?", network="closed").strip() == "1"


def answer(server: socket.socket) -> None:
    channel, _peer = server.accept()
    with channel:
        channel.sendall(b"out\n")


def test_containers_can_be_kept_apart_within_a_network(net: Engine) -> None:
    net.networks.create("apart", options=["com.docker.network.bridge.enable_icc=false"])
    serve(net, "web", network="apart")
    target = address(net, "apart", "web")
    assert sh(net, f"nc -w 1 {target} 8080 </dev/null", network="apart") == ""
    assert (
        sh(net, "ping -c 1 -W 1 $(ip route | grep default | cut -d' ' -f3) | grep -c ' 0% '", network="apart") == "1\n"
    )


def test_connect_and_disconnect_while_it_runs(net: Engine) -> None:
    net.networks.create("one")
    net.networks.create("two", subnet="10.77.1.0/24")
    serve(net, "web", network="one")
    net.networks.connect("two", "web", ip="10.77.1.9", mac_address="02:00:00:00:00:09", gw_priority=1)
    assert "10.77.1.9" in within(net, "web", "ip addr show eth1")
    within(net, "web", "echo 192.0.2.7 other >>/etc/hosts")
    hosts = within(net, "web", "cat /etc/hosts")
    assert f"10.77.1.9\t{net.containers.inspect('web')['Config']['Hostname']}\n192.0.2.7 other" in hosts
    assert within(net, "web", "ip route | grep default").startswith("default via 10.77.1.1 dev eth1")
    assert sh(net, ASK.format("10.77.1.9"), network="two").strip() == "web"
    with pytest.raises(Conflict, match="in the network two already"):
        net.networks.connect("two", "web")
    net.networks.disconnect("two", "web")
    assert "eth1" not in within(net, "web", "ip addr")
    assert within(net, "web", "cat /etc/hosts").split("\n") == [
        line for line in hosts.split("\n") if "77.1" not in line
    ]
    assert "dev eth0" in within(net, "web", "ip route | grep default")
    with pytest.raises(NotFound, match="not in the network two"):
        net.networks.disconnect("two", "web")
    net.networks.disconnect("two", "web", force=True)
    # without running: it has it from the next start on
    net.containers.stop("web")
    net.networks.connect("two", "web", ip="10.77.1.7")
    net.containers.start("web")
    assert "10.77.1.7" in within(net, "web", "ip addr show eth1")


def test_a_connect_that_fails_changes_nothing(net: Engine) -> None:
    net.networks.create("one")
    net.networks.create("two", subnet="10.77.1.0/24")
    serve(net, "web", network="one")
    serve(net, "other", network="two", ip="10.77.1.9")
    before = net.containers.inspect("web")["NetworkSettings"]
    for ip, why in (("10.77.1.9", "belongs to another"), ("10.1.1.1", "not an address"), ("10.77.1", "IPv4")):
        with pytest.raises(EngineError, match=why):
            net.networks.connect("two", "web", ip=ip)
    with pytest.raises(NetworkNotFound, match="no such network: three"):
        net.networks.connect("three", "web")
    assert net.containers.inspect("web")["NetworkSettings"] == before
    assert "eth1" not in within(net, "web", "ip addr")


def test_the_network_of_another_container_is_shared(net: Engine) -> None:
    net.networks.create("one")
    serve(net, "web", network="one", add_host=["peer:192.0.2.7"])
    own = within(net, "web", "cat /etc/hosts /etc/resolv.conf /etc/hostname; ip -o addr")
    assert sh(net, "cat /etc/hosts /etc/resolv.conf /etc/hostname; ip -o addr", network="container:web").strip() == own
    assert sh(net, ASK.format("127.0.0.1"), network="container:web").strip() == "web"
    made = net.containers.create("starter", ["true"], network="container:web", name="beside")
    with pytest.raises(Conflict, match="cannot be connected"):
        net.networks.connect("one", made.id)


def test_a_network_in_use_stays_and_an_unused_one_goes(net: Engine) -> None:
    net.networks.create("used")
    net.networks.create("spare", labels=["keep"])
    net.networks.create("gone")
    serve(net, "web", network="used")
    with pytest.raises(NetworkInUse, match="active endpoints: web"):
        net.networks.remove("used")
    assert net.networks.prune(filters=["label!=keep", "until=1h"]) == []
    assert net.networks.prune(filters=["label=keep"]) == ["spare"]
    with pytest.raises(InvalidInput, match="invalid filter 'dangling=true'"):
        net.networks.prune(filters=["dangling=true"])
    assert net.networks.prune() == ["gone"]
    net.containers.stop("web")
    assert net.networks.prune() == []  # a container that does not run may be started again
    assert net.networks.remove(net.networks.inspect("used")["Id"][:9]) == "used"
    with pytest.raises(NetworkNotFound):
        net.containers.start("web")
    for name in ("bridge", "host", "none"):
        with pytest.raises(Conflict, match="pre-defined"):
            net.networks.remove(name)
    assert [row.name for row in net.networks.list()] == ["bridge", "host", "none"]


@pytest.mark.root
def test_what_cannot_be_is_refused_and_leaves_nothing(net: Engine) -> None:
    net.networks.create("back", subnet="10.77.0.0/24")
    run(
        "ip link add route0 type veth peer name route1",
        "ip address add 10.78.0.1/24 dev route0",
        "ip link set route0 up",
    )
    cases: list[tuple[dict[str, Any], type[EngineError], str]] = [
        ({"name": "back"}, NameInUse, "already exists"),
        ({"name": "host"}, NameInUse, "pre-defined"),
        ({"name": "a/b"}, InvalidInput, "invalid network name"),
        ({"subnet": "10.77.0.128/25"}, Conflict, "of the network back"),
        ({"subnet": "10.78.0.0/16"}, Conflict, "this host has a route to"),
        ({"subnet": "10.79.0.1/24"}, InvalidInput, "host bits set"),
        ({"subnet": "10.79.0.0/31"}, InvalidInput, "no room"),
        ({"subnet": "10.79.0.0/24", "gateway": "10.80.0.1"}, InvalidInput, "not in the subnet"),
        ({"subnet": "10.79.0.0/24", "ip_range": "10.80.0.0/25"}, InvalidInput, "not in the subnet"),
        ({"aux_address": {"x": "1.1.1.1"}}, InvalidInput, "not in the subnet"),
        ({"driver": "overlay"}, Unsupported, "no network driver"),
        ({"driver": "macvlan"}, InvalidInput, "needs an interface"),
        ({"driver": "macvlan", "options": {"parent": "none0"}}, NotFound, "no interface none0"),
        ({"options": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}}, Unsupported, "gateway_mode"),
        ({"options": {"com.docker.network.driver.mtu": "9"}}, InvalidInput, "mtu"),
        ({"options": {"com.docker.network.bridge.name": "lo"}}, NameInUse, "named lo"),
    ]
    for keywords, kind, why in cases:
        with pytest.raises(kind, match=why):
            net.networks.create(**{"name": "made", **keywords})
    assert [row.name for row in net.networks.list()] == ["bridge", "host", "none", "back"]
    for keywords, why in (
        ({"network": "none", "ip": "10.0.0.1"}, "--ip"),
        ({"network": ["back", "host"]}, "cannot be combined"),
        ({"network": ["back", "back"]}, "twice"),
        ({"network": "back", "ip": "10.1.0.1"}, "not an address"),
        ({"network": "back", "mac_address": "01:00:00:00:00:01"}, "hardware address"),
        ({"ip": "10.1.0.1"}, "network of your own"),
        ({"network": "back", "link": "db"}, "--link db is not supported"),
    ):
        with pytest.raises(EngineError, match=why):
            net.containers.create("starter", ["true"], **keywords)
    assert net.containers.list(all=True) == []


@pytest.mark.root
def test_macvlan_gives_a_container_a_place_beside_the_host(net: Engine) -> None:
    run("ip link add parent0 type veth peer name parent1", "ip link set parent0 up", "ip link set parent1 up")
    net.networks.create("lan", driver="macvlan", subnet="192.0.2.0/24", options={"parent": "parent0"})
    serve(net, "web", network="lan", ip="192.0.2.10")
    assert sh(net, ASK.format("192.0.2.10"), network="lan").strip() == "web"
    assert "default via 192.0.2.1 dev eth0" in within(net, "web", "ip route")
    net.networks.create("other")
    net.networks.connect("other", "web")
    net.networks.disconnect("lan", "web")
    assert within(net, "web", "ls /sys/class/net | tr '\\n' ' '") == "eth1 lo"


def test_networks_made_at_once_do_not_clash(net: Engine, store_root: Path) -> None:
    failures: list[BaseException] = []

    def make(at: int) -> None:
        try:
            with Engine(store_root) as other:
                other.networks.create(f"net{at}", ipv6=True)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    own = [threading.Thread(target=make, args=(at,)) for at in range(4)]
    for thread in own:
        thread.start()
    for thread in own:
        thread.join()
    assert failures == []
    subnets = [row.subnet for row in net.networks.list() if row.name.startswith("net")]
    assert len(set(subnets)) == 4


@pytest.mark.root
def test_a_bridge_that_is_gone_is_made_again_as_it_was(net: Engine) -> None:
    net.networks.create("back", subnet="10.77.0.0/24", options={"com.docker.network.bridge.name": "jcback"})
    run("ip link delete jcback", "nft flush ruleset")
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("0")
    assert "inet 10.77.0.2/24" in sh(net, "ip addr", network="back")
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert "jupyter_containers_jcback" in rules
