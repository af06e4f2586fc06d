"""The tables of the state file, and what their rows are."""

from __future__ import annotations

from jupyter_containers.records import dataclass

SCHEMA_VERSION = 3

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    digest TEXT PRIMARY KEY,            -- of the manifest
    image_id TEXT NOT NULL,             -- of the configuration
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,              -- of the manifest, bytes
    added INTEGER NOT NULL              -- ns since the epoch
) STRICT;
CREATE TABLE IF NOT EXISTS names (
    reference TEXT PRIMARY KEY,         -- in full: docker.io/library/alpine:latest
    digest TEXT NOT NULL REFERENCES images(digest)
) STRICT;
CREATE INDEX IF NOT EXISTS names_by_digest ON names(digest);
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,               -- of its image's manifest
    created INTEGER NOT NULL,           -- ns since the epoch
    record BLOB NOT NULL                -- engine.record.ContainerRecord as JSON
) STRICT;
CREATE INDEX IF NOT EXISTS containers_by_digest ON containers(digest);
CREATE TABLE IF NOT EXISTS addresses (
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    container TEXT NOT NULL,
    PRIMARY KEY (network, address)
) STRICT;
CREATE INDEX IF NOT EXISTS addresses_by_container ON addresses(container);
CREATE TABLE IF NOT EXISTS networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL                -- engine.network_record.NetworkRecord as JSON
) STRICT;
CREATE TABLE IF NOT EXISTS volumes (
    id TEXT PRIMARY KEY,                -- names its directory, and stays when it is renamed
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,           -- ns since the epoch
    record BLOB NOT NULL                -- engine.volumes.VolumeRecord as JSON
) STRICT;
CREATE TABLE IF NOT EXISTS volume_users (
    volume TEXT NOT NULL REFERENCES volumes(id),
    container TEXT NOT NULL,
    PRIMARY KEY (volume, container)
) STRICT;
CREATE INDEX IF NOT EXISTS volume_users_by_container ON volume_users(container);
"""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image in the store: sizes in bytes, ``added`` in ns since the epoch; ``names`` are full references."""

    digest: str
    image_id: str
    media_type: str
    size: int
    added: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """A container: ``record`` is the engine's JSON document."""

    id: str
    name: str
    digest: str
    created: int
    record: bytes


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume; an anonymous one has its id as its name. ``record`` is the engine's JSON document."""

    id: str
    name: str
    created: int
    record: bytes


def blob(value: object) -> bytes:
    """The value of a column of bytes."""
    assert isinstance(value, bytes)
    return value


def image_row(row: tuple[object, ...], names: list[str]) -> ImageRow:
    """An image with its names."""
    digest, image_id, media_type, size, added = row
    assert isinstance(size, int) and isinstance(added, int)  # noqa: PT018 - one invariant: the table is STRICT
    return ImageRow(str(digest), str(image_id), str(media_type), size, added, tuple(names))


def container_row(row: tuple[object, ...]) -> ContainerRow:
    """A container."""
    container, name, digest, created, record = row
    assert isinstance(created, int) and isinstance(record, bytes)  # noqa: PT018 - one invariant: the table is STRICT
    return ContainerRow(str(container), str(name), str(digest), created, record)


def volume_row(row: tuple[object, ...]) -> VolumeRow:
    """A volume."""
    identity, name, created, record = row
    assert isinstance(created, int) and isinstance(record, bytes)  # noqa: PT018 - one invariant: the table is STRICT
    return VolumeRow(str(identity), str(name), created, record)
