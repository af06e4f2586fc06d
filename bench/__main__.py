"""The benchmark: one table, each engine beside ours, and every engine that could not be measured with the reason.

As root it runs in network and mount namespaces of its own, so that no bridge, rule or mount of any engine stays.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench import builds, debian, goals, lives, networks, notebook, ours, scale, steps
from bench.peers import PEERS, NotHere
from tools.environment import cache

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

QUIET = 0.03
ROWS = {
    goals.NO_NETWORK: ("run", 0.0),
    goals.NO_NETWORK_QUIET: ("run", QUIET),
    goals.NETWORK: ("run, network", 0.0),
    goals.NETWORK_QUIET: ("run, network", QUIET),
    goals.EXEC: ("exec", 0.0),
    goals.AT_ONCE: ("at once", 0.0),
    "build of 9 steps, all cached": ("build", 0.0),
    "the same, each after 30 ms of quiet  ": ("build", QUIET),
}
# podman writes there whatever its options say
STORES = Path("/var/lib/containers")
# /sys shows the network namespace it was mounted in; the cgroups below it are kept
PREPARE = f"""
ip link set lo up
mount -t tmpfs none /run
mount -t tmpfs none {STORES}
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs none /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount -l /run/cgroup
exec "$@"
"""
AT_ONCE = {"at once": 100}
SLOW = {"at once": 3, "build": 10}
"""Turns of the cases that take long."""
WARM, COMMAND = "ours", "ours, new process"
SECTIONS = ["runs", "steps", "lives", "builds", "networks", "notebook"]


class Timed(Protocol):
    """Something that can be measured."""

    def time(self, case: str, *, repeats: int, pause: float, at_once: int = 1) -> list[float]:
        """Seconds of each turn of a case; ``KeyError`` for a case it does not have, ``NotHere`` when it fails."""


@dataclass(slots=True)
class Results:
    """Medians in seconds by engine and row; and why something is missing."""

    medians: dict[tuple[str, str], float]
    missing: list[str]
    idle: str = ""


def measure(name: str, engine: AbstractContextManager[Timed], results: Results, repeats: int) -> None:
    """All rows of one engine. What fails is noted, never raised."""
    try:
        with engine as timed:
            for row, (case, pause) in ROWS.items():
                try:
                    turns = min(repeats, SLOW.get(case, repeats))
                    seconds = timed.time(case, repeats=turns, pause=pause, at_once=AT_ONCE.get(case, 1))
                except KeyError:
                    continue  # it has no such verb: crun builds nothing
                except NotHere as reason:
                    results.missing.append(f"{name}, {reason}")
                    continue
                results.medians[name, row] = statistics.median(seconds)
            if isinstance(timed, ours.Warm):
                results.idle = timed.idle()
    except NotHere as reason:
        results.missing.append(f"{name}: {reason}")


def table(results: Results) -> str:
    """A Markdown table: medians in milliseconds, in brackets how many times ours."""
    engines = list(dict.fromkeys(engine for engine, _row in results.medians))
    lines = ["| median of each, ms (times ours) | " + " | ".join(engines) + " |", "| --- |" + " ---: |" * len(engines)]
    for row in ROWS:
        cells = []
        own = results.medians.get((WARM, row))
        for engine in engines:
            value = results.medians.get((engine, row))
            if value is None:
                cells.append("-")
            elif engine == WARM or not own:
                cells.append(f"{value * 1000:.1f}")
            else:
                cells.append(f"{value * 1000:.1f} ({value / own:.1f})")
        lines.append(f"| {row.strip()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def benchmark(repeats: int, only: list[str]) -> Results:
    """Measure ours and every peer that is here."""
    results = Results({}, [])
    directory = Path(tempfile.mkdtemp(prefix="jcb"))
    program = Path(sys.executable).with_name("jupyter-container")
    try:
        measure(WARM, ours.warm(directory), results, repeats)
        measure(COMMAND, ours.command(directory, program), results, repeats)
        for name, prepare in PEERS.items():
            if only and name not in only:
                continue
            if os.geteuid() != 0:
                results.missing.append(f"{name}: its stores are made for root: run ./dev bench as root")
                continue
            place = directory / name
            place.mkdir()
            print(f"{name} ...", file=sys.stderr, flush=True)
            measure(name, prepare(place), results, repeats)
    finally:
        ours.forget(directory)
    return results


def in_own_namespaces(arguments: list[str]) -> int | None:
    """Run again in fresh network and mount namespaces; None where that is not possible or was done."""
    if os.geteuid() != 0 or "--inside" in arguments or not shutil.which("unshare"):
        return None
    inner = [sys.executable, "-m", "bench", "--inside", *arguments]
    was_there = STORES.exists()
    STORES.mkdir(exist_ok=True)
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", PREPARE, "sh", *inner]
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        if not was_there:
            STORES.rmdir()


def main(arguments: list[str]) -> int:
    """The command line; always 0 when ours could be measured. ``scale`` measures a store with much in it instead."""
    if arguments[:1] == ["scale"]:
        return scale.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="./dev bench", description="side by side with the other engines of this machine"
    )
    parser.add_argument("--repeats", type=int, default=30, help="runs of each case (30)")
    parser.add_argument("--only", action="append", default=[], choices=sorted(PEERS), help="only this peer; repeatable")
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only this table; repeatable")
    parser.add_argument("--big", action="store_true", help="builds also with a context of 1.06 GB in 65,000 files")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sections = options.section or SECTIONS
    if "builds" in sections and "--inside" not in arguments:
        base_or_reason()  # while there is a network
    status = in_own_namespaces(arguments)
    if status is not None:
        return status
    done = []
    for number, section in enumerate(sections):
        print(end="\n" if number else "")
        done.append(_SECTIONS[section](options))
    return 0 if all(done) else 1


def runs(options: argparse.Namespace) -> bool:
    """Print the table of runs; whether ours could be measured."""
    results = benchmark(options.repeats, options.only)
    print(table(results))
    print(f"\nAn idle detached container: {results.idle}.\n")
    print(goals.table(results.medians))
    for reason in results.missing:
        print(f"- not measured: {reason}")
    return any(engine == WARM for engine, _row in results.medians)


def base_or_reason() -> Path | str:
    """The Debian base of the builds, or why there is none."""
    try:
        return debian.archive(cache() / "bench")
    except NotHere as reason:
        return str(reason)


def builds_section(options: argparse.Namespace) -> bool:
    """Print the table of builds; whether there was a base to build on."""
    base = base_or_reason()
    if isinstance(base, str):
        print(f"- not measured: builds: {base}")
        return False
    with tempfile.TemporaryDirectory(prefix="jcb") as directory:
        print(builds.benchmark(Path(directory), base, min(options.repeats, 10), big=options.big, only=options.only))
    return True


def steps_section(options: argparse.Namespace) -> bool:
    """Print where the time of a run of ours goes."""
    print(steps.tables(options.repeats))
    return True


def lives_section(_options: argparse.Namespace) -> bool:
    """Print the table of lives of containers."""
    with tempfile.TemporaryDirectory(prefix="jcb", ignore_cleanup_errors=True) as directory:
        print(lives.benchmark(Path(directory)))
    return True


def networks_section(_options: argparse.Namespace) -> bool:
    """Print the table of networks."""
    with tempfile.TemporaryDirectory(prefix="jcb", ignore_cleanup_errors=True) as directory:
        print(networks.benchmark(Path(directory)))
    return True


def notebook_section(_options: argparse.Namespace) -> bool:
    """Print the table of what a notebook costs."""
    with tempfile.TemporaryDirectory(prefix="jcb", ignore_cleanup_errors=True) as directory:
        print(notebook.benchmark(Path(directory)))
    return True


_SECTIONS = {
    "runs": runs,
    "steps": steps_section,
    "lives": lives_section,
    "builds": builds_section,
    "networks": networks_section,
    "notebook": notebook_section,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
