"""What engine, spawner, monitor and init say to each other.

::

    engine thread                 spawner              monitor                    init
         |                           |                    |                         |
         |-- launch + [channel,      |                    |                         |
         |   stdin, stdout, stderr] ->|                    |                         |
         |                           |-- fork ----------->|                         |
         |                           |                    |-- clone (namespaces) -->|
         |                           |                    |   cgroups, id maps,     |
         |                           |                    |   host side of network  |
         |<- created: pid (only with hold) ---------------|                         |
         |-- go (the same) ------------------------------>|                         |
         |                           |                    |-- go ------------------>|
         |                           |                    |                         | mounts, pivot_root,
         |                           |                    |<- mounted: stubs [, pty]| credentials, seccomp
         |                           |                    |<- (closed by execve) ---| execve
         |<- started: pid, ... on channel ----------------|                         |
         |-- signal / resize / ... on channel ----------->|                         |
         |                           |                    |<----- exit (pidfd) -----|
         |                           |                    | exit record, cgroups    |
         |<- exited: ExitStatus on channel ---------------|
         |                           |                    X

All sockets are SOCK_SEQPACKET; a message is one marshalled dictionary whose ``kind`` says what it is, with the
descriptors it needs attached (``wire.py``). Any other process of the same user talks to the monitor by
``<run_dir>/control.sock`` in the same way as by the channel: ``watch``, ``attach``, ``exec``, ``signal``, ``resize``.

A failure of init travels as a :class:`Failure`; ``spawner.py`` makes an exception of it.

The types are TypedDicts because the values are marshalled and because the small processes do not import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import Mount, Process, Spec


class Interface(TypedDict):
    """One network interface, as prebuilt rtnetlink messages.

    ``host`` is sent by the monitor in its own network namespace, after the pid of the container's init was put as a
    32-bit number at the offset given with each message (negative: not at all); ``inside`` is sent by init in its own.
    """

    name: str
    host: list[tuple[bytes, int]]
    inside: list[bytes]


class LogOptions(TypedDict, total=False):
    """A log in the form of Docker's json-file driver.

    ``max_size`` in bytes (0: no limit) and ``max_file``, how many files are kept, as Docker's options of these names.
    """

    path: str
    max_size: int
    max_file: int


class _LaunchRequired(TypedDict):
    id: str
    spec: Spec


class LaunchRequest(_LaunchRequired, total=False):
    """Everything it takes to start a container.

    Attributes
    ----------
    id
        Name of the container in messages and records.
    spec
        The OCI configuration. ``process.args`` is looked up in ``PATH`` inside the container.
    rootfs
        Mounts that make the root file system, in order, done in the container's mount namespace; ``destination``
        is relative to the root ("/" for the root itself). Empty: ``spec.root.path`` is the root file system.
    interfaces
        Network interfaces. Loopback is always brought up in a new network namespace.
    user
        ``name|uid[:group|gid]``, looked up in the container's /etc/passwd and /etc/group; None: ``process.user``.
    groups
        More groups of the user, names or numbers (``--group-add``).
    seccomp
        A filter as an array of ``struct sock_filter``; empty: none.
    cgroup
        Where the container's limits are; None: no cgroup.
    run_dir
        Where control.sock and monitor.json are made. Empty: neither is (a build step).
    state_dir
        Where the exit record is written. Empty: it is not.
    log
        Where the output is kept; None: nowhere.
    open_stdin
        Keep the container's standard input open though no client is attached (``-i``).
    stdin_once
        Close it when the first client that had it ends its input.
    direct
        Give the caller's descriptors to the container as they are, with nothing between: for a caller that reads
        all there is (a build step). Needs ``log`` None, no terminal.
    hold
        Tell the caller when the namespaces are there (``created``) and wait for its ``go``.
    detach
        Outlive the owner. Otherwise the container is killed when the launching process ends.
    cleanup
        A command the monitor runs after the container ended, if it was detached or its owner is dead.
    memory_watch
        Bytes above which the monitor kills the container: for hosts where no memory controller can be used. 0: no.
    """

    rootfs: list[Mount]
    interfaces: list[Interface]
    user: str | None
    groups: list[str]
    seccomp: bytes
    cgroup: CgroupPlan | None
    run_dir: str
    state_dir: str
    log: LogOptions | None
    open_stdin: bool
    stdin_once: bool
    direct: bool
    hold: bool
    detach: bool
    cleanup: list[str] | None
    memory_watch: int


class ExecRequest(TypedDict, total=False):
    """Another process in a running container: ``process`` as in a configuration, the others as in LaunchRequest.

    ``detach``: outlive the connection that asked for it; otherwise it is killed when that is closed.
    """

    process: Process
    user: str | None
    groups: list[str]
    seccomp: bytes
    detach: bool


class Failure(TypedDict):
    """Why a process could not be started: the step, the kernel's errno or 0, and one line for a person.

    ``what`` is ``command-not-found`` and ``command-not-executable`` for the program itself, else ``failed``.
    """

    what: Literal["failed", "command-not-found", "command-not-executable"]
    step: str
    errno: int
    detail: str


class Usage(TypedDict, total=False):
    """What the container used: CPU time in nanoseconds, the peak of memory in bytes.

    From its cgroup. Without one these are the figures of wait4(2), whose peak is the largest resident set of any single
    process and never less than that of the small interpreter the program was started from, some 10 MB.
    """

    cpu_user_ns: int
    cpu_system_ns: int
    memory_peak: int


class ExitStatus(TypedDict):
    """How a process ended. The exit record holds the same, as JSON.

    Attributes
    ----------
    code
        The exit status, 128 + signal when a signal ended it.
    signal
        The signal that ended it, or 0.
    oom_killed
        It, or a process of the container, was killed for want of memory.
    cause
        One line when there is more to say (``the monitor was killed``), else empty.
    started_at, finished_at
        Nanoseconds since the epoch.
    usage
        What it used.
    """

    code: int
    signal: int
    oom_killed: bool
    cause: str
    started_at: int
    finished_at: int
    usage: Usage


class Started(TypedDict):
    """A process runs: its pid as the launching process sees it, and what had to be made for mounts."""

    pid: int
    start_time: int
    stubs: list[str]


class ProcessId(TypedDict):
    """A process for ever: pids are used again, the pair with the start time (clock ticks after boot) is not."""

    pid: int
    start_time: int


class MonitorRecord(TypedDict):
    """``monitor.json`` in the run directory of a running container."""

    id: str
    monitor: ProcessId
    init: ProcessId
    started_at: int
    boot_id: str
