"""``--cache-to`` and ``--cache-from`` as they are written, and the document that a cache is carried as.

A carried cache is an OCI manifest: its first layer holds the records of the steps, the others are what they made. It
has what the cache of the store has, and no secret: those enter no key, no material and no layer.
"""

from __future__ import annotations

import base64
import csv
import io
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from jupyter_containers import documents
from jupyter_containers.build.cache import CacheRecord
from jupyter_containers.build.interfaces import Layer
from jupyter_containers.build.keys import Material
from jupyter_containers.errors import Corrupt, Unsupported, UsageError
from jupyter_containers.layers.compression import compressor, decompressor
from jupyter_containers.oci.image_spec import OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from jupyter_containers.oci.names import Digest, Reference
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.oci.image_spec import ImageConfig

ARTIFACT: Final = "application/vnd.jupyter-containers.buildcache.v1"
RECORDS: Final = "application/vnd.jupyter-containers.buildcache.records.v1+json+gzip"
INLINE: Final = "jupyter-containers.buildcache.v1"
INLINE_LIMIT: Final = 1 << 20
EMPTY: Final = "application/vnd.oci.empty.v1+json"
RECORDS_LIMIT: Final = 256 << 20
_TRUE: Final = {"true": True, "1": True, "": True, "false": False, "0": False}
_KEYS: Final[dict[str, dict[str, set[str]]]] = {
    "to": {"local": {"dest", "mode", "ignore-error"}, "registry": {"ref", "mode", "ignore-error"}, "inline": set()},
    "from": {"local": {"src"}, "registry": {"ref"}},
}


@dataclass(frozen=True, slots=True)
class CarriedCache:
    """Where a cache goes to or comes from: ``place`` is a directory or a name in a registry, empty: in the image."""

    type: str
    place: str
    everything: bool = False
    ignore_error: bool = False

    def __str__(self) -> str:
        """As messages name it."""
        return self.place

    @property
    def reference(self) -> Reference:
        """The name in a registry."""
        return Reference.parse(self.place)

    @classmethod
    def parse(cls, text: str, direction: str) -> CarriedCache:
        """Read ``type=local,dest=DIR,mode=max``, ``type=registry,ref=NAME``; a bare name is one in a registry.

        Raises
        ------
        UsageError, Unsupported, InvalidReference
            for what is none.
        """
        option = f"--cache-{direction}"
        if "=" not in text:
            text = f"type=registry,ref={text}"
        fields = dict(part.partition("=")[::2] for part in next(csv.reader([text])))
        kind = fields.pop("type", "")
        known = _KEYS[direction].get(kind)
        if known is None:
            raise Unsupported(f"{option} {text!r}: there is no such type", hint=f"use {', '.join(_KEYS[direction])}")
        if unknown := fields.keys() - known:
            raise UsageError(f"{option} {text!r}: {min(unknown)} is not known for the type {kind}")
        place = fields.get("dest") or fields.get("src") or fields.get("ref") or ""
        mode = fields.get("mode", "min")
        ignore = _TRUE.get(fields.get("ignore-error", "false"))
        if kind == "inline":
            return cls(kind, "")
        if not place or mode not in {"min", "max"} or ignore is None:
            hint = f"write it as {option} type=local,{'dest' if direction == 'to' else 'src'}=DIR"
            raise UsageError(f"invalid {option} {text!r}", hint=f"{hint}, or type=registry,ref=NAME")
        cache = cls(kind, place, mode == "max", ignore)
        if kind == "registry":
            _ = cache.reference
        return cache


Records: TypeAlias = dict[str, tuple[CacheRecord, Descriptor | None]]
"""By key, each with the blob of what the step made."""


class Entry(msgspec.Struct, frozen=True):
    """A step: ``layer`` is the number of what it made among the layers behind the records, None: it changed nothing."""

    key: str
    text: str
    material: Material
    layer: int | None
    seconds: float


class _Document(msgspec.Struct, frozen=True):
    version: int
    diff_ids: list[str]
    entries: list[Entry]


def write_records(records: Sequence[CacheRecord]) -> tuple[bytes, list[Layer]]:
    """The document of some records, and the layers it counts; the same records give the same bytes."""
    layers = {str(record.layer.diff_id): record.layer for record in records if record.layer is not None}
    numbers = {diff_id: number for number, diff_id in enumerate(layers)}
    document = _Document(
        1,
        list(layers),
        [
            Entry(
                record.key,
                record.text,
                record.material,
                numbers[str(record.layer.diff_id)] if record.layer else None,
                record.seconds,
            )
            for record in records
        ],
    )
    packed = io.BytesIO()
    with compressor(packed, "gzip") as stream:
        stream.write(msgspec.json.encode(document, order="deterministic", enc_hook=str))
    return packed.getvalue(), list(layers.values())


def write_manifest(store: ContentStore, records: Sequence[CacheRecord]) -> Manifest:
    """Put the documents of a carried cache into the store."""
    data, layers = write_records(records)
    return Manifest(
        schema_version=2,
        media_type=OCI_MANIFEST,
        artifact_type=ARTIFACT,
        config=Descriptor(EMPTY, store.write(b"{}"), 2),
        layers=[Descriptor(RECORDS, store.write(data), len(data)), *(layer.blob for layer in layers)],
    )


def write_inline(manifest: Manifest, records: Sequence[CacheRecord]) -> Manifest:
    """The manifest of an image with records of the steps that made its layers.

    Raises
    ------
    Unsupported
        when there are too many for a manifest.
    """
    data, _layers = write_records(records)
    if len(data) > INLINE_LIMIT:
        raise Unsupported("the records of the steps are too large for the image", hint="use type=registry,ref=NAME")
    annotations = {**(manifest.annotations or {}), INLINE: base64.b64encode(data).decode()}
    return msgspec.structs.replace(manifest, annotations=annotations)


def read_inline(manifest: Manifest, config: ImageConfig) -> Records:
    """The records within an image; errors are those of :func:`read_records`."""
    try:
        data = base64.b64decode((manifest.annotations or {})[INLINE], validate=True)
    except (KeyError, ValueError) as error:
        raise Corrupt("there is no build cache in it") from error
    blobs = dict(zip(config.diff_ids, manifest.layers, strict=False))
    return read_records(data, lambda diff_ids: [blobs[Digest(diff_id)] for diff_id in diff_ids])


def read_records(data: bytes, find: Callable[[Sequence[str]], Sequence[Descriptor]]) -> Records:
    """The records of a carried cache by key, each with the blob of what it made.

    ``data`` is the verified document, ``find`` gives the blobs of diff ids.

    Raises
    ------
    Corrupt
        when it does not hold together: a key that is not that of its material, a layer that is not there.
    """
    try:
        with decompressor(io.BytesIO(data)) as stream:
            plain = stream.read(RECORDS_LIMIT + 1)
        if len(plain) > RECORDS_LIMIT:
            raise Corrupt("the records of the cache are too large")
        document = documents.decode(plain, _Document)
        blobs = find(document.diff_ids)
        if document.version != 1 or len(blobs) != len(document.diff_ids):
            raise Corrupt("the records and the layers of the cache do not fit")
        return {entry.key: _record(entry, document, blobs) for entry in document.entries}
    except (msgspec.DecodeError, IndexError, KeyError) as error:
        raise Corrupt(f"the records of the cache are damaged: {error}") from error


def _record(entry: Entry, document: _Document, blobs: Sequence[Descriptor]) -> tuple[CacheRecord, Descriptor | None]:
    if entry.material.key() != entry.key:
        raise Corrupt(f"the record {entry.key[:12]} of the cache is of another step than it says")
    layer = blob = None
    if entry.layer is not None:
        diff_id, blob = Digest(document.diff_ids[entry.layer]), blobs[entry.layer]
        size = blob.size if blob.media_type == OCI_LAYER else 0
        layer = Layer(Descriptor(OCI_LAYER, diff_id, size), diff_id)
    return CacheRecord(entry.key, entry.material, layer, "", "", "", entry.seconds, text=entry.text), blob
