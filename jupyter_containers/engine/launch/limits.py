"""Limits: from Docker's options to the resources and the resource limits of a specification.

The checks and most texts are Docker's (moby, daemon_unix.go and the command line's opts). Sizes are bytes.
Sources: docs.docker.com, "Resource constraints"; OCI runtime specification, config-linux.md, "Control groups".
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, cast

from jupyter_containers.engine.launch import devices as device_options
from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import InvalidInput, NotFound, Unsupported
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.linux.cgroup_host import CgroupHost
    from jupyter_containers.oci.runtime_spec import BlockIO, Cpu, DeviceThrottle, Memory, Resources, Rlimit

CPU_PERIOD = 100_000
LEAST_MEMORY = 6 * 2**20
_LEAST_TIME, _LONGEST_PERIOD = 1000, 1_000_000  # microseconds
_WEIGHTS = range(10, 1001)
_SWAPPINESS = range(101)
_CPU_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")
_ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack as".split()  # noqa: SIM905 - a list of names reads best as prose
)


def make_resources(options: RunOptions, devices: Sequence[device_options.HostDevice] = ()) -> Resources:
    """The limits, in the specification's units.

    Raises
    ------
    InvalidInput, NotFound, Unsupported
        for a limit that contradicts another one, or that no container can live with.
    """
    resources: Resources = {"devices": device_options.rules(options, list(devices))}
    if memory := _memory(options):
        resources["memory"] = memory
    if cpu := _cpu(options):
        resources["cpu"] = cpu
    if options.pids_limit is not None and options.pids_limit > 0:
        resources["pids"] = {"limit": options.pids_limit}
    if block := _block_io(options):
        resources["blockIO"] = block
    return resources


# -- memory ----------------------------------------------------------------------------------------------------------


def _memory(options: RunOptions) -> Memory:
    memory: Memory = {}
    limit = _size(options.memory, "memory limit")
    reservation = _size(options.memory_reservation, "memory reservation")
    if 0 < limit < LEAST_MEMORY:
        raise InvalidInput(f"the memory limit {options.memory!r} is too small", hint="the least is 6m")
    if 0 < reservation < LEAST_MEMORY:
        raise InvalidInput(f"the memory reservation {reservation} is too small", hint="the least is 6m")
    if 0 < limit < reservation:
        raise InvalidInput("the memory limit must not be smaller than the memory reservation")
    if limit > 0:
        memory["limit"] = limit
        memory["swap"] = _swap(options, limit)
    elif _size(options.memory_swap, "memory-swap limit") > 0:
        raise InvalidInput("a memory-swap limit needs a memory limit", hint="add --memory")
    if reservation > 0:
        memory["reservation"] = reservation
    if options.memory_swappiness is not None and options.memory_swappiness != -1:
        if options.memory_swappiness not in _SWAPPINESS:
            raise InvalidInput(
                f"invalid value: {options.memory_swappiness}, valid memory swappiness range is 0-100",
            )
        memory["swappiness"] = options.memory_swappiness
    if options.oom_kill_disable:
        memory["disableOOMKiller"] = True
    if options.kernel_memory is not None:
        raise Unsupported(
            "a limit of kernel memory cannot be set: Linux has had none since 5.16, and the memory limit counts it",
            hint="use --memory",
        )
    return memory


def _swap(options: RunOptions, limit: int) -> int:
    """The limit of memory and swap together: twice the memory unless it is given, as with Docker; -1 for none."""
    swap = _size(options.memory_swap, "memory-swap limit")
    if swap == 0:
        return 2 * limit
    if 0 < swap < limit:
        raise InvalidInput("the memory-swap limit must not be smaller than the memory limit")
    return swap


def _size(value: str | int | None, what: str) -> int:
    return 0 if value is None else parse_bytes(value, what=what)


# -- processors ------------------------------------------------------------------------------------------------------


def _cpu(options: RunOptions) -> Cpu:
    cpu = _time(options)
    if options.cpu_shares:
        if options.cpu_shares < 0:
            raise InvalidInput(f"invalid CPU shares ({options.cpu_shares}): value must be a positive integer")
        cpu["shares"] = options.cpu_shares
    if options.cpuset_cpus:
        cpu["cpus"] = _available(options.cpuset_cpus, "CPUs", "/sys/devices/system/cpu/online")
    if options.cpuset_mems:
        cpu["mems"] = _available(options.cpuset_mems, "memory nodes", "/sys/devices/system/node/online")
    return cpu | _realtime(options)


def _time(options: RunOptions) -> Cpu:
    """CPU time: a quota in each period."""
    cpu: Cpu = {}
    if options.cpus is not None:
        if options.cpu_period is not None or options.cpu_quota is not None:
            raise InvalidInput("conflicting options: CPUs and CPU period or quota cannot both be set")
        most = os.cpu_count() or 1
        if not 0.01 <= options.cpus <= most:  # noqa: PLR2004 - Docker's least
            raise InvalidInput(f"range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available")
        cpu |= {"quota": int(options.cpus * CPU_PERIOD), "period": CPU_PERIOD}
    if options.cpu_period:
        if not _LEAST_TIME <= options.cpu_period <= _LONGEST_PERIOD:
            raise InvalidInput("CPU period cannot be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
        cpu["period"] = options.cpu_period
    if options.cpu_quota:
        if 0 < options.cpu_quota < _LEAST_TIME:
            raise InvalidInput("CPU quota cannot be less than 1ms (i.e. 1000)")
        cpu["quota"] = options.cpu_quota
    return cpu


def _realtime(options: RunOptions) -> Cpu:
    cpu: Cpu = {}
    if options.cpu_rt_period:
        cpu["realtimePeriod"] = options.cpu_rt_period
    if options.cpu_rt_runtime:
        cpu["realtimeRuntime"] = options.cpu_rt_runtime
    if 0 < (options.cpu_rt_period or 0) < (options.cpu_rt_runtime or 0):
        raise InvalidInput("the real-time runtime cannot be higher than the real-time period")
    return cpu


def _available(text: str, what: str, path: str) -> str:
    """A list such as ``0-2,4``, all of which this host has."""
    if not _CPU_LIST.fullmatch(text):
        raise InvalidInput(f"invalid list of {what} {text!r}", hint="write it as 0-2 or 0,1")
    try:
        with open(path, encoding="ascii") as file:
            online = file.read().strip()
    except FileNotFoundError:
        online = "0"  # a kernel without NUMA has one memory node and no file
    if not numbers(text) <= numbers(online):
        raise InvalidInput(f"requested {what} are not available - requested {text}, available: {online}")
    return text


def numbers(text: str) -> set[int]:
    """The numbers of a list such as ``0-2,4``."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first), 1 << 16) + 1))
    return found


# -- block devices ---------------------------------------------------------------------------------------------------


def _block_io(options: RunOptions) -> BlockIO:
    block: BlockIO = {}
    if options.blkio_weight:
        block["weight"] = _weight(options.blkio_weight)
    weights = [_per_device(text, "blkio-weight-device") for text in options.blkio_weight_device]
    if weights:
        block["weightDevice"] = [
            {"major": major, "minor": minor, "weight": _weight(_whole(text))} for major, minor, text in weights
        ]
    if throttles := _throttles(options.device_read_bps, "device-read-bps"):
        block["throttleReadBpsDevice"] = throttles
    if throttles := _throttles(options.device_write_bps, "device-write-bps"):
        block["throttleWriteBpsDevice"] = throttles
    if throttles := _throttles(options.device_read_iops, "device-read-iops"):
        block["throttleReadIOPSDevice"] = throttles
    if throttles := _throttles(options.device_write_iops, "device-write-iops"):
        block["throttleWriteIOPSDevice"] = throttles
    return block


def _weight(value: int) -> int:
    if value not in _WEIGHTS:
        raise InvalidInput(f"range of blkio weight is from 10 to 1000, and {value} is not in it")
    return value


def _throttles(texts: Sequence[str], option: str) -> list[DeviceThrottle]:
    found: list[DeviceThrottle] = []
    for text in texts:
        major, minor, amount = _per_device(text, option)
        rate = parse_bytes(amount, what=option) if option.endswith("bps") else _whole(amount)
        if rate < 0:
            raise InvalidInput(f"invalid {option} {text!r}: the rate is negative")
        found.append({"major": major, "minor": minor, "rate": rate})
    return found


def _per_device(text: str, option: str) -> tuple[int, int, str]:
    """The device numbers of ``/dev/NODE:AMOUNT``, and the amount."""
    path, colon, amount = text.rpartition(":")
    if not colon or not amount or not path.startswith("/dev/"):
        raise InvalidInput(f"bad format for {option}: {text!r}", hint="write it as /dev/NODE:AMOUNT")
    try:
        info = os.stat(path)
    except OSError as error:
        raise NotFound(f"{option}: {path}: {(error.strerror or '').lower()}") from error
    if not stat.S_ISBLK(info.st_mode):
        raise InvalidInput(f"{option}: {path} is no block device")
    return os.major(info.st_rdev), os.minor(info.st_rdev), amount


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise InvalidInput(f"{text!r} is no whole number")
    return int(text)


# -- processes -------------------------------------------------------------------------------------------------------


def rlimits(texts: Sequence[str]) -> list[Rlimit]:
    """Docker's ``--ulimit``: ``nofile=1024`` or ``nofile=1024:2048``, -1 for no limit; a later one wins.

    Raises
    ------
    InvalidInput
        for a limit there is not, or a soft limit above the hard one.
    """
    found: dict[str, Rlimit] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        soft, _, hard = value.partition(":")
        if name.lower() not in _ULIMITS:
            raise InvalidInput(f"invalid ulimit type: {name}", hint=f"the types are {', '.join(sorted(_ULIMITS))}")
        try:
            low, high = int(soft), int(hard or soft)
        except ValueError:
            equals = ""
            low = high = -1
        if not equals or low < -1 or high < -1:
            raise InvalidInput(f"invalid ulimit {text!r}", hint="write it as nofile=1024 or nofile=1024:2048")
        if high != -1 and (low == -1 or low > high):
            raise InvalidInput(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
        found[name.lower()] = {"type": f"RLIMIT_{name.upper()}", "soft": low, "hard": high}
    return list(found.values())


# -- what the host can do --------------------------------------------------------------------------------------------

# Kind and field of the resources -> the option, and the controllers of the two cgroup versions that it needs.
_OPTIONS = {
    ("memory", "reservation"): ("--memory-reservation", "memory"),
    ("memory", "swap"): ("--memory-swap", "memory"),
    ("memory", "swappiness"): ("--memory-swappiness", "memory"),
    ("memory", "disableOOMKiller"): ("--oom-kill-disable", "memory"),
    ("cpu", "quota"): ("a limit of CPU time (--cpus, --cpu-quota)", "cpu"),
    ("cpu", "period"): ("--cpu-period", "cpu"),
    ("cpu", "shares"): ("--cpu-shares", "cpu"),
    ("cpu", "realtimePeriod"): ("--cpu-rt-period", "cpu"),
    ("cpu", "realtimeRuntime"): ("--cpu-rt-runtime", "cpu"),
    ("cpu", "cpus"): ("--cpuset-cpus", "cpuset"),
    ("cpu", "mems"): ("--cpuset-mems", "cpuset"),
    ("pids", "limit"): ("--pids-limit", "pids"),
    ("blockIO", "weight"): ("--blkio-weight", "blkio"),
    ("blockIO", "weightDevice"): ("--blkio-weight-device", "blkio"),
    ("blockIO", "throttleReadBpsDevice"): ("--device-read-bps", "blkio"),
    ("blockIO", "throttleWriteBpsDevice"): ("--device-write-bps", "blkio"),
    ("blockIO", "throttleReadIOPSDevice"): ("--device-read-iops", "blkio"),
    ("blockIO", "throttleWriteIOPSDevice"): ("--device-write-iops", "blkio"),
}
# Files of version 1 that not every kernel has, any of which will do.
_FILES = {
    ("memory", "swap"): ("memory.memsw.limit_in_bytes",),
    ("cpu", "realtimePeriod"): ("cpu.rt_period_us",),
    ("cpu", "realtimeRuntime"): ("cpu.rt_runtime_us",),
    ("blockIO", "weight"): ("blkio.weight", "blkio.bfq.io_service_bytes"),  # bfq's own is not in the root's directory
    ("blockIO", "weightDevice"): ("blkio.weight_device", "blkio.bfq.io_service_bytes"),
}
_ONLY_V1 = frozenset({("memory", "swappiness"), ("memory", "disableOOMKiller")}) | {
    key for key in _OPTIONS if key[1].startswith("realtime")
}


@dataclass(frozen=True, slots=True)
class Missing:
    """A limit that this host cannot set; ``option`` is empty where nobody asked for it by name."""

    kind: str
    field: str
    option: str
    why: str


def missing(host: CgroupHost, resources: Resources) -> list[Missing]:
    """The limits that cannot be set here, but that of memory, which the monitor can watch itself."""
    found = []
    for (kind, field), (option, controller) in _OPTIONS.items():
        asked = resources.get(kind, {})
        if field not in asked:  # type: ignore[operator]  # a dictionary for every kind that is in the table
            continue
        why = _why_not(host, kind, field, controller)
        if why:
            found.append(Missing(kind, field, "" if _implied(resources, kind, field) else option, why))
    return found


def _implied(resources: Resources, kind: str, field: str) -> bool:
    """Whether a limit follows from another one, so that nobody misses it for itself."""
    if (kind, field) == ("memory", "swap"):
        memory = resources["memory"]
        return memory["swap"] == 2 * memory.get("limit", 0)
    return (kind, field) == ("cpu", "period") and "quota" in resources["cpu"]


def _why_not(host: CgroupHost, kind: str, field: str, controller: str) -> str:
    name = "io" if controller == "blkio" and controller not in host.bases else controller
    if why := host.why_not(name):
        return why
    base = host.bases.get(controller)
    if base is None:
        return "there is no such limit with cgroup v2" if (kind, field) in _ONLY_V1 else ""
    files = _FILES.get((kind, field), ())
    if files and not any(os.path.exists(f"{base}/{file}") for file in files):
        return f"this kernel has no {files[0]}"
    return ""


def without(resources: Resources, left_out: Sequence[Missing]) -> Resources:
    """The limits without some of them."""
    kept: dict[str, Any] = {
        kind: dict(value) if isinstance(value, dict) else value for kind, value in resources.items()
    }
    for each in left_out:
        del kept[each.kind][each.field]
        if not kept[each.kind]:
            del kept[each.kind]
    return cast("Resources", kept)
