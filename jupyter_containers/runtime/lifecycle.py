"""What is true of a container, from what is on disk and what the kernel says.

::

                    monitor.json   processes           exit record
    created         -              -                   -
    running         yes            monitor and init    -
    orphaned        yes            init only           -           its monitor was killed a moment ago
    exited          (yes)          (monitor)           yes
    dead            yes            -                   -           killed with its monitor, or the machine went down

A process counts as alive when its start time is the one on record and the machine was not started anew since: pids are
used again.
"""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from jupyter_containers.errors import Timeout
from jupyter_containers.linux import cgroups, namespaces
from jupyter_containers.linux.syscalls import pidfd_send_signal
from jupyter_containers.runtime.handle import monitor_killed

if TYPE_CHECKING:
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.protocol import ExitStatus, MonitorRecord, ProcessId

Status = Literal["created", "running", "orphaned", "exited", "dead"]

_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """A container's state.

    Attributes
    ----------
    status
        See the module.
    pid
        Of the container's init as this process sees it; 0 unless it is alive.
    started_at
        Nanoseconds since the epoch; 0 if it is not known.
    exit
        How it ended, for ``exited`` and ``dead``.
    """

    status: Status
    pid: int = 0
    started_at: int = 0
    exit: ExitStatus | None = None


def boot_id() -> str:
    """Identifies the time since the machine was started, random(4)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _read(path: str) -> dict[str, Any] | None:
    """A JSON document; None if there is none, or a power failure left it empty or in part."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _alive(process: ProcessId) -> bool:
    return namespaces.start_time(process["pid"]) == process["start_time"] != 0


def read_record(run_dir: str) -> MonitorRecord | None:
    """``monitor.json``, if it is there and was written since the machine was started."""
    found = cast("MonitorRecord | None", _read(f"{run_dir}/monitor.json"))
    return found if found is not None and found.get("boot_id") == boot_id() else None


def read_exit(state_dir: str) -> ExitStatus | None:
    """The exit record, if there is one."""
    found = _read(f"{state_dir}/exit")
    return cast("ExitStatus", found) if found is not None and "code" in found else None


def read_state(run_dir: str, state_dir: str) -> State:
    """What is true of a container now. Reads three small files; never raises for what is missing."""
    left_behind = _read(f"{run_dir}/monitor.json")
    record = read_record(run_dir)
    ended = read_exit(state_dir)
    if ended is not None:
        return State("exited", started_at=ended["started_at"], exit=ended)
    if record is not None:
        started_at = record["started_at"]
        if _alive(record["init"]):
            status: Status = "running" if _alive(record["monitor"]) else "orphaned"
            return State(status, record["init"]["pid"], started_at)
        if _alive(record["monitor"]):
            # init is gone and its record is being written: ask once more
            ended = read_exit(state_dir)
            if ended is not None:
                return State("exited", started_at=ended["started_at"], exit=ended)
            return State("running", started_at=started_at)
    if left_behind is None:
        return State("created")
    return State("dead", started_at=left_behind.get("started_at", 0), exit=monitor_killed())


def kill_leftovers(run_dir: str, cgroup: CgroupPlan | None = None) -> None:
    """End what is left of a container whose monitor is gone: its init, its cgroup, its control socket.

    Raises
    ------
    Timeout
        A process does not end within five seconds (it hangs in the kernel, on a dead file server for one).
    """
    record = read_record(run_dir)
    if record is not None:
        for process in (record["monitor"], record["init"]):
            _kill(process)
    if cgroup is not None:
        cgroups.kill(cgroup)
        cgroups.remove(cgroup)
    for name in ("control.sock", "monitor.json"):
        try:
            os.unlink(f"{run_dir}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            continue


def _kill(process: ProcessId) -> None:
    try:
        pidfd = os.pidfd_open(process["pid"])
    except ProcessLookupError:
        return
    try:
        # only now does the pid stand for the process it stands for: compare after opening
        if not _alive(process):
            return
        pidfd_send_signal(pidfd, signal.SIGKILL)
        if not select.select([pidfd], [], [], _PATIENCE)[0]:
            raise Timeout(f"process {process['pid']} does not end, though it was killed")
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
