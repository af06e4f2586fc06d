"""What a container uses, from the files of its cgroups. Sources: the kernel's admin-guide/cgroup-v1 and cgroup-v2."""

from __future__ import annotations

import os

from jupyter_containers.linux import cgroup_files as files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jupyter_containers.linux.cgroups import CgroupPlan

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


_NO_LIMIT = 1 << 62  # version 1 shows "no limit" as the largest number of pages


def stats(plan: CgroupPlan) -> CgroupStats:
    """What the container uses now. A number nobody counts on this host is missing."""
    dirs, unified = plan["dirs"], plan["unified"]
    found = spent(plan)
    if unified:
        _stats_v2(unified, found)
    if "cpuacct" in dirs:
        _put(found, "cpu", files.number(f"{dirs['cpuacct']}/cpuacct.usage"))
    if "memory" in dirs:
        usage = files.number(f"{dirs['memory']}/memory.usage_in_bytes")
        cache = files.field(f"{dirs['memory']}/memory.stat", "total_inactive_file") or 0
        _put(found, "memory", None if usage is None else max(usage - cache, 0))
    if "pids" in dirs:
        _put(found, "pids", files.number(f"{dirs['pids']}/pids.current"))
    if "blkio" in dirs:
        text = files.read(f"{dirs['blkio']}/blkio.throttle.io_service_bytes_recursive")
        for key, word in (("io_read", "Read"), ("io_write", "Write")):
            _put(found, key, sum(int(line.split()[2]) for line in text.splitlines() if line.split()[1:2] == [word]))
    return found


def spent(plan: CgroupPlan) -> CgroupStats:
    """What a container that has ended has used: CPU time, the most memory, and the limit of that."""
    found: CgroupStats = {}
    dirs, unified = plan["dirs"], plan["unified"]
    if unified:
        _spent_v2(unified, found)
    if "cpuacct" in dirs:
        _put(found, "cpu_user", files.number(f"{dirs['cpuacct']}/cpuacct.usage_user"))
        _put(found, "cpu_system", files.number(f"{dirs['cpuacct']}/cpuacct.usage_sys"))
    if "memory" in dirs:
        _put(found, "memory_peak", files.number(f"{dirs['memory']}/memory.max_usage_in_bytes"))
        _put(found, "memory_limit", _limit(files.number(f"{dirs['memory']}/memory.limit_in_bytes")))
    return found


def _limit(value: int | None) -> int | None:
    return None if value is None or value >= _NO_LIMIT else value


def _put(found: CgroupStats, key: str, value: int | None) -> None:
    if value is not None:
        found[key] = value  # type: ignore[literal-required]  # called with keys of CgroupStats


def _spent_v2(path: str, found: CgroupStats) -> None:
    for key, field in (("cpu_user", "user_usec"), ("cpu_system", "system_usec")):
        value = files.field(f"{path}/cpu.stat", field)
        _put(found, key, None if value is None else value * 1000)
    _put(found, "memory_peak", files.number(f"{path}/memory.peak"))  # Linux 5.19
    _put(found, "memory_limit", files.number(f"{path}/memory.max"))


def _stats_v2(path: str, found: CgroupStats) -> None:
    value = files.field(f"{path}/cpu.stat", "usage_usec")
    _put(found, "cpu", None if value is None else value * 1000)
    usage = files.number(f"{path}/memory.current")
    cache = files.field(f"{path}/memory.stat", "inactive_file") or 0
    _put(found, "memory", None if usage is None else max(usage - cache, 0))
    _put(found, "pids", files.number(f"{path}/pids.current"))
    text = files.read(f"{path}/io.stat")
    if text or os.path.exists(f"{path}/io.stat"):
        pairs = [word.partition("=") for line in text.splitlines() for word in line.split()[1:]]
        for key, name in (("io_read", "rbytes"), ("io_write", "wbytes")):
            _put(found, key, sum(int(value) for word, _, value in pairs if word == name))
