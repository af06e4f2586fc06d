from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jupyter_containers.network import dns
from jupyter_containers.network.loop import READ, Loop
from jupyter_containers.network.resolver import Names, Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def resolver(members: int) -> Iterator[tuple[str, int]]:
    """The address of a name server that knows one name, which as many containers have."""
    names, loop = Names(), Loop()
    for number in range(members):
        place = {"network": "n", "names": ["pool"], "title": f"c{number}.n", "addresses": [f"10.0.0.{number}"]}
        names.set(f"c{number}", [place])
    udp, tcp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
    udp.bind(("127.0.0.1", 0))
    tcp.bind(udp.getsockname())
    tcp.listen()
    served = Resolver(loop, names, "c0", [udp, tcp], [])
    near, far = socket.socketpair()
    over = threading.Event()
    loop.watch(near.fileno(), READ, lambda _events: over.set())

    def run() -> None:
        while not over.is_set():
            loop.turn()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield udp.getsockname()
    finally:
        far.close()
        thread.join()
        near.close()
        served.close()


def query(name: str, kind: int = dns.A) -> bytes:
    return b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + dns.encode_name(name) + kind.to_bytes(2, "big") + b"\0\1"


def ask(stream: socket.socket, data: bytes) -> bytes:
    stream.sendall(len(data).to_bytes(2, "big") + data)
    size = int.from_bytes(stream.recv(2, socket.MSG_WAITALL), "big")
    return stream.recv(size, socket.MSG_WAITALL)


def test_what_is_too_long_for_a_datagram_is_had_by_a_connection() -> None:
    with resolver(60) as address:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.settimeout(5)
            channel.sendto(query("pool"), address)
            short = channel.recv(4096)
        assert short[2] & 0x02, "it is said to be cut off"
        assert int.from_bytes(short[6:8], "big") == 0
        with socket.create_connection(address, 5) as stream:
            answer = ask(stream, query("pool"))
            assert (answer[:2], int.from_bytes(answer[6:8], "big")) == (b"\x12\x34", 60)
            assert ask(stream, query("3.0.0.10.in-addr.arpa", dns.PTR)).endswith(dns.encode_name("c3.n"))


def test_without_a_server_to_ask_the_answer_is_a_failure() -> None:
    with resolver(1) as address, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.sendto(query("elsewhere.example"), address)
        assert channel.recv(512)[3] & 0x0F == dns.SERVFAIL
