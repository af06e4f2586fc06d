"""Putting a store right after processes were killed: what the next command does first, and each listing again.

Cheap when there is nothing to do: it looks at the directories of running containers, not at all containers.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from jupyter_containers.engine import status, supervision
from jupyter_containers.engine.launch import creation
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.small_files import clear_away
from jupyter_containers.errors import EngineError, NotFound
from jupyter_containers.monitor import record
from jupyter_containers.records import replace
from jupyter_containers.runtime import handle, lifecycle
from jupyter_containers.runtime.handle import monitor_killed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.protocol import ExitStatus

_LOCK_POLL = 0.02

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def recover(parts: Parts) -> dict[str, status.Status]:
    """Finish what dead monitors left, and remove ``--rm`` containers that ended without their engine.

    Tells one line for each thing that was repaired. Returns what runs, by id.
    """
    alive = {}
    for identity in _names(parts.paths.running):
        found = status.read(parts.paths, identity)
        if not found.running and (repaired := _put_right(parts, identity)):
            parts.tell(repaired)
            found = status.read(parts.paths, identity)
        if found.running:
            alive[identity] = found
    parts.tell(network_service.repair(parts, owned, alive))
    return alive


def _put_right(parts: Parts, identity: str) -> list[str]:
    """What :func:`recover` does with one container, unless another engine works on it."""
    with Ownership(parts, identity, patience=0) as lock:
        found = lifecycle.read_state(str(parts.paths.containers / identity))
        if not lock.held or found.status in status.LIVELY:
            return []
        repaired = []
        discarded = _is_discarded(parts, identity)
        if found.status in {"orphaned", "dead"}:
            repaired.append(f"container {identity[:12]} lost its monitor and was ended")
            _bury(parts, identity, found)
            repaired += (revived := [] if discarded else _revive(parts, identity))
            if revived:
                return repaired
        if found.status == "created" and not discarded and not (parts.paths.containers / identity).exists():
            clear_away(parts.paths.running / identity)  # nothing of its start was done
            return []
        return repaired + _remove_ended(parts, identity)


def _bury(parts: Parts, identity: str, found: lifecycle.State) -> None:
    """Write down the end of a container that died with its monitor."""
    directory, run = parts.paths.containers / identity, parts.paths.running / identity
    if directory.is_dir():
        record.write(str(directory / "exit"), found.exit or monitor_killed())
    lifecycle.kill_leftovers(str(run), str(directory), _cgroup_of(parts, identity))


def _cgroup_of(parts: Parts, identity: str) -> CgroupPlan | None:
    known = _record(parts, identity)
    return parts.host.cgroup_of(identity, known.options.cgroup_parent if known else None)


def _record(parts: Parts, identity: str) -> ContainerRecord | None:
    rows = [row for row in parts.state.find_containers(identity) if row.id == identity]
    return ContainerRecord.decode(rows[0].record) if rows else None


def _revive(parts: Parts, identity: str) -> list[str]:
    """Start a container that has ended, if its policy says so. The caller owns it."""
    known, ended = _record(parts, identity), lifecycle.read_exit(str(parts.paths.containers / identity))
    if known is None or ended is None or not _wanted(known, ended):
        return []
    try:
        creation.start(parts, known, (None, None, None), detach=True).close()
    except EngineError as error:
        return [f"container {known.name} could not be started again: {error.message}"]
    return [f"container {known.name} was started again, as its restart policy says"]


def _wanted(known: ContainerRecord, ended: ExitStatus) -> bool:
    """Whether a container's policy wants it started after its monitor is gone."""
    match supervision.restart_policy(known.options.restart)["name"]:
        case "always":
            return True
        case "unless-stopped":
            return not ended.get("stopped")
        case "on-failure":
            return ended["code"] != 0 and not ended.get("stopped")
        case _:
            return False


def _after_boot(parts: Parts) -> list[str]:
    """The machine was started anew: what ran has ended, and restart policies are applied. Once for each boot."""
    mark = parts.paths.root / "boot"
    boot = lifecycle.boot_id()
    fd = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    repaired = []
    try:
        if os.pread(fd, 64, 0).decode() == boot:
            return []
        fcntl.flock(fd, fcntl.LOCK_EX)
        before = os.pread(fd, 64, 0).decode()
        if before == boot:
            return []
        os.pwrite(fd, boot.encode(), 0)
        for identity in _names(parts.paths.containers) if before else ():
            found = lifecycle.read_state(str(parts.paths.containers / identity))
            if found.status not in {"dead", "exited"}:
                continue
            with Ownership(parts, identity, patience=0) as lock:
                if not lock.held:
                    continue
                if found.status == "dead":
                    _bury(parts, identity, found)
                repaired += _revive(parts, identity) or _remove_ended(parts, identity)
    finally:
        os.close(fd)
    return repaired


def _is_discarded(parts: Parts, identity: str) -> bool:
    return (parts.paths.running / identity / creation.DISCARDED).exists()


def _remove_ended(parts: Parts, identity: str) -> list[str]:
    """Take away what ended without its engine: its run directory, and all of it if it was to be removed."""
    known = _record(parts, identity)
    if known is None or not (known.options.remove or _is_discarded(parts, identity)):
        clear_away(parts.paths.running / identity)
        return []
    creation.discard(parts, known)
    return [f"container {known.name} had ended and was removed"]


def sweep(parts: Parts) -> None:
    """Remove what killed processes left half made: once, when an engine begins. Tells what was repaired."""
    count = parts.store.sweep() + parts.snapshotter.sweep()
    count += parts.volumes.sweep(lambda: {row.id for row in parts.state.volumes()})
    repaired = [f"{count} half-made files and directories were removed"] if count else []
    known = parts.state.container_ids()
    for identity in _names(parts.paths.containers):
        if identity not in known:
            repaired += _clear(parts, identity)
    parts.tell([*repaired, *_after_wiping(parts, known), *_after_boot(parts)])
    parts.tell(_sweep_cgroups(parts, recover(parts)))
    if (parts.paths.root / "moves").exists():
        from jupyter_containers.engine.move import moving  # noqa: PLC0415 - few stores had a move

        parts.tell(moving.recover(parts))


def _after_wiping(parts: Parts, known: Iterable[str]) -> list[str]:
    """End what nobody can reach any more, when the run directory was made anew."""
    mark = parts.paths.run / "here"
    if mark.exists():
        return []
    repaired = [line for identity in known for line in _end_unreachable(parts, identity)]
    mark.touch(mode=0o600)
    return repaired


def _clear(parts: Parts, identity: str) -> list[str]:
    """Remove the directory of a container that nobody knows, unless it is being made or removed."""
    with _owning(parts, identity) as own:
        if not own or parts.state.containers([identity]):
            return []
        try:
            parts.trees.remove(parts.paths.containers / identity)
        except NotFound:
            return []
    return [f"the directory of container {identity[:12]}, which belongs to no container, was removed"]


def _sweep_cgroups(parts: Parts, alive: Collection[str]) -> list[str]:
    return parts.host.sweep_cgroups(alive, lambda identity: _owning(parts, identity))


@contextmanager
def _owning(parts: Parts, identity: str) -> Iterator[bool]:
    """Own a container that may be gone; whether that could be had at once."""
    with Ownership(parts, identity, patience=0) as lock:
        yield lock.held
        if lock.held:
            with suppress(OSError):
                os.rmdir(parts.paths.running / identity)  # when it was made for this


def _end_unreachable(parts: Parts, identity: str) -> list[str]:
    """End a container whose run directory was removed: nobody can talk to its monitor any more."""
    directory = parts.paths.containers / identity
    if (parts.paths.running / identity).exists() or not (directory / "monitor.json").exists():
        return []
    if not end_lost(parts, identity):
        return []
    with Ownership(parts, identity, patience=0) as lock:
        revived = _revive(parts, identity) if lock.held else []
    return [f"container {identity[:12]} lost its run directory and was ended", *revived]


def end_lost(parts: Parts, identity: str, *, stopped: bool = False) -> bool:
    """End a container that runs and cannot be reached; whether there was one.

    ``stopped``: as its user asks for, also one whose monitor was killed; no policy starts it again.
    """
    found = lifecycle.read_state(str(parts.paths.containers / identity))
    lost = found.status in status.LIVELY
    if not lost and not (stopped and found.status in {"orphaned", "dead"}):
        return False
    ended = monitor_killed(found.started_at)
    if lost and not (parts.paths.running / identity / handle.CONTROL).exists():
        ended["cause"] = "its control socket was removed"
    if stopped:
        ended["stopped"] = True
    _bury(parts, identity, replace(found, exit=ended))
    return True


def busy(parts: Parts) -> bool:
    """Whether a container of the store runs, or an engine is starting one or waits for one."""
    names = _names(parts.paths.running)
    return any(status.read(parts.paths, name).running or owned(parts, name) for name in names)


def _names(directory: os.PathLike[str]) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


class Ownership:
    """While an engine starts a container, waits for it or removes it: a lock that the kernel releases when it dies.

    It is one on the container's run directory. ``patience`` is how many seconds to wait for another owner; then there
    is no lock. None: as long as it takes.
    """

    def __init__(self, parts: Parts, identity: str, *, patience: float | None = None) -> None:
        directory = f"{parts.paths.running}/{identity}"
        self._fd = -1
        deadline = None if patience is None else time.monotonic() + patience
        while self._fd < 0:
            with suppress(FileExistsError):
                os.mkdir(directory, 0o711)
            try:
                fd = os.open(directory, _DIRECTORY)
            except FileNotFoundError:  # removed between the two lines
                continue
            if not _lock(fd, deadline):
                os.close(fd)
                return
            if _is_at(fd, directory):
                self._fd = fd
            else:  # its owner has removed the container, and the directory with it
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Whether the lock was had in time."""
        return self._fd >= 0

    def fileno(self) -> int:
        """A descriptor of the lock. A process that inherits it keeps the lock beyond this one's end."""
        return self._fd

    def release(self) -> None:
        """Give it up. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _lock(fd: int, deadline: float | None) -> bool:
    """Whether the lock could be had until the deadline."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if deadline is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_POLL)
        else:
            return True


def _is_at(fd: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def owned(parts: Parts, identity: str) -> bool:
    """Whether a living engine works on the container."""
    try:
        fd = os.open(parts.paths.running / identity, _DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
