"""Manifests that are no images, in a registry: pushed with what they name, read, and their blobs fetched one by one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.events import ignore
from jupyter_containers.oci.image_spec import OCI_MANIFEST, Descriptor, Manifest, decode, encode
from jupyter_containers.oci.names import Digest
from jupyter_containers.registry.access import Access
from jupyter_containers.registry.download import download_blob
from jupyter_containers.registry.progress import Progress, run_all
from jupyter_containers.registry.push import Pusher

if TYPE_CHECKING:
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink
    from jupyter_containers.oci.names import Reference


def push_artifact(
    manifest: Manifest,
    reference: Reference,
    *,
    store: ContentStore,
    sink: EventSink = ignore,
    access: Access | None = None,
) -> Digest:
    """Bring a manifest and its blobs from the store to a registry; plain layers are compressed on the way.

    Raises
    ------
    BlobNotFound
        when the store lacks one.
    RegistryDenied, RegistryUnavailable
        as the registry answers.
    """
    with (access or Access()).client(reference.registry) as client:
        pusher = Pusher(client, reference, store, sink, None)
        unique = {blob.digest: blob for blob in (*manifest.layers, manifest.config)}
        results = run_all(client.transport, [partial(pusher.push_blob, blob) for blob in unique.values()])
        pushed = {digest: blob for digest, (blob, _outcome) in zip(unique, results, strict=True)}
        data = encode(msgspec.structs.replace(manifest, layers=[pushed[layer.digest] for layer in manifest.layers]))
        client.put_manifest(reference, OCI_MANIFEST, data)
    return Digest.of(data)


def read_artifact(reference: Reference, *, access: Access | None = None) -> Manifest:
    """The manifest of a name.

    Raises
    ------
    ImageNotFound, RegistryDenied, RegistryUnavailable, DigestMismatch, Corrupt
        as the registry answers, or when it is none.
    """
    with (access or Access()).client(reference.registry) as client:
        data = client.get_manifest(reference).data
    return decode(Manifest, data, what=f"the manifest of {reference.familiar}")


def fetch(
    blob: Descriptor,
    reference: Reference,
    *,
    store: ContentStore,
    sink: EventSink = ignore,
    access: Access | None = None,
) -> None:
    """Bring one blob into the store, verified; errors are those of :func:`.download.download_blob`."""
    with (access or Access()).client(reference.registry) as client:
        download_blob(client, reference, blob, store, Progress(sink, Digest(blob.digest).short, blob.size))
