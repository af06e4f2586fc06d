"""Being told when the kernel kills a process of a container for want of memory, while the container goes on.

Sources: admin-guide/cgroup-v1/memory (event notification), admin-guide/cgroup-v2 (memory.events).
"""

from __future__ import annotations

import os
from select import POLLPRI

from jupyter_containers.linux import cgroup_files as files
from jupyter_containers.monitor.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.monitor.loop import Loop


def watch(loop: Loop, cgroup: CgroupPlan, happened: Callable[[], None]) -> None:
    """Call ``happened`` at each kill from now on. Where the kernel tells nobody, it is found out at the end alone."""
    try:
        if "memory" in cgroup["dirs"]:
            _watch_v1(loop, cgroup["dirs"]["memory"], happened)
        elif cgroup["unified"]:
            _watch_v2(loop, cgroup["unified"], happened)
    except OSError:
        return


def _watch_v1(loop: Loop, directory: str, happened: Callable[[], None]) -> None:
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
    try:
        files.write(f"{directory}/cgroup.event_control", f"{event} {control}")
    except OSError:
        os.close(event)
        raise
    finally:
        os.close(control)

    def ready() -> None:
        try:
            os.eventfd_read(event)
        except BlockingIOError:
            return
        if os.path.exists(directory):
            # The kernel tells before it counts: look a moment later.
            loop.after("oom", 0.05, happened)
        else:  # it also tells that the cgroup is gone
            loop.forget(event)
            os.close(event)

    loop.watch(event, READ, ready)


def _watch_v2(loop: Loop, directory: str, happened: Callable[[], None]) -> None:
    events = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    os.read(events, 4096)  # poll(2) tells of changes since the last read

    def ready() -> None:
        try:
            os.lseek(events, 0, os.SEEK_SET)
            os.read(events, 4096)
        except OSError:  # the cgroup is gone
            loop.forget(events)
            os.close(events)
            return
        happened()

    loop.watch(events, POLLPRI, ready)
