"""What a container leaves behind, and the end of that: processes and control groups."""

from __future__ import annotations

import os

from jupyter_containers.linux import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.monitor.process import Monitor

_SIGKILL = 9
_ATTEMPTS = 30
_PAUSE = 1.0  # seconds


class Teardown:
    """See the module.

    Attributes
    ----------
    pending
        The kernel has not let go of a last process yet, and will be asked again.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.pending = False

    def kill_children(self) -> None:
        """Kill what is still running of a container whose pid namespace does not end with it, and reap it."""
        monitor = self._monitor
        if not monitor.starter.reaps:
            return
        if monitor.cgroup:
            cgroups.kill(monitor.cgroup)
        execs = {job.pid for job in monitor.execs.running}
        monitor.execs.kill()
        while children := _children() - execs:
            for pid in children:
                os.kill(pid, _SIGKILL)
                os.waitpid(pid, 0)

    def remove_cgroups(self, plans: Iterable[CgroupPlan], attempts: int = _ATTEMPTS) -> None:
        """Remove control groups and what is in them; what stays for half a minute is left to the next engine.

        The exit record then says so.
        """
        self.pending = False
        left = []
        reason = ""
        for plan in plans:
            try:
                if attempts < _ATTEMPTS:
                    cgroups.kill(plan)
                cgroups.remove(plan)
            except OSError as error:
                left.append(plan)
                reason = f"its control group cannot be removed: {error.filename or plan['name']}: {error.strerror}"
        if not left:
            self._let_go(attempts)
            return
        if attempts:
            self.pending = True
            self._monitor.loop.after("cgroup", _PAUSE, lambda: self.remove_cgroups(left, attempts - 1))
        else:
            self._monitor.note(reason)
            self._let_go(attempts)

    def _let_go(self, attempts: int) -> None:
        """After another attempt than the first one: its caller has more to do."""
        if attempts < _ATTEMPTS:
            self._monitor.let_go()


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb", buffering=0) as file:
        return {int(pid) for pid in file.read(65536).split()}
