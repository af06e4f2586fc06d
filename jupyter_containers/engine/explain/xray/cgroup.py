"""Limits and counters of a container's cgroups, with their units.

Sources: the kernel's admin-guide/cgroup-v1 (memory, cpusets, blkio-controller, pids), scheduler/sched-bwc and
admin-guide/cgroup-v2.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from jupyter_containers.engine.explain.xray.views import Figure
from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.linux import cgroup_files as files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeAlias

    from jupyter_containers.engine.explain.xray.views import Unit
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.linux.cgroups import CgroupPlan

    Row: TypeAlias = tuple[str, str, Literal["limit", "counter"], str, str, Unit, float]

_NO_LIMIT: Final = 1 << 62  # version 1 shows "no limit" as the largest number of pages
_MICRO, _NANO = 1e-6, 1e-9
_CPU_NAME: Final = "CPU time per real time"

# controller, name, kind, file, field ("" for the whole file), unit, what a number is multiplied with
_V1: Final[tuple[Row, ...]] = (
    ("memory", "memory limit", "limit", "memory.limit_in_bytes", "", "bytes", 1),
    ("memory", "memory and swap limit", "limit", "memory.memsw.limit_in_bytes", "", "bytes", 1),
    ("memory", "memory reservation", "limit", "memory.soft_limit_in_bytes", "", "bytes", 1),
    ("memory", "memory in use", "counter", "memory.usage_in_bytes", "", "bytes", 1),
    ("memory", "most memory in use", "counter", "memory.max_usage_in_bytes", "", "bytes", 1),
    ("memory", "file cache that can be given back", "counter", "memory.stat", "total_inactive_file", "bytes", 1),
    ("memory", "times the limit was hit", "counter", "memory.failcnt", "", "count", 1),
    ("memory", "processes killed: out of memory", "counter", "memory.oom_control", "oom_kill", "count", 1),
    ("cpu", "CPU shares (weight)", "limit", "cpu.shares", "", "count", 1),
    ("cpu", "periods", "counter", "cpu.stat", "nr_periods", "count", 1),
    ("cpu", "periods in which it was throttled", "counter", "cpu.stat", "nr_throttled", "count", 1),
    ("cpu", "time it was throttled", "counter", "cpu.stat", "throttled_time", "seconds", _NANO),
    ("cpuacct", "CPU time", "counter", "cpuacct.usage", "", "seconds", _NANO),
    ("cpuset", "CPUs it may use", "limit", "cpuset.cpus", "", "text", 1),
    ("cpuset", "memory nodes it may use", "limit", "cpuset.mems", "", "text", 1),
    ("pids", "processes and threads, limit", "limit", "pids.max", "", "count", 1),
    ("pids", "processes and threads", "counter", "pids.current", "", "count", 1),
    ("pids", "forks refused", "counter", "pids.events", "max", "count", 1),
    ("blkio", "weight", "limit", "blkio.bfq.weight", "", "count", 1),
)
_V2: Final[tuple[Row, ...]] = (
    ("memory", "memory limit", "limit", "memory.max", "", "bytes", 1),
    ("memory", "swap limit", "limit", "memory.swap.max", "", "bytes", 1),
    ("memory", "memory reservation", "limit", "memory.low", "", "bytes", 1),
    ("memory", "memory in use", "counter", "memory.current", "", "bytes", 1),
    ("memory", "most memory in use", "counter", "memory.peak", "", "bytes", 1),
    ("memory", "file cache that can be given back", "counter", "memory.stat", "inactive_file", "bytes", 1),
    ("memory", "times the limit was hit", "counter", "memory.events", "max", "count", 1),
    ("memory", "processes killed: out of memory", "counter", "memory.events", "oom_kill", "count", 1),
    ("cpu", "CPU weight", "limit", "cpu.weight", "", "count", 1),
    ("cpu", "CPU time", "counter", "cpu.stat", "usage_usec", "seconds", _MICRO),
    ("cpu", "periods", "counter", "cpu.stat", "nr_periods", "count", 1),
    ("cpu", "periods in which it was throttled", "counter", "cpu.stat", "nr_throttled", "count", 1),
    ("cpu", "time it was throttled", "counter", "cpu.stat", "throttled_usec", "seconds", _MICRO),
    ("cpuset", "CPUs it may use", "limit", "cpuset.cpus.effective", "", "text", 1),
    ("cpuset", "memory nodes it may use", "limit", "cpuset.mems.effective", "", "text", 1),
    ("pids", "processes and threads, limit", "limit", "pids.max", "", "count", 1),
    ("pids", "processes and threads", "counter", "pids.current", "", "count", 1),
    ("pids", "forks refused", "counter", "pids.events", "max", "count", 1),
    ("io", "weight", "limit", "io.weight", "default", "count", 1),
)
_THROTTLES_V1: Final = (
    ("blkio.throttle.read_bps_device", "bytes read a second"),
    ("blkio.throttle.write_bps_device", "bytes written a second"),
    ("blkio.throttle.read_iops_device", "reads a second"),
    ("blkio.throttle.write_iops_device", "writes a second"),
)
_SERVICE_V1: Final = "blkio.throttle.io_service_bytes_recursive"
_THROTTLES_V2: Final = (
    ("rbps", "bytes read a second"),
    ("wbps", "bytes written a second"),
    ("riops", "reads a second"),
    ("wiops", "writes a second"),
)


def figures(plan: CgroupPlan | None, shown: Callable[[float, Unit], str]) -> list[Figure]:
    """What there is of limits and counters; ``shown`` writes a value for people."""
    if plan is None:
        return []
    found: list[Figure] = []
    dirs, unified = plan["dirs"], plan["unified"]
    for row in _V1:
        if row[0] in dirs:
            found += _figure(dirs[row[0]], row, shown)
    if "cpu" in dirs:
        period = files.number(f"{dirs['cpu']}/cpu.cfs_period_us")
        quota = files.read(f"{dirs['cpu']}/cpu.cfs_quota_us").strip()
        found += _quota(quota, period, f"{dirs['cpu']}/cpu.cfs_quota_us", shown)
    if "blkio" in dirs:
        found += _disks_v1(dirs["blkio"], shown)
    if unified:
        for row in _V2:
            found += _figure(unified, row, shown)
        quota, _, length = files.read(f"{unified}/cpu.max").strip().partition(" ")
        found += _quota(quota, int(length) if length.isdigit() else None, f"{unified}/cpu.max", shown)
        found += _disks_v2(unified, shown)
    return sorted(found, key=lambda figure: (figure.controller, figure.kind != "limit"))


def _figure(directory: str, row: Row, shown: Callable[[float, Unit], str]) -> Iterator[Figure]:
    controller, name, kind, file, field, unit, factor = row
    path = f"{directory}/{file}"
    if not os.path.exists(path):
        return
    if unit == "text":
        text = files.read(path).strip()
        yield Figure(controller, name, kind, None, unit, text or "none", path)
        return
    number = files.field(path, field) if field else files.number(path)
    if number is None and (field or kind == "counter"):
        return
    if number is None or (kind == "limit" and number >= _NO_LIMIT):
        yield Figure(controller, name, kind, None, unit, "no limit", path)
        return
    value = number if factor == 1 else number * factor
    yield Figure(controller, name, kind, value, unit, shown(value, unit), path)


def _quota(quota: str, period: int | None, path: str, shown: Callable[[float, Unit], str]) -> Iterator[Figure]:
    if period is None:
        return
    if not quota.isdigit():  # -1, max
        yield Figure("cpu", _CPU_NAME, "limit", None, "CPUs", "no limit", path)
        return
    value = int(quota) / period
    each = f"{shown(value, 'CPUs')}: {quota} µs of every {period} µs"
    yield Figure("cpu", _CPU_NAME, "limit", value, "CPUs", each, path)


def _disks_v1(directory: str, shown: Callable[[float, Unit], str]) -> Iterator[Figure]:
    path = f"{directory}/{_SERVICE_V1}"
    lines = [line.split() for line in files.read(path).splitlines()]
    if os.path.exists(path):
        for word, name in (("Read", "bytes read"), ("Write", "bytes written")):
            value = sum(int(line[2]) for line in lines if line[1:2] == [word])
            yield Figure("blkio", name, "counter", value, "bytes", shown(value, "bytes"), path)
    for file, name in _THROTTLES_V1:
        for line in files.read(f"{directory}/{file}").splitlines():
            device, _, number = line.partition(" ")
            unit: Unit = "bytes" if "bps" in file else "count"
            value = int(number)
            yield Figure("blkio", f"{name} ({device})", "limit", value, unit, shown(value, unit), f"{directory}/{file}")


def _disks_v2(directory: str, shown: Callable[[float, Unit], str]) -> Iterator[Figure]:
    path = f"{directory}/io.stat"
    pairs = [word.partition("=") for line in files.read(path).splitlines() for word in line.split()[1:]]
    if os.path.exists(path):
        for key, name in (("rbytes", "bytes read"), ("wbytes", "bytes written")):
            value = sum(int(number) for word, _, number in pairs if word == key)
            yield Figure("io", name, "counter", value, "bytes", shown(value, "bytes"), path)
    for line in files.read(f"{directory}/io.max").splitlines():
        device, *words = line.split()
        given = dict(word.split("=", 1) for word in words)
        for key, name in _THROTTLES_V2:
            if given.get(key, "max") != "max":
                unit: Unit = "bytes" if "bps" in key else "count"
                value = int(given[key])
                yield Figure(
                    "io", f"{name} ({device})", "limit", value, unit, shown(value, unit), f"{directory}/io.max"
                )


def planned(options: RunOptions, shown: Callable[[float, Unit], str]) -> Iterator[Figure]:
    """The limits that a container without a cgroup is going to have."""
    if options.memory is not None:
        yield _planned("memory", "memory limit", parse_bytes(options.memory), "bytes", "--memory", shown)
    if options.cpus is not None:
        yield _planned("cpu", _CPU_NAME, float(options.cpus), "CPUs", "--cpus", shown)
    if options.pids_limit is not None:
        yield _planned("pids", "processes and threads, limit", options.pids_limit, "count", "--pids-limit", shown)


def _planned(
    controller: str, name: str, value: float, unit: Unit, option: str, shown: Callable[[float, Unit], str]
) -> Figure:
    return Figure(controller, name, "limit", value, unit, shown(value, unit), option)
