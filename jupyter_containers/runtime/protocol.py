"""What engine, spawner, monitor and init say to each other.

::

    engine thread                 spawner              monitor                    init
         |                           |                    |                         |
         |-- launch + [channel,      |                    |                         |
         |   stdin, stdout, stderr] ->|                    |                         |
         |                           |-- fork ----------->|                         |
         |                           |                    |-- clone (namespaces) -->|
         |                           |                    |   cgroups, id maps      |
         |                           |                    |-- go ------------------>|
         |                           |                    |   host side of network  | what needs no request
         |<- created: pid (only with hold) ---------------|                         |
         |-- go (the same) ------------------------------>|                         |
         |                           |                    |-- request + [stdin,     |
         |                           |                    |   stdout, stderr] ----->|
         |                           |                    |                         | mounts, pivot_root,
         |                           |                    |<- mounted: stubs [, pty]| credentials, seccomp
         |                           |                    |<- (closed by execve) ---| execve
         |<- started: pid, ... on channel ----------------|                         |
         |-- signal / resize / ... on channel ----------->|                         |
         |                           |                    |<----- exit (pidfd) -----|
         |                           |                    | exit record, cgroups    |
         |<- exited: ExitStatus on channel ---------------|
         |                           |                    X

The spawner keeps monitors and inits ready that have come as far as "what needs no request" for the kind of container
that was asked for last (``ahead.py``); a launch of that kind then begins with the request.

All sockets are SOCK_SEQPACKET; a message is one marshalled dictionary whose ``kind`` says what it is, with the
descriptors it needs attached (``wire.py``). Any other process of the same user talks to the monitor by
``<run_dir>/control.sock`` in the same way as by the channel (``monitor/control.py`` lists the requests).

A failure of init travels as a :class:`Failure`; ``spawner.py`` makes an exception of it.

The types are TypedDicts because the values are marshalled and because the small processes do not import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

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

    ``max_size`` in bytes (0: no limit) and ``max_file``, how many files are kept, as Docker's options of these names;
    ``attrs`` is written with each entry.
    """

    path: str
    max_size: int
    max_file: int
    attrs: dict[str, str]


class RestartPolicy(TypedDict):
    """``name`` is ``no``, ``on-failure``, ``always`` or ``unless-stopped``; ``most`` restarts, 0 for any number."""

    name: str
    most: int


class HealthCheck(TypedDict):
    """A command that says whether the container works: exit status 0. Times in seconds.

    The fields are those of Docker's HEALTHCHECK; ``process`` and ``seccomp`` are as in an ExecRequest. ``on_failure``
    (``none``, ``kill``, ``restart``, ``stop``) is done when it becomes unhealthy; to stop it, ``stop_signal`` is sent
    and SIGKILL after ``stop_timeout`` seconds.
    """

    process: Process
    user: str | None
    seccomp: bytes
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int
    on_failure: str
    stop_signal: int
    stop_timeout: int


class EventOptions(TypedDict):
    """The store's journal, and what is written with each event of the container there.

    ``beside`` are the events of other things that go with one of the container's: kind, action, id, attributes.
    """

    path: str
    attributes: dict[str, str]
    beside: NotRequired[dict[str, list[tuple[str, str, str, dict[str, str]]]]]


class Restore(TypedDict):
    """A state of running processes, and what is not part of it.

    Attributes
    ----------
    program
        CRIU.
    directory
        Where the state is; the log is written there.
    mounts
        The mounts that are made anew, by their places in the container, and what they are (``criu.py``).
    streams
        The names of the pipes that were ``stdin``, ``stdout`` and ``stderr``.
    null
        The names of what was a ``/dev/null`` of the host.
    """

    program: str
    directory: str
    mounts: dict[str, str]
    streams: dict[str, str]
    null: list[str]


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
    files
        Content of files by their place in the container: kept in memory, writable there, no part of the root file
        system.
    interfaces
        Network interfaces. Loopback is always brought up in a new network namespace.
    outer_network
        The path of the network namespace in which their outer ends are made; the monitor enters it, which keeps it.
        Missing: that of the spawner.
    user
        ``name|uid[:group|gid]``, looked up in the container's /etc/passwd and /etc/group; None: ``process.user``.
    groups
        More groups of the user, names or numbers (``--group-add``).
    init
        Have the program run below a small init that reaps what is left behind and passes signals on.
    seccomp
        A filter as an array of ``struct sock_filter``; empty: none.
    seccomp_flags
        ``SECCOMP_FILTER_FLAG_*`` to load it with.
    seccomp_agent
        Who is asked about system calls: ``path`` of its socket, ``metadata``. Missing: nobody.
    cgroup
        Where the container's limits are; None: no cgroup.
    run_dir
        Where control.sock is made. Empty: it is not, nor is monitor.json (a build step).
    state_dir
        Where monitor.json and the exit record are written; it survives a reboot. Empty: the exit record is not, and
        monitor.json goes into ``run_dir``.
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
        Tell the caller when the namespaces are there (``created``) and wait for its ``go``. When a policy starts it
        again it has the same network namespace, and does not hold.
    detach
        Outlive the owner. Otherwise the container is killed when the launching process ends.
    throwaway
        Its owner removes it when it has ended: how it ended is told, and written down only where that owner is dead.
    runtime
        The program of another OCI runtime that makes the container; empty: this one. Needs root, and ``hold`` false.
    memory_watch
        Bytes above which the monitor kills the container: for hosts where no memory controller can be used. 0: no.
    restart
        When the monitor starts the container again; None: never.
    health
        How to find out whether it works; None: not at all.
    events
        Where to tell what happens; None: nowhere.
    restore
        Let the container go on from a state that CRIU has taken; missing: it is started.
    watch
        Have the start write down its steps and calls (``watched.py``). ``hold``: halt after each stage until its owner
        says ``next``; ``mute``: not where the filter would refuse the calls that takes.
    """

    rootfs: list[Mount]
    files: dict[str, bytes]
    interfaces: list[Interface]
    outer_network: str
    user: str | None
    groups: list[str]
    init: bool
    seccomp: bytes
    seccomp_flags: int
    seccomp_agent: dict[str, str]
    cgroup: CgroupPlan | None
    run_dir: str
    state_dir: str
    log: LogOptions | None
    open_stdin: bool
    stdin_once: bool
    direct: bool
    hold: bool
    detach: bool
    throwaway: bool
    memory_watch: int
    runtime: str
    restart: RestartPolicy | None
    health: HealthCheck | None
    events: EventOptions | None
    restore: Restore
    watch: dict[str, bool]


class ExecRequest(TypedDict, total=False):
    """Another process in a running container: ``process`` as in a configuration, the others as in LaunchRequest.

    ``detach``: outlive the connection that asked for it; otherwise it is killed when that is closed. ``exec_id``: the
    name under which the monitor remembers how it ended.
    """

    process: Process
    user: str | None
    groups: list[str]
    seccomp: bytes
    seccomp_flags: int
    detach: bool
    exec_id: str


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
    stopped
        It was asked to end. Missing for an exec, and in records of older versions.
    restarts
        How often its policy had started it again. Missing likewise.
    """

    code: int
    signal: int
    oom_killed: bool
    cause: str
    started_at: int
    finished_at: int
    usage: Usage
    stopped: NotRequired[bool]
    restarts: NotRequired[int]


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
    """``monitor.json`` of a running container.

    ``paused`` and ``restarting`` say what it does, ``restarts`` how often its policy started it again, ``last`` how it
    ended then, ``health`` what its check found.
    """

    id: str
    monitor: ProcessId
    init: ProcessId
    started_at: int
    boot_id: str
    paused: NotRequired[bool]
    restarting: NotRequired[bool]
    restarts: NotRequired[int]
    last: NotRequired[ExitStatus | None]
    health: NotRequired[dict[str, Any] | None]
