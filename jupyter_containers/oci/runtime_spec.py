"""The runtime specification's ``config.json`` as types.

Source: OCI runtime specification 1.3 (config.md, config-linux.md). Plain dictionaries typed by TypedDict, because the
processes that read them import nothing but the standard library, and because they travel to them by ``marshal``.
"""

from __future__ import annotations

from typing import Literal, TypedDict

SPEC_VERSION = "1.3.0"

NamespaceType = Literal["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]


class User(TypedDict, total=False):
    """``process.user``: numeric ids inside the container."""

    uid: int
    gid: int
    umask: int
    additionalGids: list[int]


class Box(TypedDict):
    """``process.consoleSize`` in characters."""

    height: int
    width: int


class Capabilities(TypedDict, total=False):
    """The five capability sets, names such as ``CAP_CHOWN``."""

    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    """One resource limit; ``type`` is a name such as ``RLIMIT_NOFILE``."""

    type: str
    soft: int
    hard: int


class Process(TypedDict, total=False):
    """The program to run."""

    terminal: bool
    consoleSize: Box
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    oomScoreAdj: int


class Root(TypedDict, total=False):
    """The root file system; ``path`` absolute or relative to the bundle."""

    path: str
    readonly: bool


class Mount(TypedDict, total=False):
    """A mount: also what a snapshotter returns and the runtime takes."""

    destination: str
    type: str
    source: str
    options: list[str]


class IdMapping(TypedDict):
    """``size`` ids from ``containerID`` inside are those from ``hostID`` outside."""

    containerID: int
    hostID: int
    size: int


class Namespace(TypedDict, total=False):
    """A namespace to make, or with ``path`` to join."""

    type: NamespaceType
    path: str


class Device(TypedDict, total=False):
    """A device node to make in the container's /dev; ``fileMode`` is a number."""

    type: str
    path: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceCgroup(TypedDict, total=False):
    """One rule of the device controller; ``access`` of ``rwm``."""

    allow: bool
    type: str
    major: int
    minor: int
    access: str


class Memory(TypedDict, total=False):
    """Memory limits in bytes."""

    limit: int
    reservation: int
    swap: int
    swappiness: int
    disableOOMKiller: bool


class Cpu(TypedDict, total=False):
    """CPU limits: ``quota`` and ``period`` in microseconds."""

    shares: int
    quota: int
    period: int
    cpus: str
    mems: str


class Pids(TypedDict):
    """The largest number of tasks."""

    limit: int


class Resources(TypedDict, total=False):
    """What the container may use, enforced by cgroups."""

    memory: Memory
    cpu: Cpu
    pids: Pids
    devices: list[DeviceCgroup]
    unified: dict[str, str]


class SyscallArg(TypedDict, total=False):
    """A condition on one argument of a system call."""

    index: int
    value: int
    valueTwo: int
    op: str


class SyscallRule(TypedDict, total=False):
    """What happens to the system calls named."""

    names: list[str]
    action: str
    errnoRet: int
    args: list[SyscallArg]


class Seccomp(TypedDict, total=False):
    """``linux.seccomp``: a filter of system calls."""

    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    flags: list[str]
    syscalls: list[SyscallRule]


class Linux(TypedDict, total=False):
    """What only Linux has."""

    namespaces: list[Namespace]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]
    devices: list[Device]
    cgroupsPath: str
    resources: Resources
    rootfsPropagation: str
    seccomp: Seccomp
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]


class Spec(TypedDict, total=False):
    """A whole ``config.json``."""

    ociVersion: str
    process: Process
    root: Root
    hostname: str
    domainname: str
    mounts: list[Mount]
    annotations: dict[str, str]
    linux: Linux
