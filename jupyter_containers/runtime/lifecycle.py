"""What is true of a container, from what is on disk and what the kernel says.

::

                    monitor.json   processes           exit record
    created         -              -                   -
    running         yes            monitor and init    -
    paused          yes            monitor and init    -           monitor.json says so
    restarting      yes            monitor             -           monitor.json says so; its next start waits
    orphaned        yes            init only           -           its monitor was killed a moment ago
    exited          (yes)          (monitor)           yes
    dead            yes            -                   -           killed with its monitor, or the machine went down

Both files are in the directory that survives a reboot: a container that ran before one is ``dead``.

A process counts as alive when its start time is the one on record and the machine was not started anew since: pids are
used again.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

from jupyter_containers.errors import Timeout
from jupyter_containers.linux import cgroups, namespaces
from jupyter_containers.linux.syscalls import pidfd_send_signal
from jupyter_containers.records import dataclass
from jupyter_containers.runtime.handle import monitor_killed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.protocol import ExitStatus, MonitorRecord, ProcessId

Status = Literal["created", "running", "paused", "restarting", "orphaned", "exited", "dead"]

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
        How it ended, for ``exited`` and ``dead``; how it ended last, for ``restarting``.
    restarts
        How often its policy started it again.
    health
        What its health check found, as the monitor keeps it.
    """

    status: Status
    pid: int = 0
    started_at: int = 0
    exit: ExitStatus | None = None
    restarts: int = 0
    health: dict[str, Any] | None = None


@cache
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


def read_record(directory: str) -> MonitorRecord | None:
    """``monitor.json``, if it is there and was written since the machine was started."""
    found = cast("MonitorRecord | None", _read(f"{directory}/monitor.json"))
    return found if found is not None and found.get("boot_id") == boot_id() else None


def monitors(running: str, states: str) -> Iterator[int]:
    """The pids of the monitors that live: those of the containers with a directory in ``running``."""
    for identity in os.listdir(running) if os.path.isdir(running) else ():
        record = read_record(f"{states}/{identity}")
        if record is not None and _alive(record["monitor"]):
            yield record["monitor"]["pid"]


def read_exit(state_dir: str) -> ExitStatus | None:
    """The exit record, if there is one."""
    found = _read(f"{state_dir}/exit")
    return cast("ExitStatus", found) if found is not None and "code" in found else None


def read_state(state_dir: str) -> State:
    """What is true of a container now. Reads a few small files; never raises for what is missing."""
    record = cast("MonitorRecord | None", _read(f"{state_dir}/monitor.json"))
    ended = read_exit(state_dir)
    if record is None:
        # It may have ended between the two looks.
        ended = ended or read_exit(state_dir)
        return _exited(ended) if ended else State("created")
    now = record.get("boot_id") == boot_id()
    monitored = now and _alive(record["monitor"])
    found = None if ended else _living(record, monitored=monitored, now=now)
    if found is not None:
        return found
    # The record of its end may have been written while we looked.
    ended = ended or read_exit(state_dir)
    if ended is not None:
        return _exited(ended)
    if monitored:
        return State("running", started_at=record["started_at"], restarts=record.get("restarts", 0))
    return State("dead", started_at=record["started_at"], exit=monitor_killed(record["started_at"], rebooted=not now))


def await_monitor(state_dir: str) -> bool:
    """Wait until the monitor of a container that has ended has taken down what was left, five seconds at most.

    Returns whether it has; one that was killed never will. The monitor of a start that was given up has left no record,
    but holds the directory.
    """
    record = read_record(state_dir)
    deadline = time.monotonic() + _PATIENCE
    while record is not None and _alive(record["monitor"]) and time.monotonic() < deadline:
        time.sleep(0.001)
        record = read_record(state_dir)
    return record is None and _is_let_go(state_dir, deadline)


def _is_let_go(state_dir: str, deadline: float) -> bool:
    try:
        descriptor = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.001)
            else:
                return True
    finally:
        os.close(descriptor)


def _living(record: MonitorRecord, *, monitored: bool, now: bool) -> State | None:
    """The state of a container whose init is alive, or whose next start is waited for."""
    restarts = record.get("restarts", 0)
    if monitored and record.get("restarting"):
        return State(
            "restarting",
            started_at=record["started_at"],
            exit=record.get("last"),
            restarts=restarts,
            health=record.get("health"),
        )
    if not now or not _alive(record["init"]):
        return None
    status: Status = ("paused" if record.get("paused") else "running") if monitored else "orphaned"
    return State(
        status,
        record["init"]["pid"],
        record["started_at"],
        restarts=restarts,
        health=record.get("health"),
    )


def _exited(ended: ExitStatus) -> State:
    return State("exited", started_at=ended["started_at"], exit=ended, restarts=ended.get("restarts", 0))


def kill_leftovers(run_dir: str, state_dir: str, cgroup: CgroupPlan | None = None) -> None:
    """End what is left of a container whose monitor is gone: its init, its cgroup, its control socket.

    Raises
    ------
    Timeout
        A process does not end within five seconds (it hangs in the kernel, on a dead file server for one).
    """
    record = read_record(state_dir)
    if record is not None:
        _kill(record["monitor"])
    if cgroup is not None:
        cgroups.kill(cgroup)  # which also lets go on what was paused, and would not end otherwise
    if record is not None:
        _kill(record["init"])
    if cgroup is not None:
        cgroups.remove(cgroup)
    for path in (f"{run_dir}/control.sock", f"{state_dir}/monitor.json"):
        try:
            os.unlink(path)
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
