"""What the life of a container costs, and the copying of files into it and out of it, ours beside Docker's."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import ours, peers, workload
from bench.peers import NotHere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

NAME, KEPT = "bench-life", "bench-kept"
PROGRAM = ("/bin/sleep", "1000")
SIZE, PIECE = 10**9, 1 << 20
LIVES, COPIES = 20, 5
INTO, OUT = "cp of a 1 GB file into a container, GB/s", "cp of the file out of it, GB/s"
BEFORE = "before"
ROWS = ("create", "start", "stop", "rm")
"""Steps of a life, in order. Its program has no handler for SIGTERM, so that it is stopped by SIGKILL at once."""

Actions = dict[str | tuple[str, str], "Callable[[], object]"]


@contextmanager
def package(directory: Path, big: Path) -> Iterator[Actions]:
    """The engine on a store of its own, in this process."""
    with ours.made(directory) as engine:
        containers = engine.containers
        containers.run(workload.BASE, list(PROGRAM), name=KEPT, detach=True, network="none")
        try:
            yield {
                "create": lambda: containers.create(workload.BASE, list(PROGRAM), name=NAME, stop_signal="KILL"),
                "start": lambda: containers.start(NAME),
                "stop": lambda: containers.stop(NAME),
                "rm": lambda: containers.remove(NAME),
                INTO: lambda: containers.copy_to(KEPT, str(big), "/big"),
                OUT: lambda: containers.copy_from(KEPT, "/big", str(directory / "out")),
                (INTO, BEFORE): lambda: containers.exec(KEPT, ["rm", "-f", "/big"]),
                (OUT, BEFORE): lambda: (directory / "out").unlink(missing_ok=True),
            }
        finally:
            for row in containers.list():
                containers.remove(row.id, force=True)


@contextmanager
def docker(directory: Path, big: Path) -> Iterator[Actions]:
    """A daemon of our own, by its client."""
    with peers.dockerd(directory) as (client, environment, _process):
        peers.run([client, "import", str(peers.root_archive(directory)), workload.BASE], environment)

        def call(*words: str) -> Callable[[], object]:
            return lambda: peers.run([client, *words], environment)

        call("run", "--detach", "--network=none", f"--name={KEPT}", workload.BASE, *PROGRAM)()
        try:
            yield {
                "create": call("create", f"--name={NAME}", "--stop-signal=KILL", workload.BASE, *PROGRAM),
                "start": call("start", NAME),
                "stop": call("stop", NAME),
                "rm": call("rm", NAME),
                INTO: call("cp", str(big), f"{KEPT}:/big"),
                OUT: call("cp", f"{KEPT}:/big", str(directory / "out")),
                (INTO, BEFORE): call("exec", KEPT, "rm", "-f", "/big"),
                (OUT, BEFORE): lambda: (directory / "out").unlink(missing_ok=True),
            }
        finally:
            call("rm", "--force", KEPT)()


def benchmark(directory: Path) -> str:
    """A Markdown table of medians; the engines take turns, so that what else the machine does meets both."""
    if os.geteuid() != 0:
        return "- not measured: lives of containers: Docker's are made for root: run ./dev bench as root"
    big = directory / "big"
    with big.open("wb") as file:
        for _ in range(SIZE // PIECE):
            file.write(os.urandom(PIECE))
    sides: dict[str, Callable[[Path, Path], AbstractContextManager[Actions]]] = {"ours": package, "docker": docker}
    lines = []
    figures: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        ready: dict[str, Actions] = {}
        for name, make in sides.items():
            place = directory / name
            place.mkdir()
            try:
                ready[name] = stack.enter_context(make(place, big))
            except NotHere as reason:
                lines.append(f"- not measured: {name}: {reason}")
        for turns, keys in ((LIVES, ROWS), (COPIES, (INTO, OUT))):
            for turn in range(turns + 1):
                for name, actions in ready.items():
                    for key in keys:
                        if key not in ROWS:
                            _make_room(actions[key, BEFORE])
                        seconds = _timed(actions[key])
                        if turn:  # the first one warms up
                            figures.setdefault(name, {}).setdefault(key, []).append(seconds)
    return "\n".join([*_table(figures), *lines])


def _make_room(remove: Callable[[], object]) -> None:
    """What was copied before is on the disk, and then gone: a copy waits for no other, and finds pages of memory that
    the machine has in use already. A virtual machine gets others from its host only when they are touched first.
    """
    os.sync()
    remove()


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _table(figures: dict[str, dict[str, list[float]]]) -> list[str]:
    """Milliseconds of the steps and of the whole life, rates of the copies; times ours in brackets."""
    lives = {
        name: [sum(steps) for steps in zip(*(rows[key] for key in ROWS), strict=True)] for name, rows in figures.items()
    }
    lines = ["| lives, median of each | " + " | ".join(figures) + " |", "| --- |" + " ---: |" * len(figures)]
    lines.append(_row("create, start, stop and rm, ms", {name: _ms(values) for name, values in lives.items()}))
    lines += [_row(f"of that, {key}", {name: _ms(rows[key]) for name, rows in figures.items()}) for key in ROWS]
    lines += [_row(key, {name: _rate(rows[key]) for name, rows in figures.items()}) for key in (INTO, OUT)]
    return lines


def _ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def _rate(seconds: list[float]) -> float:
    return SIZE / 1e9 / statistics.median(seconds)


def _row(title: str, cells: dict[str, float]) -> str:
    own = cells.get("ours")
    shown = [
        f"{value:.2f}" if name == "ours" or not own else f"{value:.2f} ({value / own:.1f})"
        for name, value in cells.items()
    ]
    return f"| {title} | " + " | ".join(shown) + " |"
