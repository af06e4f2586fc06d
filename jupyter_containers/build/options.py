"""What a caller asks of a build and what it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pandas import DataFrame

    from jupyter_containers.build.interfaces import NetworkMode, PullPolicy, ResolvedImage, Stack
    from jupyter_containers.build.verdicts import Verdict
    from jupyter_containers.errors import SourceRange
    from jupyter_containers.oci.image_spec import Descriptor, ImageConfig
    from jupyter_containers.oci.names import Digest, Platform


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """One build.

    Parameters
    ----------
    dockerfile
        The text of the Dockerfile: of a file or of a notebook cell.
    tags
        The names the image will get: the caller's business, here they tell builds apart.
    name
        What messages call it; ``<name>.dockerignore`` in the context is preferred to ``.dockerignore``.
    ignore_file
        Where that stands beside the Dockerfile, which may be elsewhere.
    context
        The directory that COPY and ADD read; None when there is none.
    target
        The stage to build; None is the last.
    build_args
        Values for ARG; ``SOURCE_DATE_EPOCH`` (seconds) sets the time of everything that is made.
    labels
        Added to the image after those of the Dockerfile.
    no_cache
        Make every step anew; the results are still stored.
    platform
        What the image is for; None is this machine.
    no_cache_filter
        Stages whose steps are made anew.
    contexts
        Named contexts: a directory, or the name of an image, by name in lower case. They come before stages and images.
    images
        Those that such a name stands for and that are found neither here nor in a registry.
    aliases
        Names for stages of the Dockerfile, both in lower case.
    secrets, ssh
        What ``RUN --mount`` may ask for: contents, and sockets of agents, by id. They enter no key, no layer, no log.
    insecure
        Whether ``RUN --security=insecure`` is allowed.
    shm_size, ulimits
        For all RUN steps; no part of keys.
    keep_times
        Keep the times of files, and take the clock's for what is made, as Docker does: the digests differ each time.
    identity
        What tells this build's context from others where the directory is a temporary one.
    """

    dockerfile: str
    tags: tuple[str, ...] = ()
    name: str = "Dockerfile"
    context: Path | None = None
    target: str | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: PullPolicy = "missing"
    platform: Platform | None = None
    network: NetworkMode = "default"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    jobs: int | None = None
    no_cache_filter: tuple[str, ...] = ()
    contexts: Mapping[str, Path | str] = field(default_factory=dict)
    images: Mapping[str, ResolvedImage] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ssh: Mapping[str, Path] = field(default_factory=dict)
    insecure: bool = False
    shm_size: str | None = None
    ulimits: tuple[str, ...] = ()
    keep_times: bool = False
    identity: str = ""
    ignore_file: Path | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a build: ``seconds`` it took, and why it was or was not taken from the cache.

    ``made`` is the diff id of the layer it made, None: it changed nothing. ``needs`` are the steps whose results it
    worked on, by stage and index.
    """

    vertex: str
    stage: str
    index: int
    total: int
    text: str
    source: SourceRange
    seconds: float
    verdict: Verdict
    made: Digest | None = None
    needs: tuple[tuple[str, int], ...] = ()

    @property
    def cached(self) -> bool:
        """Whether it was taken from the cache."""
        return self.verdict.cached


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A built image, in the content store and not yet named: ``image_id`` is the digest of its configuration.

    ``steps`` are those the target needs, ``skipped`` those of the other stages; ``id`` names the build where the file
    systems of its steps are remembered.
    """

    manifest: Descriptor
    image_id: Digest
    config: ImageConfig
    layers: Stack
    steps: tuple[StepReport, ...]
    seconds: float
    skipped: tuple[StepReport, ...] = ()
    id: str = ""

    @property
    def verdicts(self) -> DataFrame:
        """Every step, in the order of the Dockerfile, with its verdict: see :func:`.frames.verdicts`."""
        from jupyter_containers.build import frames  # noqa: PLC0415 - pandas is slow to import

        return frames.verdicts([*self.steps, *self.skipped])

    @property
    def changes(self) -> DataFrame:
        """What was found to differ, a row for each difference: see :func:`.frames.changes`."""
        from jupyter_containers.build import frames  # noqa: PLC0415 - pandas is slow to import

        return frames.changes(self.steps)
