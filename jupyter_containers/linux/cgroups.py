"""Control groups of containers: making, limiting, freezing and removing them, by a plan.

A :class:`CgroupPlan` is plain paths and texts, which travel to the monitor by ``marshal``; ``cgroup_host.py`` makes it.
The functions that take one import next to nothing, because the small processes call them.

Sources: cgroups(7); the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT
from time import monotonic, sleep

from jupyter_containers.linux import cgroup_files as files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class CgroupPlan(TypedDict):
        """The cgroups of one container.

        Attributes
        ----------
        name
            The container's.
        dirs
            The directory of each controller on version 1.
        unified
            The directory on version 2, or empty. :func:`open_unified` is for CLONE_INTO_CGROUP.
        writes
            File and text, in order.
        device_program
            Device rules for version 2, as ``device_filter`` compiled them; empty: none.
        """

        name: str
        dirs: dict[str, str]
        unified: str
        writes: list[tuple[str, str]]
        device_program: bytes


_PATIENCE = 2.0  # seconds for the kernel to take the last process out of a cgroup


def create(plan: CgroupPlan) -> None:
    """Make the directories and write the limits. Raises :exc:`OSError` naming the file."""
    for path in _paths(plan):
        files.make(path)
    if "cpuset" in plan["dirs"]:
        files.inherit_cpuset(plan["dirs"]["cpuset"])
    apply(plan)
    if plan["device_program"]:
        _filter_devices(plan)


def show(plan: CgroupPlan) -> None:
    """Let others than root look at the cgroups: the root of a container's user namespace is one."""
    for path in _paths(plan):
        os.chmod(os.path.dirname(path), 0o711)  # noqa: S103 - see above
        os.chmod(path, 0o755)  # noqa: S103 - the same


def apply(plan: CgroupPlan) -> None:
    """Write the limits, also those of a container that runs. Raises :exc:`OSError` naming the file.

    Two limits can depend on each other (memory on memory with swap): what is refused as invalid is tried once more
    after the others.
    """
    again = []
    for path, texts in _by_file(plan["writes"]):
        try:
            _write(path, texts)
        except OSError as error:
            if error.errno != EINVAL:
                raise
            again.append((path, texts))
    for path, texts in again:
        _write(path, texts)


def _by_file(writes: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """The writes in their order, with those that follow each other in one file together: rules for devices."""
    found: list[tuple[str, list[str]]] = []
    for path, text in writes:
        if found and found[-1][0] == path:
            found[-1][1].append(text)
        else:
            found.append((path, [text]))
    return found


def _write(path: str, texts: list[str]) -> None:
    """Write a file, or of several names joined by ``|`` the first that is there, with the text in the same place."""
    if "|" not in path:
        files.write(path, *texts)
        return
    for text in texts:
        _write_first(path, text)


def _write_first(path: str, text: str) -> None:
    first, *others = path.split("|")
    directory = first.rpartition("/")[0]
    texts = text.split("|")
    for number, name in enumerate([first, *(f"{directory}/{other}" for other in others)]):
        if files.written(name, texts[min(number, len(texts) - 1)]):
            return
    raise OSError(ENOENT, "this kernel has no such limit", path)


def check_usage(plan: CgroupPlan, limit: int) -> None:
    """Raise :exc:`OSError` (EBUSY) for a limit of memory below what is used: version 2 would kill, not refuse."""
    used = files.number(f"{plan['unified']}/memory.current") if "memory" not in plan["dirs"] and limit > 0 else None
    if used is not None and used > limit:
        raise OSError(EBUSY, f"resources.memory.limit: {used} bytes are used, more than the new limit of {limit}")


def rename(plan: CgroupPlan, new: CgroupPlan) -> None:
    """Give the directories of a plan for version 1 the names they have in another, with what runs in them.

    What has such a name already, of an earlier run of the same container, must be empty, and is removed.
    """
    for path, wanted in zip(_paths(plan), _paths(new), strict=True):
        try:
            os.rename(path, wanted)
        except FileExistsError:
            files.remove(wanted, monotonic() + _PATIENCE)
            os.rename(path, wanted)


def open_tasks(plan: CgroupPlan) -> list[int]:
    """Descriptors by which a process that gets them can :func:`enter` the cgroups of version 1, whoever it is by then.

    Raises :exc:`OSError` naming the file.
    """
    opened: list[int] = []
    try:
        for path in dict.fromkeys(plan["dirs"].values()):
            opened.append(os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 - those opened are closed
    except OSError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


def enter(tasks: list[int]) -> None:
    """Put the calling thread, which must be the only one of its process, into the cgroups of version 1.

    A thread that moves itself alone waits for nobody. One that is moved by another, or with its whole process, waits
    for a grace period of the kernel: 4 to 10 ms after a quiet moment (``cgroup_procs_write_start``, Linux 5.7).
    """
    for descriptor in tasks:
        os.write(descriptor, b"0")
        os.close(descriptor)


def open_unified(plan: CgroupPlan) -> int:
    """A descriptor of the directory on version 2, for CLONE_INTO_CGROUP, or -1 where there is none."""
    if not plan["unified"]:
        return -1
    return os.open(plan["unified"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _filter_devices(plan: CgroupPlan) -> None:
    from jupyter_containers.linux import device_filter  # noqa: PLC0415 - on version 2 only

    directory = open_unified(plan)
    try:
        device_filter.attach(plan["device_program"], directory)
    finally:
        os.close(directory)


def processes(plan: CgroupPlan) -> list[int]:
    """The processes in the container's cgroup, as this pid namespace numbers them; none once it is removed."""
    for path in _paths(plan):
        return [int(line) for line in files.read(f"{path}/cgroup.procs").split()]
    return []


def kill(plan: CgroupPlan) -> None:
    """Kill every process in the cgroup, frozen ones too. Whether they are gone already is not waited for."""
    if plan["unified"]:
        try:
            files.write(f"{plan['unified']}/cgroup.kill", "1")  # Linux 5.14
            return
        except OSError as error:
            if error.errno != ENOENT:
                raise
    for _ in range(100):  # a process may fork faster than it is found; each round kills what the last one missed
        found = processes(plan)
        for pid in found:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        if not found:
            return
        freeze(plan, frozen=False, wait=0)
        sleep(0.001)


def freeze(plan: CgroupPlan, *, frozen: bool, wait: float = _PATIENCE) -> bool:
    """Stop all processes of the container where they are, or let them go on.

    Returns whether they are so within ``wait`` seconds; False also where there is no freezer.
    """
    if plan["unified"] and os.path.exists(f"{plan['unified']}/cgroup.freeze"):
        files.write(f"{plan['unified']}/cgroup.freeze", "1" if frozen else "0")
        path, wanted = f"{plan['unified']}/cgroup.events", f"frozen {int(frozen)}"
    elif "freezer" in plan["dirs"]:
        wanted = "FROZEN" if frozen else "THAWED"
        path = f"{plan['dirs']['freezer']}/freezer.state"
        if not files.written(path, wanted):
            return False
    else:
        return False
    deadline = monotonic() + wait
    while wanted not in files.read(path).splitlines():
        if monotonic() >= deadline:
            return False
        sleep(0.001)
    return True


def oom_kills(plan: CgroupPlan) -> int:
    """How many of its processes were killed for want of memory; 0 also where nobody counts."""
    if "memory" in plan["dirs"]:
        return files.field(f"{plan['dirs']['memory']}/memory.oom_control", "oom_kill") or 0
    return files.field(f"{plan['unified']}/memory.events", "oom_kill") or 0 if plan["unified"] else 0


def remove(plan: CgroupPlan, *, patience: float = _PATIENCE) -> None:
    """Remove the directories, and those the container made in them.

    A cgroup stays busy until its last process was reaped: that is waited for, ``patience`` seconds at most, then
    :exc:`OSError` (EBUSY) is raised. Directories that are gone already are no error.
    """
    deadline = monotonic() + patience
    for path in _paths(plan):
        files.remove(path, deadline)


def _paths(plan: CgroupPlan) -> dict[str, None]:
    """The directories, each once (controllers may be mounted together), memory first."""
    return dict.fromkeys([*plan["dirs"].values(), *([plan["unified"]] if plan["unified"] else [])])
