"""What this host's network is like: its routes, its name servers, and whether it forwards packets."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Network, IPv6Network

from jupyter_containers.errors import Unsupported

_ETHERNET_MTU = 1500
_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_FORWARDING6 = "/proc/sys/net/ipv6/conf/all/forwarding"


def route_table(pid: int | str = "self") -> list[tuple[str, IPv4Network]]:
    """Routes of this host, or of where another process is: interface and destination.

    Source: proc_pid_net(5); addresses are in the byte order of the machine.
    """
    found = []
    with open(f"/proc/{pid}/net/route", encoding="ascii") as file:
        for line in list(file)[1:]:
            fields = line.split()
            network, mask = (int(fields[at], 16) for at in (1, 7))
            found.append((fields[0], IPv4Network((struct.pack("=I", network), mask.bit_count()), strict=False)))
    return found


def route_table6() -> list[IPv6Network]:
    """Destinations of the IPv6 routes of this host that lead anywhere, the default route left out."""
    found = []
    try:
        with open("/proc/net/ipv6_route", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []  # a kernel without IPv6
    for row in rows:
        network = IPv6Network((int(row[0], 16), int(row[1], 16)), strict=False)
        if network.prefixlen and row[-1] != "lo" and not network.is_link_local and not network.is_multicast:
            found.append(network)
    return found


def mtu() -> int:
    """The largest packet that leaves this host whole, in bytes, where that is less than Ethernet's 1500; else 0."""
    sizes = [attribute(interface, "mtu") for interface, network in route_table() if network.prefixlen == 0]
    return min((int(size) for size in sizes if size.isdigit() and int(size) < _ETHERNET_MTU), default=0)


def name_servers() -> list[IPv4Network]:
    """The host's name servers, which a subnet must not cover though they may be reached by the default route."""
    found = []
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file if line.startswith("nameserver")]
    except OSError:
        return []
    for word in words:
        try:
            found.append(IPv4Network(word[1]))
        except (ValueError, IndexError):
            continue
    return found


def address() -> str:
    """An address of this host that is not loopback, the one it has on the way out; empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            return ""
        return str(channel.getsockname()[0])


def forwards() -> bool:
    """Whether IPv4 packets are forwarded."""
    with open(_FORWARDING, "rb", buffering=0) as file:
        return file.read(1) == b"1"


def enable_forwarding() -> bool:
    """Switch on IPv4 forwarding; whether it was off."""
    if forwards():
        return False
    try:
        with open(_FORWARDING, "wb", buffering=0) as file:
            file.write(b"1")
    except OSError as error:
        raise Unsupported(
            f"IPv4 forwarding is off and cannot be switched on: {error.strerror}",
            hint="sudo sysctl -w net.ipv4.ip_forward=1",
        ) from error
    return True


def enable_forwarding6() -> bool:
    """Switch on IPv6 forwarding; whether it was off.

    A host that forwards ignores router advertisements, unless told otherwise (ip-sysctl, accept_ra): interfaces that
    live by them are told first.
    """
    try:
        with open(_FORWARDING6, "rb", buffering=0) as file:
            if file.read(1) == b"1":
                return False
        for name in os.listdir("/proc/sys/net/ipv6/conf"):
            path = f"/proc/sys/net/ipv6/conf/{name}/accept_ra"
            with open(path, "rb+", buffering=0) as file:
                if file.read(1) == b"1":
                    file.write(b"2")
        with open(_FORWARDING6, "wb", buffering=0) as file:
            file.write(b"1")
    except OSError as error:
        raise Unsupported(
            f"IPv6 forwarding is off and cannot be switched on: {error.strerror}",
            hint="sudo sysctl -w net.ipv6.conf.all.forwarding=1",
        ) from error
    return True


def switch_ipv6(name: str, *, on: bool) -> None:
    """Whether an interface has IPv6. Without a subnet of it containers could reach the host past all our rules."""
    path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
    if not on and not os.path.exists(path):
        return
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(b"0" if on else b"1")
    except OSError as error:
        raise Unsupported(f"IPv6 cannot be switched {'on' if on else 'off'} for {name}: {error.strerror}") from error


def attribute(name: str, what: str) -> str:
    """An attribute of an interface; empty if it has none."""
    try:
        with open(f"/sys/class/net/{name}/{what}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""  # gone meanwhile, or the attribute has no value while the interface is down
