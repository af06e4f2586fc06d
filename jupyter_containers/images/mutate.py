"""New images out of old ones: pure functions on documents, and the one that writes them.

An image is never changed; each function returns a new configuration. The bytes that :func:`write_image` stores are
canonical: equal values give equal digests on every machine.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from jupyter_containers.errors import InvalidInput
from jupyter_containers.oci.image_spec import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    PlatformSpec,
    RootFS,
    encode,
)
from jupyter_containers.oci.names import Digest, Platform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_containers.content.store import ContentStore

_OCI_LAYER_TYPE = {DOCKER_LAYER: OCI_LAYER, DOCKER_LAYER_GZIP: OCI_LAYER_GZIP}
_Value = TypeVar("_Value")


def timestamp(seconds: float) -> str:
    """The RFC 3339 text for seconds since 1970, as ``created`` has it: whole seconds where they are whole."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def empty_config(platform: Platform) -> ImageConfig:
    """The configuration of ``FROM scratch``: no layers, no history."""
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        rootfs=RootFS(diff_ids=[]),
        config=ContainerConfig(),
        history=[],
    )


def append_layer(config: ImageConfig, diff_id: Digest, history: History) -> ImageConfig:
    """One more layer on top, with the history entry that says what made it."""
    return msgspec.structs.replace(
        config,
        rootfs=RootFS(diff_ids=[*config.diff_ids, diff_id]),
        history=[*(config.history or []), msgspec.structs.replace(history, empty_layer=None)],
        created=history.created,
    )


def append_history(config: ImageConfig, history: History) -> ImageConfig:
    """One more step that changed no file."""
    entry = msgspec.structs.replace(history, empty_layer=True)
    return msgspec.structs.replace(config, history=[*(config.history or []), entry], created=history.created)


def set_container_config(config: ImageConfig, settings: ContainerConfig) -> ImageConfig:
    """The same image with other settings for its containers."""
    return msgspec.structs.replace(config, config=settings)


def add_labels(config: ImageConfig, labels: Mapping[str, str]) -> ImageConfig:
    """The same image with more labels; those it has already are replaced."""
    settings = config.config or ContainerConfig()
    merged = {**(settings.labels or {}), **labels}
    return set_container_config(config, msgspec.structs.replace(settings, labels=merged))


def canonical(config: ImageConfig) -> ImageConfig:
    """The same configuration with its maps sorted, so that the order in which they were filled does not count."""
    if config.config is None:
        return config
    settings = msgspec.structs.replace(
        config.config,
        exposed_ports=_sorted(config.config.exposed_ports),
        volumes=_sorted(config.config.volumes),
        labels=_sorted(config.config.labels),
    )
    return msgspec.structs.replace(config, config=settings)


def make_manifest(
    config: Descriptor, layers: Sequence[Descriptor], *, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """An OCI manifest. Docker's media types of layers become OCI's: the bytes they name are the same."""
    return Manifest(
        schema_version=2,
        media_type=OCI_MANIFEST,
        config=config,
        layers=[_as_oci(layer) for layer in layers],
        annotations=_sorted(dict(annotations)) if annotations else None,
    )


def write_image(
    store: ContentStore,
    config: ImageConfig,
    layers: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Store an image whose layers are in the store and return the descriptor of its manifest.

    The manifest is written last: when it is there, everything it names is there.

    Raises
    ------
    InvalidInput
        when the layers are not as many as the configuration says.
    BlobNotFound
        when a layer is not in the store.
    """
    _check(config, layers)
    for layer in layers:
        store.size(Digest(layer.digest))
    config_bytes = encode(canonical(config))
    config_digest = store.write(config_bytes)
    described = Descriptor(media_type=OCI_CONFIG, digest=config_digest, size=len(config_bytes))
    manifest_bytes = encode(make_manifest(described, layers, annotations=annotations))
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=store.write(manifest_bytes),
        size=len(manifest_bytes),
        platform=PlatformSpec(architecture=config.architecture, os=config.os, variant=config.variant),
    )


def _check(config: ImageConfig, layers: Sequence[Descriptor]) -> None:
    count = len(config.diff_ids)
    if len(layers) != count:
        raise InvalidInput(f"the configuration names {count} layers and there are {len(layers)}")
    if config.history:
        made = sum(not entry.empty_layer for entry in config.history)
        if made != count:
            raise InvalidInput(f"the history tells of {made} layers and there are {count}")


def _as_oci(layer: Descriptor) -> Descriptor:
    return Descriptor(
        media_type=_OCI_LAYER_TYPE.get(layer.media_type, layer.media_type),
        digest=layer.digest,
        size=layer.size,
        urls=layer.urls,
        annotations=layer.annotations,
    )


def _sorted(mapping: dict[str, _Value] | None) -> dict[str, _Value] | None:
    return None if mapping is None else dict(sorted(mapping.items()))
