"""Getting one blob into the store: verified, and continued where a broken connection left it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import RegistryUnavailable
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from jupyter_containers.content.store import ContentStore, Ingest
    from jupyter_containers.oci.image_spec import Descriptor
    from jupyter_containers.oci.names import Reference
    from jupyter_containers.registry.client import RegistryClient
    from jupyter_containers.registry.progress import Progress


def download_blob(
    client: RegistryClient, reference: Reference, descriptor: Descriptor, store: ContentStore, progress: Progress
) -> int:
    """Store a blob and return how many bytes it has; 0 when it was there already.

    Raises
    ------
    ImageNotFound, RegistryDenied, RegistryUnavailable
        as the registry answers; RegistryUnavailable only after several attempts in a row without a further byte.
    DigestMismatch
        when the content is not what the manifest says; nothing is stored.
    Cancelled
        when the transport was cancelled.
    """
    digest = Digest(descriptor.digest)
    if store.has(digest):
        progress.end("exists")
        return 0
    progress.begin("downloading")
    with store.ingest(expected=digest, size=descriptor.size) as ingest:
        failures, furthest = 0, 0
        while True:
            try:
                _continue(client, reference, descriptor, ingest, progress)
                break
            except RegistryUnavailable:
                failures = 1 if ingest.size > furthest else failures + 1
                furthest = max(furthest, ingest.size)
                delay = client.transport.retries.delay(failures)
                if delay is None:
                    raise
                client.transport.pause(delay)
        ingest.commit()
    progress.end("done")
    return descriptor.size


def _continue(
    client: RegistryClient, reference: Reference, descriptor: Descriptor, ingest: Ingest, progress: Progress
) -> None:
    """Append the rest of a blob; raises RegistryUnavailable when less than that comes."""
    digest = Digest(descriptor.digest)
    with client.open_blob(reference, digest, offset=ingest.size) as (start, chunks):
        if start != ingest.size:
            if start != 0:
                raise RegistryUnavailable(f"the registry sends another part of {digest} than it was asked for")
            ingest.restart()
        for data in chunks:
            ingest.write(data)
            progress.at(ingest.size)
    if ingest.size < descriptor.size:
        raise RegistryUnavailable(f"the registry sent {ingest.size} of the {descriptor.size} bytes of {digest}")
