"""Ports of containers that are published on the host: the words of ``-p``, read. Pure.

Source: docs.docker.com, "docker run", "Publish or expose port". Unlike there, a port that is published without an
address is for this host alone: it is bound to 127.0.0.1.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput, Unsupported
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_HOST = "127.0.0.1"
PROTOCOLS = ("tcp", "udp")
_LAST = 65535
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_FORM = "write it as [[ADDRESS:]PORT:]CONTAINER_PORT[/udp], ports may be ranges: 8080:80, 127.0.0.1::80, 8000-8010:80"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port of a container, and where on the host it is to be found.

    ``first`` and ``last`` are the host's ports that will do; 0 for any that is free.
    """

    target: int
    protocol: str = "tcp"
    host: str = DEFAULT_HOST
    first: int = 0
    last: int = 0

    @property
    def key(self) -> str:
        """The container's port, as Docker writes it."""
        return f"{self.target}/{self.protocol}"

    def bound(self, number: int) -> Port:
        """The same with the port of the host that was chosen."""
        return replace(self, first=number, last=number)

    @property
    def shown(self) -> str:
        """``127.0.0.1:8080->80/tcp``, as listings show it."""
        return f"{self.where}->{self.key}"

    @property
    def where(self) -> str:
        """``127.0.0.1:8080``."""
        return f"[{self.host}]:{self.first}" if ":" in self.host else f"{self.host}:{self.first}"


def parse(text: str) -> list[Port]:
    """The ports that one ``-p`` publishes.

    Raises
    ------
    InvalidInput, Unsupported
        quoting the text.
    """
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol == "sctp":
        raise Unsupported(f"-p {text}: SCTP ports cannot be published", hint="tcp and udp can")
    if protocol not in PROTOCOLS:
        raise InvalidInput(f"-p {text}: invalid protocol {protocol!r}", hint=_FORM)
    front, _, target = rest.rpartition(":")
    address, number = _split(front, text)
    inside = _range(target, text)
    if inside[0] == 0:
        raise InvalidInput(f"-p {text}: no port of the container is named", hint=_FORM)
    host = _address(address, text) if address else DEFAULT_HOST
    outside = _range(number, text) if number else (0, 0)
    count, wanted = inside[1] - inside[0] + 1, outside[1] - outside[0] + 1
    if outside == (0, 0):
        return [Port(inside[0] + at, protocol, host) for at in range(count)]
    if count == 1:
        return [Port(inside[0], protocol, host, *outside)]
    if count != wanted:
        raise InvalidInput(f"-p {text}: the ranges have {wanted} and {count} ports", hint="give both the same length")
    return [Port(inside[0] + at, protocol, host, outside[0] + at, outside[0] + at) for at in range(count)]


def _split(front: str, text: str) -> tuple[str, str]:
    """Address and port of the host; an IPv6 address is in brackets."""
    if front.startswith("["):
        address, bracket, number = front[1:].partition("]")
        if not bracket or (number and not number.startswith(":")):
            raise InvalidInput(f"-p {text}: an address in brackets is not closed", hint=_FORM)
        return address, number[1:]
    address, _, number = front.rpartition(":")
    if ":" in address:
        raise InvalidInput(f"-p {text}: an IPv6 address must be in brackets", hint="write it as [::1]:8080:80")
    return address, number


def _address(address: str, text: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        raise InvalidInput(f"-p {text}: {address!r} is no IP address", hint=_FORM) from None


def _range(words: str, text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(words)
    if not found:
        raise InvalidInput(f"-p {text}: invalid port {words!r}", hint=_FORM)
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if last > _LAST or first > last:
        raise InvalidInput(f"-p {text}: invalid port range {words!r}", hint=f"ports are 1 to {_LAST}")
    return first, last


def exposed(texts: Iterable[str]) -> list[str]:
    """The ports of ``--expose`` and of an image, one by one: ``80/tcp``.

    Raises
    ------
    InvalidInput
        quoting the text.
    """
    found: dict[str, None] = {}
    for text in texts:
        words, _, protocol = text.partition("/")
        first, last = _range(words, text)
        protocol = (protocol or "tcp").lower()
        if protocol not in {*PROTOCOLS, "sctp"} or not first:
            raise InvalidInput(f"invalid port {text!r}", hint="write it as 80, 53/udp or 3000-3005")
        found.update({f"{number}/{protocol}": None for number in range(first, last + 1)})
    return list(found)


def of_options(publish: Iterable[str], exposes: Iterable[str], *, publish_all: bool = False) -> list[Port]:
    """All ports to publish; with ``publish_all`` those that are exposed too, each at a port that is free."""
    found = [port for text in publish for port in parse(text)]
    if publish_all:
        named = {port.key for port in found}
        for key in exposes:
            number, _, protocol = key.partition("/")
            if key not in named and protocol in PROTOCOLS:
                found.append(Port(int(number), protocol))
    return found
