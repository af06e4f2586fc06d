"""Interfaces, addresses and routes of a network namespace, as the procfs of a process in it shows them.

Sources: proc_pid_net(5); the kernel's fib_trie.c, ipv6/addrconf.c and ipv6/route.c for the files they write.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from jupyter_containers.engine.explain.xray.views import Interface, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.linux.process_look import Look

_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200
_LOCAL6, _CACHED = 0x8000_0000, 0x0100_0000
_MULTICAST = "ff"
_LONGEST = 32


def interfaces(look: Look) -> list[Interface]:
    """Interfaces with their addresses, in the kernel's order."""
    texts = look["texts"]
    addresses: dict[str, list[str]] = {}
    for name, address in (*_addresses4(texts), *_addresses6(texts.get("net/if_inet6", ""))):
        addresses.setdefault(name, []).append(address)
    found = []
    for line in texts.get("net/dev", "").splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        name = name.strip()
        found.append(Interface(name, tuple(addresses.get(name, ())), int(fields[0]), int(fields[8])))
    return found


def routes(look: Look) -> list[Route]:
    """The routes to other machines, of both versions."""
    texts = look["texts"]
    return [*_routes4(texts.get("net/route", "")), *_routes6(texts.get("net/ipv6_route", ""))]


def planned(record: ContainerRecord) -> list[Interface]:
    """The interfaces of a container that does not run, with the addresses it had last."""
    return [
        Interface(f"eth{each.position}", tuple(filter(None, (each.address, each.address6))), 0, 0)
        for each in record.endpoints
    ]


def _lines4(text: str) -> Iterator[tuple[str, ipaddress.IPv4Network, ipaddress.IPv4Address, int, int]]:
    for line in text.splitlines()[1:]:
        name, destination, gateway, flags, _count, _use, metric, mask, *_ = line.split()
        if int(flags, 16) & _UP:
            network = ipaddress.IPv4Network((_address4(destination), int(mask, 16).bit_count()))
            yield name, network, ipaddress.IPv4Address(_address4(gateway)), int(flags, 16), int(metric)


def _address4(text: str) -> int:
    """An address as /proc/net/route writes it: the bytes in the machine's order, which is little-endian here."""
    return int.from_bytes(bytes.fromhex(text), "little")


def _routes4(text: str) -> Iterator[Route]:
    for name, network, gateway, flags, metric in _lines4(text):
        destination = "default" if network.prefixlen == 0 else str(network)
        yield Route(destination, str(gateway) if flags & _GATEWAY else "", name, metric)


def _addresses4(texts: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Addresses are in the table of local routes, interfaces in that of the others."""
    links = [(name, network) for name, network, _gateway, flags, _metric in _lines4(texts.get("net/route", ""))
             if not flags & _GATEWAY and network.prefixlen]  # fmt: skip
    local = texts.get("net/fib_trie", "").partition("Local:")[2]
    leaf = ""
    seen = set()
    for line in local.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[:1] == ["/32"] and words[1:] == ["host", "LOCAL"] and leaf not in seen:
            seen.add(leaf)
            address = ipaddress.IPv4Address(leaf)
            if address.is_loopback:
                yield "lo", f"{leaf}/8"
                continue
            near = max((link for link in links if address in link[1]), key=lambda link: link[1].prefixlen, default=None)
            yield (near[0], f"{leaf}/{near[1].prefixlen}") if near else ("", f"{leaf}/{_LONGEST}")


def _addresses6(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        digits, _index, prefix, _scope, _flags, name = line.split()
        yield name, f"{_address6(digits)}/{int(prefix, 16)}"


def _address6(digits: str) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(bytes.fromhex(digits))


def _routes6(text: str) -> Iterator[Route]:
    for line in text.splitlines():
        digits, length, _from, _from_length, gateway, metric, _count, _use, flags, name = line.split()
        bits = int(flags, 16)
        if bits & (_LOCAL6 | _CACHED | _REJECT) or not bits & _UP or digits.startswith(_MULTICAST):
            continue
        prefix = int(length, 16)
        destination = "default" if prefix == 0 else f"{_address6(digits)}/{prefix}"
        yield Route(destination, str(_address6(gateway)) if bits & _GATEWAY else "", name, int(metric, 16))
