"""Small images for tests."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

from jupyter_containers.images.mutate import append_history, append_layer, empty_config, write_image
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.oci.image_spec import OCI_LAYER, OCI_LAYER_GZIP, Descriptor, History
from jupyter_containers.oci.names import Digest, Platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_containers.content.store import ContentStore

CREATED = "2026-01-02T03:04:05Z"
LINUX = Platform("linux", "amd64")


def layer_bytes(files: Mapping[str, bytes]) -> bytes:
    """A plain tar with some files, of the epoch."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for name, content in sorted(files.items()):
        writer.add(Entry(name.encode(), "file", size=len(content)), content)
    writer.close()
    return out.getvalue()


def make_image(
    store: ContentStore,
    *layers: Mapping[str, bytes],
    compressed: Sequence[int] = (),
    platform: Platform = LINUX,
) -> Descriptor:
    """Store an image of plain layers, those at the positions ``compressed`` with gzip."""
    config = empty_config(platform)
    descriptors = []
    for position, files in enumerate(layers):
        data = layer_bytes(files)
        diff_id = Digest.of(data)
        packed = position in compressed
        blob = gzip.compress(data, mtime=0) if packed else data
        descriptors.append(Descriptor(OCI_LAYER_GZIP if packed else OCI_LAYER, store.write(blob), len(blob)))
        config = append_layer(config, diff_id, History(created=CREATED, created_by=f"layer {position}"))
    config = append_history(config, History(created=CREATED, created_by="CMD"))
    return write_image(store, config, descriptors)
