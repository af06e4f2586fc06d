"""What the engine returns: typed, immutable values. Sizes are bytes, times are aware datetimes in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from jupyter_containers.oci.names import Digest

ContainerState: TypeAlias = Literal["created", "running", "paused", "exited", "dead"]


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """One row of ``images``: ``repository`` and ``tag`` are None for an image without a name."""

    repository: str | None
    tag: str | None
    id: Digest
    digest: Digest
    created: datetime | None
    size: int
    labels: Mapping[str, str] = field(default_factory=dict)


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
class ContainerSummary:
    """One row of ``ps``."""

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
