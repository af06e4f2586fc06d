from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_interface
from pathlib import Path

import pytest

from jupyter_containers.network import links, messages

PACKAGE = Path(__file__).resolve().parents[3]
IN_A_CELL = """
import asyncio, errno, subprocess
from ipaddress import ip_interface
from jupyter_containers.linux.netlink import transact
from jupyter_containers.network import firewall, links, nftables
from ipaddress import ip_network

async def cell():
    assert links.find("br0") is None
    transact([links.bridge("br0", "0a:63:0a:58:00:01")])
    made = links.find("br0")
    assert (made.kind, made.addresses) == ("bridge", []), made
    for text in ("10.5.0.1/25", "fd00:5::1/64"):
        transact([links.address(made.number, ip_interface(text))])
    transact([links.up(made.number, "ours /store"), links.up(1)])
    assert "alias ours /store" in subprocess.check_output(["ip", "link", "show", "br0"], text=True)
    own = [each for each in links.find("br0").addresses if not each.is_link_local]
    assert own == [ip_interface("10.5.0.1/25"), ip_interface("fd00:5::1/64")], own
    assert links.find("lo").kind == ""
    assert ip_interface("127.0.0.1/8") in links.find("lo").addresses
    firewall.install("br0", [ip_network("10.5.0.0/25"), ip_network("fd00:5::/64")])
    assert firewall.exists("br0", ipv6=True)
    firewall.remove("br0")
    assert nftables.tables() == []
    transact([links.removal(made.number)])
    assert links.find("br0") is None

asyncio.run(cell())
"""


@pytest.mark.root
def test_links_and_rules_are_made_found_and_removed_while_an_event_loop_runs() -> None:
    command = ["unshare", "--net", sys.executable, "-W", "error", "-c", IN_A_CELL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


IN_A_PROCESS = """
import sys
from jupyter_containers.network.bridge import Bridge
one = Bridge("jct7", lock=sys.argv[1])
if sys.argv[2:] == ["look"]:
    found = one.look()
    assert (found.gateway, found.subnet.prefixlen) == (one.ensure().gateway, 24)
    sys.exit()
one.ensure()
one.attachment("10.88.0.2")
print("pyroute2" in sys.modules)
"""


@pytest.mark.root
def test_a_start_in_a_network_that_stands_does_not_import_pyroute2(tmp_path: Path) -> None:
    script, lock = tmp_path / "script.py", tmp_path / "lock"
    script.write_text(IN_A_PROCESS, encoding="utf-8")
    each = f"{sys.executable} {script} {lock}"
    command = ["unshare", "--net", "--mount", "sh", "-ec", f"mount -t sysfs sysfs /sys; {each}; {each}; {each} look"]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "False"]), done.stderr


@pytest.mark.parametrize("text", ["10.88.0.130/25", "fd00::2/64"])
def test_an_address_is_the_same_as_the_one_that_a_start_gives(text: str) -> None:
    own = ip_interface(text)
    assert links.address(1000, own)[16:] == messages.address(1000, str(own.ip), own.network.prefixlen)[16:]


def test_pyroute2_is_not_imported_until_a_message_is_made() -> None:
    code = (
        "import sys; from jupyter_containers.network import agent, bridge, firewall, links, macvlan, nftables; "
        "print('pyroute2' in sys.modules); links.up(1); print('pyroute2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]
