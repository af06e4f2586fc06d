"""Writing images to archives and directories.

Source: OCI image specification 1.1, image-layout.md; Docker's ``docker save`` format ("Combined Image JSON + Filesystem
Changeset Format", image specification v1.2). One archive is both, as Docker's own are since version 25: an OCI layout
whose blobs are also named by ``manifest.json``. Reading them is in ``loading``.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.errors import AlreadyExists
from jupyter_containers.images.loading import Loaded, load, load_layout
from jupyter_containers.images.model import Image
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.oci.image_spec import ANNOTATION_REF_NAME, OCI_INDEX, Descriptor, Index, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.layers.base import Sink
    from jupyter_containers.oci.names import Digest, Reference

__all__ = ["ANNOTATION_IMAGE_NAME", "Loaded", "load", "load_layout", "save", "save_layout"]

ANNOTATION_IMAGE_NAME = "io.containerd.image.name"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20


def save(store: ContentStore, images: Sequence[tuple[Descriptor, Sequence[Reference]]], out: Sink) -> int:
    """Write images with their names to one archive and return its size in bytes.

    The archive is deterministic, and what other tools call ``docker-archive`` and ``oci-archive`` at once. Blobs are
    verified while they are copied.

    Raises
    ------
    BlobNotFound, DigestMismatch, Corrupt
        when a part of an image is missing or damaged.
    """
    read = [(Image.read(store, descriptor), names) for descriptor, names in images]
    writer = TarWriter(out)
    documents = {
        "oci-layout": _LAYOUT,
        "index.json": encode(_index(images)),
        "manifest.json": msgspec.json.encode([_docker_entry(image, names) for image, names in read]),
        "repositories": msgspec.json.encode(_repositories(read)),
    }
    for name, data in documents.items():
        writer.add(Entry(name.encode(), "file", size=len(data)), data)
    for directory in ("blobs", "blobs/sha256"):
        writer.add(Entry(directory.encode(), "dir", mode=0o755))
    for digest in sorted({digest for image, _ in read for digest in image.blobs}):
        entry = Entry(_blob_path(digest).encode(), "file", size=store.size(digest))
        writer.add(entry, _pieces(store, digest))
    writer.close()
    return writer.size


def save_layout(store: ContentStore, images: Sequence[tuple[Descriptor, Sequence[Reference]]], directory: Path) -> None:
    """Write images with their names as an OCI layout to a directory, which must be empty or not exist yet.

    ``index.json`` is written last: a directory without it is no layout.

    Raises
    ------
    AlreadyExists
        when the directory has something in it.
    BlobNotFound, DigestMismatch, Corrupt
        when a part of an image is missing or damaged.
    """
    if directory.exists() and any(directory.iterdir()):
        raise AlreadyExists(f"{directory} is not empty", hint="name a directory that does not exist yet")
    blobs = {digest for descriptor, _ in images for digest in Image.read(store, descriptor).blobs}
    (directory / "blobs" / "sha256").mkdir(parents=True)
    for digest in sorted(blobs):
        with store.open(digest) as source, open(directory / _blob_path(digest), "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
    (directory / "oci-layout").write_bytes(_LAYOUT)
    with open(directory / "index.json", "xb") as target:
        target.write(encode(_index(images)))
        target.flush()
        os.fsync(target.fileno())


def _pieces(store: ContentStore, digest: Digest) -> Iterator[bytes]:
    with store.open(digest) as blob:
        while data := blob.read(_CHUNK):
            yield data


def _blob_path(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _index(images: Sequence[tuple[Descriptor, Sequence[Reference]]]) -> Index:
    entries: list[Descriptor] = []
    for descriptor, names in images:
        plain = msgspec.structs.replace(descriptor, annotations=None)
        named = [
            msgspec.structs.replace(
                plain, annotations={ANNOTATION_REF_NAME: name.familiar, ANNOTATION_IMAGE_NAME: str(name)}
            )
            for name in names
        ]
        entries += named or [plain]
    return Index(schema_version=2, media_type=OCI_INDEX, manifests=entries)


def _docker_entry(image: Image, names: Sequence[Reference]) -> dict[str, Any]:
    return {
        "Config": _blob_path(image.id),
        "RepoTags": [name.familiar for name in names if name.tag],
        "Layers": [_blob_path(layer.digest) for layer in image.layers],
    }


def _repositories(images: Sequence[tuple[Image, Sequence[Reference]]]) -> dict[str, dict[str, str]]:
    """The oldest readers' table: repository -> tag -> id of the topmost layer."""
    table: dict[str, dict[str, str]] = {}
    for image, names in images:
        for name in names:
            if name.tag and image.layers:
                table.setdefault(name.familiar_name, {})[name.tag] = image.layers[-1].digest.hex
    return table
