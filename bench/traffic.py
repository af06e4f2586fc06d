"""Traffic to be measured: ``traffic.py serve PORT``, ``send ADDRESS PORT SECONDS``, ``ask SERVER NAME COUNT``.

A program of its own, to be run in the network namespace of a container, so that what is measured is the way between
the two ends and not the programs of an image.
"""

from __future__ import annotations

import socket
import statistics
import struct
import sys
import time

_BLOCK = 1 << 18


def serve(port: int) -> None:
    """Take what each connection sends, and say to it how many bytes came."""
    server = socket.create_server(("0.0.0.0", port))
    print("ready", flush=True)
    buffer = bytearray(_BLOCK)
    while True:
        channel, _client = server.accept()
        with channel:
            count = 0
            while got := channel.recv_into(buffer):
                count += got
            channel.sendall(struct.pack("!Q", count))


def send(address: str, port: int, seconds: float) -> float:
    """Send for some seconds; bytes a second that arrived."""
    block = bytes(_BLOCK)
    with socket.create_connection((address, port), 10) as channel:
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            channel.sendall(block)
        channel.shutdown(socket.SHUT_WR)
        (count,) = struct.unpack("!Q", channel.recv(8, socket.MSG_WAITALL))
        return float(count / (time.perf_counter() - begin))


def ask(server: str, name: str, count: int) -> float:
    """Ask a name server for a name, one question after the other; the median of the seconds."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    seconds = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.connect((server, 53))
        for number in range(count):
            question = struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
            begin = time.perf_counter()
            channel.send(question)
            answer = channel.recv(512)
            seconds.append(time.perf_counter() - begin)
            if struct.unpack_from("!H", answer, 6) == (0,):
                raise SystemExit(f"{server} does not know {name}")
    return statistics.median(seconds)


def main(arguments: list[str]) -> None:
    """The command line; a figure goes to the output."""
    match arguments:
        case ["serve", port]:
            serve(int(port))
        case ["send", address, port, seconds]:
            print(send(address, int(port), float(seconds)))
        case ["ask", server, name, count]:
            print(ask(server, name, int(count)))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
