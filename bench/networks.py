"""What networks cost, ours beside Docker's: a connect, a published port, a bridge, a name.

Both ends of the traffic are the same program in the network namespaces of containers (``traffic.py``).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench import ours, peers, workload
from bench.peers import NotHere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.engine import Engine

TRAFFIC = str(Path(__file__).with_name("traffic.py"))
PORT = 5001
NETWORK, OTHER = "bench-net", "bench-other"
SERVER, CLIENT = "bench-server", "bench-client"
SECONDS, ROUNDS, QUESTIONS = 1.5, 5, 500
ROWS = {
    "connect": ("network connect, ms", 1e3),
    "both": ("network connect and disconnect, ms", 1e3),
    "loopback": ("from loopback through a published port, GB/s", 1e-9),
    "bridge": ("between two containers of a network, GB/s", 1e-9),
    "name": ("answer to a name of a container, ms", 1e3),
}


class Side(Protocol):
    """An engine with two containers in a network, the server's port published."""

    def connect(self) -> None:
        """Put the client into one more network."""

    def disconnect(self) -> None:
        """Take it out again."""

    def inspect(self, name: str) -> dict[str, object]:
        """Docker's document of a container."""


class Ours:
    """The package, in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        for name in (NETWORK, OTHER):
            engine.networks.create(name)
        sleep, options = ["/bin/sleep", "1000"], {"detach": True, "network": NETWORK}
        engine.containers.run(workload.BASE, sleep, name=SERVER, publish=str(PORT), **options)  # type: ignore[arg-type]  # each as its option wants
        engine.containers.run(workload.BASE, sleep, name=CLIENT, **options)  # type: ignore[arg-type]  # the same

    def connect(self) -> None:
        """Put the client into one more network."""
        self._engine.networks.connect(OTHER, CLIENT)

    def disconnect(self) -> None:
        """Take it out again."""
        self._engine.networks.disconnect(OTHER, CLIENT)

    def inspect(self, name: str) -> dict[str, object]:
        """Docker's document of a container."""
        return self._engine.containers.inspect(name)

    def close(self) -> None:
        """Remove what was made."""
        for name in (SERVER, CLIENT):
            self._engine.containers.remove(name, force=True)
        for name in (NETWORK, OTHER):
            self._engine.networks.remove(name)


class Docker:
    """A daemon of our own, by its client."""

    def __init__(self, client: str, environment: dict[str, str]) -> None:
        self._client = client
        self._environment = environment
        for name in (NETWORK, OTHER):
            self._call("network", "create", name)
        run = ("run", "--detach", f"--network={NETWORK}")
        self._call(*run, f"--name={SERVER}", f"--publish=127.0.0.1::{PORT}", workload.BASE, "sleep", "1000")
        self._call(*run, f"--name={CLIENT}", workload.BASE, "sleep", "1000")

    def _call(self, *words: str) -> str:
        return peers.run([self._client, *words], self._environment)

    def connect(self) -> None:
        """Put the client into one more network."""
        self._call("network", "connect", OTHER, CLIENT)

    def disconnect(self) -> None:
        """Take it out again."""
        self._call("network", "disconnect", OTHER, CLIENT)

    def inspect(self, name: str) -> dict[str, object]:
        """Docker's document of a container."""
        (found,) = json.loads(self._call("inspect", name))
        return dict(found)

    def close(self) -> None:
        """Remove what was made."""
        self._call("rm", "--force", SERVER, CLIENT)


@contextmanager
def docker(directory: Path) -> Iterator[Docker]:
    """The daemon with the small root file system; the kernel has to answer for its bridges."""
    with peers.dockerd(directory) as (client, environment, _process):
        peers.run([client, "import", str(peers.root_archive(directory)), workload.BASE], environment)
        side = Docker(client, environment)
        try:
            yield side
        finally:
            side.close()


@contextmanager
def package(directory: Path) -> Iterator[Ours]:
    """The engine on a store of its own."""
    with ours.made(directory) as engine:
        side = Ours(engine)
        try:
            yield side
        finally:
            side.close()


def _find(document: dict[str, object], *keys: str) -> object:
    found: object = document
    for key in keys:
        assert isinstance(found, dict)
        found = found[key]
    return found


class Measured:
    """One side while its server serves."""

    def __init__(self, side: Side, stack: ExitStack) -> None:
        self._side = side
        server, client = side.inspect(SERVER), side.inspect(CLIENT)
        self._client = _find(client, "State", "Pid")
        self._address = str(_find(server, "NetworkSettings", "Networks", NETWORK, "IPAddress"))
        bindings = _find(server, "NetworkSettings", "Ports", f"{PORT}/tcp")
        assert isinstance(bindings, list)
        self._port = str(bindings[0]["HostPort"])
        command = [*_inside(_find(server, "State", "Pid")), "serve", str(PORT)]
        serving = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(serving.kill)
        assert serving.stdout is not None
        serving.stdout.readline()

    def figures(self) -> dict[str, float]:
        """One round: seconds, and bytes a second."""
        begin = time.perf_counter()
        self._side.connect()
        connected = time.perf_counter() - begin
        self._side.disconnect()
        both = time.perf_counter() - begin
        traffic = [sys.executable, "-I", TRAFFIC]
        return {
            "connect": connected,
            "both": both,
            "loopback": _run([*traffic, "send", "127.0.0.1", self._port, str(SECONDS)]),
            "bridge": _run([*_inside(self._client), "send", self._address, str(PORT), str(SECONDS)]),
            "name": _run([*_inside(self._client), "ask", "127.0.0.11", SERVER, str(QUESTIONS)]),
        }


def _inside(pid: object) -> list[str]:
    return ["nsenter", f"--target={pid}", "--net", sys.executable, "-I", TRAFFIC]


def _run(command: list[str]) -> float:
    return float(peers.run(command))


def benchmark(directory: Path) -> str:
    """A Markdown table of medians; the engines take turns, so that what else the machine does meets both."""
    if os.geteuid() != 0:
        return "- not measured: networks: Docker's are made for root: run ./dev bench as root"
    sides: dict[str, Callable[[Path], object]] = {"ours": package, "docker": docker}
    figures: dict[str, list[dict[str, float]]] = {}
    lines = []
    with ExitStack() as stack:
        ready: dict[str, Measured] = {}
        for name, make in sides.items():
            place = directory / name
            place.mkdir()
            try:
                ready[name] = Measured(stack.enter_context(make(place)), stack)  # type: ignore[arg-type]  # both yield a Side
            except NotHere as reason:
                lines.append(f"- not measured: {name}: {reason}")
        for _ in range(ROUNDS):
            for name, measured in ready.items():
                figures.setdefault(name, []).append(measured.figures())
    return "\n".join([*_table(figures), *lines])


def _table(figures: dict[str, list[dict[str, float]]]) -> list[str]:
    lines = ["| networks, median of each | " + " | ".join(figures) + " |", "| --- |" + " ---: |" * len(figures)]
    for key, (title, factor) in ROWS.items():
        medians = [statistics.median(one[key] for one in rounds) * factor for rounds in figures.values()]
        lines.append(f"| {title} | " + " | ".join(f"{value:.2f}" for value in medians) + " |")
    return lines
