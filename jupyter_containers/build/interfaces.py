"""What the builder asks of the rest of the engine, as protocols, and the values that cross them.

The builder itself writes blobs (``content``) and makes layers for COPY, ADD and WORKDIR (``layers``, ``snapshots``).
Running a command and finding an image need the runtime, the registry and the database; the engine, which alone knows
them all, implements :class:`Sandbox` and :class:`ImageSource`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.build.cache import CacheRecord
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.graph import RunMount
    from jupyter_containers.events import EventSink, Stream
    from jupyter_containers.oci.image_spec import Descriptor, ImageConfig
    from jupyter_containers.oci.names import Platform, Reference

PullPolicy: TypeAlias = Literal["missing", "always", "never"]
NetworkMode: TypeAlias = Literal["default", "none", "host"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: ``blob`` describes it in the content store, ``diff_id`` is the digest of its uncompressed archive."""

    blob: Descriptor
    diff_id: Digest


Stack: TypeAlias = tuple[Layer, ...]
"""Layers that lie on each other, bottom first; ``()`` is the empty file system of ``FROM scratch``."""


def chain_ids(stack: Sequence[Layer]) -> list[Digest]:
    """The ChainID of each layer on those below it, bottom first (image specification, config.md)."""
    chains: list[Digest] = []
    for layer in stack:
        chains.append(Digest.of(f"{chains[-1]} {layer.diff_id}".encode()) if chains else layer.diff_id)
    return chains


# -- images ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image that is in the content store, with all its blobs.

    ``name`` is for people; ``manifest`` describes the manifest of the one platform that was asked for.
    """

    name: str
    manifest: Descriptor
    config: ImageConfig
    layers: Stack


class ImageSource(Protocol):
    """Finds the images that FROM and ``COPY --from`` name."""

    def resolve(
        self, reference: Reference, *, platform: Platform, pull: PullPolicy, sink: EventSink, cancel: CancelToken
    ) -> ResolvedImage:
        """The image, pulled if ``pull`` says so. Unpacking the layers is left to the builder.

        It is called for each build, also a fully cached one: an image that is here must take less than a millisecond.
        Called from worker threads, at most once per reference and build.

        Raises
        ------
        ImageNotFound
            when there is none; an image of another platform is said to be that.
        """
        ...


class StepSource(Protocol):
    """Steps that were made elsewhere. Thread-safe."""

    name: str
    """What people call it."""

    def find(self, key: str) -> CacheRecord | None:
        """The step of a key, with what it made in the content store; None: it is not there."""
        ...


# -- running commands ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """A file that exists while a command runs and never enters the layer (the script of ``RUN <<EOF`` with ``#!``).

    ``path`` is absolute and lies below ``/dev/pipes``, which the runtime's own ``/dev`` can hold. Mode is 0755,
    owner the command's user or root.
    """

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StepMount:
    """A mount of one command: what is asked for, and what it is made of.

    ``layers`` hold the files of a bind mount and the first content of a cache, unpacked; ``data`` is a secret, which
    must be written nowhere that outlives the command; ``socket`` is that of an SSH agent.
    """

    mount: RunMount
    layers: Stack = ()
    data: bytes = field(default=b"", repr=False)
    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A command to run on a fresh snapshot.

    Parameters
    ----------
    layers
        What it runs on; each is unpacked in the snapshotter already.
    argv
        Program and arguments, never empty. A program without ``/`` is looked up in the PATH of ``env``.
    env
        ``NAME=value``, all of it but HOSTNAME and HOME, which the runtime adds where they are missing.
    cwd
        Absolute path within the snapshot; created if it is not there.
    user
        ``name|uid[:group|gid]`` as in the Dockerfile, looked up in the snapshot; empty is root.
    network
        ``default`` is the network that containers get, ``none`` only a loopback.
    extra_hosts
        (name, address) lines for ``/etc/hosts``.
    scripts
        See :class:`ScriptFile`.
    timestamp
        Seconds since the epoch: the modification time of every file in the layer; None: as they are.
    text
        The instruction, for process listings and messages.
    mounts
        See :class:`StepMount`. What they hold is no part of the layer.
    privileged
        Whether nothing is forbidden to the command (``RUN --security=insecure``).
    """

    layers: Stack
    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    network: NetworkMode
    extra_hosts: tuple[tuple[str, str], ...]
    scripts: tuple[ScriptFile, ...]
    timestamp: int | None
    text: str
    mounts: tuple[StepMount, ...] = ()
    privileged: bool = False
    shm_size: str | None = None
    ulimits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a command ended.

    ``status`` is its exit status, 128 + n for signal n; ``layer`` is what it changed, None where that could not be kept
    after another status than 0; ``cause`` says why it was killed where that is known: ``out of memory (limit 64 MiB)``.
    """

    status: int
    layer: Layer | None
    cause: str = ""


OnOutput: TypeAlias = Callable[["Stream", bytes], None]


class Sandbox(Protocol):
    """Runs the commands of RUN steps."""

    def run(self, request: RunRequest, *, on_output: OnOutput, cancel: CancelToken) -> RunOutcome:
        """Run a command on a fresh snapshot of ``request.layers`` and keep what it changed, also when it fails.

        Keeping: the upper directory becomes a plain tar (media type ``OCI_LAYER``, so the blob's digest is the
        diff id) in the content store and a layer in the snapshotter, under the chain id it has on
        ``request.layers``. What the runtime put there for its own mounts (``/etc/hosts``, ``/etc/resolv.conf``,
        mount points) is left out. A command that changed nothing gives a layer without entries.

        ``on_output`` is called from one thread at a time, in order. When ``cancel`` is set the command is killed,
        its snapshot removed, and Cancelled raised. Called from worker threads, several at once.

        Raises
        ------
        StartFailed
            when the command cannot be started: not found, not executable, no such user.
        Cancelled
            when ``cancel`` was set.
        """
        ...
