from __future__ import annotations

import gzip
import io
import json
import lzma
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import AlreadyExists, Corrupt, DigestMismatch, EngineError, ImageNotFound
from jupyter_containers.images.archive import load, load_layout, save, save_layout
from jupyter_containers.images.model import Image
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.oci.image_spec import OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, Index, encode
from jupyter_containers.oci.names import Digest, Platform, Reference
from tests.support.images import LINUX, layer_bytes, make_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMES = [Reference.parse("tool:1"), Reference.parse("example.org/tool:2")]
LAYER = layer_bytes({"a": b"one"})
OTHER = layer_bytes({"b": b"two"})


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return new_store(tmp_path / "store")


@pytest.fixture
def other(tmp_path: Path) -> ContentStore:
    return new_store(tmp_path / "other")


def new_store(directory: Path) -> ContentStore:
    store = ContentStore(directory)
    store.ensure()
    return store


def archive(files: Mapping[str, bytes | str]) -> io.BytesIO:
    """A tar; a value that is text makes a symbolic link."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for name, content in files.items():
        if isinstance(content, str):
            writer.add(Entry(name.encode(), "symlink", target=content.encode()))
        else:
            writer.add(Entry(name.encode(), "file", size=len(content)), content)
    writer.close()
    out.seek(0)
    return out


def configuration(*layers: bytes) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(layer) for layer in layers]},
        "config": None,
        "container_config": {"unknown": [1]},
    }
    return json.dumps(document).encode()


def docker_manifest(config: str, layers: list[str], tags: list[str] | None) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": tags, "Layers": layers, "Parent": ""}]).encode()


def test_what_is_saved_is_loaded(store: ContentStore, other: ContentStore) -> None:
    first = make_image(store, {"a": b"one"}, {"b": b"two"}, compressed=[1])
    second = make_image(store, {"a": b"one"})
    out = io.BytesIO()
    assert save(store, [(first, NAMES), (second, [])], out) == len(out.getvalue())

    loaded = load(other, io.BytesIO(out.getvalue()), platform=LINUX)

    assert [(image.descriptor.digest, image.references) for image in loaded] == [
        (first.digest, tuple(NAMES)),
        (second.digest, ()),
    ]
    assert Image.read(other, loaded[0].descriptor).config == Image.read(store, first).config
    again = io.BytesIO()
    save(store, [(first, NAMES), (second, [])], again)
    assert again.getvalue() == out.getvalue()


def test_a_compressed_archive_is_loaded(store: ContentStore, other: ContentStore) -> None:
    image = make_image(store, {"a": b"one"})
    out = io.BytesIO()
    save(store, [(image, NAMES)], out)

    (loaded,) = load(other, io.BytesIO(gzip.compress(out.getvalue())))

    assert loaded.descriptor.digest == image.digest


def test_a_layout_is_saved_and_loaded(store: ContentStore, other: ContentStore, tmp_path: Path) -> None:
    image = make_image(store, {"a": b"one"}, {"b": b"two"})
    save_layout(store, [(image, NAMES)], tmp_path / "layout")

    (loaded,) = load_layout(other, tmp_path / "layout")

    assert (loaded.descriptor.digest, loaded.references) == (image.digest, tuple(NAMES))
    with pytest.raises(AlreadyExists):
        save_layout(store, [(image, NAMES)], tmp_path / "layout")


@pytest.mark.parametrize(
    ("pack", "media_type"), [(bytes, OCI_LAYER), (gzip.compress, OCI_LAYER_GZIP), (lzma.compress, OCI_LAYER)]
)
def test_an_archive_of_docker_with_links_between_layers(other: ContentStore, pack: object, media_type: str) -> None:
    assert callable(pack)
    config = configuration(LAYER, OTHER, LAYER)
    names = ["1/layer.tar", "2/layer.tar", "3/layer.tar"]
    files: dict[str, bytes | str] = {
        "1/VERSION": b"1.0",
        "1/json": b"{}",
        "1/layer.tar": pack(LAYER),
        "2/layer.tar": pack(OTHER),
        "3/layer.tar": "../1/layer.tar",
        "c.json": config,
        "manifest.json": docker_manifest("c.json", names, ["tool:1"]),
        "repositories": b"{}",
    }

    (loaded,) = load(other, archive(files))

    image = Image.read(other, loaded.descriptor)
    assert loaded.references == (Reference.parse("tool:1"),)
    assert image.id == Digest.of(config)
    assert [layer.descriptor.media_type for layer in image.layers] == [media_type] * 3
    for layer in image.layers:
        other.verify(layer.digest)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, Corrupt),
        ({"etc/passwd": b"x"}, Corrupt),
        ({"manifest.json": b"{}"}, Corrupt),
        ({"manifest.json": b"[{}]"}, Corrupt),
        ({"manifest.json": docker_manifest("c.json", [], [])}, Corrupt),
        ({"c.json": configuration(LAYER), "manifest.json": docker_manifest("c.json", [], [])}, Corrupt),
        ({"c.json": configuration(LAYER), "manifest.json": docker_manifest("c.json", ["l"], [])}, Corrupt),
        ({"c.json": b"x", "manifest.json": docker_manifest("c.json", ["l"], [])}, Corrupt),
        (
            {"c.json": configuration(LAYER), "l": OTHER, "manifest.json": docker_manifest("c.json", ["l"], [])},
            DigestMismatch,
        ),
        (
            {"c.json": configuration(LAYER), "l": "m", "m": "l", "manifest.json": docker_manifest("c.json", ["l"], [])},
            Corrupt,
        ),
        (
            {
                "c.json": configuration(LAYER),
                "l": "/etc/passwd",
                "manifest.json": docker_manifest("c.json", ["../../etc/passwd"], []),
            },
            Corrupt,
        ),
        (
            {"c.json": configuration(LAYER), "l": LAYER, "manifest.json": docker_manifest("c.json", ["l"], ["A B"])},
            Corrupt,
        ),
        ({"index.json": b"{}"}, Corrupt),
        ({f"blobs/sha256/{'0' * 64}": b"x"}, DigestMismatch),
        ({"blobs/sha256/short": b"x"}, Corrupt),
    ],
)
def test_damaged_and_hostile_archives(
    other: ContentStore, files: dict[str, bytes | str], error: type[EngineError]
) -> None:
    with pytest.raises(error):
        load(other, archive(files))
    assert list((other.root / "ingest").iterdir()) == []


def test_an_archive_without_a_blob_is_refused(store: ContentStore, other: ContentStore, tmp_path: Path) -> None:
    image = make_image(store, {"a": b"one"})
    save_layout(store, [(image, NAMES)], tmp_path / "layout")
    layer = Image.read(store, image).layers[0].digest
    (tmp_path / "layout/blobs/sha256" / layer.hex).unlink()

    with pytest.raises(Corrupt, match="lacks blob"):
        load_layout(other, tmp_path / "layout")
    manifest = store.read(Digest(image.digest))
    index = encode(Index(schema_version=2, manifests=[image]))
    with pytest.raises(Corrupt, match="does not have it"):
        load(other, archive({f"blobs/sha256/{image.digest[7:]}": manifest, "index.json": index}))


def test_a_damaged_blob_of_a_layout_is_refused(store: ContentStore, other: ContentStore, tmp_path: Path) -> None:
    image = make_image(store, {"a": b"one"})
    save_layout(store, [(image, NAMES)], tmp_path / "layout")
    layer = Image.read(store, image).layers[0]
    path = tmp_path / "layout/blobs/sha256" / layer.digest.hex
    path.write_bytes(bytes(layer.size))

    with pytest.raises(DigestMismatch):
        load_layout(other, tmp_path / "layout")
    assert not other.has(layer.digest)


def test_a_link_in_a_layout_is_not_followed(store: ContentStore, other: ContentStore, tmp_path: Path) -> None:
    image = make_image(store, {"a": b"one"})
    save_layout(store, [(image, NAMES)], tmp_path / "layout")
    path = tmp_path / "layout/blobs/sha256" / image.digest[7:]
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")

    with pytest.raises(Corrupt, match="lacks blob"):
        load_layout(other, tmp_path / "layout")


def test_the_platform_of_an_index_in_an_archive_is_chosen(store: ContentStore, other: ContentStore) -> None:
    machines = [LINUX, Platform("linux", "arm64")]
    images = [make_image(store, {"a": str(machine).encode()}, platform=machine) for machine in machines]
    data = encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=images))
    nested = {"mediaType": OCI_INDEX, "digest": Digest.of(data), "size": len(data)}
    nested["annotations"] = {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "tool:both"}
    files: dict[str, bytes | str] = {"index.json": json.dumps({"schemaVersion": 2, "manifests": [nested]}).encode()}
    files[f"blobs/sha256/{Digest.of(data).hex}"] = data
    for blob in Image.read(store, images[1]).blobs:  # as docker save does: the other platform is named and not there
        files[f"blobs/sha256/{blob.hex}"] = store.read(blob)

    (loaded,) = load(other, archive(files), platform=machines[1])

    assert (loaded.descriptor.digest, loaded.references) == (images[1].digest, (Reference.parse("tool:both"),))
    with pytest.raises(Corrupt):
        load(other, archive(files), platform=machines[0])
    with pytest.raises(ImageNotFound):
        load(other, archive(files), platform=Platform("linux", "s390x"))
