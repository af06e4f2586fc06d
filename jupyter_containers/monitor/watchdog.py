"""A memory limit where no cgroup can enforce one: look at the processes, and end the container above the limit.

It is later than the kernel would be: what is allocated between two looks is noticed at the second one. The looks are
more frequent the closer the container is to its limit.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.monitor.job import Job
    from jupyter_containers.monitor.loop import Loop

_SLOW, _FAST = 0.1, 0.01
_CLOSE = 0.5
_KIBI = 1024


class Watchdog:
    """Calls ``exceeded`` with the bytes in use, once, when the processes below ``job`` use more than ``limit()``.

    The limit is asked for at each look; 0 ends the watch.
    """

    def __init__(self, loop: Loop, job: Job, limit: Callable[[], int], exceeded: Callable[[int], None]) -> None:
        self._loop = loop
        self._job = job
        self._limit = limit
        self._exceeded = exceeded
        self._look()

    def _look(self) -> None:
        limit = self._limit()
        if self._job.status is not None or not limit:
            return
        pids = descendants(self._job.pid)
        used = sum(map(resident, pids))
        if used > limit:
            used = sum(map(private, pids))  # without what processes share, which takes longer to find out
            if used > limit:
                self._exceeded(used)
                return
        self._loop.after("memory", _FAST if used > _CLOSE * limit else _SLOW, self._look)


def descendants(pid: int) -> list[int]:
    """A process and all below it (CONFIG_PROC_CHILDREN)."""
    found = [pid]
    for each in found:
        try:
            tasks = os.listdir(f"/proc/{each}/task")
        except OSError:  # it ended meanwhile
            continue
        for task in tasks:
            found += map(int, read(f"/proc/{each}/task/{task}/children").split())
    return found


def resident(pid: int) -> int:
    """Bytes of memory of a process that are not file pages, counting what it shares with others in full."""
    total = 0
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):
            total += int(line.split()[1]) * _KIBI
    return total


def private(pid: int) -> int:
    """Bytes of memory of a process that are not file pages, with its share of what it shares."""
    total = 0
    for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith((b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")):
            total += int(line.split()[1]) * _KIBI
    return total


def read(path: str) -> bytes:
    """A file of /proc, or nothing once its process has ended."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""
