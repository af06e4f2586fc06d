"""What an x-ray shows: typed, immutable values. ``pandas.DataFrame(xray.mounts)`` makes a table of any of the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from datetime import datetime

    from jupyter_containers.engine.views import ContainerState

Relation: TypeAlias = Literal["own", "host", "shared", "unknown"]
Unit: TypeAlias = Literal["bytes", "seconds", "CPUs", "count", "text"]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace of a container, beside the host's.

    ``inode`` names it, as in ``/proc/<pid>/ns``; None where it could not be read. ``relation``: the container's
    ``own``, the ``host``'s, or ``shared`` with what ``shared_with`` names. ``since`` is when its first process began.
    """

    kind: str
    inode: int | None
    host_inode: int | None
    relation: Relation
    shared_with: str
    since: datetime | None
    meaning: str


@dataclass(frozen=True, slots=True)
class IdRange:
    """One line of ``uid_map`` or ``gid_map``: ``count`` ids from ``inside`` on are those from ``outside`` on."""

    kind: Literal["user", "group"]
    inside: int
    outside: int
    count: int
    words: str


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount, as ``/proc/<pid>/mountinfo`` has it: proc_pid_mountinfo(5).

    ``what`` says in words where it comes from, ``root`` which part of that file system is mounted, ``read_only``
    whether by mount or by file system.
    """

    target: str
    type: str
    what: str
    source: str
    root: str
    options: str
    propagation: str
    read_only: bool
    mount_id: int
    parent_id: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of the root file system, bottom first: the image's layers by chain id, then what is written."""

    place: int
    chain_id: str
    size: int | None
    created_by: str
    directory: str


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability: in which of the program's five sets it is, whether Docker's default has it, and the caller."""

    name: str
    effective: bool
    permitted: bool
    inheritable: bool
    bounding: bool
    ambient: bool
    docker: bool
    host: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the filter answers to one system call: ``allowed``, an error's name, or what happens to the process."""

    call: str
    answer: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One limit or counter of the cgroup. ``value`` in ``unit``; None: no limit. ``file`` is where it was read."""

    controller: str
    name: str
    kind: Literal["limit", "counter"]
    value: float | None
    unit: Unit
    text: str
    file: str


@dataclass(frozen=True, slots=True)
class Task:
    """One process: its number outside and in the container (None: it is not seen there), and who it is in both."""

    pid: int
    inside: int | None
    parent: int
    depth: int
    role: str
    command: str
    state: str
    user: int
    user_inside: int | None
    threads: int
    descriptors: int | None
    started: datetime | None


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface, its addresses, and bytes it has carried."""

    name: str
    addresses: tuple[str, ...]
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Route:
    """One route; ``gateway`` is empty where the destination is on the link."""

    destination: str
    gateway: str
    interface: str
    metric: int


@dataclass(frozen=True, slots=True)
class CoveredPath:
    """One path that is hidden or read-only. ``holds``: None where this kernel has no such path, or it is not known."""

    path: str
    kind: Literal["masked", "read-only"]
    holds: bool | None
    how: str


@dataclass(frozen=True, slots=True)
class Xray:
    """A container as the kernel has it; of one that does not run, what its configuration says.

    Attributes
    ----------
    live
        Whether there is a process to look at. Else namespaces and mounts are those it is going to have.
    pid
        The process that was looked at, outside; None when it is not live.
    started
        When its first process began, which may be before it was asked for: a start can be prepared.
    words
        The whole in sentences.
    security
        What else holds it: ``no_new_privs``, the filter's mode, the security modules.
    missing
        What could not be read, and why.
    """

    id: str
    name: str
    image: str
    state: ContainerState
    live: bool
    pid: int | None
    started: datetime | None
    words: tuple[str, ...]
    namespaces: tuple[Namespace, ...]
    ids: tuple[IdRange, ...]
    mounts: tuple[Mount, ...]
    layers: tuple[Layer, ...]
    capabilities: tuple[Capability, ...]
    security: tuple[tuple[str, str], ...]
    seccomp: tuple[Answer, ...]
    cgroup: tuple[Figure, ...]
    processes: tuple[Task, ...]
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    paths: tuple[CoveredPath, ...]
    missing: tuple[tuple[str, str], ...]
