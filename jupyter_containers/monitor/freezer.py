"""Stopping all processes of a container where they are: by its cgroup, or with SIGSTOP where it has none.

With SIGSTOP the processes can see that they were stopped, and whoever may signal them can make them go on.
"""

from __future__ import annotations

import os

from jupyter_containers.linux import cgroups
from jupyter_containers.monitor.watchdog import descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.linux.cgroups import CgroupPlan

_SIGCONT, _SIGSTOP = 18, 19
_ROUNDS = 100


def pause(cgroup: CgroupPlan | None, roots: Iterable[int]) -> None:
    """Stop the processes; ``roots`` are those the monitor started. A process that forks meanwhile is found again."""
    if cgroup and cgroups.freeze(cgroup, frozen=True):
        return
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        new = {pid for root in roots for pid in descendants(root)} - stopped
        if not new:
            return
        _signal(new, _SIGSTOP)
        stopped |= new


def resume(cgroup: CgroupPlan | None, roots: Iterable[int]) -> None:
    """Let them go on."""
    if cgroup and cgroups.freeze(cgroup, frozen=False):
        return
    _signal({pid for root in roots for pid in descendants(root)}, _SIGCONT)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
