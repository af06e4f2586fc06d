"""A host, another machine and containers, each a network namespace; run by ``unshare --net --mount``.

What was seen is printed as JSON. Everything ends with the process: namespaces, interfaces, rules.

Started as ``python network_scene.py DIRECTORY``, with the package on the path.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from jupyter_containers.linux import netlink
from jupyter_containers.network import firewall, ipam
from jupyter_containers.network.bridge import Bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.network.base import Attachment

CLONE_NEWNET = 0x40000000
SERVER = """
import socket, sys
server = socket.create_server(("0.0.0.0", 8080))
print("ready", flush=True)
while True:
    channel, peer = server.accept()
    channel.sendall(f"you are {peer[0]}\\n".encode())
    channel.close()
"""

libc = ctypes.CDLL(None, use_errno=True)


def shell(*lines: str) -> None:
    for line in lines:
        subprocess.run(line.split(), check=True, capture_output=True)


@contextmanager
def namespace(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a network namespace of its own, killed at the end."""
    with subprocess.Popen(["unshare", "--net", *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            own = os.readlink("/proc/self/ns/net")
            while os.readlink(f"/proc/{process.pid}/ns/net") == own:
                time.sleep(0.005)
            yield process
        finally:
            process.kill()


def within(pid: int, action: Callable[[], object]) -> None:
    """Do something in the network namespace of a process."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        assert libc.setns(other, CLONE_NEWNET) == 0
        action()
    finally:
        assert libc.setns(own, CLONE_NEWNET) == 0
        os.close(own)
        os.close(other)


def plug_in(attachment: Attachment, pid: int) -> None:
    """What monitor and init do."""
    for interface in attachment.interfaces:
        netlink.transact([netlink.patch(message, offset, pid) for message, offset in interface["host"]])
        messages = [netlink.loopback_up(), *interface["inside"]]
        within(pid, lambda messages=messages: netlink.transact(messages))  # type: ignore[misc]


def ask(pid: int, address: str) -> str:
    """What the server at an address answers to busybox in the namespace of a process; empty if nothing comes."""
    command = ["nsenter", "--target", str(pid), "--net", "busybox", "nc", "-w", "1", address, "8080"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.stdout.strip()


def rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def main(directory: str) -> dict[str, Any]:
    shell("mount -t sysfs sysfs /sys", "ip link set lo up", "nft add table inet foreign")
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("0")  # a new namespace begins with what the host has
    lock = f"{directory}/lock"
    seen: dict[str, Any] = {"notices": [], "firewall_before": firewall.exists("jct0")}
    with ExitStack() as stack:
        far = stack.enter_context(namespace([sys.executable, "-c", SERVER]))
        assert far.stdout is not None
        assert far.stdout.readline() == "ready\n"
        shell(
            f"ip link add up0 mtu 1400 type veth peer name up1 netns {far.pid}",
            "ip address add 198.51.100.1/24 dev up0",
            "ip link set up0 up",
            "ip route add default via 198.51.100.2",
            f"nsenter -t {far.pid} -n ip address add 198.51.100.2/24 dev up1",
            f"nsenter -t {far.pid} -n ip link set up1 up",
            f"nsenter -t {far.pid} -n ip route add 10.88.0.0/14 via 198.51.100.1",
        )
        one, two = Bridge("jct0", lock=lock), Bridge("jct1", lock=lock)
        networks = [one.ensure(), two.ensure()]
        seen["subnets"] = [str(network.subnet) for network in networks]
        seen["mtu"] = networks[0].mtu
        seen["notices"] = [list(network.notices) for network in networks]
        seen["again"] = one.ensure() == networks[0] and Bridge("jct0", lock=lock).ensure().subnet == networks[0].subnet

        places: dict[str, tuple[int, str]] = {}
        for name, bridge, last in (("a", one, 2), ("b", one, 3), ("c", two, 2)):
            container = stack.enter_context(namespace([sys.executable, "-c", SERVER]))
            assert container.stdout is not None
            assert container.stdout.readline() == "ready\n"
            address = str(bridge.ensure().subnet[last])
            plug_in(bridge.attachment(address), container.pid)
            places[name] = container.pid, address
        seen["ports"] = [len(one.ports()), len(two.ports())]
        seen["stale"] = one.remove_stale(wait=0.05)
        seen["mac"] = ipam.mac_of(places["a"][1])
        seen["neighbours"] = subprocess.run(
            ["nsenter", "-t", str(places["a"][0]), "-n", "ip", "-o", "link"], check=True, capture_output=True, text=True
        ).stdout
        seen["out"] = ask(places["a"][0], "198.51.100.2")
        seen["gateway"] = ask(places["a"][0], networks[0].gateway)
        seen["same network"] = ask(places["a"][0], places["b"][1])
        seen["other network"] = ask(places["a"][0], places["c"][1])
        seen["from outside"] = ask(far.pid, places["a"][1])
        seen["from host"] = ask(os.getpid(), places["a"][1])
        seen["release while used"] = one.release()
        seen["rules"] = rules()

        shell("nft add chain inet foreign fw { type filter hook forward priority 0 ; policy drop ; }")
        seen["blocked"] = ask(places["a"][0], "198.51.100.2")
        seen["explained"] = list(Bridge("jct0", lock=lock).ensure().notices)
    shell("ip link add jct9 type veth peer name far9")
    try:
        Bridge("jct9", lock=lock).ensure()
        seen["no bridge"] = ""
    except Exception as error:  # noqa: BLE001 - the kind is what is looked at
        seen["no bridge"] = f"{type(error).__name__}: {error}"
    one.remove()
    two.remove()
    one.remove()
    seen["after"] = sorted(name for name in os.listdir("/sys/class/net") if name in {"jct0", "jct1"})
    seen["rules after"] = rules()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
