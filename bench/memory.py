"""The memory of a process and all below it while something runs: a process of its own that looks every 50 ms."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL: Final = 0.05


@dataclass(slots=True)
class Peak:
    """The greatest sum of proportional set sizes (Pss) seen, in bytes; a page that several share counts once in all."""

    size: int = 0


@contextmanager
def watched(top: int) -> Iterator[Peak]:
    """Watch a process and those it starts; the peak is known at the end."""
    peak = Peak()
    command = [sys.executable, "-m", "bench.memory", str(top)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        watcher.stdout.readline()  # it looks
        yield peak
        peak.size = int(watcher.communicate()[0])


def below(top: int) -> list[int]:
    """A process and those it started, and so on, but not the one that asks."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path(f"/proc/{entry}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(int(entry))
    found = [top]
    for pid in found:
        found += [child for child in parents.get(pid, []) if child != os.getpid()]
    return found


def proportional(pids: list[int]) -> int:
    """The sum of their proportional set sizes in bytes; see ``proc_pid_smaps(5)``."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def main(top: int) -> None:
    """Look until the standard input ends, then print the peak."""
    peak = proportional(below(top))
    print(flush=True)
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        peak = max(peak, proportional(below(top)))
    print(peak)


if __name__ == "__main__":
    main(int(sys.argv[1]))
