"""Carrying the build cache to a directory or a registry, and taking steps from there.

Nothing that comes in is believed: every blob has the digest its manifest names, every record the key of its material,
every layer the diff id its record names. What does not is not used.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from jupyter_containers.build.interfaces import Layer
from jupyter_containers.engine.build import cache_formats
from jupyter_containers.engine.small_files import write_file
from jupyter_containers.errors import (
    AlreadyExists,
    BlobNotFound,
    Corrupt,
    EngineError,
    NotFound,
    SystemFailure,
    Unsupported,
)
from jupyter_containers.events import Notice
from jupyter_containers.layers.compression import decompressor
from jupyter_containers.oci.image_spec import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    decode,
    encode,
)
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.build.cache import CacheRecord
    from jupyter_containers.build.options import BuildResult
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.engine.build.cache_formats import CarriedCache, Records
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.events import EventSink

_CHUNK: Final = 1 << 20
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_BLOB: Final = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{64}\.[0-9.]+")  # and what a killed process left of one


class _Origin(Protocol):
    """Where a carried cache is."""

    def manifest(self) -> Manifest:
        """Its manifest."""

    def fetch(self, blob: Descriptor) -> None:
        """Bring a blob of it into the store."""


class ImportedCache:
    """The steps of a carried cache; a layer is fetched when a step is taken from there. Thread-safe.

    Made by :func:`open_caches`. Implements :class:`~jupyter_containers.build.interfaces.StepSource`.
    """

    def __init__(self, name: str, store: ContentStore, origin: _Origin, sink: EventSink) -> None:
        self.name = name
        self._store = store
        self._origin = origin
        self._sink = sink
        self._lock = threading.Lock()
        self._records = self._read(origin.manifest())

    def _read(self, manifest: Manifest) -> Records:
        if manifest.artifact_type != cache_formats.ARTIFACT:  # an image, which may have the records in it
            self._origin.fetch(manifest.config)
            data = self._store.read(Digest(manifest.config.digest))
            return cache_formats.read_inline(manifest, decode(ImageConfig, data, what="the image configuration"))
        if not manifest.layers:
            raise Corrupt("there is no build cache in it")
        first, *layers = manifest.layers
        self._origin.fetch(first)
        data = self._store.read(Digest(first.digest), limit=cache_formats.RECORDS_LIMIT)
        return cache_formats.read_records(data, lambda _diff_ids: layers)

    def find(self, key: str) -> CacheRecord | None:
        """The step of that key, its layer in the store; None also where what it made is not what it says."""
        with self._lock:
            record, blob = self._records.get(key, (None, None))
            if record is None or record.layer is None or blob is None:
                return record
            try:
                return replace(record, layer=self._bring(record.layer.diff_id, blob))
            except EngineError as error:
                del self._records[key]
                self._sink(Notice(f"a step is not taken from the cache {self.name}: {error.message}", "warning"))
                return None

    def _bring(self, diff_id: Digest, blob: Descriptor) -> Layer:
        """Fetch a layer, and keep it as the plain archive whose digest is its diff id."""
        store = self._store
        if not store.has(diff_id):
            digest = Digest(blob.digest)
            known = store.has(digest)
            self._origin.fetch(blob)
            if digest != diff_id:
                with open(store.path(digest), "rb", buffering=0) as packed, store.ingest(expected=diff_id) as ingest:
                    plain = decompressor(packed)
                    while data := plain.read(_CHUNK):
                        ingest.write(data)
                    ingest.commit()
                if not known:
                    store.remove(digest)
        return Layer(Descriptor(OCI_LAYER, diff_id, store.size(diff_id)), diff_id)


def open_caches(parts: Parts, wanted: Sequence[CarriedCache], sink: EventSink) -> list[ImportedCache]:
    """The caches to take steps from; one that cannot be had, or is damaged, is told and left out."""
    found = []
    for cache in wanted:
        try:
            found.append(ImportedCache(str(cache), parts.store, _origin(parts, cache), sink))
        except EngineError as error:
            sink(Notice(f"the cache {cache} is not used: {error.message}", "warning"))
    return found


def _origin(parts: Parts, cache: CarriedCache) -> _Origin:
    if cache.type == "local":
        return _Directory(Path(cache.place).expanduser(), parts.store)
    return _Registry(cache, parts.store)


class _Registry:
    def __init__(self, cache: CarriedCache, store: ContentStore) -> None:
        self._reference = cache.reference
        self._store = store

    def manifest(self) -> Manifest:
        from jupyter_containers.registry.artifact import read_artifact  # noqa: PLC0415 - urllib3 only when asked for

        return read_artifact(self._reference)

    def fetch(self, blob: Descriptor) -> None:
        from jupyter_containers.registry.artifact import fetch  # noqa: PLC0415 - the same

        fetch(blob, self._reference, store=self._store)


class _Directory:
    """An OCI image layout."""

    def __init__(self, root: Path, store: ContentStore) -> None:
        self._root = root
        self._store = store

    def _path(self, digest: str) -> Path:
        return self._root / "blobs" / "sha256" / Digest(digest).hex

    def manifest(self) -> Manifest:
        try:
            index = decode(Index, (self._root / "index.json").read_bytes(), what=f"the index of {self._root}")
            entry = next((each for each in index.manifests if each.artifact_type == cache_formats.ARTIFACT), None)
            if entry is None:
                raise Corrupt(f"{self._root} has no build cache")
            self.fetch(entry)
        except OSError as error:
            raise NotFound(f"there is no build cache in {self._root}: {error.strerror}") from error
        return decode(Manifest, self._store.read(Digest(entry.digest)), what=f"the manifest in {self._root}")

    def fetch(self, blob: Descriptor) -> None:
        digest = Digest(blob.digest)
        if self._store.has(digest):
            return
        try:
            with (
                open(self._path(digest), "rb") as source,
                self._store.ingest(expected=digest, size=blob.size) as ingest,
            ):
                while data := source.read(_CHUNK):
                    ingest.write(data)
                ingest.commit()
        except OSError as error:
            raise BlobNotFound(f"a part of the cache is missing: {self._path(digest)}") from error


# -- out -------------------------------------------------------------------------------------------------------------


def export(parts: Parts, cache: CarriedCache, result: BuildResult, sink: EventSink) -> None:
    """Carry the steps of a build: those whose layers are in the image, or with ``mode=max`` all of them.

    Raises
    ------
    AlreadyExists, SystemFailure, RegistryDenied, RegistryUnavailable
        when it cannot be written; nothing when that is to be ignored, but a warning.
    """
    records = _records(parts, result, everything=cache.everything)
    try:
        manifest = cache_formats.write_manifest(parts.store, records)
        if cache.type == "local":
            _write_directory(parts.store, manifest, Path(cache.place).expanduser())
            return
        from jupyter_containers.registry.artifact import push_artifact  # noqa: PLC0415 - urllib3 only when asked for

        push_artifact(manifest, cache.reference, store=parts.store, sink=sink)
    except EngineError as error:
        if not cache.ignore_error:
            raise
        sink(Notice(f"the cache was not written to {cache}: {error.message}", "warning"))


def put_inline(parts: Parts, result: BuildResult, sink: EventSink) -> BuildResult:
    """The image with records of the steps that made its layers; another manifest, the same image id."""
    store = parts.store
    manifest = decode(Manifest, store.read(Digest(result.manifest.digest)), what="the manifest")
    try:
        data = encode(cache_formats.write_inline(manifest, _records(parts, result, everything=False)))
    except Unsupported as error:
        sink(Notice(f"the cache was not put into the image: {error.message}", "warning"))
        return result
    described = msgspec.structs.replace(result.manifest, digest=store.write(data), size=len(data))
    return replace(result, manifest=described)


def _records(parts: Parts, result: BuildResult, *, everything: bool) -> list[CacheRecord]:
    inside = {layer.diff_id for layer in result.layers}
    keys = [
        step.verdict.key
        for step in result.steps
        if step.verdict.key and (everything or step.made is None or step.made in inside)
    ]
    return [record for key in dict.fromkeys(keys) if (record := parts.cache.get(key)) is not None]


def _write_directory(store: ContentStore, manifest: Manifest, root: Path) -> None:
    """An OCI layout that holds this cache alone; blobs of the cache that was there before go."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            if any(root.iterdir()) and not _is_ours(root):
                raise AlreadyExists(
                    f"{root} has something else than a build cache in it", hint="name an empty directory"
                )
            _fill_directory(store, manifest, root)
    except OSError as error:
        raise SystemFailure(f"cannot write the cache to {root}: {error.strerror}") from error


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """While others who write the same directory wait."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _fill_directory(store: ContentStore, manifest: Manifest, root: Path) -> None:
    blobs = root / "blobs" / "sha256"
    data = encode(manifest)
    digest = Digest.of(data)
    wanted = {Digest(blob.digest).hex: blob for blob in (manifest.config, *manifest.layers)}
    blobs.mkdir(parents=True, exist_ok=True)
    for name, blob in wanted.items():
        if not (blobs / name).exists():
            _copy(store, Digest(blob.digest), blobs / name)
    write_file(blobs / digest.hex, data)
    write_file(root / "oci-layout", _LAYOUT)
    entry = Descriptor(OCI_MANIFEST, digest, len(data), artifact_type=cache_formats.ARTIFACT)
    write_file(root / "index.json", encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=[entry])))
    for name in os.listdir(blobs):
        if _BLOB.fullmatch(name) and name not in wanted and name != digest.hex:
            (blobs / name).unlink()


def _is_ours(root: Path) -> bool:
    try:
        index = decode(Index, (root / "index.json").read_bytes(), what="the index")
    except (OSError, EngineError):
        half = (".index.json.", ".oci-layout.")  # one whose writing was cut off
        return all(name in {"blobs", "oci-layout"} or name.startswith(half) for name in os.listdir(root))
    return bool(index.manifests) and all(entry.artifact_type == cache_formats.ARTIFACT for entry in index.manifests)


def _copy(store: ContentStore, digest: Digest, target: Path) -> None:
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with store.open(digest) as source, open(half, "xb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
