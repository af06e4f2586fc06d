"""What of a container's start can be done before anybody asks for it.

A container's init does its steps in two halves. The first needs nothing that differs from one usual container to the
next: namespaces, cgroups, the kernel's file systems with their devices and masks, loopback. It may have been done
before, by an init that waits for whoever asks next for the same (``monitor/forkserver.py``). The second half has the
root file system, the user's mounts, the limits and the program.

:func:`of` is what the first half does for a request; two requests with the same value can have the same waiting init.
"""

from __future__ import annotations

import os

from jupyter_containers.linux.cgroup_files import PARENT
from jupyter_containers.linux.namespaces import start_time
from jupyter_containers.runtime.plan import SpecError, devices, is_bind
from jupyter_containers.runtime.wire import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import (
        Device,
        IdMapping,
        Linux,
        Mount,
        Namespace,
        Spec,
        TimeOffset,
    )
    from jupyter_containers.runtime.protocol import LaunchRequest

    class Ahead(TypedDict):
        """The first half of a start.

        Attributes
        ----------
        namespaces, maps, time
            As in the configuration; ``maps`` are those of users and of groups, ``time`` the offsets by clock.
        mounts
            The first of the configuration's mounts, in order, as far as they are the kernel's own file systems. None
            where something later in the configuration may cover them: order matters then.
        tops
            Those of their places that are not below another one.
        devices, sysctl, readonly, masked
            As in the configuration, if all of them are in those file systems; else none, and they are done later.
        files
            Places of the files that the engine writes for the container.
        cgroup
            Parent directories by controller on version 1, and the device rules; None where there is no cgroup.
        pooled
            Whether an init can wait for such a request at all.
        """

        namespaces: list[Namespace]
        maps: list[list[IdMapping]]
        time: dict[str, TimeOffset]
        mounts: list[Mount]
        tops: list[str]
        devices: list[Device]
        sysctl: dict[str, str]
        readonly: list[str]
        masked: list[str]
        files: list[str]
        cgroup: CgroupAhead | None
        pooled: bool

    class CgroupAhead(TypedDict):
        """``parents`` of the container's directories by controller, and ``writes``: controller, file, text."""

        parents: dict[str, str]
        writes: list[tuple[str, str, str]]


WAITING = "waiting"
"""The names of cgroups that nobody asked for yet begin so; then follow pid and start time of who made them."""

_CGROUPS = {"cgroup", "cgroup2"}
_KERNEL_FILE_SYSTEMS = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"}
# tmpcopyup needs what the image has at that place
_DEPENDENT_OPTIONS = {"tmpcopyup", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}
# parameters of single interfaces, which are not there yet
_INTERFACE_PARAMETERS = (".conf.", ".neigh.")


def of(request: LaunchRequest) -> Ahead:
    """The first half of a request, which need not be valid."""
    spec = request["spec"]
    linux: Linux = spec.get("linux", {})
    mounts = [] if linux.get("mountLabel") else _first_mounts(spec.get("mounts", []))
    above = tuple(f"{mount['destination']}/" for mount in mounts)
    tops = [mount["destination"] for mount in mounts if not mount["destination"].startswith(above)]
    nodes = _devices(spec) if "/dev" in tops else []
    sysctl = linux.get("sysctl", {})
    readonly, masked = linux.get("readonlyPaths", []), linux.get("maskedPaths", [])
    if "/proc" not in tops or not _all_below(tops, [*readonly, *masked]) or _names_interface(sysctl):
        sysctl, readonly, masked = {}, [], []  # all later: a parameter cannot be set once /proc/sys is read-only
    cgroup = request.get("cgroup")
    namespaces = linux.get("namespaces", [])
    return {
        "namespaces": namespaces,
        "maps": [linux.get("uidMappings", []), linux.get("gidMappings", [])],
        "time": linux.get("timeOffsets", {}),
        "mounts": mounts,
        "tops": tops,
        "devices": nodes,
        "sysctl": sysctl,
        "readonly": readonly,
        "masked": masked,
        "files": list(request.get("files") or ()),
        "cgroup": _cgroup_ahead(cgroup) if cgroup else None,
        # On version 2 a cgroup cannot be renamed, so its name must be known when init is born in it.
        # Nor is a cgroup of the user's own to be kept busy by somebody who waits. Cgroups that are shown in the
        # container must be mounted before they are renamed.
        # What is watched is watched from its first call on.
        "pooled": not request.get("watch")
        and not any("path" in each for each in namespaces)
        and not any(mount.get("type") in _CGROUPS for mount in spec.get("mounts", [])[len(mounts) :])
        and not (cgroup and (cgroup["unified"] or any(not _is_ours(path) for path in cgroup["dirs"].values()))),
    }


def _is_ours(cgroup: str) -> bool:
    return os.path.basename(os.path.dirname(cgroup)) == PARENT


def _devices(spec: Spec) -> list[Device]:
    try:
        nodes = devices(spec)
    except SpecError:
        return []  # init will say what is wrong
    return nodes if all(device["path"].startswith("/dev/") for device in nodes) else []


def _first_mounts(mounts: list[Mount]) -> list[Mount]:
    first: list[Mount] = []
    for mount in mounts:
        if is_bind(mount) or mount.get("type") not in _KERNEL_FILE_SYSTEMS or _depends(mount):
            break
        if not _is_plain(mount.get("destination", "")):
            return []
        first.append(mount)
    places = [other["destination"] for other in first]
    for mount in mounts[len(first) :]:
        place = mount.get("destination", "")
        if not _is_plain(place) or any(_meet(place, other) for other in places):
            return []
    return first


def _depends(mount: Mount) -> bool:
    return bool(_DEPENDENT_OPTIONS.intersection(mount.get("options", ()))) or not set(mount) <= {
        "destination",
        "type",
        "source",
        "options",
    }


def _is_plain(path: str) -> bool:
    """Whether a path is absolute and written in the one usual way."""
    return path.startswith("/") and not {"", ".", ".."}.intersection(path[1:].split("/"))


def _meet(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _all_below(tops: list[str], paths: list[str]) -> bool:
    above = tuple(f"{top}/" for top in tops)
    return all(path.startswith(above) for path in paths)


def _names_interface(sysctl: dict[str, str]) -> bool:
    return any(part in key.replace("/", ".") for key in sysctl for part in _INTERFACE_PARAMETERS)


def _cgroup_ahead(plan: CgroupPlan) -> CgroupAhead:
    dirs = plan["dirs"]
    guard = dirs.get("devices", "-")
    return {
        "parents": {controller: path.rpartition("/")[0] for controller, path in dirs.items()},
        "writes": [
            ("devices", path.rpartition("/")[2], text)
            for path, text in plan["writes"]
            if path.rpartition("/")[0] == guard
        ],
    }


def remember(path: str, ahead: Ahead) -> None:
    """Keep a first half for :func:`recall`. The file is of use, not of need: what cannot be written is left out."""
    message: Any = ahead
    temporary = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, pack(message))
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        return


def recall(path: str) -> Ahead | None:
    """What :func:`remember` kept: this user's, and in the form that this release gives it; else None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return None
        kept: Any = unpack(file.read())
    return kept if kept and kept.keys() == of({"id": "", "spec": {}}).keys() else None


def waiting_cgroup(ahead: Ahead, name: str) -> CgroupPlan | None:
    """The cgroups an init waits in, under a name of its own."""
    cgroup = ahead["cgroup"]
    if cgroup is None:
        return None
    dirs = {controller: f"{parent}/{name}" for controller, parent in cgroup["parents"].items()}
    writes = [(f"{dirs[controller]}/{file}", text) for controller, file, text in cgroup["writes"]]
    return {"name": name, "dirs": dirs, "unified": "", "writes": writes, "device_program": b""}


def remaining_cgroup(ahead: Ahead, plan: CgroupPlan) -> CgroupPlan:
    """What is left to be written for a request whose first half was done."""
    guard = plan["dirs"].get("devices", "-")
    done = bool(ahead["cgroup"] and ahead["cgroup"]["writes"])
    writes = [each for each in plan["writes"] if not (done and each[0].rpartition("/")[0] == guard)]
    return {**plan, "writes": writes}


def left_behind(ahead: Ahead) -> list[CgroupPlan]:
    """The cgroups in which somebody waited whose spawner is dead."""
    names: set[str] = set()
    cgroup = ahead["cgroup"]
    for parent in set(cgroup["parents"].values()) if cgroup else ():
        try:
            names.update(os.listdir(parent))
        except FileNotFoundError:
            continue
    plans = [waiting_cgroup(ahead, name) for name in sorted(names) if _is_left_behind(name)]
    return [plan for plan in plans if plan is not None]


def _is_left_behind(name: str) -> bool:
    word, _, rest = name.partition("-")
    fields = rest.split("-")
    if word != WAITING or not all(field.isdigit() for field in fields) or len(fields) != 3:  # noqa: PLR2004 - pid, start time, number
        return False
    return start_time(int(fields[0])) != int(fields[1])
