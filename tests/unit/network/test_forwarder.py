from __future__ import annotations

import socket
import threading

from jupyter_containers.network.forwarder import UdpForwarder, bind
from jupyter_containers.network.loop import Loop


def test_datagrams_go_there_and_back_for_each_client() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        loop = Loop()
        listener = bind("udp", "127.0.0.1", 0)
        address = listener.getsockname()
        forwarder = UdpForwarder(loop, listener, server.getsockname(), socket.socket)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                loop.after(0.05, lambda: None)
                loop.turn()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            for text in (b"one", b"two"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(10)
                    client.sendto(text, address)
                    data, sender = server.recvfrom(100)
                    assert data == text
                    server.sendto(b"re " + data, sender)
                    assert client.recv(100) == b"re " + text
        finally:
            done.set()
            thread.join()
            forwarder.close()
