"""The read view of an image: its documents from the content store, checked against each other and joined."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jupyter_containers.errors import Corrupt, ImageNotFound
from jupyter_containers.oci.image_spec import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    Index,
    Manifest,
    decode,
)
from jupyter_containers.oci.names import Digest, Platform
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jupyter_containers.content.store import ContentStore

_ARM_FALLBACK = {"v8": ("v7", "v6", "v5"), "v7": ("v6", "v5"), "v6": ("v5",)}
_AMD64_FALLBACK = {"v4": ("v3", "v2", "v1"), "v3": ("v2", "v1"), "v2": ("v1",)}
_REFERENCE_TYPE = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: the blob, the digest of its uncompressed tar, and the id of the stack that ends with it."""

    descriptor: Descriptor
    diff_id: Digest
    chain_id: Digest

    @property
    def digest(self) -> Digest:
        """The digest of the blob."""
        return Digest(self.descriptor.digest)

    @property
    def size(self) -> int:
        """The size of the blob in bytes, compressed when it is."""
        return self.descriptor.size


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A step that made the image; ``layer`` is None for one that changed no file."""

    created: datetime | None
    created_by: str
    comment: str
    author: str
    layer: Layer | None


@dataclass(frozen=True, slots=True)
class Image:
    """An image. Made by :meth:`read`; immutable."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    layers: tuple[Layer, ...]

    @classmethod
    def read(cls, store: ContentStore, descriptor: Descriptor) -> Image:
        """Read manifest and configuration from the store.

        Raises
        ------
        BlobNotFound
            when a document is not there.
        Corrupt
            when a document is damaged, is not what its type says, or they contradict each other.
        """
        if descriptor.media_type not in MANIFEST_TYPES:
            raise Corrupt(f"{descriptor.digest} is not the manifest of an image but {descriptor.media_type}")
        manifest = decode(Manifest, store.read(Digest(descriptor.digest)), what=f"manifest {descriptor.digest}")
        digest = Digest(manifest.config.digest)
        config = decode(ImageConfig, store.read(digest), what=f"image configuration {digest}")
        return cls(descriptor, manifest, config, join_layers(manifest, config))

    @property
    def id(self) -> Digest:
        """The image id: the digest of the configuration."""
        return Digest(self.manifest.config.digest)

    @property
    def digest(self) -> Digest:
        """The digest of the manifest, by which a registry knows the image."""
        return Digest(self.descriptor.digest)

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return self.config.platform

    @property
    def settings(self) -> ContainerConfig:
        """How its containers are started; empty where the image does not say."""
        return self.config.config or ContainerConfig()

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.settings.labels or {}

    @property
    def chain_ids(self) -> tuple[Digest, ...]:
        """The ids of the stacks of layers, bottom first; the last is that of the whole file system."""
        return tuple(layer.chain_id for layer in self.layers)

    @property
    def size(self) -> int:
        """The size of its blobs in bytes, a blob that occurs twice counted once."""
        sizes = {layer.digest: layer.size for layer in self.layers}
        return sum(sizes.values()) + self.manifest.config.size + self.descriptor.size

    @property
    def blobs(self) -> frozenset[Digest]:
        """All blobs it needs, the manifest included: what garbage collection must keep."""
        return frozenset({self.digest, self.id, *(layer.digest for layer in self.layers)})

    @property
    def created(self) -> datetime | None:
        """When it was made, with its time zone; None where the image does not say."""
        return parse_time(self.config.created)

    @property
    def history(self) -> tuple[HistoryStep, ...]:
        """The steps, oldest first, joined with the layers they made.

        Layers that the history does not tell of (images made by other tools may have none) are steps of their own.
        """
        remaining = list(self.layers)
        steps = []
        for entry in self.config.history or []:
            layer = None if entry.empty_layer or not remaining else remaining.pop(0)
            steps.append(_step(entry, layer))
        return (*steps, *(_step(History(), layer) for layer in remaining))


def join_layers(manifest: Manifest, config: ImageConfig) -> tuple[Layer, ...]:
    """The layers of a manifest with the uncompressed digests of the configuration.

    Raises
    ------
    Corrupt
        when they are not equally many.
    """
    diff_ids = config.diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise Corrupt(
            f"image {manifest.config.digest} has {len(manifest.layers)} layers and digests for {len(diff_ids)} of them"
        )
    layers: list[Layer] = []
    for descriptor, diff_id in zip(manifest.layers, diff_ids, strict=True):
        # chain_id() of the whole stack, one step at a time (image specification, config.md "Layer ChainID").
        chain = Digest.of(f"{layers[-1].chain_id} {diff_id}".encode()) if layers else diff_id
        layers.append(Layer(descriptor, diff_id, chain))
    return tuple(layers)


def read_index(store: ContentStore, descriptor: Descriptor) -> Index:
    """Read an index from the store; raises BlobNotFound or Corrupt."""
    if descriptor.media_type not in INDEX_TYPES:
        raise Corrupt(f"{descriptor.digest} is not an index but {descriptor.media_type}")
    return decode(Index, store.read(Digest(descriptor.digest)), what=f"index {descriptor.digest}")


def platforms(manifests: Iterable[Descriptor]) -> list[Platform]:
    """The platforms an index has images for; what is no image (attestations) is left out."""
    found = [entry.platform.platform for entry in manifests if entry.platform is not None and is_image(entry)]
    return list(dict.fromkeys(found))


def select_platform(manifests: Sequence[Descriptor], wanted: Platform, *, name: str) -> Descriptor:
    """The entry of an index that is for a platform: the very one, else one of an older variant that runs there.

    An index whose only image names no platform is taken to be for every platform. ``name`` is what the message calls
    the image.

    Raises
    ------
    ImageNotFound
        when there is none, listing those there are.
    """
    images = [entry for entry in manifests if is_image(entry)]
    for candidate in (wanted, *_fallbacks(wanted)):
        for entry in images:
            if entry.platform is not None and candidate.matches(entry.platform.platform):
                return entry
    if len(images) == 1 and images[0].platform is None:
        return images[0]
    there = ", ".join(str(platform) for platform in platforms(manifests)) or "none that runs"
    raise ImageNotFound(
        f"{name} has no image for {wanted}; it has {there}",
        hint="choose one of them with --platform, if this machine can run it",
    )


def parse_time(text: str | None) -> datetime | None:
    """Read RFC 3339, of which digits beyond microseconds are dropped; None for None and for Go's zero time.

    Raises
    ------
    Corrupt
        when it is no time.
    """
    if not text or text.startswith("0001-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Corrupt(f"{text!r} is no RFC 3339 time") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _step(entry: History, layer: Layer | None) -> HistoryStep:
    return HistoryStep(
        created=parse_time(entry.created),
        created_by=entry.created_by or "",
        comment=entry.comment or "",
        author=entry.author or "",
        layer=layer,
    )


def is_image(entry: Descriptor) -> bool:
    """Whether an entry of an index is an image, and no attestation that only travels with one."""
    if entry.media_type not in MANIFEST_TYPES or _REFERENCE_TYPE in (entry.annotations or {}):
        return False
    return entry.platform is None or entry.platform.os != "unknown"


def _fallbacks(wanted: Platform) -> list[Platform]:
    table = {"arm": _ARM_FALLBACK, "amd64": _AMD64_FALLBACK}.get(wanted.architecture, {})
    older = [Platform(wanted.os, wanted.architecture, variant) for variant in table.get(wanted.variant or "", ())]
    if wanted.variant is not None and wanted.architecture == "amd64":
        older.append(Platform(wanted.os, wanted.architecture))
    return older
