"""Reading images from archives and directories that any tool wrote; all that is in them is verified."""

from __future__ import annotations

import hashlib
import os
import posixpath
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from jupyter_containers import documents
from jupyter_containers.errors import Corrupt, DigestMismatch, InvalidDigest, InvalidReference, size_text
from jupyter_containers.events import Transfer, ignore
from jupyter_containers.images.model import Image, is_image, join_layers, read_index, select_platform
from jupyter_containers.images.mutate import make_manifest
from jupyter_containers.layers.compression import decompressor, detect
from jupyter_containers.layers.tar import TarReader
from jupyter_containers.oci.image_spec import (
    ANNOTATION_REF_NAME,
    INDEX_TYPES,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformSpec,
    decode,
    encode,
)
from jupyter_containers.oci.names import Digest, Platform, Reference
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink

_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 8 << 20
_MAX_LINKS = 8
_MAX_DEPTH = 3
_DOCUMENTS = frozenset({"index.json", "manifest.json", "oci-layout", "repositories"})
_LEGACY = frozenset({"VERSION", "json"})  # of Docker's first format, beside each layer
_BLOBS = "blobs/sha256/"
_NAME_ANNOTATIONS = ("io.containerd.image.name", ANNOTATION_REF_NAME)
_LAYER_TYPE = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that is in the store now, and the names that the archive has for it."""

    descriptor: Descriptor
    references: tuple[Reference, ...]


class _DockerEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """An image in ``manifest.json``."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


@dataclass
class _Contents:
    """What an archive held: its documents, its files (already in the store) and its links, by path."""

    documents: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, Digest] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Digest:
        """The blob at a path, links followed; raises Corrupt when there is none."""
        path = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            if path in self.files:
                return self.files[path]
            if path not in self.links:
                break
            path = self.links[path]
        raise Corrupt(f"the archive names {name} and does not have it")


def load(
    store: ContentStore, stream: BinaryIO, *, platform: Platform | None = None, sink: EventSink = ignore
) -> list[Loaded]:
    """Read an archive of ``docker save`` or of an OCI layout, compressed or not, in one pass.

    The caller holds the store's shared lock until it refers to the images. ``platform`` chooses where the archive has
    an image for several; it defaults to this machine's.

    Raises
    ------
    Corrupt, DigestMismatch, LayerCorrupt
        when the archive is damaged, contradicts itself or lacks what it names.
    ImageNotFound
        when an index in it has nothing for the platform.
    """
    contents = _read_archive(store, TarReader(decompressor(stream)), sink)
    docker = contents.documents.get("manifest.json")
    entries = _decode_docker(docker) if docker is not None else []
    index = contents.documents.get("index.json")
    if index is not None:
        names = {contents.find(entry.config): _references(entry.repo_tags or []) for entry in entries}
        listing = decode(Index, index, what="index.json of the archive")

        def check(digest: Digest, _size: int) -> None:
            if not store.has(digest):
                raise Corrupt(f"the archive names blob {digest} and does not have it")

        return _load_index(store, listing, check, platform or _this_machine(), names)
    if docker is None:
        raise Corrupt(
            "the archive has neither manifest.json nor index.json: it is no archive of images",
            hint="an archive of a container's files is imported, not loaded",
        )
    return [_load_docker(store, contents, entry) for entry in entries]


def load_layout(
    store: ContentStore,
    directory: Path,
    *,
    platform: Platform | None = None,
    wanted: Callable[[Descriptor], bool] = lambda _entry: True,
) -> list[Loaded]:
    """Read the images of an OCI layout, of those entries of its index that are ``wanted``; see :func:`load`.

    Raises
    ------
    Corrupt, DigestMismatch
        when it is no layout, is damaged or lacks what it names.
    """
    try:
        with open(directory / "index.json", "rb") as file:
            data = file.read(_DOCUMENT_LIMIT)
    except OSError as error:
        raise Corrupt(f"{directory} is no OCI layout: index.json: {error.strerror}") from error

    def copy(digest: Digest, size: int) -> None:
        if not store.has(digest):
            _copy_blob(store, directory / _BLOBS / digest.hex, digest, size)

    index = decode(Index, data, what=f"{directory}/index.json")
    chosen = msgspec.structs.replace(index, manifests=[entry for entry in index.manifests if wanted(entry)])
    return _load_index(store, chosen, copy, platform or _this_machine(), {})


def _copy_blob(store: ContentStore, path: Path, digest: Digest, size: int) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Corrupt(f"the layout lacks blob {digest}: {error.strerror}") from error
    with open(fd, "rb") as source, store.ingest(expected=digest, size=size) as ingest:
        while data := source.read(_CHUNK):
            ingest.write(data)
        ingest.commit()


def _read_archive(store: ContentStore, reader: TarReader, sink: EventSink) -> _Contents:
    contents = _Contents()
    for entry in reader:
        name = posixpath.normpath(entry.name.decode("utf-8", "surrogateescape").lstrip("/"))
        if entry.kind == "symlink":
            target = entry.target.decode("utf-8", "surrogateescape")
            contents.links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        elif entry.kind == "link":
            contents.links[name] = posixpath.normpath(entry.target.decode("utf-8", "surrogateescape"))
        elif entry.kind == "file" and name in _DOCUMENTS:
            if entry.size > _DOCUMENT_LIMIT:
                raise Corrupt(f"{name} of the archive has {size_text(entry.size)}")
            contents.documents[name] = reader.read()
        elif entry.kind == "file" and posixpath.basename(name) not in _LEGACY:
            contents.files[name] = _ingest(store, reader, name, entry.size, sink)
    return contents


def _ingest(store: ContentStore, reader: TarReader, name: str, size: int, sink: EventSink) -> Digest:
    """Store a file of the archive under its digest, which must be the one in its name where that is one."""
    expected: Digest | None = None
    if name.startswith(_BLOBS):
        try:
            expected = Digest(f"sha256:{name.removeprefix(_BLOBS)}")
        except InvalidDigest:
            raise Corrupt(f"the archive has a blob with the name {name}") from None
        if store.has(expected):
            sink(Transfer(expected.short, "exists", size, size))
            return expected
    with store.ingest(expected=expected, size=size) as ingest:
        for _offset, data in reader.chunks():
            ingest.write(data)
        digest = ingest.commit()
    sink(Transfer(digest.short, "done", size, size))
    return digest


def _load_index(
    store: ContentStore,
    index: Index,
    provide: Callable[[Digest, int], None],
    platform: Platform,
    names: Mapping[Digest, tuple[Reference, ...]],
) -> list[Loaded]:
    """The images of an entry point; ``provide`` sees that a blob is in the store, or raises."""
    found: dict[str, Loaded] = {}
    for entry in index.manifests:
        if entry.media_type not in INDEX_TYPES and not is_image(entry):
            continue
        descriptor = _resolve(store, entry, provide, platform)
        image = Image.read(store, descriptor)
        annotations = entry.annotations or {}
        own = _references([annotations[key] for key in _NAME_ANNOTATIONS if key in annotations], strict=False)
        before = found[descriptor.digest].references if descriptor.digest in found else ()
        references = tuple(dict.fromkeys((*before, *own, *names.get(image.id, ()))))
        found[descriptor.digest] = Loaded(descriptor, references)
    return list(found.values())


def _resolve(
    store: ContentStore, entry: Descriptor, provide: Callable[[Digest, int], None], platform: Platform
) -> Descriptor:
    """The manifest that an entry of an index leads to, with all its blobs in the store."""
    for _ in range(_MAX_DEPTH):
        provide(Digest(entry.digest), entry.size)
        if entry.media_type not in INDEX_TYPES:
            break
        entry = select_platform(read_index(store, entry).manifests, platform, name="the archive")
    manifest = decode(Manifest, store.read(Digest(entry.digest)), what=f"manifest {entry.digest}")
    for blob in (manifest.config, *manifest.layers):
        provide(Digest(blob.digest), blob.size)
    config = decode(ImageConfig, store.read(Digest(manifest.config.digest)), what="the image configuration")
    join_layers(manifest, config)
    return Descriptor(
        media_type=entry.media_type,
        digest=entry.digest,
        size=store.size(Digest(entry.digest)),
        platform=PlatformSpec(architecture=config.architecture, os=config.os, variant=config.variant),
    )


def _load_docker(store: ContentStore, contents: _Contents, entry: _DockerEntry) -> Loaded:
    """Make an OCI manifest for an image that has none; its configuration, and so its id, stays."""
    config_digest = contents.find(entry.config)
    config = decode(ImageConfig, store.read(config_digest), what=f"{entry.config} of the archive")
    layers = entry.layers or []
    if len(layers) != len(config.diff_ids):
        raise Corrupt(f"the archive has {len(layers)} layers for an image of {len(config.diff_ids)}")
    described = [
        _describe_layer(store, contents.find(name), diff_id)
        for name, diff_id in zip(layers, config.diff_ids, strict=True)
    ]
    configuration = Descriptor(OCI_CONFIG, config_digest, store.size(config_digest))
    data = encode(make_manifest(configuration, described))
    descriptor = Descriptor(
        media_type=OCI_MANIFEST,
        digest=store.write(data),
        size=len(data),
        platform=PlatformSpec(architecture=config.architecture, os=config.os, variant=config.variant),
    )
    return Loaded(descriptor, _references(entry.repo_tags or []))


def _describe_layer(store: ContentStore, digest: Digest, diff_id: Digest) -> Descriptor:
    """The descriptor of a layer, whose uncompressed content must be that of the diff id."""
    if digest == diff_id:
        return Descriptor(OCI_LAYER, digest, store.size(digest))
    with store.open(digest) as raw:
        start = raw.read(6)
    kind = detect(start)
    hashed = hashlib.sha256()
    with store.open(digest) as raw:
        plain = decompressor(raw)
        while data := plain.read(_CHUNK):
            hashed.update(data)
    if f"sha256:{hashed.hexdigest()}" != diff_id:
        raise DigestMismatch(diff_id, f"sha256:{hashed.hexdigest()}", what="layer")
    if kind in _LAYER_TYPE:
        return Descriptor(_LAYER_TYPE[kind], digest, store.size(digest))
    with store.open(digest) as raw, store.ingest(expected=diff_id) as ingest:  # a compression images cannot have
        plain = decompressor(raw)
        while data := plain.read(_CHUNK):
            ingest.write(data)
        size = ingest.size
        ingest.commit()
    return Descriptor(OCI_LAYER, diff_id, size)


def _decode_docker(data: bytes) -> list[_DockerEntry]:
    try:
        return documents.decode(data, list[_DockerEntry])
    except msgspec.DecodeError as error:
        raise Corrupt(f"manifest.json of the archive is not what Docker writes: {error}") from error


def _references(texts: list[str], *, strict: bool = True) -> tuple[Reference, ...]:
    """The names in an archive. Unless ``strict``, what is no full name is passed over: a layout may hold a bare tag."""
    found: list[Reference] = []
    for text in texts:
        if not strict and not {"/", ":"} & set(text):
            continue
        try:
            found.append(Reference.parse(text))
        except (InvalidReference, InvalidDigest) as error:
            if strict:
                raise Corrupt(f"the archive has an image with a name that is none: {error}") from error
    return tuple(dict.fromkeys(found))


def _this_machine() -> Platform:
    return Platform.of_machine(os.uname().machine)
