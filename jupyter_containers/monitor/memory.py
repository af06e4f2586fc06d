"""A container and its memory: what it used, and whether it was killed for want of it."""

from __future__ import annotations

from jupyter_containers.linux import cgroup_figures, cgroups
from jupyter_containers.monitor import oom, watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.monitor.process import Monitor

_SIGKILL = 9
_WATCH_AFTER = 1.0


class Memory:
    """See the module.

    Parameters
    ----------
    limit
        Bytes above which the monitor itself kills the container, where no cgroup does; 0: none.
    """

    def __init__(self, monitor: Monitor, limit: int) -> None:
        self._monitor = monitor
        self._limit = limit
        self._over = 0
        self._counted = 0
        self._killed = False
        self._told = False

    def begins(self) -> None:
        """The container's program runs.

        Being told of kills while it runs costs some system calls: that is for those that run longer.
        """
        self._over = 0
        self._killed = False
        if self._limit:
            self._watch()
        elif self._monitor.cgroup and not self._told:
            self._monitor.loop.after("oom", _WATCH_AFTER, self._be_told)

    def limit(self, limit: int) -> None:
        """Another limit from now on."""
        before, self._limit = self._limit, limit
        if limit and not before:
            self._watch()

    def _watch(self) -> None:
        watchdog.Watchdog(self._monitor.loop, self._monitor.job, lambda: self._limit, self._exceeded)

    def _exceeded(self, used: int) -> None:
        self._over = used
        self._monitor.books.event("oom")
        self._monitor.job.signal(_SIGKILL)

    def _be_told(self) -> None:
        if self._monitor.cgroup and self._monitor.job.status is None:
            self._told = True
            oom.watch(self._monitor.loop, self._monitor.cgroup, self._count)

    def _count(self) -> None:
        """Tell of the processes that were killed since the last look."""
        count = cgroups.oom_kills(self._monitor.cgroup) if self._monitor.cgroup else 0
        if count > self._counted:
            self._counted = count
            self._killed = True
            self._monitor.books.event("oom")

    def account(self, status: dict[str, Any]) -> None:
        """Add to an exit status what was used, and whether there was too little."""
        cgroup = self._monitor.cgroup
        limit = self._limit
        if cgroup:
            stats = cgroup_figures.spent(cgroup)
            usage = status["usage"]
            usage["cpu_user_ns"] = stats.get("cpu_user", usage.get("cpu_user_ns", 0))
            usage["cpu_system_ns"] = stats.get("cpu_system", usage.get("cpu_system_ns", 0))
            usage["memory_peak"] = stats.get("memory_peak", usage.get("memory_peak", 0))
            limit = stats.get("memory_limit", limit)
            self._count()
        if self._over:
            status["cause"] = f"out of memory: used {self._over >> 20} MiB, the limit is {limit >> 20} MiB"
        elif self._killed:
            status["cause"] = f"out of memory (limit {limit >> 20} MiB)" if limit else "out of memory"
        status["oom_killed"] = bool(self._over or self._killed)
