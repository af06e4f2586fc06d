"""Pushing an image from the content store to a registry."""

from __future__ import annotations

import hashlib
import tempfile
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from jupyter_containers.errors import InvalidInput
from jupyter_containers.events import ignore
from jupyter_containers.images.model import Image
from jupyter_containers.layers.compression import compressor
from jupyter_containers.oci.image_spec import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    Descriptor,
    encode,
)
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass
from jupyter_containers.registry.access import Access
from jupyter_containers.registry.progress import Progress, run_all
from jupyter_containers.registry.upload import Blob, Outcome, upload_blob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink
    from jupyter_containers.oci.names import Reference
    from jupyter_containers.registry.client import RegistryClient

_COMPRESSED_TYPE = {OCI_LAYER: OCI_LAYER_GZIP, DOCKER_LAYER: DOCKER_LAYER_GZIP}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push brought: the manifest as it is in the registry, and what became of each blob."""

    descriptor: Descriptor
    outcomes: dict[Digest, Outcome]


def push(
    descriptor: Descriptor,
    reference: Reference,
    *,
    store: ContentStore,
    sink: EventSink = ignore,
    access: Access | None = None,
    mount_from: Sequence[Reference] = (),
) -> Pushed:
    """Bring an image from the store to a registry, blobs first, the manifest last.

    Layers that are stored as plain tars are compressed on the way; the manifest that is pushed names the compressed
    ones, so its digest is another one; the image id and the diff ids stay. ``mount_from`` are names the image may
    already have in the same registry: blobs are taken over from there.

    Raises
    ------
    InvalidInput
        when the reference is a digest that the pushed manifest does not have.
    BlobNotFound
        when the store lacks a part of the image.
    RegistryDenied, RegistryUnavailable
        as the registry answers.
    """
    image = Image.read(store, descriptor)
    origin = next((name.repository for name in mount_from if name.registry == reference.registry), None)
    with (access or Access()).client(reference.registry) as client:
        pusher = Pusher(client, reference, store, sink, origin)
        unique = {blob.digest: blob for blob in (*image.manifest.layers, image.manifest.config)}
        results = run_all(client.transport, [partial(pusher.push_blob, blob) for blob in unique.values()])
        pushed = dict(zip(unique, results, strict=True))
        data = store.read(image.digest)
        layers = [pushed[layer.digest][0] for layer in image.manifest.layers]
        if layers != image.manifest.layers:
            data = encode(msgspec.structs.replace(image.manifest, layers=layers))
        digest = Digest.of(data)
        if reference.tag is None and reference.digest != digest:
            raise InvalidInput(f"the image is {digest} in a registry, not {reference.digest}", hint="push it to a tag")
        client.put_manifest(reference, descriptor.media_type, data)
    outcomes = {Digest(blob.digest): outcome for blob, outcome in results}
    described = Descriptor(descriptor.media_type, digest, len(data), platform=descriptor.platform)
    return Pushed(described, outcomes)


@dataclass(frozen=True, slots=True)
class Pusher:
    """Puts blobs of a store into one repository."""

    client: RegistryClient
    reference: Reference
    store: ContentStore
    sink: EventSink
    mount_from: str | None

    def push_blob(self, blob: Descriptor) -> tuple[Descriptor, Outcome]:
        """Upload one blob, compressed when it is a plain tar; the descriptor it has in the registry."""
        digest = Digest(blob.digest)
        progress = Progress(self.sink, digest.short, blob.size)
        if blob.media_type not in _COMPRESSED_TYPE:
            self.store.size(digest)
            with open(self.store.path(digest), "rb") as file:
                return blob, self._upload(file, blob, progress)
        progress.begin("compressing")
        with tempfile.TemporaryFile(dir=self.store.root) as file:
            compressed = self._compress(blob, file, progress)
            progress.total = compressed.size
            return compressed, self._upload(file, compressed, progress)

    def _upload(self, file: BinaryIO, blob: Descriptor, progress: Progress) -> Outcome:
        source = Blob(file.fileno(), Digest(blob.digest), blob.size)
        return upload_blob(self.client, self.reference, source, progress, mount_from=self.mount_from)

    def _compress(self, blob: Descriptor, file: BinaryIO, progress: Progress) -> Descriptor:
        """Compress a layer into a file; the read that meets its end verifies it."""
        sink = _HashingSink(file)
        done = 0
        with self.store.open(Digest(blob.digest)) as source:
            compressed = compressor(sink, "gzip")
            while data := source.read(_CHUNK):
                compressed.write(data)
                done += len(data)
                progress.at(done)
                self.client.transport.check()
            compressed.close()
        file.flush()
        return Descriptor(_COMPRESSED_TYPE[blob.media_type], sink.digest, sink.size, annotations=blob.annotations)


class _HashingSink:
    """A file, and the digest and size of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        """Take all of it."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> Digest:
        """The digest of all of it."""
        return Digest(f"sha256:{self._hash.hexdigest()}")
