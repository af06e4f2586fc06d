"""What a store and its containers may leave on a machine, and a check that nothing stayed.

A snapshot is taken before an engine is used, another one after it was closed; the difference is a leak. Several test
runs may share one machine, so a thing counts only when it can be tied to the run: a mount or a process by the store's
path, a cgroup by its name, a bridge by its alias, another link by that of the bridge it is plugged into, or by having
appeared meanwhile under a name of this project.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_NAME = "jupyter-containers"
LINK_PREFIXES = ("jc", "jcv")
ALIAS = "jupyter-containers "  # network/bridge.py; not imported, as ./dev itself has none of what that needs


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is at one moment, each thing named as a person would look it up."""

    mounts: frozenset[str]
    processes: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    networks: frozenset[str]

    def since(self, before: Snapshot) -> list[str]:
        """What is here and was not there before, one line each."""
        return [
            *(f"mount {entry}" for entry in sorted(self.mounts - before.mounts)),
            *(f"process {entry}" for entry in sorted(self.processes - before.processes)),
            *(f"cgroup {entry}" for entry in sorted(self.cgroups - before.cgroups)),
            *(f"link {entry}" for entry in sorted(self.links - before.links)),
            *(f"network namespace {entry}" for entry in sorted(self.networks - before.networks)),
        ]


def take(store: Path) -> Snapshot:
    """The mounts, processes, cgroups and network namespaces of the store at ``store``, and this project's links."""
    return Snapshot(
        frozenset(_mounts(store)),
        frozenset(_processes(store)),
        frozenset(_cgroups(CGROUP_ROOT, store)),
        frozenset(_links(store)),
        frozenset(_networks(store)),
    )


def remaining(store: Path, before: Snapshot, *, seconds: float = 5.0) -> list[str]:
    """What is left of a store after its engine was closed, given the kernel's time to take things down.

    A network namespace is taken down some time after its last process; links go with it.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = take(store).since(before)
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.05)


def pids() -> frozenset[str]:
    """All processes there are."""
    return frozenset(name for name in os.listdir("/proc") if name.isdigit())


def end(places: Collection[Path], before: frozenset[str]) -> list[str]:
    """Kill the processes that can be tied to these directories and were not there before; one line for each."""
    ended = []
    for entry in {entry for place in places for entry in _processes(place)}:
        pid = entry.split(" ", 1)[0]
        if pid not in before:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)
            ended.append(entry)
    return sorted(ended)


def _mounts(store: Path) -> Iterator[str]:
    """Mount points in this mount namespace that lie in the store or are made of it."""
    needle = str(store)
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        if needle in line:
            yield line.split(" ")[4]


def _processes(store: Path) -> Iterator[str]:
    """Processes that were started for the store, or that see its files as their root."""
    needle = os.fsencode(store)
    own = os.getpid()
    namespace = _link(f"/proc/{own}/ns/mnt")
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == own:
            continue
        base = Path("/proc") / entry
        command = _read_bytes(base / "cmdline")
        if not command:
            continue  # a kernel thread or a zombie that its parent has yet to reap
        foreign = _link(f"{base}/ns/mnt") not in {namespace, ""}
        if (
            needle in command
            or needle in _read_bytes(base / "environ")
            or (foreign and needle in _read_bytes(base / "mountinfo"))
        ) and not _is_ancestor(int(entry)):
            yield f"{entry} {command.replace(bytes(1), b' ').decode(errors='replace').strip()}"


def _is_ancestor(pid: int) -> bool:
    """Whether the process is one that this one descends from (``pytest --basetemp`` has the path on its line)."""
    current = os.getppid()
    while current > 1:
        if current == pid:
            return True
        stat = _read(Path(f"/proc/{current}/stat"))
        if not stat:
            return False
        current = int(stat.rpartition(")")[2].split()[1])
    return False


def _cgroups(root: Path, store: Path) -> Iterator[str]:
    """Those of the store, named as ``engine/host.py`` does.

    What waits belongs to a spawner of any run: ``test_runtime_waiting.py`` looks at these.
    """
    own = hashlib.sha256(os.fsencode(store)).hexdigest()[:8]
    for directory, names, _files in os.walk(root, onerror=None):
        for name in names:
            path = os.path.join(directory, name)
            if CGROUP_NAME in path and name.startswith(own):
                yield path


def _links(store: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        return  # those of this network namespace are root's, who may run the same tests beside this run
    for name in os.listdir("/sys/class/net"):
        if name.startswith(LINK_PREFIXES) and _may_be_of(store, Path("/sys/class/net", name)):
            yield name


def _may_be_of(store: Path, link: Path) -> bool:
    """Whether no bridge says that a link belongs to a store elsewhere."""
    bridge = link / "master" if (link / "master").exists() else link
    owner = _read(bridge / "ifalias").strip().removeprefix(ALIAS)
    return not owner or Path(owner).is_relative_to(store) or owner.startswith(ALIAS.strip())


def _networks(store: Path) -> Iterator[str]:
    """Network namespaces that this process or one of the store is in or holds by a descriptor, or a mount keeps."""
    for pid in {str(os.getpid()), *(entry.split(" ", 1)[0] for entry in _processes(store))}:
        base = Path("/proc") / pid
        held = [f"{base}/fd/{name}" for name in _names(base / "fd")]
        yield from (target for path in (f"{base}/ns/net", *held) if (target := _link(path)).startswith("net:["))
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        if str(store) in line and " net:[" in line:
            yield line.split(" ")[3]


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _read(path: Path) -> str:
    return _read_bytes(path).decode(errors="replace")


def _read_bytes(path: Path) -> bytes:
    """The file, or nothing where the process is gone or belongs to somebody else."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    stat = _read(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], *, seconds: float = 5.0, what: str = "it") -> None:
    """Wait for a condition that other processes bring about; fail with ``what`` when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
