"""Pulling an image into the content store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.content.store import READ_LIMIT
from jupyter_containers.errors import Corrupt, DigestMismatch, Unsupported, size_text
from jupyter_containers.events import Notice, ignore
from jupyter_containers.images.model import join_layers, select_platform
from jupyter_containers.oci.image_spec import (
    DOCKER_CONFIG,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformSpec,
    decode,
)
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass
from jupyter_containers.registry.access import Access
from jupyter_containers.registry.client import ManifestReply, RegistryClient
from jupyter_containers.registry.download import download_blob
from jupyter_containers.registry.progress import Progress, run_all

if TYPE_CHECKING:
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink
    from jupyter_containers.oci.names import Platform, Reference

_CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_MAX_DEPTH = 3


class _Typed(msgspec.Struct, frozen=True, rename="camel"):
    """What tells the kinds of manifests apart."""

    schema_version: int = 0
    media_type: str = ""
    manifests: list[object] | None = None
    layers: list[object] | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought.

    ``descriptor`` is that of the manifest for the platform; ``digest`` what the name stands for in the registry (the
    same, or that of an index); ``downloaded`` counts bytes of configuration and layers, ``reused`` the blobs that
    were there.
    """

    descriptor: Descriptor
    digest: Digest
    downloaded: int
    reused: int


def pull(
    reference: Reference,
    *,
    platform: Platform,
    store: ContentStore,
    sink: EventSink = ignore,
    access: Access | None = None,
) -> Pulled:
    """Bring an image into the store: every digest and size verified, several layers at once, what is there skipped.

    The manifest is stored last: when it is there, everything it names is there. The caller holds the store's shared
    lock until it refers to the image. Interrupting it stops the threads, and stores no part of a blob.

    Raises
    ------
    ImageNotFound
        when the registry does not have it, or not for the platform.
    RegistryDenied, RegistryUnavailable
        as the registry answers, or when it does not.
    DigestMismatch, Corrupt
        when what it sends is not what it announced.
    Unsupported
        when it is no image, or one of a format given up in 2017.
    """
    with (access or Access()).client(reference.registry) as client:
        top = client.get_manifest(reference)
        data = _platform_manifest(client, reference, top, platform, store)
        manifest = decode(Manifest, data, what=f"the manifest of {reference.familiar}")
        _check_image(manifest, reference)
        blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
        jobs = []
        for blob in blobs.values():
            progress = Progress(sink, Digest(blob.digest).short, blob.size)
            jobs.append(partial(download_blob, client, reference, blob, store, progress))
            progress.begin("waiting")
        sizes = run_all(client.transport, jobs)
    config = decode(ImageConfig, store.read(Digest(manifest.config.digest)), what="the image configuration")
    join_layers(manifest, config)
    if not platform.matches(config.platform):
        sink(Notice(f"{reference.familiar} is for {config.platform}, not for {platform}", "warning"))
    descriptor = Descriptor(
        media_type=_media_type(ManifestReply("", Digest.of(data), data)),
        digest=store.write(data),
        size=len(data),
        platform=PlatformSpec(architecture=config.architecture, os=config.os, variant=config.variant),
    )
    return Pulled(descriptor, top.digest, sum(sizes), sizes.count(0))


def _platform_manifest(
    client: RegistryClient, reference: Reference, top: ManifestReply, platform: Platform, store: ContentStore
) -> bytes:
    """The bytes of the manifest for a platform: those of the reply, or of an entry of the index it is."""
    reply = top
    for _ in range(_MAX_DEPTH):
        if _media_type(reply) in MANIFEST_TYPES:
            return reply.data
        index = decode(Index, reply.data, what=f"the index of {reference.familiar}")
        chosen = select_platform(index.manifests, platform, name=reference.familiar)
        digest = Digest(chosen.digest)
        if store.has(digest):
            reply = ManifestReply(chosen.media_type, digest, store.read(digest))
        else:
            reply = client.get_manifest(reference.with_digest(digest))
        if len(reply.data) != chosen.size:
            raise DigestMismatch(digest, f"{len(reply.data)} bytes, not the {chosen.size} announced", what="manifest")
    raise Unsupported(f"{reference.familiar} is an index of indexes")


def _media_type(reply: ManifestReply) -> str:
    """The type of a manifest: what it says itself, which must be what the registry says where both say something.

    Two readers must not take one document for two things (image specification, manifest.md, ``mediaType``).
    """
    known = MANIFEST_TYPES | INDEX_TYPES
    document = decode(_Typed, reply.data, what=f"manifest {reply.digest}")
    if document.schema_version == 1:
        raise Unsupported(
            f"manifest {reply.digest} is of Docker's first format, which is not supported",
            hint="push the image again with a tool of this decade",
        )
    said = reply.media_type if reply.media_type in known else ""
    own = document.media_type or said or (OCI_INDEX if document.manifests and not document.layers else OCI_MANIFEST)
    if own not in known or (said and said != own):
        raise Corrupt(f"manifest {reply.digest} is neither an image nor an index: {document.media_type or 'no type'}")
    return own


def _check_image(manifest: Manifest, reference: Reference) -> None:
    """Refuse what a registry may hold besides images (charts, signatures), and documents without measure."""
    kind = manifest.config.media_type
    if kind not in _CONFIG_TYPES:
        raise Unsupported(f"{reference.familiar} is no container image but an artifact of type {kind}")
    if manifest.config.size > READ_LIMIT:
        raise Corrupt(f"the configuration of {reference.familiar} has {size_text(manifest.config.size)}")
