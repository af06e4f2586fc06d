"""What the engine knows, in one SQLite file: image names, containers, networks, the addresses held in them, volumes.

Several kernels, the server extension and the command line work on it at once: WAL mode, short transactions, one
writer at a time (``BEGIN IMMEDIATE``). Nothing here says whether a container runs: that is derived from its monitor
(``runtime/lifecycle.py``), so a killed process cannot leave a lie behind.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    Corrupt,
    NameInUse,
    NotFound,
    PermissionDenied,
    SystemFailure,
)
from jupyter_containers.state import changes
from jupyter_containers.state.rows import (
    SCHEMA,
    SCHEMA_VERSION,
    ContainerRow,
    ImageRow,
    VolumeRow,
    blob,
    container_row,
    image_row,
    volume_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

BUSY_SECONDS = 30.0


class NewerState(Corrupt):
    """The file was written by a newer version of this package."""


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
            self._connection.close()
            raise Corrupt(
                f"the state file {path} is damaged: {error}",
                hint="the next command repairs it",
            ) from error

    def _migrate(self) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise NewerState(
                f"the state file {self._path} was written by a newer version of this package",
                hint="upgrade jupyter-containers, or use another store",
            )
        with self._write() as connection:
            for statement in SCHEMA.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def sync(self) -> None:
        """Have what was written survive a power failure: what is in the write-ahead log goes to the file."""
        with self._lock, self._told():
            self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _write(self) -> Iterator[changes.Recorder]:
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            recorder = changes.Recorder(self._connection)
            try:
                yield recorder
                changes.keep(self._path, recorder.statements)
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
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: sqlite3.DatabaseError) -> Exception:
        """What to raise; who opens the file next looks after it."""
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            return error
        with suppress(OSError), self._suspicion(self._path).open("x"):
            pass
        return Corrupt(
            f"the state file {self._path} is damaged: {error}",
            hint="end what uses this store (restart the notebook); the next command repairs the file",
        )

    @staticmethod
    def _suspicion(path: Path) -> Path:
        return path.with_name(f"{path.name}-damaged")

    @classmethod
    def suspected(cls, path: Path) -> bool:
        """Whether a process has found the file damaged."""
        return cls._suspicion(path).exists()

    def copy_to(self, path: Path) -> None:
        """Write a copy of the file, whole, whatever other processes do meanwhile; :meth:`copied` says it is in place.

        Raises
        ------
        SystemFailure, Corrupt
            when it cannot be written, or the file is damaged.
        """
        with self._lock, self._told(), closing(sqlite3.connect(path)) as target:
            target.execute("PRAGMA synchronous=OFF")
            with self._write():
                changes.set_aside(self._path)
            self._connection.backup(target)
            (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)

    def copied(self) -> None:
        """The copy is where it belongs: the changes that it holds are kept no longer."""
        changes.forget(self._path)

    def changed_much(self) -> bool:
        """Whether so much has changed since the last copy that it is time for another one."""
        return changes.is_due(self._path)

    def _rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            try:
                return list(self._connection.execute(statement, values))
            except sqlite3.OperationalError as error:
                raise SystemFailure(f"cannot read the state file {self._path}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from error

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
        return [image_row(row, names.get(str(row[0]), [])) for row in rows]

    def image(self, digest: str) -> ImageRow | None:
        """The image with this manifest digest."""
        rows = self._rows("SELECT digest, image_id, media_type, size, added FROM images WHERE digest = ?", digest)
        if not rows:
            return None
        names = self._rows("SELECT reference FROM names WHERE digest = ? ORDER BY reference", digest)
        return image_row(rows[0], [str(name[0]) for name in names])

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

    def add_container(
        self, row: ContainerRow, *, volumes: Sequence[str] = (), new_volumes: Sequence[VolumeRow] = ()
    ) -> None:
        """Record a container, the volumes that are made with it, and which volumes it uses (their ids), all or nothing.

        Raises
        ------
        NameInUse
            when another one has the name.
        NotFound
            when a volume was removed meanwhile.
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
            for volume in new_volumes:
                _insert_volume(connection, volume)
            _use_volumes(connection, row.id, volumes)

    def change_container(self, container: str, change: Callable[[bytes], bytes]) -> bytes | None:
        """Replace a container's document by what ``change`` makes of it; no other process changes it meanwhile.

        Returns the new document; None when the container is gone.
        """
        with self._write() as connection:
            return _change(connection, container, change)

    def reuse_container(
        self,
        container: str,
        change: Callable[[bytes], bytes],
        *,
        volumes: Sequence[str],
        new_volumes: Sequence[VolumeRow] = (),
    ) -> bytes | None:
        """The same, together with which volumes it uses from now on; ``new_volumes`` are made with that.

        Raises
        ------
        NotFound
            when a volume was removed meanwhile.
        """
        with self._write() as connection:
            changed = _change(connection, container, change)
            if changed is None:
                return None
            connection.execute("DELETE FROM volume_users WHERE container = ?", (container,))
            for volume in new_volumes:
                _insert_volume(connection, volume)
            _use_volumes(connection, container, volumes)
            return changed

    def rename_container(self, container: str, name: str, change: Callable[[bytes], bytes]) -> bytes | None:
        """Give a container another name, and the document that says so; as :meth:`change_container`.

        Raises
        ------
        NameInUse
            when another one has the name.
        """
        with self._write() as connection:
            other = connection.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
            if other:
                raise NameInUse(
                    f'the container name "{name}" is already in use by container {str(other[0])[:12]}',
                    hint="choose another name",
                )
            connection.execute("UPDATE containers SET name = ? WHERE id = ?", (name, container))
            return _change(connection, container, change)

    def containers(self, ids: Collection[str] | None = None) -> list[ContainerRow]:
        """All containers, or those of these ids, newest first."""
        columns = "SELECT id, name, digest, created, record FROM containers"
        if ids is None:
            rows = self._rows(f"{columns} ORDER BY created DESC, id")
        else:
            rows = [row for each in ids for row in self._rows(f"{columns} WHERE id = ?", each)]
        found = [container_row(row) for row in rows]
        return found if ids is None else sorted(found, key=lambda row: (-row.created, row.id))

    def container_ids(self) -> set[str]:
        """The ids of all containers."""
        return {str(row[0]) for row in self._rows("SELECT id FROM containers")}

    def find_containers(self, text: str) -> list[ContainerRow]:
        """Those of that id or name; where there is none, those whose id begins so."""
        columns = "SELECT id, name, digest, created, record FROM containers WHERE"
        rows = self._rows(f"{columns} id = ? OR name = ?", text, text) or self._rows(
            f"{columns} id >= ? AND id < ?", text, f"{text}~"
        )
        return [container_row(row) for row in rows]

    def remove_container(self, container: str, *, volumes: Sequence[str] = ()) -> list[str]:
        """Forget a container and the addresses it held; also those of ``volumes`` (ids) that no other container uses.

        Returns the ids of the volumes that were forgotten.
        """
        with self._write() as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (container,))
            connection.execute("DELETE FROM addresses WHERE container = ?", (container,))
            connection.execute("DELETE FROM volume_users WHERE container = ?", (container,))
            unused = "DELETE FROM volumes WHERE id = ? AND id NOT IN (SELECT volume FROM volume_users)"
            return [volume for volume in volumes if connection.execute(unused, (volume,)).rowcount]

    # -- addresses ---------------------------------------------------------------------------------------------------

    @contextmanager
    def allocation(self, network: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
        """Allocate addresses in one transaction: yields (held: address -> container, new: fill in to take).

        Entries deleted from the first mapping are released. Raises ContainerNotFound for a container that is gone.
        """
        with self._write() as connection:
            rows = connection.execute("SELECT address, container FROM addresses WHERE network = ?", (network,))
            held = {str(address): str(container) for address, container in rows}
            before, taken = set(held), dict[str, str]()
            yield held, taken
            for address in before - set(held):
                connection.execute("DELETE FROM addresses WHERE network = ? AND address = ?", (network, address))
            for address, container in taken.items():
                if not connection.execute("SELECT 1 FROM containers WHERE id = ?", (container,)).fetchone():
                    raise ContainerNotFound(f"no such container: {container[:12]}", hint="it was removed meanwhile")
                connection.execute("INSERT INTO addresses VALUES (?, ?, ?)", (network, address, container))

    def release_address(self, network: str, container: str) -> None:
        """Give back what a container held in one network."""
        with self._write() as connection:
            connection.execute("DELETE FROM addresses WHERE network = ? AND container = ?", (network, container))

    # -- networks ----------------------------------------------------------------------------------------------------

    def add_network(self, network: str, name: str, record: bytes) -> None:
        """Record a network.

        Raises
        ------
        NameInUse
            when another one has the name.
        """
        with self._write() as connection:
            if connection.execute("SELECT 1 FROM networks WHERE name = ?", (name,)).fetchone():
                raise NameInUse(
                    f"network with name {name} already exists",
                    hint=f"remove it (network rm {name}) or choose another name",
                )
            connection.execute("INSERT INTO networks VALUES (?, ?, ?)", (network, name, record))

    def networks(self) -> list[bytes]:
        """The documents of all networks, by name."""
        return [blob(row[0]) for row in self._rows("SELECT record FROM networks ORDER BY name")]

    def remove_network(self, network: str, addresses: str) -> None:
        """Forget a network and the addresses held in it, which are kept under the name ``addresses``."""
        with self._write() as connection:
            connection.execute("DELETE FROM networks WHERE id = ?", (network,))
            connection.execute("DELETE FROM addresses WHERE network = ?", (addresses,))

    def release_addresses(self, container: str) -> None:
        """Give back what a container held."""
        with self._write() as connection:
            connection.execute("DELETE FROM addresses WHERE container = ?", (container,))

    # -- volumes -----------------------------------------------------------------------------------------------------

    def add_volume(self, row: VolumeRow) -> None:
        """Record a volume; raises NameInUse when another one has the name."""
        with self._write() as connection:
            _insert_volume(connection, row)

    def volumes(self) -> list[VolumeRow]:
        """All volumes by name."""
        return [volume_row(row) for row in self._rows("SELECT id, name, created, record FROM volumes ORDER BY name")]

    def volume(self, text: str) -> VolumeRow | None:
        """The volume of this name, or of this id."""
        query = "SELECT id, name, created, record FROM volumes WHERE name = ?1 OR id = ?1 ORDER BY name = ?1 DESC"
        rows = self._rows(query, text)
        return volume_row(rows[0]) if rows else None

    def volume_users(self, volume: str) -> list[tuple[str, str]]:
        """Ids and names of the containers that use a volume."""
        query = "SELECT id, name FROM containers JOIN volume_users ON id = container WHERE volume = ? ORDER BY name"
        return [(str(identity), str(name)) for identity, name in self._rows(query, volume)]

    def rename_volume(self, volume: str, name: str) -> None:
        """Give a volume another name; raises NameInUse when another one has it."""
        with self._write() as connection:
            _check_volume_name(connection, name)
            connection.execute("UPDATE volumes SET name = ? WHERE id = ?", (name, volume))

    def remove_volume(self, volume: VolumeRow) -> bool:
        """Forget a volume, and say whether it was there; raises Conflict when a container uses it."""
        with self._write() as connection:
            query = "SELECT name FROM containers JOIN volume_users ON id = container WHERE volume = ? ORDER BY name"
            users = [str(row[0]) for row in connection.execute(query, (volume.id,))]
            if users:
                raise Conflict(
                    f"the volume {volume.name} is in use by container {', '.join(users)}",
                    hint=f"remove the container first: rm {users[0]}",
                )
            return connection.execute("DELETE FROM volumes WHERE id = ?", (volume.id,)).rowcount > 0


def _change(connection: changes.Recorder, container: str, change: Callable[[bytes], bytes]) -> bytes | None:
    row = connection.execute("SELECT record FROM containers WHERE id = ?", (container,)).fetchone()
    if row is None:
        return None
    record = change(blob(row[0]))
    connection.execute("UPDATE containers SET record = ? WHERE id = ?", (record, container))
    return record


def _use_volumes(connection: changes.Recorder, container: str, volumes: Sequence[str]) -> None:
    for identity in volumes:
        if not connection.execute("SELECT 1 FROM volumes WHERE id = ?", (identity,)).fetchone():
            raise NotFound(f"the volume {identity[:12]} was removed meanwhile", hint="run it again")
        connection.execute("INSERT OR IGNORE INTO volume_users VALUES (?, ?)", (identity, container))


def _check_volume_name(connection: changes.Recorder, name: str) -> None:
    if connection.execute("SELECT 1 FROM volumes WHERE name = ?", (name,)).fetchone():
        raise NameInUse(f'the volume name "{name}" is already in use', hint="choose another name")


def _insert_volume(connection: changes.Recorder, row: VolumeRow) -> None:
    _check_volume_name(connection, row.name)
    connection.execute("INSERT INTO volumes VALUES (?, ?, ?, ?)", (row.id, row.name, row.created, row.record))
