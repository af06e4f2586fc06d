"""What a caller asks of a build and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jupyter_containers.build.interfaces import NetworkMode, PullPolicy, Stack
    from jupyter_containers.build.keys import Verdict
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


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a finished build: ``seconds`` it took, and why it was or was not taken from the cache."""

    vertex: str
    stage: str
    index: int
    total: int
    text: str
    source: SourceRange
    cached: bool
    seconds: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A built image, in the content store and not yet named: ``image_id`` is the digest of its configuration."""

    manifest: Descriptor
    image_id: Digest
    config: ImageConfig
    layers: Stack
    steps: tuple[StepReport, ...]
    seconds: float
