"""What the engine knows, in one SQLite file: image names, containers and the addresses they hold.

Several kernels, the server extension and the command line work on it at once: WAL mode, short transactions, one
writer at a time (``BEGIN IMMEDIATE``). Nothing here says whether a container runs: that is derived from its monitor
(``runtime/lifecycle.py``), so a killed process cannot leave a lie behind.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_containers.errors import Corrupt, NameInUse, PermissionDenied, SystemFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0

_SCHEMA = """
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


class State:
    """The database of one store. Thread-safe; one connection a process.

    Raises :class:`~jupyter_containers.errors.Corrupt` when the file is no database of this package.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._migrate()
        except sqlite3.OperationalError as error:
            raise PermissionDenied(
                f"cannot open the state file {path}: {error}",
                hint="check that this user can write there, and that the disk is neither full nor read-only",
            ) from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(
                f"the state file {path} is damaged: {error}",
                hint=f"move {path} away: images can be tagged again from the store's blobs",
            ) from error

    def _migrate(self) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise Corrupt(
                f"the state file {self._path} was written by a newer version of this package",
                hint="upgrade jupyter-containers, or use another store",
            )
        with self._write() as connection:
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise SystemFailure(
                f"cannot write the state file {self._path}: {error}",
                hint="check that the disk is neither full nor read-only, and that no other program holds the file",
            ) from error

    def _rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            return list(self._connection.execute(statement, values))

    # -- images ------------------------------------------------------------------------------------------------------

    def add_image(self, row: ImageRow) -> list[str]:
        """Record an image and point its names to it; returns the digests that lost a name by it."""
        with self._write() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                (row.digest, row.image_id, row.media_type, row.size, row.added),
            )
            lost = []
            for name in row.names:
                old = connection.execute("SELECT digest FROM names WHERE reference = ?", (name,)).fetchone()
                if old and old[0] != row.digest:
                    lost.append(str(old[0]))
                connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (name, row.digest))
            return lost

    def images(self) -> list[ImageRow]:
        """All images, newest first."""
        names: dict[str, list[str]] = {}
        with self._lock:
            for reference, digest in self._rows("SELECT reference, digest FROM names ORDER BY reference"):
                names.setdefault(str(digest), []).append(str(reference))
            rows = self._rows(
                "SELECT digest, image_id, media_type, size, added FROM images ORDER BY added DESC, digest"
            )
        return [_image_row(row, names.get(str(row[0]), [])) for row in rows]

    def image(self, digest: str) -> ImageRow | None:
        """The image with this manifest digest."""
        rows = self._rows("SELECT digest, image_id, media_type, size, added FROM images WHERE digest = ?", digest)
        if not rows:
            return None
        names = self._rows("SELECT reference FROM names WHERE digest = ? ORDER BY reference", digest)
        return _image_row(rows[0], [str(name[0]) for name in names])

    def image_named(self, reference: str) -> ImageRow | None:
        """The image with this full name."""
        rows = self._rows("SELECT digest FROM names WHERE reference = ?", reference)
        return self.image(str(rows[0][0])) if rows else None

    def images_with_id(self, prefix: str) -> list[ImageRow]:
        """The images whose id (hexadecimal digits) begins so."""
        rows = self._rows(
            "SELECT digest FROM images WHERE substr(image_id, 8, ?) = ? ORDER BY added DESC", len(prefix), prefix
        )
        return [image for row in rows if (image := self.image(str(row[0]))) is not None]

    def remove_name(self, reference: str) -> bool:
        """Take a name away; the image stays. Whether there was one."""
        with self._write() as connection:
            return connection.execute("DELETE FROM names WHERE reference = ?", (reference,)).rowcount > 0

    def remove_image(self, digest: str) -> None:
        """Forget an image and its names."""
        with self._write() as connection:
            connection.execute("DELETE FROM names WHERE digest = ?", (digest,))
            connection.execute("DELETE FROM images WHERE digest = ?", (digest,))

    # -- containers --------------------------------------------------------------------------------------------------

    def add_container(self, row: ContainerRow) -> None:
        """Record a container.

        Raises
        ------
        NameInUse
            when another one has the name.
        """
        with self._write() as connection:
            other = connection.execute("SELECT id FROM containers WHERE name = ?", (row.name,)).fetchone()
            if other:
                raise NameInUse(
                    f'the container name "{row.name}" is already in use by container {str(other[0])[:12]}',
                    hint=f"remove it (rm {row.name}) or choose another name",
                )
            connection.execute(
                "INSERT INTO containers VALUES (?, ?, ?, ?, ?)", (row.id, row.name, row.digest, row.created, row.record)
            )

    def update_container(self, container: str, record: bytes) -> None:
        """Replace a container's document."""
        with self._write() as connection:
            connection.execute("UPDATE containers SET record = ? WHERE id = ?", (record, container))

    def containers(self) -> list[ContainerRow]:
        """All containers, newest first."""
        rows = self._rows("SELECT id, name, digest, created, record FROM containers ORDER BY created DESC, id")
        return [_container_row(row) for row in rows]

    def find_containers(self, text: str) -> list[ContainerRow]:
        """Those of that id or name; where there is none, those whose id begins so."""
        columns = "SELECT id, name, digest, created, record FROM containers WHERE"
        rows = self._rows(f"{columns} id = ? OR name = ?", text, text) or self._rows(
            f"{columns} substr(id, 1, ?) = ?",
            len(text),
            text,
        )
        return [_container_row(row) for row in rows]

    def remove_container(self, container: str) -> None:
        """Forget a container and the addresses it held."""
        with self._write() as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (container,))
            connection.execute("DELETE FROM addresses WHERE container = ?", (container,))

    # -- addresses ---------------------------------------------------------------------------------------------------

    @contextmanager
    def allocation(self, network: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
        """Allocate addresses in one transaction: yields (held: address -> container, new: fill in to take).

        Entries deleted from the first mapping are released.
        """
        with self._write() as connection:
            rows = connection.execute("SELECT address, container FROM addresses WHERE network = ?", (network,))
            held = {str(address): str(container) for address, container in rows}
            before, taken = set(held), dict[str, str]()
            yield held, taken
            for address in before - set(held):
                connection.execute("DELETE FROM addresses WHERE network = ? AND address = ?", (network, address))
            for address, container in taken.items():
                connection.execute("INSERT INTO addresses VALUES (?, ?, ?)", (network, address, container))

    def release_addresses(self, container: str) -> None:
        """Give back what a container held."""
        with self._write() as connection:
            connection.execute("DELETE FROM addresses WHERE container = ?", (container,))


def _image_row(row: tuple[object, ...], names: list[str]) -> ImageRow:
    digest, image_id, media_type, size, added = row
    assert isinstance(size, int) and isinstance(added, int)  # noqa: PT018 - one invariant: the table is STRICT
    return ImageRow(str(digest), str(image_id), str(media_type), size, added, tuple(names))


def _container_row(row: tuple[object, ...]) -> ContainerRow:
    container, name, digest, created, record = row
    assert isinstance(created, int) and isinstance(record, bytes)  # noqa: PT018 - one invariant: the table is STRICT
    return ContainerRow(str(container), str(name), str(digest), created, record)
