"""Where on this host containers can be limited by control groups, and the plan of a container's.

A host has version 1 (a hierarchy for each controller), version 2 (one hierarchy), both at once (*hybrid*: a controller
is on one side or the other), or none that we may write to.

Where containers go: into ``jupyter-containers/<name>`` below the *topmost* writable directory of a hierarchy on the way
from its root to our own cgroup. For root that is the root of the hierarchy. Not below our own cgroup, as a container
would then count against the limits of the notebook server or the session that happened to start it, and would keep that
session's cgroup from being removed. For other users it is what was delegated to them, and on version 2 our own cgroup
has to be inside it: the kernel moves a process only where the mover may write to the common ancestor.

Sources: cgroups(7); the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import os
from errno import EBUSY, ENOENT

from jupyter_containers.errors import Unsupported
from jupyter_containers.linux import cgroup_files as files
from jupyter_containers.linux import cgroup_limits
from jupyter_containers.linux.cgroup_files import PARENT
from jupyter_containers.linux.cgroup_hierarchies import hierarchies, own_paths, topmost_writable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import Resources

    Version = Literal["v1", "v2", "hybrid", "none"]

CONTROLLERS = (
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "freezer",
    "blkio",
    "cpuset",
    "devices",
    "hugetlb",
    "net_cls",
    "net_prio",
    "rdma",
)
"""The controllers of version 1 that are used; those of version 2 have the same names or, for blkio, ``io``."""

_ALWAYS = ("memory", "cpu", "cpuacct", "pids", "freezer", "blkio")
_ON_DEMAND = ("cpuset", "devices", "hugetlb", "net_cls", "net_prio", "rdma")
_NAMES_V2 = {"blkio": "io"}
_UNIFIED_WANTED = ("memory", "cpu", "pids", "io", "cpuset")


_NONE = "no cgroup hierarchy is mounted"


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
    others
        The same as ``bases`` for hierarchies that nothing is limited by (``name=systemd``): other OCI runtimes have
        directories there.
    """

    def __init__(
        self,
        version: Version,
        bases: dict[str, str],
        unified: str = "",
        unified_controllers: Iterable[str] = (),
        reasons: dict[str, str] | None = None,
        others: Iterable[str] = (),
    ) -> None:
        self.version = version
        self.bases = bases
        self.unified = unified
        self.unified_controllers = tuple(unified_controllers)
        self.reasons = dict(reasons or {})
        self._others = tuple(others)

    @classmethod
    def detect(cls, proc: str = "/proc/self") -> CgroupHost:
        """Look at the mounted hierarchies. Nothing is made or changed; never raises."""
        own = own_paths(files.read(f"{proc}/cgroup"))
        bases: dict[str, str] = {}
        reasons: dict[str, str] = {}
        unified = ""
        unified_controllers: tuple[str, ...] = ()
        mounted: set[str] = set()
        others: list[str] = []
        for root, mount_point, kind, options in hierarchies(files.read(f"{proc}/mountinfo")):
            names = [""] if kind == "cgroup2" else [name for name in CONTROLLERS if name in options]
            if not names:
                others.append(topmost_writable(mount_point, root, own.get(max(options & own.keys(), default=""), "/")))
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
            reasons[""] = _NONE
        return cls(version, bases, unified, unified_controllers, reasons, filter(None, others))

    @property
    def writable(self) -> bool:
        """Whether containers get a cgroup at all."""
        return bool(self.bases) or self.version in {"v2", "hybrid"}

    def can_limit(self, controller: str) -> bool:
        """Whether limits of a controller can be set: ``memory``, ``cpu``, ``pids``, ``cpuset``, ``devices`` ..."""
        if controller == "devices" and self.version in {"v2", "hybrid"} and os.geteuid() == 0:
            return True
        name = _NAMES_V2.get(controller, controller)
        return controller in self.bases or (bool(self.unified) and name in self.unified_controllers)

    def why_not(self, controller: str) -> str:
        """Why a controller cannot be used, one line; empty if it can."""
        if self.can_limit(controller):
            return ""
        if controller in self.reasons:
            return self.reasons[controller]
        if self.unified:
            return f"{self.unified} does not offer the {controller} controller"
        return self.reasons.get("", f"no {controller} controller is mounted")

    @property
    def remedy(self) -> str:
        """What an ordinary user can do for limits, a few words; empty where nothing is mounted."""
        if any(self.reasons):  # a hierarchy of version 1, which systemd delegates to nobody
            return "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)"
        mounted = self.unified or self.reasons.get("", _NONE) != _NONE
        return "have systemd delegate it (systemd-run --user --scope -p Delegate=yes jupyter lab)" if mounted else ""

    def plan(self, name: str, resources: Resources | None = None, place: str = "") -> CgroupPlan | None:
        """The cgroups for a container.

        Parameters
        ----------
        name
            The container's id: one path component.
        resources
            Its limits. Without any, it still gets cgroups, for its figures, pausing and killing.
        place
            ``cgroupsPath`` of a configuration: absolute below the hierarchies' roots, relative below the directory of
            all containers, which also is where ``name`` goes without it. Directories on the way there are made.

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
        given, program = self._device_rules(resources or {})
        asked_v1, asked_v2 = cgroup_limits.v1_writes(given), cgroup_limits.v2_writes(given)
        self._check_unified(given)
        for controller, _file, _text in asked_v1:
            if not self.can_limit(controller):
                raise self._unsupported(controller)
        for controller, refused in cgroup_limits.refused_by_v2(given):
            if controller not in self.bases:
                raise self._unsupported(controller, refused)

        needed = {controller for controller, _file, _text in asked_v1}
        dirs = {
            controller: files.below(base, place, name)
            for controller, base in self.bases.items()
            if controller in _ALWAYS or (controller in _ON_DEMAND and controller in needed)
        }
        only_v2 = bool(self.unified) and bool(given.get("unified") or needed - self.bases.keys() - {"devices"})
        unified = files.below(self.unified, place, name) if only_v2 or self.version in {"v2", "hybrid"} else ""
        if place:
            for controller, path in dirs.items():
                files.make_parents(self.bases[controller], path)
        writes = [(f"{dirs[controller]}/{file}", text) for controller, file, text in asked_v1 if controller in dirs]
        if unified:
            taken = {_NAMES_V2.get(controller, controller) for controller in dirs}
            here = [write for write in asked_v2 if write[0] not in taken]
            self._enable({controller for controller, _file, _text in here} - {"cgroup"}, unified)
            writes += [(f"{unified}/{file}", text) for _controller, file, text in here]
        self._check_swap(writes)
        if not dirs and not unified:
            return None
        return {"name": name, "dirs": dirs, "unified": unified, "writes": writes, "device_program": program}

    def existing(self) -> list[str]:
        """The names of containers that have a cgroup here, running or left behind by a crash."""
        found: set[str] = set()
        for base in {*self.bases.values(), *self._others, self.unified} - {""}:
            try:
                with os.scandir(f"{base}/{PARENT}") as entries:
                    found.update(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except OSError as error:
                if error.errno != ENOENT:
                    raise
        return sorted(found)

    def find(self, name: str, place: str = "") -> CgroupPlan:
        """A plan without limits for what exists of a container's cgroups: to remove, or to look at."""
        bases = {**self.bases, **{base: base for base in self._others}}
        dirs = {controller: files.below(base, place, name) for controller, base in bases.items()}
        unified = files.below(self.unified, place, name) if self.unified else ""
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
        if not rules:
            return resources, b""
        if "devices" in self.bases:
            if refused := cgroup_limits.refused_by_v1(rules):
                raise self._unsupported("devices", refused)
            return resources, b""
        rest = resources.copy()
        del rest["devices"]
        if os.geteuid() != 0:
            return rest, b""
        if self.version not in {"v2", "hybrid"}:
            raise self._unsupported("devices")
        from jupyter_containers.linux.device_filter import compile_rules  # noqa: PLC0415 - on version 2 only

        return rest, compile_rules(rules)

    def _enable(self, needed: set[str], path: str) -> None:
        """Hand the controllers of version 2 down to a directory's parent; raise for one that is needed and cannot."""
        parent = os.path.dirname(path)
        try:
            parents = files.make_parents(self.unified, path)
        except OSError as error:
            raise self._unsupported("", f"{parent} cannot be made: {error.strerror}") from error
        for controller in sorted(set(_UNIFIED_WANTED) & set(self.unified_controllers) | needed):
            for directory in (self.unified, *parents):
                try:
                    if controller not in files.read(f"{directory}/cgroup.subtree_control").split():
                        files.write(f"{directory}/cgroup.subtree_control", f"+{controller}")
                except OSError as error:
                    if controller not in needed:
                        break
                    why = "it has processes of its own" if error.errno == EBUSY else error.strerror
                    raise self._unsupported(controller, f"{directory} cannot hand down {controller}: {why}") from error

    def _check_unified(self, resources: Resources) -> None:
        """Refuse files of version 2 that are not there, or belong to a controller that is on version 1."""
        for name in resources.get("unified", {}):
            controller = name.partition(".")[0]
            why = ""
            if not self.unified:
                why = "files of cgroup v2 were named, and there is no cgroup v2 to write to"
            elif "/" in name:
                why = f"{name} is not the name of a file"
            elif controller in {_NAMES_V2.get(base, base) for base in self.bases}:
                why = f"{name}: the controller {controller} is on cgroup v1 here"
            elif controller != "cgroup" and controller not in self.unified_controllers:
                why = f"{name}: {self.unified} does not offer the controller {controller}"
            if why:
                raise self._unsupported("unified", why)

    def _check_swap(self, writes: list[tuple[str, str]]) -> None:
        """A kernel without swap accounting has no file to write to, which is seen in the parent directory."""
        for path, _text in writes:
            file = path.rpartition("/")[2]
            if file == "memory.memsw.limit_in_bytes" and not os.path.exists(f"{self.bases['memory']}/{file}"):
                raise self._unsupported("memory", "the kernel does not account for swap (swapaccount=1 turns it on)")

    def _unsupported(self, controller: str, why: str = "") -> Exception:
        what = {"": "limits", "unified": "the limits given"}.get(controller, f"a limit of {controller}")
        remedy = f", or {self.remedy}" if os.geteuid() and self.remedy else ""
        hint = f"Leave the limit out, or run as root{remedy}."
        return Unsupported(f"{what} cannot be set: {why or self.why_not(controller)}", hint=hint)
