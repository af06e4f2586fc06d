"""Limits of a configuration as the files of the two cgroup versions. Pure: nothing is read or written here.

A kernel may have one file or another for a limit: such names are joined by ``|``, the one to be preferred first, and
so are the texts where they differ. A limit of memory that is 0 is none, as for runc.

Sources: OCI runtime specification, config-linux.md "Control groups"; the kernel's admin-guide/cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.oci.runtime_spec import BlockIO, Cpu, DeviceCgroup, Memory, Resources

    Write = tuple[str, str, str]
    """Controller, file name or names, text."""

_UNLIMITED = -1
_LEAST_BFQ, _MOST_BFQ, _MOST_WEIGHT = 10, 1000, 10_000
DEFAULT_PERIOD = 100_000
"""The CPU period in microseconds that both versions begin with."""


def weight_of_shares(shares: int) -> int:
    """``cpu.weight`` (1 to 10000) for ``cpu.shares`` (2 to 262144), such that both defaults meet (1024 and 100).

    The curve runs through the three points (2, 1), (1024, 100) and (262144, 10000), quadratic on logarithmic scales.
    """
    exponent = math.log2(min(max(shares, 2), 262_144))
    return math.ceil(round(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34), 9))


def io_weight(weight: int) -> int:
    """``io.weight`` (1 to 10000) for a ``blkio`` weight (10 to 1000), on a straight line."""
    return 1 + (weight - _LEAST_BFQ) * (_MOST_WEIGHT - 1) // (_MOST_BFQ - _LEAST_BFQ)


def v1_writes(resources: Resources) -> list[Write]:
    """The files of version 1 to write, in order.

    The swap limit of version 1 counts memory and swap together, as the specification does.
    """
    network = resources.get("network", {})
    return [
        *_v1_memory(resources.get("memory", {})),
        *_v1_cpu(resources.get("cpu", {})),
        *_pids(resources),
        *_v1_block(resources.get("blockIO", {})),
        *_hugetlb(resources, "limit_in_bytes"),
        *([("net_cls", "net_cls.classid", str(network["classID"]))] if "classID" in network else []),
        *(
            ("net_prio", "net_prio.ifpriomap", f"{each['name']} {each['priority']}")
            for each in network.get("priorities") or []
        ),
        *_rdma(resources),
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
        *_v2_block(resources.get("blockIO", {})),
        *_hugetlb(resources, "max"),
        *_rdma(resources),
        *(
            (name.partition(".")[0], name, line)
            for name, value in resources.get("unified", {}).items()
            for line in value.splitlines() or [""]  # the kernel takes a line at a time
        ),
    ]


def refused_by_v2(resources: Resources) -> list[tuple[str, str]]:
    """What version 2 has no file for: controller of version 1, and the reason."""
    memory, cpu, block = resources.get("memory", {}), resources.get("cpu", {}), resources.get("blockIO", {})
    found = []
    if memory.get("swappiness") is not None:
        found.append(("memory", "swappiness for a group of processes exists in cgroup v1 only"))
    if memory.get("disableOOMKiller"):
        found.append(("memory", "the OOM killer can be disabled in cgroup v1 only"))
    if memory.get("kernel", 0) > 0 or memory.get("kernelTCP", 0) > 0:
        found.append(("memory", "a limit of kernel memory exists in cgroup v1 only"))
    if memory.get("useHierarchy") is False:
        found.append(("memory", "cgroup v2 is always hierarchical"))
    if memory.get("swap", 0) > 0 and memory.get("limit", _UNLIMITED) <= 0:
        found.append(("memory", "a limit of swap needs a limit of memory"))
    if cpu.get("realtimeRuntime") or cpu.get("realtimePeriod"):
        found.append(("cpu", "time for real-time processes is limited in cgroup v1 only"))
    if block.get("leafWeight") or any(each.get("leafWeight") for each in block.get("weightDevice") or []):
        found.append(("blkio", "leafWeight exists in cgroup v1 only"))
    return found


def _v1_memory(memory: Memory) -> Iterator[Write]:
    if memory.get("useHierarchy") is not None:
        yield "memory", "memory.use_hierarchy", str(int(memory["useHierarchy"]))
    for key, file in (
        ("limit", "limit_in_bytes"),
        ("swap", "memsw.limit_in_bytes"),
        ("reservation", "soft_limit_in_bytes"),
        ("kernel", "kmem.limit_in_bytes"),
        ("kernelTCP", "kmem.tcp.limit_in_bytes"),
    ):
        if memory.get(key):
            yield "memory", f"memory.{file}", str(memory[key])  # type: ignore[literal-required]  # the keys are above
    if memory.get("swappiness") is not None:
        yield "memory", "memory.swappiness", str(memory["swappiness"])
    if memory.get("disableOOMKiller") is not None:
        yield "memory", "memory.oom_control", str(int(memory["disableOOMKiller"]))


def _v1_cpu(cpu: Cpu) -> Iterator[Write]:
    if cpu.get("shares"):
        yield "cpu", "cpu.shares", str(cpu["shares"])
    if cpu.get("period"):
        yield "cpu", "cpu.cfs_period_us", str(cpu["period"])
    if cpu.get("quota"):
        yield "cpu", "cpu.cfs_quota_us", str(max(cpu["quota"], _UNLIMITED))
    if "burst" in cpu:
        yield "cpu", "cpu.cfs_burst_us", str(cpu["burst"])
    if cpu.get("realtimePeriod"):
        yield "cpu", "cpu.rt_period_us", str(cpu["realtimePeriod"])
    if cpu.get("realtimeRuntime"):
        yield "cpu", "cpu.rt_runtime_us", str(cpu["realtimeRuntime"])
    if "idle" in cpu:
        yield "cpu", "cpu.idle", str(cpu["idle"])
    yield from _cpuset(cpu)


def _v2_memory(memory: Memory) -> Iterator[Write]:
    limit, swap = memory.get("limit", 0), memory.get("swap", 0)
    if limit:
        yield "memory", "memory.max", _or_max(limit)
    if swap or limit == _UNLIMITED:
        yield "memory", "memory.swap.max", _or_max(max(swap - limit, 0) if swap > 0 else _UNLIMITED)
    if memory.get("reservation"):
        yield "memory", "memory.low", _or_max(memory["reservation"])


def _v2_cpu(cpu: Cpu) -> Iterator[Write]:
    if "idle" in cpu:
        yield "cpu", "cpu.idle", str(cpu["idle"])
    if cpu.get("shares") and not cpu.get("idle"):  # an idle group has no weight
        yield "cpu", "cpu.weight", str(weight_of_shares(cpu["shares"]))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota", _UNLIMITED)
        yield "cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or DEFAULT_PERIOD}"
    if "burst" in cpu:
        yield "cpu", "cpu.max.burst", str(cpu["burst"])
    yield from _cpuset(cpu)


_THROTTLES = (
    ("throttleReadBpsDevice", "read_bps", "rbps"),
    ("throttleWriteBpsDevice", "write_bps", "wbps"),
    ("throttleReadIOPSDevice", "read_iops", "riops"),
    ("throttleWriteIOPSDevice", "write_iops", "wiops"),
)


def _v1_block(block: BlockIO) -> Iterator[Write]:
    """The scheduler bfq has files of its own name; ``leaf_weight`` was CFQ's, which went with Linux 5.0."""
    if block.get("weight"):
        yield "blkio", "blkio.bfq.weight|blkio.weight", str(block["weight"])
    if block.get("leafWeight"):
        yield "blkio", "blkio.leaf_weight", str(block["leafWeight"])
    for each in block.get("weightDevice") or []:
        device = f"{each['major']}:{each['minor']}"
        if each.get("weight"):
            yield "blkio", "blkio.bfq.weight_device|blkio.weight_device", f"{device} {each['weight']}"
        if each.get("leafWeight"):
            yield "blkio", "blkio.leaf_weight_device", f"{device} {each['leafWeight']}"
    for key, file, _name in _THROTTLES:
        for limit in block.get(key) or []:  # type: ignore[attr-defined]  # a list for each of these keys
            yield "blkio", f"blkio.throttle.{file}_device", f"{limit['major']}:{limit['minor']} {limit['rate']}"


def _v2_block(block: BlockIO) -> Iterator[Write]:
    if block.get("weight"):
        yield "io", "io.bfq.weight|io.weight", f"{block['weight']}|default {io_weight(block['weight'])}"
    for each in block.get("weightDevice") or []:
        if each.get("weight"):
            device, weight = f"{each['major']}:{each['minor']}", each["weight"]
            yield "io", "io.bfq.weight|io.weight", f"{device} {weight}|{device} {io_weight(weight)}"
    for key, _file, name in _THROTTLES:
        for limit in block.get(key) or []:  # type: ignore[attr-defined]  # a list for each of these keys
            yield "io", "io.max", f"{limit['major']}:{limit['minor']} {name}={limit['rate'] or 'max'}"


def _hugetlb(resources: Resources, file: str) -> Iterator[Write]:
    """What is reserved is limited where the kernel counts that, else what is used (config-linux.md)."""
    for each in resources.get("hugepageLimits") or []:
        size = each["pageSize"]
        yield "hugetlb", f"hugetlb.{size}.rsvd.{file}|hugetlb.{size}.{file}", str(each["limit"])


def _rdma(resources: Resources) -> Iterator[Write]:
    for device, limits in (resources.get("rdma") or {}).items():
        words = [device]
        if "hcaHandles" in limits:
            words.append(f"hca_handle={limits['hcaHandles']}")
        if "hcaObjects" in limits:
            words.append(f"hca_object={limits['hcaObjects']}")
        yield "rdma", "rdma.max", " ".join(words)


def _cpuset(cpu: Cpu) -> Iterator[Write]:
    if cpu.get("cpus"):
        yield "cpuset", "cpuset.cpus", cpu["cpus"]
    if cpu.get("mems"):
        yield "cpuset", "cpuset.mems", cpu["mems"]


def _pids(resources: Resources) -> Iterator[Write]:
    limit = resources.get("pids", {}).get("limit")
    if limit is not None:
        yield "pids", "pids.max", str(limit) if limit > 0 else "max"


def _or_max(value: int) -> str:
    return str(value) if value >= 0 else "max"


def _devices(resources: Resources) -> list[DeviceCgroup]:
    return resources.get("devices") or []


def _device(rule: DeviceCgroup) -> str:
    """A rule in the form of devices.allow: ``c 1:3 rwm``; ``a`` for all of them."""
    kind = (rule.get("type") or "a").replace("u", "c")
    if kind == "a":
        return "a"
    major, minor = (
        "*" if number is None or number < 0 else str(number) for number in (rule.get("major"), rule.get("minor"))
    )
    return f"{kind} {major}:{minor} {rule.get('access') or 'rwm'}"


def refused_by_v1(rules: list[DeviceCgroup]) -> str:
    """The first device rule that version 1 cannot apply in its place, or nothing.

    There a cgroup has a default, and a list of exceptions that are matched as they were written: what a later rule
    cuts out of a wider one would go on to be allowed (admin-guide/cgroup-v1/devices.rst).
    """
    allowed, exceptions = True, dict[tuple[str, int, int], set[str]]()
    for rule in rules:
        kind = (rule.get("type") or "a").replace("u", "c")
        if kind == "a":
            allowed, exceptions = rule["allow"], {}
            continue
        device = kind, max(rule.get("major", -1), -1), max(rule.get("minor", -1), -1)
        access = set(rule.get("access") or "rwm")
        if rule["allow"] != allowed:
            exceptions.setdefault(device, set()).update(access)
            continue
        if any(other != device and _meet(other, device) and have & access for other, have in exceptions.items()):
            return f"cgroup v1 cannot take {_device(rule)} out of a rule for more devices"
        exceptions.get(device, set()).difference_update(access)
    return ""


def _meet(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    """Whether two rules speak of a device both; -1 stands for any number."""
    return one[0] == other[0] and all(-1 in pair or pair[0] == pair[1] for pair in zip(one[1:], other[1:], strict=True))
