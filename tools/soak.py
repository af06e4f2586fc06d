"""``./dev soak``: several processes create, start, stop and remove on one store; nothing is lost, nothing is left."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers.engine import Engine
from jupyter_containers.linux.probe import probe_host
from tests.support import leaks
from tools.environment import ROOT
from tools.stages import note

if TYPE_CHECKING:
    from collections.abc import Sequence

GRACE = 120.0
"""Seconds that a process may take for its last step."""
KILL_EVERY = 5.0
_TABLES = ("containers", "addresses", "networks", "volumes", "volume_users")
_DIRECTORIES = ("run/containers", "containers", "scratch", "volumes")


@dataclass(slots=True)
class Report:
    """What all processes did together, and what was wrong, each in some lines."""

    steps: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kills: int = 0

    def distinct(self) -> list[tuple[str, int]]:
        """Each kind of problem once, the traceback of one of them, and how many there were; most frequent first."""
        kinds: dict[str, list[str]] = {}
        for problem in self.problems:
            last = re.sub(r"\d+|[0-9a-f]{8,}", "N", problem.rstrip().rpartition("\n")[2])
            kinds.setdefault(last, []).append(problem)
        return sorted(((found[0], len(found)) for found in kinds.values()), key=lambda each: -each[1])


def soak(store: Path, *, seconds: float, processes: int = 8, kills: bool = False, seed: int = 0) -> Report:
    """Soak a store, which is made, emptied and looked at for what is left.

    Parameters
    ----------
    kills
        Now and then one of the processes is killed and another one takes its place.
    """
    report = Report()
    before = leaks.take(store)
    with Engine(store) as engine:
        engine.images.pull("starter")
        engine.containers.run("starter", ["true"], remove=True)
    known = _left(store)
    claims = Path(tempfile.mkdtemp(prefix="claims", dir=store.parent))
    try:
        crew = _Crew(store, claims, seconds, seed, network=os.geteuid() == 0 and probe_host(str(store)).rung == "root")
        found = crew.run(processes, report, kills=kills)
        _compare(store, found, report)
        _empty(store, found)
    finally:
        shutil.rmtree(claims, ignore_errors=True)
    report.problems += [f"left behind: {line}" for line in leaks.remaining(store, before)]
    report.problems += [f"left behind: {line}" for line in sorted(_left(store) - known)]
    return report


class _Crew:
    """The processes of a soak."""

    def __init__(self, store: Path, claims: Path, seconds: float, seed: int, *, network: bool) -> None:
        self._claims = claims
        self._end = time.monotonic() + seconds
        self._chance = random.Random(seed)
        self._network = "network" if network else "alone"
        self._variables = {**os.environ, "JUPYTER_CONTAINERS_ROOT": str(store)}

    def _start(self, number: int) -> subprocess.Popen[str]:
        seconds = max(0.0, self._end - time.monotonic())
        seed = self._chance.getrandbits(32)
        arguments = [str(number), str(seed), str(seconds), str(self._claims), self._network]
        command = [sys.executable, "-m", "tools.soak_worker", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=self._variables, stdout=pipe, stderr=pipe, text=True)

    def run(self, processes: int, report: Report, *, kills: bool) -> list[dict[str, Any]]:
        """Let them work; what they reported."""
        crew = [self._start(number) for number in range(processes)]
        try:
            while kills and time.monotonic() < self._end - KILL_EVERY:
                time.sleep(self._chance.uniform(0, 2 * KILL_EVERY))
                number = self._chance.randrange(processes)
                crew[number].kill()
                crew[number].communicate()
                crew[number] = self._start(number)
                report.kills += 1
            return [found for number, process in enumerate(crew) if (found := self._report(number, process, report))]
        finally:
            for process in crew:
                process.kill()
                process.wait()

    def _report(self, number: int, process: subprocess.Popen[str], report: Report) -> dict[str, Any] | None:
        try:
            out, err = process.communicate(timeout=max(0.0, self._end - time.monotonic()) + GRACE)
        except subprocess.TimeoutExpired:
            report.problems.append(f"process {number} hangs (pid {process.pid})")
            return None
        if process.returncode != 0:
            report.problems.append(f"process {number} ended with {process.returncode}: {err}")
            return None
        found: dict[str, Any] = json.loads(out)
        for name, count in found["steps"].items():
            report.steps[name] = report.steps.get(name, 0) + count
        report.problems += [f"process {number}, {text}" for text in found["problems"]]
        return found


def _compare(store: Path, found: Sequence[dict[str, Any]], report: Report) -> None:
    """Whether everything is there, and as it was left."""
    with Engine(store) as engine:
        rows = {row.name: row.state for row in engine.containers.list(all=True)}
        for each in found:
            for name, state in each["states"].items():
                if state != "lost" and rows.get(name) != state:
                    report.problems.append(f"in the end {name} is {rows.get(name)}, not {state}")
            lines = Path(engine.volumes.get(each["volume"]).mountpoint) / "lines"
            count = len(lines.read_text(encoding="ascii").splitlines()) if lines.exists() else 0
            if count != each["written"]:
                report.problems.append(f"the volume {each['volume']} has {count} lines, not {each['written']}")


def _empty(store: Path, _found: Sequence[dict[str, Any]]) -> None:
    with Engine(store) as engine:
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)
        for volume in engine.volumes.list():
            engine.volumes.remove(volume.name)
        engine.networks.prune()


def _left(store: Path) -> set[str]:
    """The files and rows of a store that belong to no image."""
    found = {
        f"file {path.relative_to(store)}"
        for directory in _DIRECTORIES
        for path in (store / directory).rglob("*")
        if not path.name.startswith(".")
    }
    with closing(sqlite3.connect(store / "state.sqlite")) as connection:
        for table in _TABLES:
            found |= {f"row of {table}: {row[:2]}" for row in connection.execute(f"SELECT * FROM {table}")}
    return found


def main(arguments: Sequence[str]) -> int:
    """The command line: 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="./dev soak", description="many processes on one store")
    parser.add_argument("--seconds", type=float, default=600, help="how long (600)")
    parser.add_argument("--processes", type=int, default=8, help="how many (8)")
    parser.add_argument("--kills", action="store_true", help="kill one of them now and then")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices (0)")
    options = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="jcs"))
    seconds, kills = options.seconds, options.kills
    report = soak(place / "store", seconds=seconds, processes=options.processes, kills=kills, seed=options.seed)
    for problem, count in report.distinct():
        note(f"{count} x {problem}")
    done = ", ".join(f"{count} x {name}" for name, count in sorted(report.steps.items()))
    note(
        f"{sum(report.steps.values())} steps ({done}), {report.kills} processes killed, {len(report.problems)} problems"
    )
    if report.problems:
        note(f"the store is kept: {place}")
        return 1
    shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
