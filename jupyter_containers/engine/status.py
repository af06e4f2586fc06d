"""What a container is doing, derived from its monitor's records and shown as Docker shows it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.engine.views import ContainerState, ContainerSummary
from jupyter_containers.records import dataclass
from jupyter_containers.runtime import lifecycle
from jupyter_containers.runtime.handle import monitor_killed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.config import Paths
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.runtime.protocol import ExitStatus

LIVELY = frozenset({"running", "paused", "restarting"})
_HEALTH = {"starting": "health: starting"}
_NEVER = "0001-01-01T00:00:00Z"
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_UNITS = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (4, "week"), (12, "month"))


@dataclass(frozen=True, slots=True)
class Status:
    """``pid`` only while it runs; times in ns since the epoch, 0 for never; ``exit`` once it ended."""

    state: ContainerState
    pid: int | None
    started: int
    exit: ExitStatus | None
    restarts: int = 0
    health: Mapping[str, Any] | None = None

    @property
    def running(self) -> bool:
        """Whether it has a monitor: processes, or a start to come."""
        return self.state in LIVELY


def read(paths: Paths, identity: str) -> Status:
    """Look at the records of one container."""
    found = lifecycle.read_state(f"{paths.containers}/{identity}")
    match found.status:
        case "running" | "paused" | "restarting":
            pid = found.pid or None
            return Status(found.status, pid, found.started_at, found.exit, found.restarts, found.health)
        case "created":
            return Status("created", None, 0, None)
        case "exited" | "dead" | "orphaned":
            ended = found.exit or monitor_killed()
            return Status("exited", None, found.started_at, ended, found.restarts)


def summarize(now: Status, record: ContainerRecord, known: Mapping[str, str] = _NOTHING) -> ContainerSummary:
    """A row of ``ps``; ``known`` are the ids of networks that a container is in without an address: ``host``."""
    import shlex  # noqa: PLC0415 - running a container needs no list of them

    return ContainerSummary(
        id=record.id,
        name=record.name,
        image=record.image,
        command=shlex.join(record.args),
        created=_moment(record.created),
        state=now.state,
        status=describe(now),
        exit_code=now.exit["code"] if now.exit else None,
        started=_moment(now.started) if now.started else None,
        finished=_moment(now.exit["finished_at"]) if now.exit else None,
        pid=now.pid,
        ports=ports(record, now.state),
        address=record.address,
        labels=dict(record.labels),
        memory_limit=record.memory_limit,
        mounts={point.target: point.source or point.kind for point in record.mounts},
        health=str(now.health["status"]) if now.health else "",
        image_id=record.image_id,
        layers=record.chains,
        networks={each.name: each.network for each in record.endpoints}
        or {record.network: known.get(record.network, "")},
        published=tuple(port.key for port in record.ports),
        exposed=record.exposed,
        volumes=tuple(point.source for point in record.mounts if point.kind == "volume"),
    )


def ports(record: ContainerRecord, state: ContainerState) -> str:
    """The PORTS column of ``ps``: where published ports are, and those that are only exposed."""
    if state not in LIVELY:
        return ""
    published = {port.key for port in record.bound}
    return ", ".join([*(port.shown for port in record.bound), *(key for key in record.exposed if key not in published)])


def describe(status: Status) -> str:
    """``Up 5 minutes``, ``Exited (0) 2 hours ago``, ``Created``."""
    if status.state == "restarting" and status.exit:
        return f"Restarting ({status.exit['code']}) {_ago(status.exit['finished_at'])} ago"
    if status.running:
        health = f" ({_HEALTH.get(status.health['status'], status.health['status'])})" if status.health else ""
        return f"Up {_ago(status.started)}{' (Paused)' if status.state == 'paused' else health}"
    if status.exit:
        return f"Exited ({status.exit['code']}) {_ago(status.exit['finished_at'])} ago"
    return status.state.capitalize()


def _ago(moment: int) -> str:
    """How long ago, in the largest unit that fits twice (or once for the seconds)."""
    amount = max(0, int((time.time_ns() - moment) / 1e9))
    if amount < 1:
        return "Less than a second"
    for size, unit in _UNITS:
        if amount < 2 * size or unit == "month":
            return f"{amount} {unit}{'s' if amount != 1 else ''}"
        amount //= size
    raise AssertionError("unreachable: the last unit takes any amount")


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC)


def text(nanoseconds: int) -> str:
    """A moment as Docker writes it, in UTC; that of 0 for what has not been."""
    if not nanoseconds:
        return _NEVER
    return f"{_moment(nanoseconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09}Z"
