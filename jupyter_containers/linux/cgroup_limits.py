"""Limits of a configuration as the files of the two cgroup versions. Pure: nothing is read or written here.

Sources: OCI runtime specification, config-linux.md "Control groups"; the kernel's admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.oci.runtime_spec import Cpu, DeviceCgroup, Memory, Resources

    Write = tuple[str, str, str]
    """Controller, file name, text."""

_UNLIMITED = -1
DEFAULT_PERIOD = 100_000
"""The CPU period in microseconds that both versions begin with."""


def weight_of_shares(shares: int) -> int:
    """``cpu.weight`` (1 to 10000) for ``cpu.shares`` (2 to 262144), such that both defaults meet (1024 and 100).

    The curve runs through the three points (2, 1), (1024, 100) and (262144, 10000), quadratic on logarithmic scales.
    """
    exponent = math.log2(min(max(shares, 2), 262_144))
    return math.ceil(round(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34), 9))


def v1_writes(resources: Resources) -> list[Write]:
    """The files of version 1 to write, in order.

    The swap limit of version 1 counts memory and swap together, as the specification does.
    """
    return [
        *_v1_memory(resources.get("memory", {})),
        *_v1_cpu(resources.get("cpu", {})),
        *_pids(resources),
        *(
            ("devices", "devices.allow" if rule["allow"] else "devices.deny", _device(rule))
            for rule in _devices(resources)
        ),
    ]


def v2_writes(resources: Resources) -> list[Write]:
    """The files of version 2 to write, in order. Device rules are no files there and are not among them."""
    return [
        *_v2_memory(resources.get("memory", {})),
        *_v2_cpu(resources.get("cpu", {})),
        *_pids(resources),
        *((name.partition(".")[0], name, value) for name, value in resources.get("unified", {}).items()),
    ]


def refused_by_v2(resources: Resources) -> str:
    """What version 2 has no file for, or nothing."""
    memory = resources.get("memory", {})
    if memory.get("swappiness") is not None:
        return "swappiness for a group of processes exists in cgroup v1 only"
    if memory.get("disableOOMKiller"):
        return "the OOM killer can be disabled in cgroup v1 only"
    if "swap" in memory and memory["swap"] >= 0 and memory.get("limit", _UNLIMITED) < 0:
        return "a limit of swap needs a limit of memory"
    return ""


def _v1_memory(memory: Memory) -> Iterator[Write]:
    for key, file in (
        ("limit", "limit_in_bytes"),
        ("swap", "memsw.limit_in_bytes"),
        ("reservation", "soft_limit_in_bytes"),
    ):
        if key in memory:
            yield "memory", f"memory.{file}", str(memory[key])  # type: ignore[literal-required]  # the keys are above
    if memory.get("swappiness") is not None:
        yield "memory", "memory.swappiness", str(memory["swappiness"])
    if memory.get("disableOOMKiller"):
        yield "memory", "memory.oom_control", "1"


def _v1_cpu(cpu: Cpu) -> Iterator[Write]:
    if cpu.get("shares"):
        yield "cpu", "cpu.shares", str(cpu["shares"])
    if cpu.get("period"):
        yield "cpu", "cpu.cfs_period_us", str(cpu["period"])
    if cpu.get("quota"):
        yield "cpu", "cpu.cfs_quota_us", str(max(cpu["quota"], _UNLIMITED))
    yield from _cpuset(cpu)


def _v2_memory(memory: Memory) -> Iterator[Write]:
    limit = memory.get("limit", _UNLIMITED)
    if "limit" in memory:
        yield "memory", "memory.max", _or_max(limit)
    if "swap" in memory:
        swap = memory["swap"]
        yield "memory", "memory.swap.max", _or_max(max(swap - limit, 0) if swap >= 0 else swap)
    if "reservation" in memory:
        yield "memory", "memory.low", _or_max(memory["reservation"])


def _v2_cpu(cpu: Cpu) -> Iterator[Write]:
    if cpu.get("shares"):
        yield "cpu", "cpu.weight", str(weight_of_shares(cpu["shares"]))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota", _UNLIMITED)
        yield "cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or DEFAULT_PERIOD}"
    yield from _cpuset(cpu)


def _cpuset(cpu: Cpu) -> Iterator[Write]:
    if cpu.get("cpus"):
        yield "cpuset", "cpuset.cpus", cpu["cpus"]
    if cpu.get("mems"):
        yield "cpuset", "cpuset.mems", cpu["mems"]


def _pids(resources: Resources) -> Iterator[Write]:
    if "pids" in resources:
        limit = resources["pids"]["limit"]
        yield "pids", "pids.max", str(limit) if limit > 0 else "max"


def _or_max(value: int) -> str:
    return str(value) if value >= 0 else "max"


def _devices(resources: Resources) -> list[DeviceCgroup]:
    return resources.get("devices") or []


def _device(rule: DeviceCgroup) -> str:
    """A rule in the form of devices.allow: ``c 1:3 rwm``; ``a`` for all of them."""
    kind = rule.get("type") or "a"
    if kind == "a":
        return "a"
    major, minor = (
        "*" if number is None or number < 0 else str(number) for number in (rule.get("major"), rule.get("minor"))
    )
    return f"{kind} {major}:{minor} {rule.get('access') or 'rwm'}"
