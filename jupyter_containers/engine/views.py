"""What the engine returns: typed, immutable values. Sizes are bytes, times are aware datetimes in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from jupyter_containers.oci.names import Digest

ContainerState: TypeAlias = Literal["created", "running", "paused", "restarting", "exited", "dead"]


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """One row of ``images``: ``repository`` and ``tag`` are None for an image without a name.

    ``layers`` are its chain ids, bottom first.
    """

    repository: str | None
    tag: str | None
    id: Digest
    digest: Digest
    created: datetime | None
    size: int
    labels: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One row of ``history``, newest first; ``id`` only where an image of the store ends there."""

    id: Digest | None
    created: datetime | None
    created_by: str
    size: int
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer of an image, bottom first.

    ``size`` is of the files in it, ``blob_size`` of its archive; ``shared_by`` counts the images that have it.
    """

    index: int
    digest: Digest
    diff_id: Digest
    chain_id: Digest
    size: int
    blob_size: int
    media_type: str
    created_by: str
    shared_by: int


@dataclass(frozen=True, slots=True)
class Container:
    """A container by its id; what it is doing is asked anew each time (``engine.containers.get(name)``)."""

    id: str
    name: str
    image: str

    @property
    def short_id(self) -> str:
        """The first 12 digits, as listings show them."""
        return self.id[:12]

    def __str__(self) -> str:
        """The name, as commands take it."""
        return self.name


@dataclass(frozen=True, slots=True)
class Exec:
    """A command that goes on in a container; ``engine.containers.execs(container)`` says what became of it."""

    id: str
    container: str


@dataclass(frozen=True, slots=True)
class ExecStatus:
    """A command that was started in a container: ``exit_code`` once it has ended, ``pid`` (of the host) until then."""

    id: str
    command: tuple[str, ...]
    user: str
    terminal: bool
    running: bool
    exit_code: int | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """What a container uses at one moment: one row of ``stats``. None where it does not run, or nobody counts it.

    ``cpu_percent`` is of one CPU, since the sample before; the counters of network and disk are in bytes since its
    start; ``memory_limit`` is the machine's memory where it has none of its own. ``source`` says who counted:
    its cgroup, or this process by looking at its processes.
    """

    id: str
    name: str
    time: datetime
    cpu_percent: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    memory_percent: float | None = None
    network_received: int | None = None
    network_sent: int | None = None
    disk_read: int | None = None
    disk_written: int | None = None
    pids: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a container did with a path of its image: one row of ``diff``."""

    kind: Literal["added", "changed", "deleted"]
    path: str


@dataclass(frozen=True, slots=True)
class ProcessTable:
    """The processes of a container: the columns of ps(1), a row for each."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """One row of ``ps``. ``mounts`` has, for each place, the volume, path or image that is mounted there.

    ``layers`` are the chain ids of its image, bottom first; ``networks`` names and ids of those it is in; ``published``
    and ``exposed`` its ports (``80/tcp``), ``volumes`` the names of its volumes. ``size`` is what it
    has written, ``virtual_size`` that and its image: None unless measured.
    """

    id: str
    name: str
    image: str
    command: str
    created: datetime
    state: ContainerState
    status: str
    exit_code: int | None
    started: datetime | None
    finished: datetime | None
    pid: int | None
    ports: str = ""
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    memory_limit: int | None = None
    mounts: Mapping[str, str] = field(default_factory=dict)
    health: str = ""
    image_id: str = ""
    layers: tuple[str, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    published: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    size: int | None = None
    virtual_size: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One row of ``network ls``: ``containers`` counts the running ones; a subnet that is not there is empty."""

    id: str
    name: str
    driver: str
    scope: str
    subnet: str
    gateway: str
    subnet6: str
    internal: bool
    containers: int
    created: datetime | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VolumeSummary:
    """One row of ``volume ls``. ``containers`` are the names of those that use it; ``size`` is None unless measured."""

    name: str
    driver: str
    created: datetime
    mountpoint: str
    containers: tuple[str, ...] = ()
    anonymous: bool = False
    size: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was removed, and the bytes of its files."""

    removed: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What a container used: None where the host could not measure it."""

    wall_seconds: float
    cpu_seconds: float | None = None
    memory_peak: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a container, or a command in one, ended.

    ``exit_code`` is 128 + n where signal n ended it. The output is decoded as UTF-8 with replacement; the bytes as
    they came are in ``stdout_bytes`` and ``stderr_bytes``.
    """

    exit_code: int
    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)
    usage: ResourceUsage
    container_id: str
    command: tuple[str, ...] = ()
    image: str = ""
    oom_killed: bool = False
    memory_limit: int | None = None
    notices: tuple[str, ...] = ()

    @property
    def stdout(self) -> str:
        """Standard output as text."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Standard error as text."""
        return self.stderr_bytes.decode(errors="replace")

    @property
    def cause(self) -> str:
        """Why it ended as it did, in words; empty for exit status 0."""
        if self.oom_killed and self.exit_code:
            limit = f" (limit {self.memory_limit / 2**20:.0f} MiB)" if self.memory_limit else ""
            return f"killed: out of memory{limit}"
        if self.exit_code > 128:  # noqa: PLR2004 - 128 + signal, as shells report it
            return f"killed by signal {self.exit_code - 128}"
        return f"exit status {self.exit_code}" if self.exit_code else ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What ``info`` shows."""

    version: str
    root: str
    run: str
    rootless: bool
    rung: str
    kernel: str
    architecture: str
    python: str
    cgroup: str
    snapshotter: str
    images: int
    containers: int
    running: int
