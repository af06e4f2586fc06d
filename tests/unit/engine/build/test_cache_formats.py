"""What a carried cache is written as, and that one that does not hold together is refused."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jupyter_containers.build.cache import CacheRecord
from jupyter_containers.build.interfaces import Layer
from jupyter_containers.build.keys import Material
from jupyter_containers.content.store import ContentStore
from jupyter_containers.engine.build.cache_formats import CarriedCache, read_records, write_manifest
from jupyter_containers.engine.build.cache_transfer import ImportedCache
from jupyter_containers.errors import Corrupt, InvalidReference, Unsupported, UsageError
from jupyter_containers.events import Notice
from jupyter_containers.oci.image_spec import OCI_LAYER, Descriptor, Manifest
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jupyter_containers.events import Event


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    opened = ContentStore(tmp_path / "content")
    opened.ensure()
    return opened


def record(store: ContentStore, number: int) -> CacheRecord:
    material = Material("run", {"command": str(number)}, {}, {}, {})
    digest = store.write(b"layer %d" % number)
    return CacheRecord(
        material.key(), material, Layer(Descriptor(OCI_LAYER, digest, 7), digest), "", "", "", 1.0, text="RUN"
    )


def changed(store: ContentStore, manifest: Manifest, change: Callable[[Any], None]) -> bytes:
    document = json.loads(gzip.decompress(store.read(Digest(manifest.layers[0].digest))))
    change(document)
    return gzip.compress(json.dumps(document).encode())


def test_records_come_back_and_the_same_ones_are_the_same_bytes(store: ContentStore) -> None:
    records = [record(store, number) for number in (1, 2)]
    manifest = write_manifest(store, records)
    assert write_manifest(store, records) == manifest
    found = read_records(store.read(Digest(manifest.layers[0].digest)), lambda _ids: manifest.layers[1:])
    assert {key: (was.material, was.text) for key, (was, _blob) in found.items()} == {
        was.key: (was.material, was.text) for was in records
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["entries"][0].update(key="0" * 64),
        lambda document: document["entries"][0]["material"]["facts"].update(command="rm -rf /"),
        lambda document: document["entries"][0].update(layer=7),
        lambda document: document["diff_ids"].pop(),
        lambda document: document.update(version=2),
        lambda document: document.pop("entries"),
    ],
)
def test_what_does_not_hold_together_is_refused(store: ContentStore, change: Callable[[Any], None]) -> None:
    manifest = write_manifest(store, [record(store, 1)])
    with pytest.raises(Corrupt, match="cache"):
        read_records(changed(store, manifest, change), lambda _ids: manifest.layers[1:])


def test_a_layer_that_is_another_than_its_record_says_is_not_used(store: ContentStore, tmp_path: Path) -> None:
    mine = record(store, 1)
    manifest = write_manifest(store, [mine])
    poison = gzip.compress(b"poison")
    digest = store.write(poison)
    forged = Descriptor(OCI_LAYER + "+gzip", digest, len(poison))
    manifest = msgspec.structs.replace(manifest, layers=[manifest.layers[0], forged])
    other = ContentStore(tmp_path / "other")
    other.ensure()

    class Origin:
        def manifest(self) -> Manifest:
            return manifest

        def fetch(self, blob: Descriptor) -> None:
            other.write(store.read(Digest(blob.digest)))

    events: list[Event] = []
    cache = ImportedCache("there", other, Origin(), events.append)
    assert cache.find(mine.key) is None
    assert not other.has(Digest.of(b"poison"))
    assert [event.level for event in events if isinstance(event, Notice)] == ["warning"]


@pytest.mark.parametrize(
    ("text", "direction", "expected"),
    [
        ("host/name:tag", "from", CarriedCache("registry", "host/name:tag")),
        ("type=local,src=/d", "from", CarriedCache("local", "/d")),
        ("type=local,dest=/d,mode=max", "to", CarriedCache("local", "/d", everything=True)),
        ("type=registry,ref=n,ignore-error=true", "to", CarriedCache("registry", "n", ignore_error=True)),
        ("type=inline", "to", CarriedCache("inline", "")),
        ("type=inline", "from", Unsupported),
        ("type=local,dest=/d", "from", UsageError),
        ("type=local,dest=/d,mode=some", "to", UsageError),
        ("type=registry,ref=UPPER CASE", "to", InvalidReference),
    ],
)
def test_how_it_is_written(text: str, direction: str, expected: CarriedCache | type[Exception]) -> None:
    if isinstance(expected, CarriedCache):
        assert CarriedCache.parse(text, direction) == expected
        return
    with pytest.raises(expected):
        CarriedCache.parse(text, direction)
