"""Builds: ours beside the BuildKit of Debian's dockerd, on one new disk, with the same base, files, Dockerfiles."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bench import memory, workload
from bench.peers import NotHere, dockerd, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from jupyter_containers.engine import Engine

SMALL_FILES = 500
BIG_FILES, BIG_BYTES = 65_000, 1_060_000_000
BIG_TURNS = 3
STAGES = 4
DISK_BYTES = 40 << 30
"""The size of the sparse file that is the disk; what is written to it is what counts."""

SETTLE = 2.5
"""Seconds until a file counts as one that is not being written any more."""

BIG = f"FROM {workload.BASE}\nCOPY . /big/\n"
SLEEP = "".join(
    [
        *(f"FROM {workload.BASE} AS s{number}\nRUN sleep 2 && echo > /out{number}\n" for number in range(STAGES)),
        f"FROM {workload.BASE}\n",
        *(f"COPY --from=s{number} /out{number} /\n" for number in range(STAGES)),
    ]
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what BuildKit 0.32 took for it on such a machine, and what ours is to reach."""

    text: str
    recorded: str
    goal: str


ROWS = {
    "fresh": Row(
        "9 steps (3 RUN, 2 COPY), 500 files of 2 kB, Debian base, no cache", "0.35 s", "0.18 s; 0.2 x dockerd's"
    ),
    "cached": Row("the same, all cached, in a warm process", "0.07 s", "0.020 s"),
    "first": Row("COPY of 1.06 GB in 65,000 files, first time", "33 s", "0.5 x dockerd's"),
    "again": Row("the same again, nothing changed", "2.0 s", "0.3 x dockerd's"),
    "changed": Row("the same, one file changed", "20-22 s", "0.3 x dockerd's"),
    "stages": Row("four independent stages of sleep 2", "2.6 s", "2.3 s"),
    "memory": Row("memory at its peak: Pss of all processes", "220 MB", "200 MB"),
}


class Builder(Protocol):
    """An engine that builds."""

    def build(self, dockerfile: str, context: Path, *, fresh: bool = False) -> None:
        """Build, ``fresh`` without the cache. Raises ``NotHere`` when it fails."""

    @property
    def process(self) -> int:
        """The process whose memory it is, with those that it started."""


@dataclass(slots=True)
class Results:
    """Seconds of each turn by row; the peak of memory in bytes; the reason why something is missing."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: int = 0
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """The contexts: one of small files; of the big ones as many as turns are wanted, none when they are left out."""

    small: Path
    big: list[Path]


# -- engines ---------------------------------------------------------------------------------------------------------


class Ours:
    """An engine in this process, as in a notebook's kernel."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, dockerfile: str, context: Path, *, fresh: bool = False) -> None:
        """See :class:`Builder`."""
        from jupyter_containers import EngineError  # noqa: PLC0415 - lazily, as every front end does

        try:
            self._engine.images.build(
                context, dockerfile=dockerfile, tag=["bench-built"], no_cache=fresh, network="none"
            )
        except EngineError as error:
            raise NotHere(str(error)) from error

    @property
    def process(self) -> int:
        """Our own: the engine is in it."""
        return os.getpid()


@contextmanager
def ours(directory: Path, base: Path) -> Iterator[Ours]:
    """The package on a store of its own."""
    from jupyter_containers import Engine  # noqa: PLC0415 - the same

    with Engine(directory / "store") as engine:
        engine.images.build(base.parent, dockerfile=f"FROM scratch\nADD {base.name} /\n", tag=[workload.BASE])
        yield Ours(engine)


class Docker:
    """A client of a daemon of our own."""

    def __init__(self, client: str, environment: dict[str, str], daemon: int, directory: Path) -> None:
        self._command = [client, "build", "--network=none", "-t", "bench-built"]
        self._environment = {**environment, "DOCKER_BUILDKIT": "1"}
        self._daemon = daemon
        self._file = directory / "Dockerfile"

    def build(self, dockerfile: str, context: Path, *, fresh: bool = False) -> None:
        """See :class:`Builder`."""
        self._file.write_text(dockerfile, encoding="utf-8")
        cache = ["--no-cache"] if fresh else []
        run([*self._command, *cache, "-f", str(self._file), str(context)], self._environment)

    @property
    def process(self) -> int:
        """The daemon."""
        return self._daemon


@contextmanager
def docker(directory: Path, base: Path) -> Iterator[Docker]:
    """Debian's dockerd on directories of its own."""
    with dockerd(directory) as (client, environment, process):
        run([client, "import", str(base), workload.BASE], environment)
        yield Docker(client, environment, process.pid, directory)


ENGINES: dict[str, Callable[[Path, Path], AbstractContextManager[Builder]]] = {"ours": ours, "docker": docker}


# -- what is built ---------------------------------------------------------------------------------------------------


def make_scene(directory: Path, turns: int) -> Scene:
    """The contexts, settled."""
    small = directory / "small"
    workload.make_context(small, files=SMALL_FILES)
    big = [directory / f"big{turn}" for turn in range(turns)]
    for turn, place in enumerate(big):
        make_big(place, seed=turn)
    os.sync()
    time.sleep(SETTLE)
    return Scene(small, big)


def make_big(directory: Path, *, seed: int) -> None:
    """65,000 files of 8 to 24 kB that hardly compress, a hundred in each directory."""
    rng = random.Random(seed)
    block = rng.randbytes(1 << 20)
    mean = BIG_BYTES // BIG_FILES
    for number in range(BIG_FILES):
        place = directory / f"{number // 5000:02}" / f"{number // 100:04}"
        if number % 100 == 0:
            place.mkdir(parents=True)
        size = rng.randint(mean // 2, mean * 3 // 2)
        start = rng.randrange(len(block) - size)
        (place / f"{number:05}").write_bytes(block[start : start + size])


def change_one(context: Path, turn: int) -> None:
    """Give one file another content, in the middle of all."""
    (context / "06" / "0325" / f"{32_500 + turn:05}").write_bytes(os.urandom(BIG_BYTES // BIG_FILES))


def measure(name: str, engine: AbstractContextManager[Builder], scene: Scene, repeats: int) -> Results:
    """All rows of one engine; what fails is noted."""
    results = Results()
    dockerfile = workload.DOCKERFILE.format(base=workload.BASE)

    def take(row: str, turns: int, action: Callable[[], None]) -> None:
        for _turn in range(turns):
            begin = time.perf_counter()
            action()
            results.seconds.setdefault(row, []).append(time.perf_counter() - begin)

    try:
        with engine as builder, memory.watched(builder.process) as peak:
            builder.build(dockerfile, scene.small)
            take("fresh", repeats, lambda: builder.build(dockerfile, scene.small, fresh=True))
            take("cached", repeats, lambda: builder.build(dockerfile, scene.small))
            take("stages", min(repeats, 3), lambda: builder.build(SLEEP, scene.small, fresh=True))
            for turn, context in enumerate(scene.big):
                print(f"{name}: context {turn + 1} of {len(scene.big)} ...", file=sys.stderr, flush=True)
                for row in ("first", "again", "changed"):
                    if row == "changed":
                        change_one(context, turn)
                        time.sleep(SETTLE)
                    take(row, 1, lambda context=context: builder.build(BIG, context))  # type: ignore[misc]  # bound now
        results.memory = peak.size
    except NotHere as reason:
        results.missing = str(reason)
    return results


# -- the table -------------------------------------------------------------------------------------------------------


def table(found: dict[str, Results]) -> str:
    """A Markdown table of medians."""
    lines = ["| median | ours | dockerd's | ours / dockerd's | BuildKit 0.32, recorded | to reach, at most |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for key, row in ROWS.items():
        values = [_value(results, key) for results in found.values()]
        cells = ["-" if value is None else _shown(key, value) for value in values]
        own, other = values
        ratio = f"{own / other:.2f}" if own and other else "-"
        lines.append(f"| {row.text} | {' | '.join(cells)} | {ratio} | {row.recorded} | {row.goal} |")
    return "\n".join(lines)


def _value(results: Results, key: str) -> float | None:
    if key == "memory":
        return results.memory or None
    seconds = results.seconds.get(key)
    return statistics.median(seconds) if seconds else None


def _shown(key: str, value: float) -> str:
    if key == "memory":
        return f"{value / 1e6:.0f} MB"
    return f"{value:.3f} s" if value < 1 else f"{value:.1f} s"


@contextmanager
def disk(directory: Path) -> Iterator[tuple[Path, str]]:
    """A new file system for all of it, and what to say about it.

    On one in use the cost of a new file depends on what was deleted there before, and clearing up takes as long as
    measuring. Where none can be mounted it is the directory itself.
    """
    image, place = directory / "disk", directory / "mnt"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    commands = [
        ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", str(image)],
        ["mount", "-o", "loop", str(image), str(place)],
    ]
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            yield directory, f"the disk of the temporary directory ({command[0]} failed: {error})"
            return
    try:
        yield place, "a new ext4 in a file"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def benchmark(directory: Path, base: Path, repeats: int, *, big: bool, only: list[str]) -> str:
    """Measure, and what is to be printed."""
    with disk(directory) as (place, described):
        found = {}
        for name, prepare in ENGINES.items():
            if only and name not in {"ours", *only}:
                found[name] = Results(missing="left out by --only")
                continue
            print(f"builds: {name} ...", file=sys.stderr, flush=True)
            own = place / name
            own.mkdir()
            scene = make_scene(own / "contexts", BIG_TURNS if big else 0)
            found[name] = measure(name, prepare(own, base), scene, repeats)
    notes = [f"Stores and contexts are on {described}."]
    notes += [] if big else ["The context of 1.06 GB is measured with --big (four minutes more)."]
    notes += [f"- not measured: {name}: {results.missing}" for name, results in found.items() if results.missing]
    return "\n".join([table(found), "", *notes])
