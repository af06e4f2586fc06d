"""Carrying running processes from one store to another: their state is taken by CRIU while they stand still.

They are paused before it is taken and stay so until it is known whether they go on elsewhere. What the other side makes
anew is no part of the state: the root file system, volumes, the engine's files, cgroups, the network namespace, the
pipes to the monitor. Connections over the network are closed, sockets that listen are not.

Sources: criu(8), "--external" and "--freeze-cgroup"; proc_pid_mountinfo(5); proc_pid_fdinfo(5).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers import documents
from jupyter_containers.engine import status, supervision
from jupyter_containers.engine.explain.xray.facts import MountLine, mount_lines
from jupyter_containers.engine.launch.namespaces import HOST
from jupyter_containers.engine.move import mark as move_mark
from jupyter_containers.engine.repair import recovery
from jupyter_containers.engine.small_files import clear_away
from jupyter_containers.errors import Conflict, ContainerNotRunning, SystemFailure, Unsupported
from jupyter_containers.linux import cgroups
from jupyter_containers.monitor.watchdog import descendants
from jupyter_containers.runtime import criu, handle, lifecycle

if TYPE_CHECKING:
    from jupyter_containers.engine.launch.mounts import MountPoint
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.protocol import Restore

DIRECTORY = "checkpoint"
"""Where the state is in a container's directory, until it is sent or used."""
STOPPED = "without --live it is stopped, moved and started again"
_OUTSIDE = "outside.json"
_PATIENCE = 5.0
_OWN_FILE_SYSTEMS = frozenset({"proc", "sysfs", "devpts", "mqueue"})
_OWN_MODES = {
    "pid": ("", "private"),
    "ipc": ("", "private", "shareable", "none"),
    "uts": ("", "private"),
    "userns": ("", HOST),
}
"""Those in which a container has the namespaces that CRIU makes for it."""
_CGROUPS = frozenset({"cgroup", "cgroup2"})
_NULL = os.makedev(1, 3)
_PIPE = re.compile(r"pipe:\[(\d+)\]")


class Outside(msgspec.Struct, frozen=True):
    """What is not part of a state; the fields are those of :class:`runtime.protocol.Restore`."""

    mounts: dict[str, str]
    streams: dict[str, str]
    null: list[str]


def program() -> str:
    """The path of CRIU, where it works.

    Raises
    ------
    Unsupported
        with the words of ``criu check`` where that fails.
    """
    found = shutil.which("criu", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Unsupported("a live move needs CRIU, which is not installed", hint=STOPPED)
    if os.geteuid() != 0:
        raise Unsupported("a live move needs root, who alone may take the state of processes", hint=STOPPED)
    done = subprocess.run([found, "check"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
        raise Unsupported(f"a live move needs CRIU, which does not work here: {said}", hint=STOPPED)
    return os.path.realpath(found)


def check(record: ContainerRecord) -> None:
    """Refuse a container whose state cannot be taken, or not be set up elsewhere.

    Raises
    ------
    Unsupported
        naming the option.
    """
    options = record.options
    modes = {name: getattr(options, name) or "" for name in _OWN_MODES}
    reasons = [f"--{name} {mode}" for name, mode in modes.items() if mode not in _OWN_MODES[name]]
    if record.network.startswith("container:"):
        reasons.append("--network container:")
    reasons += [f"--{name}" for name in ("tty", "init", "runtime") if getattr(options, name)]
    reasons += [f"the image mount on {point.target}" for point in record.mounts if point.kind == "image"]
    if reasons:
        raise Unsupported(f"{record.name} cannot be moved while it runs: it has {reasons[0]}", hint=STOPPED)


class Source:
    """The processes of a running container, on the side they go from.

    Raises
    ------
    Unsupported
        for one whose state cannot be taken.
    """

    def __init__(self, parts: Parts, record: ContainerRecord) -> None:
        self._parts = parts
        self._record = record
        self._program = program()
        check(record)
        cgroup = _cgroup(parts, record)
        freezer = (cgroup["dirs"].get("freezer") or cgroup["unified"]) if cgroup else ""
        if not cgroup or not freezer:
            raise Unsupported(f"{record.name} has no cgroup to stand still in", hint=STOPPED)
        self._cgroup = cgroup
        self._freezer = freezer

    def take(self, lock: recovery.Ownership) -> Path:
        """Have the processes stand still, and write their state to a directory of the container's.

        CRIU keeps the lock too: it must come to its end with a process it has entered, and where this one is killed,
        others wait for that.

        Raises
        ------
        Conflict
            It does not run, is paused, or something is executed in it.
        SystemFailure
            CRIU fails; with what it says.
        """
        self._await_execs()
        _pause(self._parts, self._record, paused=True)
        with handle.connect(str(self._parts.paths.running / self._record.id)) as process:
            ends: dict[str, int] = process.ask({"kind": "streams"})["streams"]
        pid = self._pid()
        outside, arguments = self._look(pid, ends)
        clear(self._parts, self._record)
        directory = self._parts.paths.containers / self._record.id / DIRECTORY
        directory.mkdir(mode=0o700)
        (directory / _OUTSIDE).write_bytes(msgspec.json.encode(outside))
        command = [
            *(self._program, "dump", "--tree", str(pid), "--images-dir", str(directory)),
            *("--root", f"/proc/{pid}/root", "--leave-running", "--freeze-cgroup", self._freezer),
            *("--network-lock", "skip", *criu.COMMON, *arguments),
        ]
        if _run(command, lock.fileno()) != 0:
            log = directory / criu.LOG
            said = criu.problem(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "")
            raise SystemFailure(f"the state of {self._record.name} cannot be taken: {said}", hint=STOPPED)
        return directory

    def _pid(self) -> int:
        pid = status.read(self._parts.paths, self._record.id).pid
        if not pid:
            raise Conflict(f"the container {self._record.name} does not run")
        return pid

    def _await_execs(self) -> None:
        """Until all in its cgroup descends from its first process: a health check is over soon."""
        deadline = time.monotonic() + _PATIENCE
        while foreign := set(cgroups.processes(self._cgroup)) - set(descendants(self._pid())):
            if time.monotonic() >= deadline:
                raise Conflict(
                    f"something is executed in {self._record.name} (process {min(foreign)})", hint="wait for its end"
                )
            time.sleep(0.02)

    def _look(self, pid: int, ends: dict[str, int]) -> tuple[Outside, list[str]]:
        """What the state leaves out, and the arguments that say so."""
        lines = mount_lines(Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
        mounts = {line.target: kind for line in lines if (kind := self._kind(line))}
        streams, null = self._descriptors(pid, ends, {line.mount_id for line in lines})
        arguments = [word for place in mounts for word in ("--external", f"mnt[{place}]:{place}")]
        arguments += [word for name in null for word in ("--external", name)]
        network = os.stat(f"/proc/{pid}/ns/net").st_ino
        if network != os.stat("/proc/self/ns/net").st_ino:
            arguments += ["--external", f"net[{network}]:{criu.NETWORK}"]
        return Outside(mounts, streams, null), arguments

    def _kind(self, line: MountLine) -> str:
        """What a mount is to whoever makes it anew; empty for one that is part of the state."""
        if line.target == "/":
            return ""
        if any(line.target == point.target or line.target.startswith(f"{point.target}/") for point in self._outer()):
            return criu.MOUNT
        if line.type in _CGROUPS:
            return criu.CGROUP
        if line.root.endswith("/null") and line.target.startswith(("/proc/", "/sys/")):
            return criu.NULL
        own = line.type in _OWN_FILE_SYSTEMS or (line.type == "tmpfs" and line.root == "/")
        return "" if own else criu.MOUNT

    def _outer(self) -> list[MountPoint]:
        return [point for point in self._record.mounts if point.kind != "tmpfs"]

    def _descriptors(self, pid: int, ends: dict[str, int], own: set[int]) -> tuple[dict[str, str], list[str]]:
        """The names of the pipes to the monitor, and of each ``/dev/null`` of the host."""
        by_inode = {inode: stream for stream, inode in ends.items() if inode}
        streams: dict[str, str] = {}
        null: dict[str, None] = {}
        for each in descendants(pid):
            for descriptor in Path(f"/proc/{each}/fd").iterdir():
                with suppress(FileNotFoundError):
                    target = os.readlink(descriptor)
                    if (pipe := _PIPE.fullmatch(target)) and (stream := by_inode.get(int(pipe[1]))):
                        streams[stream] = target
                    elif target.startswith("/") and (mount := _mount_of(each, descriptor.name)) not in own:
                        found = descriptor.stat()
                        if found.st_rdev != _NULL:
                            raise Unsupported(f"{self._record.name} holds {target} of the host open", hint=STOPPED)
                        null[f"file[{mount:x}:{found.st_ino:x}]"] = None
        return streams, list(null)


def _mount_of(pid: int, descriptor: str) -> int:
    text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="ascii", errors="replace")
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("mnt_id:")), -1)


def _run(command: list[str], inherited: int) -> int:
    """Its exit status. It is waited for also when this process is interrupted."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        command, stdin=null, stdout=null, stderr=null, pass_fds=[inherited], start_new_session=True
    )
    try:
        return process.wait()
    except BaseException:
        process.wait()
        raise


def _cgroup(parts: Parts, record: ContainerRecord) -> CgroupPlan | None:
    return parts.host.cgroup_of(record.id, record.options.cgroup_parent)


def _pause(parts: Parts, record: ContainerRecord, *, paused: bool) -> None:
    with handle.connect(str(parts.paths.running / record.id)) as process:
        process.ask({"kind": "pause", "paused": paused})
    supervision.tell(parts, record, "pause" if paused else "unpause")


def resume(parts: Parts, record: ContainerRecord) -> None:
    """Let processes that stand still go on here, if there are any. Idempotent."""
    clear(parts, record)
    with suppress(Conflict, ContainerNotRunning):  # it goes on already, or has ended
        _pause(parts, record, paused=False)


def check_unpause(parts: Parts, record: ContainerRecord) -> None:
    """Refuse to let processes go on that go on elsewhere, or may soon. A move that was cut off before is forgotten.

    Raises
    ------
    Conflict
        naming the target.
    """
    mark = move_mark.read(parts.paths.root, record.id)
    if mark is None or not mark.live:
        return
    move_mark.check(parts.paths.root, record.id, record.name)
    with recovery.Ownership(parts, record.id, patience=0) as lock:
        if not lock.held:
            raise Conflict(f"the container {record.name} is being moved to {mark.target}", hint="wait for its end")
        move_mark.clear(parts.paths.root, record.id)


def clear(parts: Parts, record: ContainerRecord) -> None:
    """Take a state away. Idempotent."""
    clear_away(parts.paths.containers / record.id / DIRECTORY)


def kill(parts: Parts, record: ContainerRecord) -> None:
    """End what goes on elsewhere, without letting it go on here."""
    run, directory = str(parts.paths.running / record.id), str(parts.paths.containers / record.id)
    lifecycle.kill_leftovers(run, directory, _cgroup(parts, record))


# -- the other side --------------------------------------------------------------------------------------------------


def received(parts: Parts, record: ContainerRecord, path: str) -> Restore:
    """What the monitor is told to have the processes go on here, whose state has come; ``path`` is CRIU's."""
    directory = parts.paths.containers / record.id / DIRECTORY
    outside = documents.decode((directory / _OUTSIDE).read_bytes(), Outside)
    return {
        "program": path,
        "directory": str(directory),
        "mounts": outside.mounts,
        "streams": outside.streams,
        "null": outside.null,
    }
