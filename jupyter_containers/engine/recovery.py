"""Putting a store right after processes were killed: what the next command does first, and each listing again.

Cheap when there is nothing to do: it looks at the directories of running containers, not at all containers.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Self

from jupyter_containers.engine import creation, status
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.monitor import record
from jupyter_containers.runtime import lifecycle
from jupyter_containers.runtime.handle import monitor_killed

if TYPE_CHECKING:
    from jupyter_containers.engine.parts import Parts


def recover(parts: Parts) -> list[str]:
    """Finish what dead monitors left, and remove ``--rm`` containers that ended without their engine.

    Returns one line for each thing that was repaired.
    """
    repaired = []
    for identity in _names(parts.paths.running):
        run, directory = parts.paths.running / identity, parts.paths.containers / identity
        found = lifecycle.read_state(str(run), str(directory))
        if found.status in {"orphaned", "dead"}:
            if directory.is_dir():
                record.write(str(directory / "exit"), found.exit or monitor_killed())
            lifecycle.kill_leftovers(str(run), parts.host.cgroup_of(identity))
            repaired.append(f"container {identity[:12]} lost its monitor and was ended")
        if found.status != "running" and not owned(parts, identity):
            repaired += _remove_ended(parts, identity)
    return repaired


def _remove_ended(parts: Parts, identity: str) -> list[str]:
    """Take away what ended without its engine: its run directory, and all of it if it was to be removed."""
    row = next((row for row in parts.state.find_containers(identity) if row.id == identity), None)
    if row is None or not ContainerRecord.decode(row.record).options.remove:
        shutil.rmtree(parts.paths.running / identity, ignore_errors=True)
        return []
    creation.discard(parts, ContainerRecord.decode(row.record))
    return [f"container {row.name} had ended and was removed"]


def sweep(parts: Parts) -> list[str]:
    """Remove what killed processes left half made: once, when an engine begins."""
    count = parts.store.sweep() + parts.snapshotter.sweep()
    repaired = [f"{count} half-made files and directories were removed"] if count else []
    known = {row.id for row in parts.state.containers()}
    for identity in _names(parts.paths.containers):
        if identity not in known and not owned(parts, identity):
            parts.trees.remove(parts.paths.containers / identity)
            repaired.append(f"the directory of container {identity[:12]}, which was never finished, was removed")
    return [*repaired, *recover(parts), *parts.host.sweep_cgroups(_alive(parts))]


def busy(parts: Parts) -> bool:
    """Whether a container of the store runs, or an engine is starting one or waits for one."""
    return bool(_alive(parts)) or any(owned(parts, name) for name in _names(parts.paths.running))


def _alive(parts: Parts) -> set[str]:
    return {name for name in _names(parts.paths.running) if status.read(parts.paths, name).running}


def _names(directory: os.PathLike[str]) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


class Ownership:
    """While an engine starts a container or waits for it: a lock that the kernel releases when the process dies."""

    def __init__(self, parts: Parts, identity: str) -> None:
        directory = parts.paths.running / identity
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._fd = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it up. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def owned(parts: Parts, identity: str) -> bool:
    """Whether a living engine works on the container."""
    try:
        fd = os.open(parts.paths.running / identity / "owner.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
