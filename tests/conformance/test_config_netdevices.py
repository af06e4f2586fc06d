"""config-linux.md, "Network Devices": interfaces of the host that move into the container."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.harness import Bundle, Runtime

pytestmark = [pytest.mark.root, pytest.mark.only_ours]  # the peers' versions are older than the field

_numbers = itertools.count()


@pytest.fixture
def interface() -> Iterator[str]:
    """One end of a pair of interfaces of the host, with addresses."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make interfaces")
    name = f"jct{os.getpid() % 100000}n{next(_numbers)}"
    peer = f"{name}p"
    for command in (
        f"link add {name} type veth peer name {peer}",
        f"link set {name} mtu 1400",
        f"addr add 10.99.1.2/24 brd + dev {name}",
        f"addr add fd99::2/64 dev {name} nodad",
        f"link set {name} up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "link", "del", peer], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.clause("config-linux.md", "Network Devices", "an interface is in the container, up, with its addresses")
def test_an_interface_moves(runtime: Runtime, bundle: Bundle, interface: str) -> None:
    bundle.linux["netDevices"] = {interface: {}}
    bundle.script(f"ip -o addr show dev {interface}; ip -o link show dev {interface}")
    *addresses, link = runtime.run(bundle).lines()
    text = " ".join(addresses)
    assert "inet 10.99.1.2/24 brd 10.99.1.255 scope global" in text
    assert "inet6 fd99::2/64 scope global" in text
    assert "mtu 1400" in link
    assert ",UP" in link or "<UP" in link
    assert subprocess.run(["ip", "link", "show", interface], capture_output=True, check=False).returncode != 0


@pytest.mark.clause("config-linux.md", "Network Devices", "name is its name in the container; a template is filled in")
@pytest.mark.parametrize(("name", "shown"), [("eth0", "eth0"), ("net%d", "net0")])
def test_an_interface_gets_another_name(
    runtime: Runtime, bundle: Bundle, interface: str, name: str, shown: str
) -> None:
    bundle.linux["netDevices"] = {interface: {"name": name}}
    bundle.script(f"ip -o addr show dev {shown}")
    assert "10.99.1.2/24" in runtime.run(bundle).lines()[0]


@pytest.mark.clause("config-linux.md", "Network Devices", "a name that is taken in the container is an error")
def test_a_name_that_is_taken_is_an_error(runtime: Runtime, bundle: Bundle, interface: str) -> None:
    bundle.linux["netDevices"] = {interface: {"name": "lo"}}
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert f"linux.netDevices.{interface}: its name is taken" in ran.stderr


@pytest.mark.clause("config-linux.md", "Network Devices", "an interface that cannot be moved is an error")
def test_an_interface_that_is_not_there_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["netDevices"] = {"jct-nowhere": {}}
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "no such interface" in ran.stderr


@pytest.mark.clause("config-linux.md", "Network Devices", "a container of the host's network is an error")
def test_the_hosts_network_gets_none(runtime: Runtime, bundle: Bundle, interface: str) -> None:
    bundle.without_namespace("network")
    bundle.linux["netDevices"] = {interface: {}}
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Network Devices", "a name the kernel would not take is an error")
@pytest.mark.parametrize("name", ["a" * 16, "a/b", "a b", ".."])
def test_a_name_that_is_none_is_an_error(runtime: Runtime, bundle: Bundle, interface: str, name: str) -> None:
    bundle.linux["netDevices"] = {interface: {"name": name}}
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "is no name of an interface" in ran.stderr


@pytest.mark.clause("config-linux.md", "Network Devices", "the namespace may be one that is joined")
def test_an_interface_moves_to_a_namespace_that_is_joined(runtime: Runtime, bundle: Bundle, interface: str) -> None:
    holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        bundle.namespace("network", f"/proc/{holder.pid}/ns/net")
        bundle.linux["netDevices"] = {interface: {"name": "eth7"}}
        bundle.script("ip -o addr show dev eth7")
        assert "10.99.1.2/24" in runtime.run(bundle).lines()[0]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.mark.clause(
    "config-linux.md", "Network Devices", "an interface is not lost with a container that fails to start"
)
@pytest.mark.parametrize("wrong", ["program", "second interface"])
def test_an_interface_comes_back_when_the_container_cannot_be_made(
    runtime: Runtime, bundle: Bundle, interface: str, wrong: str
) -> None:
    bundle.linux["netDevices"] = {interface: {"name": "eth0"}}
    if wrong == "program":
        bundle.process["args"] = ["/no/such/program"]
    else:
        bundle.linux["netDevices"]["jct-nowhere"] = {}
    assert runtime.run(bundle).status != 0
    shown = subprocess.run(["ip", "-o", "addr", "show", "dev", interface], capture_output=True, text=True, check=True)
    assert "10.99.1.2/24" in shown.stdout
