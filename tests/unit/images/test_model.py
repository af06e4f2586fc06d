from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import msgspec
import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import BlobNotFound, Corrupt, ImageNotFound, InvalidInput
from jupyter_containers.images.model import Image, parse_time, platforms, select_platform
from jupyter_containers.images.mutate import (
    add_labels,
    append_history,
    append_layer,
    empty_config,
    make_manifest,
    set_container_config,
    timestamp,
    write_image,
)
from jupyter_containers.oci.image_spec import (
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    PlatformSpec,
    RootFS,
    encode,
)
from jupyter_containers.oci.names import Digest, Platform, chain_id
from tests.support.images import CREATED, LINUX, make_image

if TYPE_CHECKING:
    from pathlib import Path

A, B = Digest(f"sha256:{'a' * 64}"), Digest(f"sha256:{'b' * 64}")


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "store")
    store.ensure()
    return store


def entry(platform: str | None, name: str = "a", **more: object) -> Descriptor:
    spec = None
    if platform is not None:
        parsed = Platform.parse(platform)
        spec = PlatformSpec(architecture=parsed.architecture, os=parsed.os, variant=parsed.variant)
    plain = Descriptor(OCI_MANIFEST, f"sha256:{name * 64}", 1, platform=spec)
    return msgspec.structs.replace(plain, **more)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_an_image_is_its_documents_joined(store: ContentStore) -> None:
    descriptor = make_image(store, {"a": b"1"}, {"b": b"2"}, compressed=[1])

    image = Image.read(store, descriptor)

    diff_ids = [layer.diff_id for layer in image.layers]
    assert image.digest == descriptor.digest
    assert image.id == image.manifest.config.digest
    assert image.platform == LINUX
    assert image.chain_ids == (diff_ids[0], chain_id(diff_ids))
    assert image.layers[0].digest == diff_ids[0]
    assert image.layers[1].digest != diff_ids[1]
    assert image.size == sum(store.size(blob) for blob in image.blobs)
    assert image.created == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [step.layer for step in image.history] == [*image.layers, None]
    assert [step.created_by for step in image.history] == ["layer 0", "layer 1", "CMD"]


def test_layers_that_the_history_does_not_tell_of_are_steps(store: ContentStore) -> None:
    image = Image.read(store, make_image(store, {"a": b"1"}, {"b": b"2"}))
    short = msgspec.structs.replace(image.config, history=[History(created_by="x", empty_layer=True)])

    steps = Image(image.descriptor, image.manifest, short, image.layers).history

    assert [(step.created_by, step.layer) for step in steps] == [
        ("x", None),
        ("", image.layers[0]),
        ("", image.layers[1]),
    ]


def test_a_layer_that_occurs_twice_counts_once(store: ContentStore) -> None:
    image = Image.read(store, make_image(store, {"a": b"1"}, {"a": b"1"}))

    assert image.layers[0].digest == image.layers[1].digest
    assert image.layers[0].chain_id != image.layers[1].chain_id
    assert image.size == sum(store.size(blob) for blob in image.blobs)


def test_documents_that_contradict_each_other_are_corrupt(store: ContentStore) -> None:
    config = encode(ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=[A, B])))
    manifest = encode(
        make_manifest(Descriptor(OCI_CONFIG, store.write(config), len(config)), [Descriptor(OCI_LAYER, A, 1)])
    )
    with pytest.raises(Corrupt, match="has 1 layers and digests for 2"):
        Image.read(store, Descriptor(OCI_MANIFEST, store.write(manifest), len(manifest)))


def test_an_index_is_no_image(store: ContentStore) -> None:
    with pytest.raises(Corrupt, match="not the manifest"):
        Image.read(store, Descriptor(OCI_INDEX, A, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_times(text: str | None, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def test_what_is_no_time() -> None:
    with pytest.raises(Corrupt):
        parse_time("yesterday")


# -- choosing a platform ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/arm64", ["linux/amd64", "linux/arm64/v8"], 1),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], 1),
        ("linux/amd64/v3", ["linux/amd64"], 0),
        ("linux/amd64", [None], 0),
    ],
)
def test_the_nearest_platform_is_chosen(wanted: str, there: list[str | None], chosen: int) -> None:
    manifests = [entry(platform) for platform in there]

    assert select_platform(manifests, Platform.parse(wanted), name="tool") is manifests[chosen]


@pytest.mark.parametrize(("wanted", "there"), [("linux/arm/v6", "linux/arm/v7"), ("windows/amd64", "linux/amd64")])
def test_what_would_not_run_is_not_chosen(wanted: str, there: str) -> None:
    with pytest.raises(ImageNotFound, match=f"tool has no image for {wanted}; it has {there}"):
        select_platform([entry(there)], Platform.parse(wanted), name="tool")


def test_attestations_are_no_images() -> None:
    unknown = entry("unknown/unknown", "b")
    attestation = entry("linux/amd64", "c", annotations={"vnd.docker.reference.type": "attestation-manifest"})
    image = entry("linux/amd64")

    assert select_platform([unknown, attestation, image], LINUX, name="tool") is image
    assert platforms([unknown, attestation, image]) == [LINUX]


# -- changing --------------------------------------------------------------------------------------------------------


def test_layers_and_steps_are_appended_to_a_copy() -> None:
    empty = empty_config(LINUX)
    one = append_layer(empty, A, History(created=CREATED, created_by="RUN"))
    two = append_history(one, History(created="2026-02-02T00:00:00Z", created_by="ENV"))

    assert (empty.diff_ids, empty.history) == ([], [])
    assert one.diff_ids == [A]
    assert two.diff_ids == [A]
    assert [step.empty_layer for step in two.history or []] == [None, True]
    assert two.created == "2026-02-02T00:00:00Z"


def test_the_order_in_which_maps_were_filled_does_not_count(store: ContentStore) -> None:
    digests = set()
    for labels in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        settings = ContainerConfig(volumes={key: {} for key in labels}, exposed_ports={key: {} for key in labels})
        config = add_labels(set_container_config(empty_config(LINUX), settings), labels)
        digests.add(write_image(store, config, [], annotations=labels).digest)

    assert len(digests) == 1


def test_labels_are_replaced_one_by_one() -> None:
    config = add_labels(add_labels(empty_config(LINUX), {"a": "1", "b": "1"}), {"b": "2"})

    assert config.config is not None
    assert config.config.labels == {"a": "1", "b": "2"}


def test_an_image_needs_its_layers(store: ContentStore) -> None:
    config = append_layer(empty_config(LINUX), A, History(created_by="x"))

    with pytest.raises(BlobNotFound):
        write_image(store, config, [Descriptor(OCI_LAYER, A, 1)])
    with pytest.raises(InvalidInput, match="names 1 layers and there are 0"):
        write_image(store, config, [])
    with pytest.raises(InvalidInput, match="tells of 0 layers"):
        write_image(
            store,
            msgspec.structs.replace(config, history=[History(empty_layer=True)]),
            [Descriptor(OCI_LAYER, store.write(b"x"), 1)],
        )


def test_layers_of_docker_become_those_of_oci() -> None:
    manifest = make_manifest(Descriptor(OCI_CONFIG, A, 1), [Descriptor(DOCKER_LAYER_GZIP, B, 2)])

    assert manifest.layers == [Descriptor(OCI_LAYER_GZIP, B, 2)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_767_323_045, "2026-01-02T03:04:05Z"), (0.5, "1970-01-01T00:00:00.500000Z")],
)
def test_timestamps(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text
    assert parse_time(text) == datetime.fromtimestamp(seconds, UTC)
