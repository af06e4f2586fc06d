"""Published ports, as far as the kernel does not forward them: sockets of this process that pass data on.

The kernel's own path has no loopback addresses, and for an ordinary user there is none; the sockets also keep the port
from others. Data of TCP connections goes through pipes within the kernel (splice(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from jupyter_containers.network.loop import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.network.loop import Loop

    Connect = Callable[[int, int], socket.socket]  # a socket of this family and kind, where the container is reached

_PIPE = 1 << 20
_BACKLOG = 1024
_TURNS = 16  # pipes full of data that one connection passes on before the others are looked at
_LARGEST = 65535
_UDP_IDLE = 60.0
_MOST_CLIENTS = 4096
_PAUSE = 0.1
_RESET = struct.pack("ii", 1, 0)
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


def bind(protocol: str, host: str, port: int) -> socket.socket:
    """A socket at an address and port of this host; port 0 for any that is free.

    Raises
    ------
    OSError
        from bind(2).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if protocol == "tcp":
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class TcpForwarder:
    """Passes the connections of a listening socket on to an address; ``target`` is that of those to come."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int], connect: Connect) -> None:
        self._loop = loop
        self._listener = listener
        self.target = target
        self._connect = connect
        self._pairs: set[_Pair] = set()
        self._closed = False
        loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(64):
            try:
                client, _address = self._listener.accept()
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self._loop.forget(self._listener.fileno())
                    self._loop.after(_PAUSE, self._go_on)
                return
            client.setblocking(False)
            try:
                self._pairs.add(_Pair(self._loop, client, self.target, self._connect, self._pairs.discard))
            except OSError:
                _reset(client)

    def _go_on(self) -> None:
        if not self._closed:
            self._loop.watch(self._listener.fileno(), READ, self._accept)

    def close(self) -> None:
        """Give up the port and its connections."""
        self._closed = True
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for pair in list(self._pairs):
            pair.close()


class _Half:
    """One direction of a connection."""

    __slots__ = ("ended", "held", "reading", "sink", "source", "writing")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.reading, self.writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):  # it stays smaller where this user has many
            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, _PIPE)
        self.held = 0
        self.ended = False

    def pump(self) -> None:
        """Move what can be moved, as far as it leaves others their turn."""
        for _ in range(_TURNS):
            if not self._take() or not self._give():
                return

    def _take(self) -> bool:
        """Fill the pipe; whether anything is in it."""
        if not self.held and not self.ended:
            try:
                self.held = os.splice(self.source.fileno(), self.writing, _PIPE, flags=_SPLICE)
            except BlockingIOError:
                return False
            if not self.held:
                self.ended = True
                self.sink.shutdown(socket.SHUT_WR)
        return self.held > 0

    def _give(self) -> bool:
        """Empty the pipe; whether it is empty."""
        while self.held:
            try:
                self.held -= os.splice(self.reading, self.sink.fileno(), self.held, flags=_SPLICE)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


class _Pair:
    """A client's connection and that to the container."""

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        target: tuple[str, int],
        connect: Connect,
        done: Callable[[_Pair], None],
    ) -> None:
        self._loop = loop
        self._client = client
        self._done = done
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._server = connect(family, socket.SOCK_STREAM)
        self._server.setblocking(False)
        self._halves: list[_Half] = []
        self._open = True
        try:
            for sock in (client, self._server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._server.connect_ex(target)
            _check(code)
        except OSError:
            self._server.close()
            raise
        loop.watch(self._server.fileno(), WRITE, self._connected)

    def _connected(self, _events: int) -> None:
        code = self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._loop.forget(self._server.fileno())
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()
            return
        try:
            self._halves = [_Half(self._client, self._server)]
            self._halves.append(_Half(self._server, self._client))
        except OSError:
            self.close()
            return
        self._on_event(0)

    def _on_event(self, events: int) -> None:
        if events & select.EPOLLERR:
            self.close()
            return
        try:
            for half in self._halves:
                half.pump()
        except OSError:
            self.close()
            return
        there, back = self._halves
        if there.ended and back.ended and not there.held and not back.held:
            self.close()
            return
        self._watch(self._client, there, back)
        self._watch(self._server, back, there)

    def _watch(self, sock: socket.socket, out: _Half, into: _Half) -> None:
        events = (0 if out.ended or out.held else READ) | (WRITE if into.held else 0)
        if events:
            self._loop.watch(sock.fileno(), events, self._on_event)
        else:  # watched for nothing it would still report, again and again, that its other end is gone
            self._loop.forget(sock.fileno())

    def close(self) -> None:
        """End both. Idempotent."""
        if not self._open:
            return
        self._open = False
        for sock in (self._client, self._server):
            self._loop.forget(sock.fileno())
            sock.close()
        for half in self._halves:
            half.close()
        self._done(self)


def _check(code: int) -> None:
    if code not in {0, errno.EINPROGRESS}:
        raise OSError(code, os.strerror(code))


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()


class UdpForwarder:
    """Passes datagrams on, each client by a socket of its own, so that answers find their way back.

    ``target`` is where those of new clients go.
    """

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int], connect: Connect) -> None:
        self._loop = loop
        self._listener = listener
        self.target = target
        self._connect = connect
        self._clients: dict[tuple[object, ...], tuple[socket.socket, list[float]]] = {}
        self._closed = False
        loop.watch(listener.fileno(), READ, self._on_data)
        loop.after(_UDP_IDLE, self._sweep)

    def _on_data(self, _events: int) -> None:
        for _ in range(64):
            try:
                data, client = self._listener.recvfrom(_LARGEST)
            except OSError:
                return
            try:
                self._server_of(client).send(data)
            except OSError:
                continue  # as the network does with what it cannot deliver

    def _server_of(self, client: tuple[object, ...]) -> socket.socket:
        found = self._clients.get(client)
        if found is None:
            if len(self._clients) >= _MOST_CLIENTS:
                raise OSError(errno.ENOBUFS, "too many clients")
            server = self._connect(socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET, socket.SOCK_DGRAM)
            server.setblocking(False)
            server.connect(self.target)
            found = self._clients[client] = server, [0.0]
            self._loop.watch(server.fileno(), READ, lambda _events: self._on_answer(client))
        found[1][0] = monotonic()
        return found[0]

    def _on_answer(self, client: tuple[object, ...]) -> None:
        server, last = self._clients[client]
        last[0] = monotonic()
        for _ in range(64):
            try:
                self._listener.sendto(server.recv(_LARGEST), client)
            except OSError:
                return

    def _sweep(self) -> None:
        if self._closed:
            return
        for client, (_server, last) in list(self._clients.items()):
            if monotonic() - last[0] > _UDP_IDLE:
                self._drop(client)
        self._loop.after(_UDP_IDLE, self._sweep)

    def _drop(self, client: tuple[object, ...]) -> None:
        server, _ = self._clients.pop(client)
        self._loop.forget(server.fileno())
        server.close()

    def close(self) -> None:
        """Give up the port."""
        self._closed = True
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for client in list(self._clients):
            self._drop(client)
