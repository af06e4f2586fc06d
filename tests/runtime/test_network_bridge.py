"""The bridge network, in network namespaces of the test's own: the host's network is not touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.engine import Engine

SCENE = Path(__file__).resolve().parents[1] / "support" / "network_scene.py"
PACKAGE = Path(__file__).resolve().parents[2]
TOOLS = ("unshare", "nsenter", "ip", "nft", "busybox")
MISSING = [name for name in TOOLS if shutil.which(name) is None]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("scene")
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, str(SCENE), str(directory)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_container_reaches_another_machine_under_the_hosts_address(seen: dict[str, Any]) -> None:
    assert seen["out"] == "you are 198.51.100.1"


def test_containers_of_one_network_reach_each_other(seen: dict[str, Any]) -> None:
    assert seen["same network"] == "you are 10.88.0.2"
    assert seen["from host"] == "you are 10.88.0.1"


def test_nobody_else_reaches_a_container(seen: dict[str, Any]) -> None:
    assert seen["other network"] == ""
    assert seen["from outside"] == ""


def test_networks_get_subnets_that_do_not_overlap(seen: dict[str, Any]) -> None:
    assert seen["subnets"] == ["10.88.0.0/24", "10.88.1.0/24"]


def test_a_network_that_stands_is_found_again(seen: dict[str, Any]) -> None:
    assert seen["again"] is True
    assert seen["ports"] == [2, 1]
    assert seen["release while used"] is False


def test_the_interface_inside_is_as_prepared(seen: dict[str, Any]) -> None:
    assert "eth0" in seen["neighbours"]
    assert seen["mac"] in seen["neighbours"]
    assert seen["mtu"] == 1400
    assert "mtu 1400" in seen["neighbours"]
    assert seen["stale"] == []


def test_switching_on_forwarding_is_said(seen: dict[str, Any]) -> None:
    assert any("forwarding" in notice for notice in seen["notices"][0])
    assert seen["notices"][1] == []


def test_rules_of_others_stay_and_are_named_where_they_block(seen: dict[str, Any]) -> None:
    assert seen["firewall_before"] is False
    assert "table inet foreign" in seen["rules"]
    assert "table ip jupyter_containers_jct0" in seen["rules"]
    assert seen["blocked"] == ""
    assert any("'inet foreign fw'" in notice and "jct0" in notice for notice in seen["explained"])


def test_an_interface_of_that_name_that_is_no_bridge_is_left_alone(seen: dict[str, Any]) -> None:
    assert seen["no bridge"].startswith("Unsupported: there is an interface jct9 that is no bridge")


def test_removing_leaves_only_what_others_made(seen: dict[str, Any]) -> None:
    assert seen["after"] == []
    assert "jupyter_containers" not in seen["rules after"]
    assert "table inet foreign" in seen["rules after"]


def test_the_address_is_where_scripts_look_for_it(net: Engine) -> None:
    net.containers.run("starter", ["sleep", "1000"], detach=True, name="web", publish="8099:80", expose="81")
    found = net.containers.inspect("web")["NetworkSettings"]
    place = found["Networks"]["bridge"]
    (network,) = net.networks.inspect("bridge")["IPAM"]["Config"]
    assert found["IPAddress"] == place["IPAddress"] == net.containers.list()[0].address
    assert found["Gateway"] == place["Gateway"] == network["Gateway"]
    assert f"/{place['IPPrefixLen']}" == network["Subnet"][-3:]
    assert found["MacAddress"] == place["MacAddress"] != ""
    assert found["Ports"] == {"81/tcp": None, "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8099"}]}
    net.containers.stop("web", time=0)
    found = net.containers.inspect("web")
    assert found["NetworkSettings"]["IPAddress"] == ""
    assert found["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8099"}]}
    net.containers.remove("web")


@pytest.mark.usefixtures("own_network", "no_leaks")
def test_a_container_starts_again_when_somebody_else_has_its_subnet_by_now(store_root: Path) -> None:
    """The default network is made anew with another subnet, and an address of the old one is of no use in it."""
    with Engine(store_root) as engine:
        engine.images.pull("starter")
        engine.containers.run("starter", ["true"], name="job")
        address = engine.containers.list(all=True)[0].address
    bridges = subprocess.run(
        ["ip", "-br", "link", "show", "type", "bridge"], capture_output=True, text=True, check=True
    )
    for line in bridges.stdout.splitlines():  # as a reboot takes them
        subprocess.run(["ip", "link", "delete", line.split()[0]], check=True)
    taken = f"{address.rsplit('.', 1)[0]}.9/24"
    subprocess.run(["ip", "link", "add", "other0", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", taken, "dev", "other0"], check=True)
    subprocess.run(["ip", "link", "set", "other0", "up"], check=True)
    with Engine(store_root) as engine:
        engine.containers.start("job")
        assert engine.containers.wait("job") == 0
        (after,) = engine.containers.list(all=True)
        assert after.address.rsplit(".", 1)[0] != address.rsplit(".", 1)[0]
        engine.containers.remove("job")
