"""The documents of an image: descriptor, index, manifest and configuration.

Source: OCI image specification 1.1 (descriptor.md, image-index.md, manifest.md, config.md) and Docker's additions to
the configuration (image specification v1.2: ``Healthcheck``, ``OnBuild``, ``Shell``). A document read from elsewhere
keeps its own bytes in the content store; these are typed views of it and what our own documents are written from.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from jupyter_containers import documents
from jupyter_containers.errors import Corrupt
from jupyter_containers.oci.names import Digest, Platform

T = TypeVar("T", bound=msgspec.Struct)

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
LAYER_TYPES = frozenset({OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP})

ANNOTATION_REF_NAME = "org.opencontainers.image.ref.name"
ANNOTATION_CREATED = "org.opencontainers.image.created"


class PlatformSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """``platform`` of a descriptor in an index."""

    architecture: str
    os: str
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")

    @property
    def platform(self) -> Platform:
        """As the value the rest of the package uses."""
        return Platform(self.os, self.architecture, self.variant)


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A typed pointer to a blob: ``size`` in bytes."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    platform: PlatformSpec | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """An image: its configuration and its layers, bottom first."""

    config: Descriptor
    layers: list[Descriptor]
    schema_version: int
    media_type: str | None = None
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """Several manifests, one a platform, or the entry point of an image layout."""

    manifests: list[Descriptor]
    schema_version: int
    media_type: str | None = None
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """Docker's health check; durations in nanoseconds, ``test`` begins with ``NONE``, ``CMD`` or ``CMD-SHELL``."""

    test: list[str] = msgspec.field(default_factory=list, name="Test")
    interval: int = msgspec.field(default=0, name="Interval")
    timeout: int = msgspec.field(default=0, name="Timeout")
    start_period: int = msgspec.field(default=0, name="StartPeriod")
    start_interval: int = msgspec.field(default=0, name="StartInterval")
    retries: int = msgspec.field(default=0, name="Retries")


class ContainerConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """``config`` of an image: how its containers are started."""

    user: str | None = None
    exposed_ports: dict[str, dict[str, Any]] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    args_escaped: bool | None = None
    healthcheck: Healthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class RootFS(msgspec.Struct, frozen=True):
    """The digests of the uncompressed layers, bottom first."""

    diff_ids: list[str] | None
    type: str = "layers"


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step that made the image; ``created`` is RFC 3339."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The configuration document of an image; its digest is the image id. ``created`` is RFC 3339."""

    architecture: str
    os: str
    rootfs: RootFS
    created: str | None = None
    author: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    config: ContainerConfig | None = None
    history: list[History] | None = None

    @property
    def diff_ids(self) -> list[Digest]:
        """The digests of the uncompressed layers, bottom first."""
        return [Digest(text) for text in self.rootfs.diff_ids or []]

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(self.os, self.architecture, self.variant)


def decode(kind: type[T], data: bytes, *, what: str) -> T:
    """Read a document.

    Raises
    ------
    Corrupt
        when it is not JSON or lacks what the specification requires; ``what`` names it for the message.
    """
    try:
        return documents.decode(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"{what} is not a valid {kind.__name__} document: {error}") from error


def encode(document: msgspec.Struct) -> bytes:
    """The canonical bytes of one of our own documents: the same value gives the same digest everywhere."""
    return msgspec.json.encode(document, enc_hook=_plain)


def _plain(value: object) -> str:
    """A :class:`Digest` as the text it is: msgspec knows ``str`` itself only."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no place in a document")
