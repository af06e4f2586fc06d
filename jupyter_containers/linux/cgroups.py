"""Control groups: where on this host containers can be limited, and what the small processes do there.

A host has version 1 (a hierarchy for each controller), version 2 (one hierarchy), both at once (*hybrid*: a controller
is on one side or the other), or none that we may write to. :class:`CgroupHost` finds out, and makes of a container's
limits a :class:`CgroupPlan`: plain paths and texts, which travel to the monitor by ``marshal``. The functions that take
a plan import nothing, because the small processes call them.

Where containers go: into ``jupyter-containers/<name>`` below the *topmost* writable directory of a hierarchy on the way
from its root to our own cgroup. For root that is the root of the hierarchy. Not below our own cgroup, as a container
would then count against the limits of the notebook server or the session that happened to start it, and would keep that
session's cgroup from being removed. For other users it is what was delegated to them, and on version 2 our own cgroup
has to be inside it: the kernel moves a process only where the mover may write to the common ancestor.

Sources: cgroups(7); the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT
from time import monotonic, sleep

from jupyter_containers.linux import cgroup_files as files
from jupyter_containers.linux.cgroup_files import PARENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, TypedDict

    from jupyter_containers.oci.runtime_spec import Resources

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

    class CgroupStats(TypedDict, total=False):
        """What a container uses: nanoseconds of CPU time, bytes, a number of tasks.

        ``memory`` is without the file cache that can be given back at once; ``memory_limit`` is missing without one.
        """

        cpu: int
        cpu_user: int
        cpu_system: int
        memory: int
        memory_peak: int
        memory_limit: int
        pids: int
        io_read: int
        io_write: int

    Version = Literal["v1", "v2", "hybrid", "none"]

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer", "blkio", "cpuset", "devices")
"""The controllers of version 1 that are used; those of version 2 have the same names or, for blkio, ``io``."""

_ALWAYS = ("memory", "cpu", "cpuacct", "pids", "freezer", "blkio")
_ON_DEMAND = ("cpuset", "devices")
_UNIFIED_WANTED = ("memory", "cpu", "pids", "io", "cpuset")
_NO_LIMIT = 1 << 62  # version 1 shows "no limit" as the largest number of pages
_PATIENCE = 2.0  # seconds for the kernel to take the last process out of a cgroup


# -- for the small processes -----------------------------------------------------------------------------------------


def create(plan: CgroupPlan) -> None:
    """Make the directories and write the limits. Raises :exc:`OSError` naming the file."""
    for path in _paths(plan):
        files.make(path)
    if "cpuset" in plan["dirs"]:
        files.inherit_cpuset(plan["dirs"]["cpuset"])
    apply(plan)
    if plan["device_program"]:
        _filter_devices(plan)


def apply(plan: CgroupPlan) -> None:
    """Write the limits, also those of a container that runs. Raises :exc:`OSError` naming the file.

    Two limits can depend on each other (memory on memory with swap): what is refused as invalid is tried once more
    after the others.
    """
    again = []
    for path, text in plan["writes"]:
        try:
            files.write(path, text)
        except OSError as error:
            if error.errno != EINVAL:
                raise
            again.append((path, text))
    for path, text in again:
        files.write(path, text)


def attach(plan: CgroupPlan, pid: int, *, unified: bool = True) -> None:
    """Move a process into the cgroups; 0 is the caller. Without ``unified`` only into those of version 1.

    After a quiet moment the first move takes 4 to 9 ms, since the kernel waits for a grace period.
    """
    for path in _paths(plan) if unified else dict.fromkeys(plan["dirs"].values()):
        files.write(f"{path}/cgroup.procs", str(pid))


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


def stats(plan: CgroupPlan) -> CgroupStats:
    """What the container uses now. A number nobody counts on this host is missing."""
    found: CgroupStats = {}
    dirs, unified = plan["dirs"], plan["unified"]
    if unified:
        _stats_v2(unified, found)
    if "cpuacct" in dirs:
        _put(found, "cpu", files.number(f"{dirs['cpuacct']}/cpuacct.usage"))
        _put(found, "cpu_user", files.number(f"{dirs['cpuacct']}/cpuacct.usage_user"))
        _put(found, "cpu_system", files.number(f"{dirs['cpuacct']}/cpuacct.usage_sys"))
    if "memory" in dirs:
        usage = files.number(f"{dirs['memory']}/memory.usage_in_bytes")
        cache = files.field(f"{dirs['memory']}/memory.stat", "total_inactive_file") or 0
        _put(found, "memory", None if usage is None else max(usage - cache, 0))
        _put(found, "memory_peak", files.number(f"{dirs['memory']}/memory.max_usage_in_bytes"))
        _put(found, "memory_limit", _limit(files.number(f"{dirs['memory']}/memory.limit_in_bytes")))
    if "pids" in dirs:
        _put(found, "pids", files.number(f"{dirs['pids']}/pids.current"))
    if "blkio" in dirs:
        text = files.read(f"{dirs['blkio']}/blkio.throttle.io_service_bytes_recursive")
        for key, word in (("io_read", "Read"), ("io_write", "Write")):
            _put(found, key, sum(int(line.split()[2]) for line in text.splitlines() if line.split()[1:2] == [word]))
    return found


def remove(plan: CgroupPlan) -> None:
    """Remove the directories, and those the container made in them.

    A cgroup stays busy until its last process was reaped: that is waited for, two seconds at most, then
    :exc:`OSError` (EBUSY) is raised. Directories that are gone already are no error.
    """
    deadline = monotonic() + _PATIENCE
    for path in _paths(plan):
        files.remove(path, deadline)


# -- for the engine --------------------------------------------------------------------------------------------------


class CgroupHost:
    """The cgroups of this host that we may use.

    Parameters
    ----------
    version
        ``v1``, ``v2``, ``hybrid`` or ``none``.
    bases
        For each controller of version 1 the directory that has or gets ``jupyter-containers``.
    unified
        The same for version 2, or empty.
    unified_controllers
        The controllers that version 2 offers there.
    reasons
        Why a controller cannot be used, for those that cannot.
    """

    def __init__(
        self,
        version: Version,
        bases: dict[str, str],
        unified: str = "",
        unified_controllers: Iterable[str] = (),
        reasons: dict[str, str] | None = None,
    ) -> None:
        self.version = version
        self.bases = bases
        self.unified = unified
        self.unified_controllers = tuple(unified_controllers)
        self.reasons = dict(reasons or {})

    @classmethod
    def detect(cls, proc: str = "/proc/self") -> CgroupHost:
        """Look at the mounted hierarchies. Nothing is made or changed; never raises."""
        from jupyter_containers.linux.cgroup_hierarchies import (  # noqa: PLC0415 - the small processes do without
            hierarchies,
            own_paths,
            topmost_writable,
        )

        own = own_paths(files.read(f"{proc}/cgroup"))
        bases: dict[str, str] = {}
        reasons: dict[str, str] = {}
        unified = ""
        unified_controllers: tuple[str, ...] = ()
        mounted: set[str] = set()
        for root, mount_point, kind, options in hierarchies(files.read(f"{proc}/mountinfo")):
            names = [""] if kind == "cgroup2" else [name for name in CONTROLLERS if name in options]
            for name in names:
                mounted.add(kind)
                base = topmost_writable(mount_point, root, own.get(name, "/"))
                if not base:
                    reasons[name] = f"{mount_point} is not writable for uid {os.geteuid()}"
                elif kind == "cgroup2":
                    unified, unified_controllers = base, tuple(files.read(f"{base}/cgroup.controllers").split())
                else:
                    bases[name] = base
        version: Version = "none"
        if bases:
            version = "hybrid" if unified and set(unified_controllers) & set(_UNIFIED_WANTED) else "v1"
        elif unified:
            version = "v2"
        if not mounted:
            reasons[""] = "no cgroup hierarchy is mounted"
        return cls(version, bases, unified, unified_controllers, reasons)

    @property
    def writable(self) -> bool:
        """Whether containers get a cgroup at all."""
        return bool(self.bases) or self.version in {"v2", "hybrid"}

    def can_limit(self, controller: str) -> bool:
        """Whether limits of a controller can be set: ``memory``, ``cpu``, ``pids``, ``cpuset``, ``devices`` ..."""
        if controller == "devices" and self.version in {"v2", "hybrid"} and os.geteuid() == 0:
            return True
        return controller in self.bases or (bool(self.unified) and controller in self.unified_controllers)

    def why_not(self, controller: str) -> str:
        """Why a controller cannot be used, one line; empty if it can."""
        if self.can_limit(controller):
            return ""
        if controller in self.reasons:
            return self.reasons[controller]
        if self.unified:
            return f"{self.unified} does not offer the {controller} controller"
        return self.reasons.get("", f"no {controller} controller is mounted")

    def plan(self, name: str, resources: Resources | None = None) -> CgroupPlan | None:
        """The cgroups for a container.

        Parameters
        ----------
        name
            The container's id: one path component.
        resources
            Its limits. Without any, it still gets cgroups, for its figures, pausing and killing.

        Returns
        -------
        The plan, or None where there is no cgroup to use and no limit to set.

        Raises
        ------
        Unsupported
            A limit that cannot be set here; the message says what is missing.
        """
        if not name or "/" in name or name.startswith("."):
            raise ValueError(f"not a name for a cgroup: {name!r}")
        from jupyter_containers.linux import cgroup_limits  # noqa: PLC0415 - the small processes do without

        given, program = self._device_rules(resources or {})
        asked_v1, asked_v2 = cgroup_limits.v1_writes(given), cgroup_limits.v2_writes(given)
        if given.get("unified") and not self.unified:
            raise self._unsupported("unified", "files of cgroup v2 were named, and there is no cgroup v2 to write to")
        for controller, _file, _text in asked_v1:
            if not self.can_limit(controller):
                raise self._unsupported(controller)
        if self.unified and "memory" not in self.bases and (refused := cgroup_limits.refused_by_v2(given)):
            raise self._unsupported("memory", refused)

        needed = {controller for controller, _file, _text in asked_v1}
        dirs = {
            controller: f"{base}/{PARENT}/{name}"
            for controller, base in self.bases.items()
            if controller in _ALWAYS or (controller in _ON_DEMAND and controller in needed)
        }
        unified = f"{self.unified}/{PARENT}/{name}" if self.version in {"v2", "hybrid"} else ""
        writes = [(f"{dirs[controller]}/{file}", text) for controller, file, text in asked_v1 if controller in dirs]
        if unified:
            here = [write for write in asked_v2 if write[0] not in dirs]
            self._enable({controller for controller, _file, _text in here})
            writes += [(f"{unified}/{file}", text) for _controller, file, text in here]
        self._check_swap(writes)
        if not dirs and not unified:
            return None
        return {"name": name, "dirs": dirs, "unified": unified, "writes": writes, "device_program": program}

    def existing(self) -> list[str]:
        """The names of containers that have a cgroup here, running or left behind by a crash."""
        found: set[str] = set()
        for base in {*self.bases.values(), self.unified} - {""}:
            try:
                with os.scandir(f"{base}/{PARENT}") as entries:
                    found.update(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except OSError as error:
                if error.errno != ENOENT:
                    raise
        return sorted(found)

    def find(self, name: str) -> CgroupPlan:
        """A plan without limits for what exists of a container's cgroups: to remove, or to look at."""
        dirs = {controller: f"{base}/{PARENT}/{name}" for controller, base in self.bases.items()}
        unified = f"{self.unified}/{PARENT}/{name}" if self.unified else ""
        return {
            "name": name,
            "dirs": {controller: path for controller, path in dirs.items() if os.path.isdir(path)},
            "unified": unified if os.path.isdir(unified) else "",
            "writes": [],
            "device_program": b"",
        }

    def _device_rules(self, resources: Resources) -> tuple[Resources, bytes]:
        """The limits that are files here, and the device rules as a program where they are not (version 2).

        For others than root the rules are left out: in a user namespace no device can be made, and the kernel opens
        none on a file system that was mounted from there, so there is nothing to forbid.
        """
        rules = resources.get("devices")
        if not rules or "devices" in self.bases:
            return resources, b""
        rest = resources.copy()
        del rest["devices"]
        if os.geteuid() != 0:
            return rest, b""
        if self.version not in {"v2", "hybrid"}:
            raise self._unsupported("devices")
        from jupyter_containers.linux.device_filter import compile_rules  # noqa: PLC0415 - on version 2 only

        return rest, compile_rules(rules)

    def _enable(self, needed: set[str]) -> None:
        """Hand the controllers of version 2 down to our directory; raise for one that is needed and cannot be."""
        parent = f"{self.unified}/{PARENT}"
        try:
            files.make(parent)
        except OSError as error:
            raise self._unsupported("", f"{parent} cannot be made: {error.strerror}") from error
        for controller in sorted(set(_UNIFIED_WANTED) & set(self.unified_controllers) | needed):
            for directory in (self.unified, parent):
                try:
                    if controller not in files.read(f"{directory}/cgroup.subtree_control").split():
                        files.write(f"{directory}/cgroup.subtree_control", f"+{controller}")
                except OSError as error:
                    if controller not in needed:
                        break
                    why = "it has processes of its own" if error.errno == EBUSY else error.strerror
                    raise self._unsupported(controller, f"{directory} cannot hand down {controller}: {why}") from error

    def _check_swap(self, writes: list[tuple[str, str]]) -> None:
        """A kernel without swap accounting has no file to write to, which is seen in the parent directory."""
        for path, _text in writes:
            file = path.rpartition("/")[2]
            if file == "memory.memsw.limit_in_bytes" and not os.path.exists(f"{self.bases['memory']}/{file}"):
                raise self._unsupported("memory", "the kernel does not account for swap (swapaccount=1 turns it on)")

    def _unsupported(self, controller: str, why: str = "") -> Exception:
        from jupyter_containers.errors import Unsupported  # noqa: PLC0415 - the small processes do without

        what = {"": "limits", "unified": "the limits given"}.get(controller, f"a limit of {controller}")
        hint = "Leave the limit out, or run as root."
        if os.geteuid() and self.version in {"v2", "none"}:
            hint = "Have systemd delegate it: systemd-run --user --scope -p Delegate=yes, or leave the limit out."
        return Unsupported(f"{what} cannot be set: {why or self.why_not(controller)}", hint=hint)


# -- figures -----------------------------------------------------------------------------------------------------------


def _paths(plan: CgroupPlan) -> dict[str, None]:
    """The directories, each once (controllers may be mounted together), memory first."""
    return dict.fromkeys([*plan["dirs"].values(), *([plan["unified"]] if plan["unified"] else [])])


def _limit(value: int | None) -> int | None:
    return None if value is None or value >= _NO_LIMIT else value


def _put(found: CgroupStats, key: str, value: int | None) -> None:
    if value is not None:
        found[key] = value  # type: ignore[literal-required]  # called with keys of CgroupStats


def _stats_v2(path: str, found: CgroupStats) -> None:
    for key, field in (("cpu", "usage_usec"), ("cpu_user", "user_usec"), ("cpu_system", "system_usec")):
        value = files.field(f"{path}/cpu.stat", field)
        _put(found, key, None if value is None else value * 1000)
    usage = files.number(f"{path}/memory.current")
    cache = files.field(f"{path}/memory.stat", "inactive_file") or 0
    _put(found, "memory", None if usage is None else max(usage - cache, 0))
    _put(found, "memory_peak", files.number(f"{path}/memory.peak"))  # Linux 5.19
    _put(found, "memory_limit", files.number(f"{path}/memory.max"))
    _put(found, "pids", files.number(f"{path}/pids.current"))
    text = files.read(f"{path}/io.stat")
    if text or os.path.exists(f"{path}/io.stat"):
        pairs = [word.partition("=") for line in text.splitlines() for word in line.split()[1:]]
        for key, name in (("io_read", "rbytes"), ("io_write", "wbytes")):
            _put(found, key, sum(int(value) for word, _, value in pairs if word == name))
