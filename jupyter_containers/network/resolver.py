"""The name server of containers: at 127.0.0.11 in each of them, run by the network agent.

A container asks by a socket in its own network namespace, so it is known who asks: names are those of the containers
that are in one of its networks and run. Everything else goes to the servers of the host, or to those of ``--dns``.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from jupyter_containers.network import dns
from jupyter_containers.network.base import RESOLVER_ADDRESS
from jupyter_containers.network.loop import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.network.loop import Loop

ADDRESS, PORT = RESOLVER_ADDRESS, 53
_PATIENCE = 2.0  # seconds for each server
_ROUNDS = 2
_MOST_PENDING = 1024
_LARGEST = 65535
_HOST_FILE = "/etc/resolv.conf"
_TCP_PATIENCE = 10.0


class Names:
    """Who is in which network, by name and by address."""

    def __init__(self) -> None:
        self._members: dict[str, list[dict[str, Any]]] = {}
        self._turns: dict[tuple[str, int], int] = {}

    def set(self, container: str, places: list[dict[str, Any]]) -> None:
        """The places of a container: of each the ``network``, the ``names`` in it and the ``addresses``."""
        self._members[container] = places

    def drop(self, container: str) -> None:
        """Forget a container."""
        self._members.pop(container, None)

    def _seen_from(self, container: str) -> list[dict[str, Any]]:
        networks = {place["network"] for place in self._members.get(container, ())}
        return [place for places in self._members.values() for place in places if place["network"] in networks]

    def lookup(self, container: str, name: str, kind: int = dns.A) -> list[str] | None:
        """The addresses behind a name, another one first each time; None where nobody has it."""
        found = [
            address for place in self._seen_from(container) if name in place["names"] for address in place["addresses"]
        ]
        if not found:
            return None
        # Counted for each kind of question: clients ask for A and AAAA in turn.
        first = self._turns.get((name, kind), -1) + 1
        self._turns[name, kind] = first = first % len(found)
        return found[first:] + found[:first]

    def reverse(self, container: str, address: str) -> str | None:
        """The name behind an address: the container's, and the network's after it."""
        for place in self._seen_from(container):
            if address in place["addresses"]:
                return str(place["title"])
        return None


class Resolver:
    """Serves the sockets of one container. ``servers``: where the rest is asked; None: those of the host."""

    def __init__(
        self, loop: Loop, names: Names, container: str, sockets: Sequence[socket.socket], servers: list[str] | None
    ) -> None:
        self._loop = loop
        self._names = names
        self._container = container
        self._udp, self._tcp = sockets
        self.servers = servers
        self._pending: set[_Pending] = set()
        self._channels: set[_Channel] = set()
        for sock in sockets:
            sock.setblocking(False)
        loop.watch(self._udp.fileno(), READ, self._on_udp)
        loop.watch(self._tcp.fileno(), READ, self._on_tcp)

    def close(self) -> None:
        """Close all sockets: one that is kept keeps the container's network namespace."""
        for pending in list(self._pending):
            pending.close()
        for channel in list(self._channels):
            channel.close()
        for sock in (self._udp, self._tcp):
            self._loop.forget(sock.fileno())
            sock.close()

    def _on_udp(self, _events: int) -> None:
        while True:
            try:
                data, client = self._udp.recvfrom(_LARGEST)
            except OSError:
                return

            def reply(response: bytes, client: Any = client) -> None:
                try:
                    self._udp.sendto(response, client)
                except OSError:
                    return  # the client is gone, or its queue is full: it asks again

            self._handle(data, reply, stream=False)

    def _on_tcp(self, _events: int) -> None:
        try:
            channel, _client = self._tcp.accept()
        except OSError:
            return
        self._channels.add(_Channel(self._loop, channel, self._answer_stream, self._channels.discard))

    def _answer_stream(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        self._handle(data, reply, stream=True)

    def _handle(self, data: bytes, reply: Callable[[bytes], None], *, stream: bool) -> None:
        try:
            question = dns.parse(data)
        except dns.MalformedError:
            return
        own = self._own(data, question)
        if own is not None:
            reply(own if stream else dns.fit(own, question))
            return
        servers = self.servers if self.servers is not None else host_servers()
        if not servers or len(self._pending) >= _MOST_PENDING:
            reply(dns.answer(data, question, [], code=dns.SERVFAIL))
            return
        kind = _StreamPending if stream else _Pending
        pending = kind(self._loop, data, question, servers, reply, self._pending.discard)
        self._pending.add(pending)
        pending.start()

    def _own(self, data: bytes, question: dns.Question) -> bytes | None:
        """The answer from the names of containers; None where it is not for them."""
        if question.kind == dns.PTR:
            address = dns.address_of(question.name)
            name = self._names.reverse(self._container, address) if address else None
            return dns.answer(data, question, [(dns.PTR, dns.encode_name(name))]) if name else None
        addresses = self._names.lookup(self._container, question.name, question.kind)
        if addresses is None:
            return None
        records = [dns.address_record(address) for address in addresses]
        return dns.answer(data, question, [each for each in records if question.kind in {each[0], dns.ANY}])


class _Pending:
    """A question that another server is asked, by a socket and under a number of its own."""

    def __init__(
        self,
        loop: Loop,
        query: bytes,
        question: dns.Question,
        servers: Sequence[str],
        reply: Callable[[bytes], None],
        done: Callable[[Any], None],
    ) -> None:
        self._loop = loop
        self._query = query
        self._question = question
        self._servers = list(servers) * _ROUNDS
        self._reply = reply
        self._done = done
        self._socket: socket.socket | None = None
        self._id = 0
        self._attempt = 0

    def start(self) -> None:
        """Ask the next server; when none is left, say that it failed."""
        self._drop()
        self._attempt += 1
        attempt = self._attempt
        while self._servers:
            try:
                self._ask(self._servers.pop(0))
            except OSError:
                continue
            self._loop.after(_PATIENCE, lambda: self._late(attempt))
            return
        self._finish(dns.answer(self._query, self._question, [], code=dns.SERVFAIL))

    def _late(self, attempt: int) -> None:
        if self._socket is not None and attempt == self._attempt:
            self.start()

    def _ask(self, server: str) -> None:
        self._open(server, socket.SOCK_DGRAM)
        assert self._socket is not None
        self._socket.send(dns.with_id(self._query, self._id))
        self._loop.watch(self._socket.fileno(), READ, self._on_answer)

    def _open(self, server: str, kind: int) -> None:
        self._id = int.from_bytes(os.urandom(2))
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self._socket = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            target = socket.getaddrinfo(server, PORT, family, kind, 0, socket.AI_NUMERICHOST)[0][4]
            self._socket.connect(target)
        except BlockingIOError:
            return
        except OSError:
            self._socket.close()
            self._socket = None
            raise

    def _on_answer(self, _events: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self.start()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Only an answer to the question that was asked counts."""
        end = self._question.end
        same = data[12:end].lower() == self._query[12:end].lower() and data[:2] == self._id.to_bytes(2, "big")
        if same and len(data) >= end:
            self._finish(dns.with_id(data, self._question.id))

    def _finish(self, response: bytes) -> None:
        self.close()
        self._reply(response)

    def close(self) -> None:
        """Ask no more."""
        self._servers = []
        self._drop()
        self._done(self)

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None


class _StreamPending(_Pending):
    """The same by TCP."""

    def _ask(self, server: str) -> None:
        self._open(server, socket.SOCK_STREAM)
        assert self._socket is not None
        self._received = b""
        self._loop.watch(self._socket.fileno(), WRITE, self._on_connected)

    def _on_connected(self, _events: int) -> None:
        assert self._socket is not None
        query = dns.with_id(self._query, self._id)
        try:
            self._socket.send(len(query).to_bytes(2, "big") + query)
        except OSError:
            self.start()
            return
        self._loop.watch(self._socket.fileno(), READ, self._on_answer)

    def _take(self, data: bytes) -> None:
        if not data:
            self.start()
            return
        self._received += data
        length = int.from_bytes(self._received[:2], "big")
        if len(self._received) >= length + 2 > 2:  # noqa: PLR2004 - the length itself
            super()._take(self._received[2 : length + 2])


class _Channel:
    """A client's TCP connection: questions with their lengths before them, answers the same way."""

    def __init__(
        self,
        loop: Loop,
        channel: socket.socket,
        handle: Callable[[bytes, Callable[[bytes], None]], None],
        done: Callable[[_Channel], None],
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._handle = handle
        self._done = done
        self._received = b""
        self._open = True
        channel.setblocking(False)
        loop.watch(channel.fileno(), READ, self._on_data)
        loop.after(_TCP_PATIENCE, self.close)

    def _on_data(self, _events: int) -> None:
        try:
            data = self._channel.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        while self._open and len(self._received) >= 2:  # noqa: PLR2004 - the length before each
            length = int.from_bytes(self._received[:2], "big")
            if len(self._received) < length + 2:
                return
            query, self._received = self._received[2 : length + 2], self._received[length + 2 :]
            self._handle(query, self._reply)

    def _reply(self, response: bytes) -> None:
        if not self._open:
            return
        try:
            self._channel.send(len(response).to_bytes(2, "big") + response)
        except OSError:
            self.close()

    def close(self) -> None:
        """End it. Idempotent."""
        if self._open:
            self._open = False
            self._loop.forget(self._channel.fileno())
            self._channel.close()
            self._done(self)


_host: tuple[tuple[int, int], list[str]] = ((0, 0), [])


def host_servers() -> list[str]:
    """The name servers of the host, as its file says now."""
    global _host  # noqa: PLW0603 - what was read last, for as long as the file is the same
    try:
        status = os.stat(_HOST_FILE)
    except OSError:
        return []
    version = (status.st_mtime_ns, status.st_ino)
    if version != _host[0]:
        with open(_HOST_FILE, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
        _host = version, [row[1] for row in words if len(row) > 1 and row[0] == "nameserver"]
    return _host[1]
