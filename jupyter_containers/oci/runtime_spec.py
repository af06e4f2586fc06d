"""The runtime specification's ``config.json`` as types.

Source: OCI runtime specification 1.3 (config.md, config-linux.md). Plain dictionaries typed by TypedDict, because the
processes that read them import nothing but the standard library, and because they travel to them by ``marshal``.
"""

from __future__ import annotations

from typing import Literal, TypedDict

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


class Scheduler(TypedDict, total=False):
    """How the kernel schedules the process; ``runtime``, ``deadline`` and ``period`` in nanoseconds."""

    policy: str
    nice: int
    priority: int
    flags: list[str]
    runtime: int
    deadline: int
    period: int


IoPriority = TypedDict("IoPriority", {"class": str, "priority": int}, total=False)  # "class" is a keyword
"""The class and, from 0 to 7, the priority of the process's input and output."""


class CpuAffinity(TypedDict, total=False):
    """CPUs of an exec, before and after it enters the container's cgroup; lists such as ``0-3,7``."""

    initial: str
    final: str


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
    apparmorProfile: str
    selinuxLabel: str
    scheduler: Scheduler
    ioPriority: IoPriority
    execCPUAffinity: CpuAffinity


class Root(TypedDict, total=False):
    """The root file system; ``path`` absolute or relative to the bundle."""

    path: str
    readonly: bool


class IdMapping(TypedDict):
    """``size`` ids from ``containerID`` inside are those from ``hostID`` outside."""

    containerID: int
    hostID: int
    size: int


class Mount(TypedDict, total=False):
    """A mount: also what a snapshotter returns and the runtime takes.

    ``subpath`` is this package's own: what a bind mount shows is there below its source, and never outside of it.
    """

    destination: str
    type: str
    source: str
    options: list[str]
    subpath: str
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]


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
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool


class Cpu(TypedDict, total=False):
    """CPU limits; times in microseconds."""

    shares: int
    quota: int
    burst: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    idle: int
    cpus: str
    mems: str


class Pids(TypedDict):
    """The largest number of tasks."""

    limit: int


class DeviceWeight(TypedDict, total=False):
    """The weight of a block device."""

    major: int
    minor: int
    weight: int
    leafWeight: int


class DeviceThrottle(TypedDict):
    """The limit of a block device: bytes or operations per second."""

    major: int
    minor: int
    rate: int


class BlockIO(TypedDict, total=False):
    """Block input and output: weights, and limits for each device."""

    weight: int
    leafWeight: int
    weightDevice: list[DeviceWeight]
    throttleReadBpsDevice: list[DeviceThrottle]
    throttleWriteBpsDevice: list[DeviceThrottle]
    throttleReadIOPSDevice: list[DeviceThrottle]
    throttleWriteIOPSDevice: list[DeviceThrottle]


class HugepageLimit(TypedDict):
    """Bytes of huge pages of one size (``2MB``)."""

    pageSize: str
    limit: int


class InterfacePriority(TypedDict):
    """The priority of traffic on one interface."""

    name: str
    priority: int


class NetworkResources(TypedDict, total=False):
    """The controllers net_cls and net_prio of version 1."""

    classID: int
    priorities: list[InterfacePriority]


class Rdma(TypedDict, total=False):
    """Limits of one RDMA device."""

    hcaHandles: int
    hcaObjects: int


class Resources(TypedDict, total=False):
    """What the container may use, enforced by cgroups."""

    memory: Memory
    cpu: Cpu
    pids: Pids
    blockIO: BlockIO
    hugepageLimits: list[HugepageLimit]
    network: NetworkResources
    rdma: dict[str, Rdma]
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
    listenerPath: str
    listenerMetadata: str
    syscalls: list[SyscallRule]


class TimeOffset(TypedDict, total=False):
    """What a clock of the container is ahead of the host's."""

    secs: int
    nanosecs: int


class Personality(TypedDict, total=False):
    """The execution domain: ``LINUX`` or ``LINUX32``."""

    domain: str
    flags: list[str]


class MemoryPolicy(TypedDict, total=False):
    """On which NUMA nodes memory is allocated."""

    mode: str
    nodes: str
    flags: list[str]


class NetDevice(TypedDict, total=False):
    """A network interface of the host that moves into the container, and its name there."""

    name: str


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
    mountLabel: str
    personality: Personality
    timeOffsets: dict[str, TimeOffset]
    memoryPolicy: MemoryPolicy
    netDevices: dict[str, NetDevice]
    intelRdt: dict[str, object]


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
