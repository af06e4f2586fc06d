"""Where networks are made: the network namespace of this process, or the one an ordinary user's containers share."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import SystemFailure, Unsupported
from jupyter_containers.network import host

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from jupyter_containers.network.service import Service

_LARGEST_MTU = 65520


class OwnNamespace:
    """That of this process, of whose root it needs the rights."""

    path = ""
    """Of the namespace, for those who are to enter it; empty where nobody has to."""
    holder = 0
    """The pid of the process that keeps it for us alone: what was made there stands. 0: it is everybody's."""

    def close(self) -> None:
        """Let go of it."""

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket in it."""
        return socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)

    def is_bridge(self, name: str) -> bool:
        """Whether an interface, which exists, is a bridge."""
        return os.path.isdir(f"/sys/class/net/{name}/bridge")

    def routes(self) -> list[IPv4Network]:
        """Where its routes lead."""
        return [net for _, net in host.route_table()]

    def mtu(self) -> int:
        """The size in bytes of packets that leave it whole; 0: Ethernet's."""
        return host.mtu()

    def forwards(self) -> bool:
        """Whether it passes IPv4 packets on."""
        return host.forwards()

    def forward(self, *, ipv6: bool) -> list[str]:
        """Have it pass packets on. What the user should know, a line each."""
        notices = []
        if host.enable_forwarding():
            notices.append("IPv4 forwarding was off on this host and is on now: containers need it")
        if ipv6 and host.enable_forwarding6():
            notices.append("IPv6 forwarding was off on this host and is on now: containers need it")
        return notices

    def switch_ipv6(self, name: str, *, on: bool) -> None:
        """See :func:`jupyter_containers.network.host.switch_ipv6`."""
        host.switch_ipv6(name, on=on)


class SharedNamespace(OwnNamespace):
    """The one that an ordinary user's containers share: the network agent's, which lends sockets of it.

    It is there while a container or somebody who uses it needs it. The connection is kept, so that it need not be made
    anew for the next container; an agent that nobody needs ends nevertheless after a while. Thread-safe.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.RLock()
        self._holder = 0
        self._channel: socket.socket | None = None

    def _connected(self) -> socket.socket:
        """The connection; another one where the agent has ended: the next agent finds the same namespace, if any."""
        if self._channel is None or _hung_up(self._channel):
            self.close()
            self._channel, self._holder = self._service.open(), 0
        return self._channel

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def _ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            answer, descriptors = self._service.exchange(self._connected(), message)
            if answer is None:  # it ended at just that moment
                answer, descriptors = self._service.exchange(self._connected(), message)
        if answer is None or answer["kind"] != "lent":
            why = answer["detail"] if answer else "it ends again and again"
            raise SystemFailure(f"the network agent has no network for containers: {why}")
        self._holder = answer["holder"]
        return answer, descriptors

    @property
    def holder(self) -> int:  # type: ignore[override]  # it is known when the namespace is there
        """The pid of the process that keeps it, and lends its sockets."""
        with self._lock:
            self._connected()
            return self._holder or int(self._ask({"kind": "lend", "sockets": []})[0]["holder"])

    @property
    def path(self) -> str:  # type: ignore[override]  # it is known when the namespace is there
        """Of the namespace, for the monitors that enter it."""
        return f"/proc/{self.holder}/ns/net"

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket in it, lent by its holder."""
        _, descriptors = self._ask({"kind": "lend", "sockets": [(int(family), int(kind), int(protocol))]})
        return socket.socket(family, kind, protocol, fileno=descriptors[0])

    def is_bridge(self, name: str) -> bool:
        """All that has the name of a bridge is one: nobody else makes interfaces there."""
        del name
        return True

    def routes(self) -> list[IPv4Network]:
        """Where its routes lead."""
        return [net for _, net in host.route_table(self.holder)]

    def mtu(self) -> int:
        """More than Ethernet's: the way out takes connections apart."""
        return _LARGEST_MTU

    def forwards(self) -> bool:
        """It does since a bridge was made in it."""
        return True

    def forward(self, *, ipv6: bool) -> list[str]:
        """Have it pass packets on; nobody need know."""
        self._write("ipv4/ip_forward", "1")
        if ipv6:
            self._write("ipv6/conf/all/forwarding", "1")
        return []

    def switch_ipv6(self, name: str, *, on: bool) -> None:
        """Whether an interface of it has IPv6."""
        if on or os.path.exists("/proc/sys/net/ipv6"):
            self._write(f"ipv6/conf/{name}/disable_ipv6", "0" if on else "1")

    def _write(self, path: str, text: str) -> None:
        try:
            self._ask({"kind": "write", "path": path, "text": text})
        except SystemFailure as error:
            raise Unsupported(f"/proc/sys/net/{path} of the containers' network cannot be set: {error}") from error


def _hung_up(channel: socket.socket) -> bool:
    """Whether nobody is at the other end any more."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLHUP)
    return bool(poll.poll(0))
