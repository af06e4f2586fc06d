"""What a container is doing, derived from its monitor's records and shown as Docker shows it."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.engine.views import ContainerState, ContainerSummary
from jupyter_containers.runtime import lifecycle
from jupyter_containers.runtime.handle import monitor_killed

if TYPE_CHECKING:
    from jupyter_containers.config import Paths
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.runtime.protocol import ExitStatus

_NEVER = "0001-01-01T00:00:00Z"
_UNITS = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (4, "week"), (12, "month"))


@dataclass(frozen=True, slots=True)
class Status:
    """``pid`` only while it runs; times in ns since the epoch, 0 for never; ``exit`` once it ended."""

    state: ContainerState
    pid: int | None
    started: int
    exit: ExitStatus | None

    @property
    def running(self) -> bool:
        """Whether it has processes."""
        return self.state in {"running", "paused"}


def read(paths: Paths, identity: str) -> Status:
    """Look at the records of one container."""
    found = lifecycle.read_state(str(paths.running / identity), str(paths.containers / identity))
    match found.status:
        case "running":
            return Status("running", found.pid or None, found.started_at, None)
        case "created":
            return Status("created", None, 0, None)
        case "exited" | "dead" | "orphaned":
            return Status("exited", None, found.started_at, found.exit or monitor_killed())


def summarize(paths: Paths, record: ContainerRecord) -> ContainerSummary:
    """A row of ``ps``."""
    now = read(paths, record.id)
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
        address=record.address,
        labels=dict(record.labels),
        memory_limit=record.memory_limit,
    )


def describe(status: Status) -> str:
    """``Up 5 minutes``, ``Exited (0) 2 hours ago``, ``Created``."""
    if status.running:
        return f"Up {_ago(status.started)}"
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


def inspect(paths: Paths, record: ContainerRecord) -> dict[str, Any]:
    """A container as Docker's ``inspect`` shows it, as far as this engine has it."""
    now = read(paths, record.id)
    options = msgspec.to_builtins(record.options)
    return {
        "Id": record.id,
        "Name": f"/{record.name}",
        "Created": _text(record.created),
        "Path": record.args[0],
        "Args": list(record.args[1:]),
        "State": {
            "Status": now.state,
            "Running": now.running,
            "Paused": now.state == "paused",
            "OOMKilled": bool(now.exit and now.exit["oom_killed"]),
            "Dead": False,
            "Pid": now.pid or 0,
            "ExitCode": now.exit["code"] if now.exit else 0,
            "Error": now.exit["cause"] if now.exit else "",
            "StartedAt": _text(now.started),
            "FinishedAt": _text(now.exit["finished_at"]) if now.exit else _NEVER,
        },
        "Image": record.image_id,
        "LogPath": str(paths.containers / record.id / "log.json"),
        "Config": {
            "Hostname": record.hostname,
            "User": record.user,
            "Env": list(record.env),
            "Cmd": list(record.args),
            "Image": record.image,
            "WorkingDir": record.cwd,
            "Labels": dict(record.labels),
            "StopSignal": record.stop_signal,
            "StopTimeout": record.stop_timeout,
        },
        "HostConfig": {"NetworkMode": record.network, "Memory": record.memory_limit or 0, "Options": options},
        "NetworkSettings": {"Networks": {record.network: {"IPAddress": record.address}}},
    }


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC)


def _text(nanoseconds: int) -> str:
    if not nanoseconds:
        return _NEVER
    return f"{_moment(nanoseconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09}Z"
