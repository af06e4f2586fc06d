"""``pause``, ``resume``, ``update`` and ``events``: what is done with a container's cgroups while it runs."""

from __future__ import annotations

import sys
from time import monotonic, sleep

from jupyter_containers.linux import cgroup_figures, cgroup_files, cgroups
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.monitor.record import text
from jupyter_containers.oci_runtime import bundle, document, members, spawning, store
from jupyter_containers.oci_runtime.failure import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci_runtime.main import Context
    from jupyter_containers.oci_runtime.options import Options
    from jupyter_containers.oci_runtime.store import Container

_LARGEST = 1 << 20
_TICK = 0.2
#: Option -> where its number goes.
_NUMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
_TEXTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
_SIZES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
}
_REFUSED = ("l3-cache-schema", "mem-bw-schema")
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}


def _cgroup(container: Container, what: str) -> CgroupPlan:
    if container.cgroup is None:
        raise CommandError(f"cannot {what} a container without cgroups: this host or user has none to write to")
    return container.cgroup


# -- pause and resume ------------------------------------------------------------------------------------------------


def pause(context: Context) -> int:
    """Stop all processes of a container where they are."""
    container = store.Container.open(context.root, context.name, lock=True)
    status = container.status()
    if status not in {"created", "running"}:
        raise CommandError(f"cannot pause a container that is {status}")
    plan = _cgroup(container, "pause")
    if not cgroups.freeze(plan, frozen=True):
        cgroups.freeze(plan, frozen=False)
        raise CommandError("the container cannot be paused: its cgroup does not freeze")
    return 0


def resume(context: Context) -> int:
    """Let them go on."""
    container = store.Container.open(context.root, context.name, lock=True)
    if container.status() != "paused":
        raise CommandError("container not paused")
    cgroups.freeze(_cgroup(container, "resume"), frozen=False)
    return 0


# -- update ----------------------------------------------------------------------------------------------------------


def update(context: Context) -> int:
    """Set limits, those of a file or those of single options."""
    container = store.Container.open(context.root, context.name, lock=True)
    status = container.status()
    if status not in {"created", "running", "paused"}:
        raise CommandError(f"cannot update a container that is {status}")
    cgroup = _cgroup(container, "update")
    resources = bundle.resources(_resources(context.options))
    place = container.config().get("linux", {}).get("cgroupsPath", "")
    # the devices stay as they are: their rules were given together, and single ones would widen them
    resources.pop("devices", None)
    plan = spawning.plan_cgroup(CgroupHost.detect(), container.name, resources, place)
    if plan is None:
        return 0
    memory = resources.get("memory", {})
    if memory.get("checkBeforeUpdate"):
        cgroups.check_usage(cgroup, memory.get("limit", 0))
    fresh = {controller: path for controller, path in plan["dirs"].items() if controller not in cgroup["dirs"]}
    for path in dict.fromkeys(fresh.values()):
        cgroup_files.make(path)
        cgroup_files.inherit_cpuset(path)
    if fresh:
        container.record["cgroup"]["dirs"].update(fresh)
        container.save()
    cgroups.apply(plan)
    for path in dict.fromkeys(fresh.values()):
        for pid in members.pids(container):
            cgroup_files.write(f"{path}/cgroup.procs", str(pid))
    return 0


def _resources(options: Options) -> dict[str, Any]:
    for name in _REFUSED:
        if options.value(name):
            raise CommandError(f"--{name} is not supported")
    name = options.value("resources")
    if name:
        data = sys.stdin.buffer.read(_LARGEST) if name == "-" else b""
        return document.parse_object(data, "resources") if name == "-" else document.read(name, "resources")
    resources: dict[str, Any] = {}
    for option, (group, key) in _NUMBERS.items():
        if options.value(option):
            resources.setdefault(group, {})[key] = options.number(option)
    for option, (group, key) in _TEXTS.items():
        if options.value(option):
            resources.setdefault(group, {})[key] = options.value(option)
    for option, (group, key) in _SIZES.items():
        if options.value(option):
            resources.setdefault(group, {})[key] = _bytes(options.value(option), option)
    return resources


def _bytes(word: str, option: str) -> int:
    number = word.lower().removesuffix("b")
    shift = _UNITS.get(number[-1:], 0)
    digits = number[:-1] if shift else number
    if digits == "-1" and not shift:
        return -1
    if not (digits.isascii() and digits.isdigit()):
        raise CommandError(f"invalid value {word!r} for option --{option}: a number of bytes, as 512m")
    return int(digits) << shift


# -- events ----------------------------------------------------------------------------------------------------------


def events(context: Context) -> int:
    """Print what a container uses, once or again and again, and when it runs out of memory; one line of JSON each."""
    container = store.Container.open(context.root, context.name)
    if container.status() not in {"created", "running", "paused"}:
        raise CommandError(f"container {container.name} is not running")
    cgroup = _cgroup(container, "watch")
    once = "stats" in context.options.switches
    interval = _seconds(context.options.value("interval", "5s"))
    killed, due = cgroups.oom_kills(cgroup), 0.0
    while True:
        if once or monotonic() >= due:
            _event(container, "stats", _figures(cgroup))
            due = monotonic() + interval
        if once or not container.alive():
            return 0
        sleep(min(_TICK, interval))
        now = cgroups.oom_kills(cgroup)
        if now > killed:
            _event(container, "oom", None)
        killed = now


def _event(container: Container, kind: str, data: Any) -> None:
    value = {"type": kind, "id": container.name, **({"data": data} if data is not None else {})}
    sys.stdout.write(f"{text(value)}\n")
    sys.stdout.flush()


def _seconds(word: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        if word.endswith(unit) and word[: -len(unit)].replace(".", "", 1).isdigit():
            found = float(word[: -len(unit)]) * factor
            if found > 0:
                return found
    raise CommandError(f"invalid duration {word!r} for option --interval: as 5s or 500ms")


def _figures(cgroup: CgroupPlan) -> dict[str, Any]:
    """In the form of runc's events."""
    stats = cgroup_figures.stats(cgroup)
    memory: dict[str, Any] = {
        key: value
        for key, value in (
            ("usage", stats.get("memory")),
            ("max", stats.get("memory_peak")),
            ("limit", stats.get("memory_limit")),
        )
        if value is not None
    }
    return {
        "cpu": {
            "usage": {
                "total": stats.get("cpu", 0),
                "kernel": stats.get("cpu_system", 0),
                "user": stats.get("cpu_user", 0),
            }
        },
        "memory": {"usage": memory},
        "pids": {"current": stats.get("pids", 0)},
        "blkio": {
            "ioServiceBytesRecursive": [
                {"op": "Read", "value": stats.get("io_read", 0)},
                {"op": "Write", "value": stats.get("io_write", 0)},
            ]
        },
    }
