"""The containers this command knows: one directory each below ``--root``.

| file | what |
| --- | --- |
| ``state.json`` | who the container is: its process, bundle, cgroups; written whole, by rename |
| ``config.json`` | the bundle's, as it was at ``create`` |
| ``filter`` | its system call filter, compiled |
| ``exec.fifo`` | where its init waits for ``start``; it has this name once ``create`` is done |
| ``failure`` | why its init could not become the program |

No file says what status a container has. It is alive if the process with the pid and the start time on record is; and
it has not been started while that process holds a lock on the pipe, which its execve gives up.

Changes are made under a lock on the directory, which goes with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
from errno import EAGAIN, EWOULDBLOCK

from jupyter_containers.linux import cgroup_files, namespaces
from jupyter_containers.monitor import record
from jupyter_containers.oci_runtime import document
from jupyter_containers.oci_runtime.failure import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from jupyter_containers.linux.cgroups import CgroupPlan

    Status = Literal["creating", "created", "running", "paused", "stopped"]

NAME = "jupyter-container-runtime"
FIFO, MAKING, FAILURE, CONFIG, FILTER, STATE = (
    "exec.fifo",
    "exec.fifo.making",
    "failure",
    "config.json",
    "filter",
    "state.json",
)
_WHOLE_MAP = "4294967295"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_LONGEST_ID = 1024


def default_root() -> str:
    """Where containers are when ``--root`` does not say: in /run, or in the user's own part of it.

    Raises
    ------
    CommandError
        An ordinary user has no such part.
    """
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.geteuid() == 0 and not (own and _in_user_namespace()):
        return f"/run/{NAME}"
    own = own or f"/run/user/{os.geteuid()}"
    if not os.path.isdir(own):
        raise CommandError("XDG_RUNTIME_DIR is not set and there is no /run/user directory: give --root")
    return f"{own}/{NAME}"


def _in_user_namespace() -> bool:
    with open("/proc/self/uid_map", "rb", buffering=0) as file:
        return file.read(4096).decode().split() != ["0", "0", _WHOLE_MAP]


def check_id(name: str) -> None:
    """Raise :exc:`CommandError` for what cannot be the name of a container."""
    if not name or name in {".", ".."} or len(name) > _LONGEST_ID or not _LETTERS.issuperset(name):
        raise CommandError(f"invalid container ID format: {name}")


class Container:
    """A container by its directory.

    Attributes
    ----------
    record
        ``state.json``; empty when whoever made the container was killed before it could write it.
    """

    def __init__(self, root: str, name: str) -> None:
        self.name = name
        self.path = f"{root}/{name}"
        self.record: dict[str, Any] = {}
        self._lock = -1

    # -- which there are -----------------------------------------------------------------------------------------

    @classmethod
    def make(cls, root: str, name: str) -> Container:
        """A new one, locked. Raises :exc:`CommandError` when the name is taken."""
        check_id(name)
        container = cls(root, name)
        os.makedirs(root, 0o700, exist_ok=True)
        try:
            os.mkdir(container.path, 0o711)
        except FileExistsError:
            raise CommandError(f"container with id exists: {name}") from None
        if not container._locked():
            raise CommandError(f"container {name} was removed while it was made")
        return container

    @classmethod
    def open(cls, root: str, name: str, *, lock: bool = False) -> Container:
        """One that exists, or :exc:`CommandError`."""
        check_id(name)
        container = cls(root, name)
        if not os.path.isdir(container.path) or (lock and not container._locked()):
            raise CommandError(f"container {name!r} does not exist".replace("'", '"'))
        container.load()
        return container

    @classmethod
    def all(cls, root: str) -> list[Container]:
        """Every container, by name."""
        try:
            names = sorted(os.listdir(root))
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            container = cls(root, name)
            if os.path.isdir(container.path):
                container.load()
                found.append(container)
        return found

    def _locked(self) -> bool:
        """Lock the directory; false if it is no longer the one that has the name."""
        try:
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            same = os.stat(self.path).st_ino == os.fstat(self._lock).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            self.unlock()
        return same

    def unlock(self) -> None:
        """Let others change it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- files ---------------------------------------------------------------------------------------------------

    def file(self, name: str) -> str:
        """The path of one of the files."""
        return f"{self.path}/{name}"

    def load(self) -> None:
        """Read ``state.json``."""
        self.record = {}
        if os.path.exists(self.file(STATE)):
            self.record = document.read(self.file(STATE))

    def save(self) -> None:
        """Write ``state.json``."""
        record.write(self.file(STATE), self.record)

    def config(self) -> dict[str, Any]:
        """The configuration it was made from; empty if there is none."""
        if not os.path.exists(self.file(CONFIG)):
            return {}
        found: dict[str, Any] = document.without_null(document.read(self.file(CONFIG)))
        return found

    def write(self, name: str, data: bytes) -> None:
        """Write one of the files that never change."""
        descriptor = os.open(self.file(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]

    def remove(self) -> None:
        """Remove the directory, what says what else there is to remove at last."""
        names = os.listdir(self.path)
        for name in sorted(names, key=lambda each: each == STATE):
            os.unlink(self.file(name))
        os.rmdir(self.path)
        self.unlock()

    # -- what is true of it --------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its init's pid as on record, 0 if there never was one."""
        return int(self.record.get("pid", 0))

    @property
    def cgroup(self) -> CgroupPlan | None:
        """Its cgroups, without limits to write."""
        return self.record.get("cgroup")

    def alive(self) -> bool:
        """Whether its init is there: the process on record, not another one that has its pid now."""
        return bool(self.pid) and namespaces.start_time(self.pid) == self.record["startTime"] and self._this_boot()

    def _this_boot(self) -> bool:
        return bool(self.record["bootId"] == boot_id())

    def status(self) -> Status:
        """See the module."""
        if not self.alive():
            return "stopped" if self.record.get("pid") or not self._busy() else "creating"
        if not os.path.exists(self.file(FIFO)):
            return "creating"
        if self._waits():
            return "created"
        return "paused" if self._frozen() else "running"

    def _busy(self) -> bool:
        """Whether somebody holds the lock of the directory: whoever makes it, as long as there is no process."""
        if self._lock >= 0:
            return False
        return _is_locked(self.path, os.O_DIRECTORY)

    def _waits(self) -> bool:
        return _is_locked(self.file(FIFO), os.O_NONBLOCK)

    def _frozen(self) -> bool:
        plan = self.cgroup
        if plan is None:
            return False
        if "freezer" in plan["dirs"]:
            return cgroup_files.read(f"{plan['dirs']['freezer']}/freezer.state").strip() == "FROZEN"
        return bool(plan["unified"]) and cgroup_files.read(f"{plan['unified']}/cgroup.freeze").strip() == "1"

    def state(self, status: str = "", pid: int | None = None) -> dict[str, Any]:
        """The state as the specification has it (runtime.md, "State"); also what hooks are given."""
        status = status or self.status()
        shown: dict[str, Any] = {
            "ociVersion": self.record.get("ociVersion", ""),
            "id": self.name,
            "status": status,
            "pid": (0 if status == "stopped" else self.pid) if pid is None else pid,
            "bundle": self.record.get("bundle", ""),
        }
        if self.record.get("annotations"):
            shown["annotations"] = self.record["annotations"]
        return shown


def _is_locked(path: str, flags: int) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {EAGAIN, EWOULDBLOCK}:
            raise
        return True
    finally:
        os.close(descriptor)
    return False


def boot_id() -> str:
    """Identifies the time since the machine was started, random(4)."""
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
        return file.read(64).decode().strip()
