"""What running containers use, measured again and again, as ``docker stats`` counts it.

CPU time is what the container used between two samples, in percent of one CPU; memory is without the file cache that
can be given back at once. Where a container has no cgroup of its own, its processes are counted as /proc shows them:
CPU time of those that have ended may be missing, memory is the sum of their shares without file pages, and disk
traffic what they asked for. Sources: proc_pid_stat(5), proc_pid_io(5), proc_pid_smaps(5), proc_pid_net(5).
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from jupyter_containers.engine import status
from jupyter_containers.engine.container import processes
from jupyter_containers.engine.views import ContainerStats
from jupyter_containers.linux import cgroup_figures
from jupyter_containers.monitor import watchdog
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord

    Source = Literal["cgroup", "processes"]

_OWN_NETWORK = ("none", "host")


@dataclass(slots=True)
class _Counted:
    """Counters of one container; ``at`` on the monotonic clock, CPU time in nanoseconds."""

    at: float
    started: int
    cpu: int | None
    memory: int | None
    limit: int | None
    pids: int | None
    read: int | None
    written: int | None
    received: int
    sent: int
    source: Source


def sample(
    parts: Parts,
    choose: Callable[[], Sequence[ContainerRecord]],
    *,
    interval: float,
    count: int | None,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[list[ContainerStats]]:
    """A list for each moment, one row a container, for ever or ``count`` times; ``choose`` says anew which.

    The first one comes after ``interval`` seconds, as do all others: CPU use needs two looks. It ends when there is
    no container any more, or when ``pause``, which waits so many seconds, gives something true.
    """
    before = {record.id: _count(parts, record) for record in choose()}
    number = 0
    while count is None or number < count:
        if pause(interval):
            return
        records = choose()
        if not records and not before:
            return
        rows, after = [], {}
        for record in records:
            now = _count(parts, record)
            after[record.id] = now
            rows.append(_row(record, before.get(record.id), now))
        yield rows
        before = after
        number += 1


def _count(parts: Parts, record: ContainerRecord) -> _Counted | None:
    """What a container has used so far; None when it does not run."""
    now = status.read(parts.paths, record.id)
    if not now.pid:
        return None
    plan = parts.host.cgroup_of(record.id, record.options.cgroup_parent)
    found: cgroup_figures.CgroupStats = cgroup_figures.stats(plan) if plan is not None else {}
    pids = processes.pids(str(parts.paths.containers / record.id))
    received, sent = _network(now.pid, record.network)
    source: Source = "cgroup" if "cpu" in found else "processes"
    cpu, memory = found.get("cpu"), found.get("memory")
    io_read, io_written = found.get("io_read"), found.get("io_write")
    if cpu is None:
        cpu = sum(map(_cpu, pids))
    if memory is None:
        memory = sum(map(_memory, pids))
    if io_read is None or io_written is None:
        shares = [_disk(pid) for pid in pids]
        io_read, io_written = sum(share[0] for share in shares), sum(share[1] for share in shares)
    return _Counted(
        at=time.monotonic(),
        started=now.started,
        cpu=cpu,
        memory=memory,
        limit=found.get("memory_limit") or record.memory_limit,
        pids=found.get("pids") or sum(map(_threads, pids)),
        read=io_read,
        written=io_written,
        received=received,
        sent=sent,
        source=source,
    )


def _row(record: ContainerRecord, before: _Counted | None, now: _Counted | None) -> ContainerStats:
    base = ContainerStats(id=record.id, name=record.name, time=datetime.now(UTC))
    if now is None:
        return base
    percent = None
    if before is not None and before.started == now.started and before.cpu is not None and now.cpu is not None:
        percent = max(0.0, (now.cpu - before.cpu) / 1e7 / max(now.at - before.at, 1e-3))
    limit = min(now.limit or _host_memory(), _host_memory())
    return ContainerStats(
        id=record.id,
        name=record.name,
        time=base.time,
        cpu_percent=percent,
        memory=now.memory,
        memory_limit=limit,
        memory_percent=None if now.memory is None else 100 * now.memory / limit,
        network_received=now.received,
        network_sent=now.sent,
        disk_read=now.read,
        disk_written=now.written,
        pids=now.pids,
        source=now.source,
    )


def _host_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read(path: str) -> bytes:
    """A file of /proc, or nothing where it may not be read."""
    try:
        return watchdog.read(path)
    except PermissionError:
        return b""


# -- /proc -----------------------------------------------------------------------------------------------------------


def _network(pid: int, network: str) -> tuple[int, int]:
    """Bytes received and sent by its interfaces but loopback; those of the host are not its own."""
    if network in _OWN_NETWORK:
        return 0, 0
    received = sent = 0
    for line in _read(f"/proc/{pid}/net/dev").decode(errors="replace").splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() != "lo" and len(numbers) > 8:  # noqa: PLR2004 - the first of those that are sent
            received += int(numbers[0])
            sent += int(numbers[8])
    return received, sent


def _cpu(pid: int) -> int:
    """CPU time in nanoseconds of a process and its children that have ended."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) * 10**9 // os.sysconf("SC_CLK_TCK") if len(fields) > 14 else 0  # noqa: PLR2004


def _memory(pid: int) -> int:
    """Its share of the memory it has, as the watch of a memory limit counts it."""
    try:
        return watchdog.private(pid)
    except PermissionError:  # of another user namespace
        return watchdog.resident(pid)


def _disk(pid: int) -> tuple[int, int]:
    found = dict(line.split(b": ") for line in _read(f"/proc/{pid}/io").splitlines() if b": " in line)
    return int(found.get(b"read_bytes", 0)), int(found.get(b"write_bytes", 0))


def _threads(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[17]) if len(fields) > 17 else 0  # noqa: PLR2004 - num_threads
