"""The build cache: what was made from which material, in the SQLite file of the store.

Three tables, usable by several processes at once (WAL, short transactions) and safe against being killed:

- *records*: key of a step -> the layer it made, with the material of the key;
- *files*: a file of a build context as it was last seen -> the digest of its content, so that unchanged files are not
  read again;
- *selections*: files chosen from a stack of layers -> their digests; a stack never changes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from jupyter_containers import documents
from jupyter_containers.build import cache_schema, ledger
from jupyter_containers.build.interfaces import Layer
from jupyter_containers.build.keys import Material
from jupyter_containers.errors import Corrupt, PermissionDenied
from jupyter_containers.oci.image_spec import Descriptor, encode
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

BUSY_SECONDS = 30.0
SELECTIONS_KEPT = 2_000
"""So many selections are remembered, the latest."""
REMOVED_KEPT = 10_000
"""So many keys of removed records are remembered, the latest."""
_FILES = msgspec.msgpack.Decoder(dict[bytes, bytes])


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A step that was made: ``layer`` is None when it changed nothing; times in ns, ``seconds`` it took.

    ``family`` is what was built (context, file, name), ``place`` where the instruction stands in it, ``command`` its
    text: to find what to compare a missing step with.
    """

    key: str
    material: Material
    layer: Layer | None
    command: str
    family: str
    place: str
    seconds: float
    created: int = 0
    used: int = 0
    text: str = ""


class CachedStep(NamedTuple):
    """A step as listings have it: ``uses`` counts how often it was taken again, times are in ns."""

    key: str
    text: str
    layer: Layer | None
    created: int
    used: int
    uses: int


class CacheStore(Protocol):
    """What the builder remembers between builds. Thread-safe."""

    ledger: ledger.Ledger

    def get(self, key: str) -> CacheRecord | None:
        """The step of that key."""
        ...

    def step(self, key: str) -> CachedStep | None:
        """The same without what it depends on, which may be much."""
        ...

    def put(self, record: CacheRecord) -> None:
        """Keep a step; one of the same key is replaced."""
        ...

    def touch(self, keys: Iterable[str]) -> None:
        """Note that the steps were used now."""
        ...

    def similar(self, family: str, place: str, command: str) -> CacheRecord | None:
        """The step that had this text, or stood in this place, when the family was last built."""
        ...

    def was_removed(self, key: str) -> bool:
        """Whether there was a step of that key, as far as is remembered."""
        ...

    def files(self, root: str, directory: bytes) -> dict[bytes, bytes]:
        """What is known of the files in a directory of a context: name -> what :meth:`keep_files` was given."""
        ...

    def keep_files(self, root: str, directories: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
        """Remember the files of directories of a context, in place of what was known of these."""
        ...

    def selection(self, key: str) -> dict[str, str] | None:
        """The digests of files chosen from a stack of layers."""
        ...

    def keep_selection(self, key: str, files: Mapping[str, str]) -> None:
        """Remember them."""
        ...


class SqliteCache:
    """:class:`CacheStore` in a SQLite file, which may be the one of the engine's state; None: in memory.

    Raises :class:`~jupyter_containers.errors.Corrupt` when the file is no database.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.RLock()
        self.ledger = ledger.Ledger(self._write, self._rows)
        try:
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            cache_schema.prepare(self._connection)
        except sqlite3.OperationalError as error:
            raise PermissionDenied(f"cannot open the build cache {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"the build cache {path} is damaged: {error}", hint=f"move {path} away") from error

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            return list(self._connection.execute(statement, values))

    # -- records -----------------------------------------------------------------------------------------------------

    _STEPS = "SELECT key, text, diff_id, blob, created, used, uses FROM build_records"
    _COLUMNS = "key, command, family, place, material, diff_id, blob, seconds, created, used"

    def get(self, key: str) -> CacheRecord | None:
        """The step of that key."""
        rows = self._rows(f"SELECT {self._COLUMNS} FROM build_records WHERE key = ?", key)  # noqa: S608 - constant
        return _record(rows[0]) if rows else None

    def step(self, key: str) -> CachedStep | None:
        """The same without what it depends on, which may be much."""
        rows = self._rows(f"{self._STEPS} WHERE key = ?", key)
        return _step(rows[0]) if rows else None

    def put(self, record: CacheRecord) -> None:
        """Keep a step; one of the same key is replaced."""
        now = time.time_ns()
        layer = record.layer
        values = (
            record.key,
            record.command,
            record.family,
            record.place,
            zlib.compress(record.material.encode(), 1),
            layer.diff_id if layer else "",
            encode(layer.blob) if layer else b"",
            record.seconds,
            record.created or now,
            now,
            record.text,
        )
        with self._write() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO build_records ({self._COLUMNS}, text) "  # noqa: S608 - constant
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            connection.execute("DELETE FROM build_removed WHERE key = ?", (record.key,))

    def touch(self, keys: Iterable[str]) -> None:
        """Note that the steps were used now."""
        now = time.time_ns()
        with self._write() as connection:
            connection.executemany(
                "UPDATE build_records SET used = ?, uses = uses + 1 WHERE key = ?", [(now, key) for key in keys]
            )

    def similar(self, family: str, place: str, command: str) -> CacheRecord | None:
        """The step that had this text, or stood in this place, when the family was last built.

        The same text in the same place is preferred, then the same text elsewhere (the instruction moved), then
        another instruction in the same place (it was edited).
        """
        rows = self._rows(
            f"SELECT {self._COLUMNS} FROM build_records WHERE family = ? AND (command = ? OR place = ?) "  # noqa: S608 - constant
            "ORDER BY command = ? DESC, place = ? DESC, used DESC LIMIT 1",
            family,
            command,
            place,
            command,
            place,
        )
        return _record(rows[0]) if rows else None

    def steps(self) -> list[CachedStep]:
        """All steps, those not used for longest first: for listings and for removing old ones."""
        return [_step(row) for row in self._rows(f"{self._STEPS} ORDER BY used, created, key")]

    def layers(self) -> list[Layer]:
        """The layers that steps made and that failed ones left: what clearing up must keep."""
        rows = self._rows("SELECT DISTINCT blob, diff_id FROM build_records WHERE diff_id != ''")
        return [*(Layer(_descriptor(blob), Digest(str(diff_id))) for blob, diff_id in rows), *self.ledger.left()]

    def remove(self, keys: Iterable[str]) -> None:
        """Forget steps; their layers are left to the caller."""
        gone = [(key,) for key in keys]
        now = time.time_ns()
        with self._write() as connection:
            connection.executemany("DELETE FROM build_records WHERE key = ?", gone)
            connection.executemany("INSERT OR REPLACE INTO build_removed VALUES (?, ?)", [(*key, now) for key in gone])
            connection.execute(
                "DELETE FROM build_removed WHERE key IN "
                "(SELECT key FROM build_removed ORDER BY removed DESC LIMIT -1 OFFSET ?)",
                (REMOVED_KEPT,),
            )

    def was_removed(self, key: str) -> bool:
        """Whether there was a step of that key, as far as is remembered."""
        return bool(self._rows("SELECT 1 FROM build_removed WHERE key = ?", key))

    # -- files -------------------------------------------------------------------------------------------------------

    def files(self, root: str, directory: bytes) -> dict[bytes, bytes]:
        """What is known of the files in a directory of a context; nothing where the record is damaged."""
        rows = self._rows("SELECT files FROM build_directories WHERE root = ? AND path = ?", root, directory)
        try:
            return _FILES.decode(_bytes(rows[0][0])) if rows else {}
        except msgspec.DecodeError:
            return {}

    def keep_files(self, root: str, directories: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
        """Remember the files of directories of a context, in place of what was known of these."""
        rows = [(root, path, msgspec.msgpack.encode(dict(files))) for path, files in directories.items()]
        if rows:
            with self._write() as connection:
                connection.executemany("INSERT OR REPLACE INTO build_directories VALUES (?, ?, ?)", rows)

    def tidy(self) -> None:
        """Forget the files of contexts that are gone, and selections beyond the latest."""
        roots = [str(row[0]) for row in self._rows("SELECT DISTINCT root FROM build_directories")]
        gone = [(root,) for root in roots if not os.path.isdir(root)]
        with self._write() as connection:
            connection.executemany("DELETE FROM build_directories WHERE root = ?", gone)
            connection.execute(
                "DELETE FROM build_selections WHERE rowid <= (SELECT max(rowid) FROM build_selections) - ?",
                (SELECTIONS_KEPT,),
            )

    def selection(self, key: str) -> dict[str, str] | None:
        """The digests of files chosen from a stack of layers."""
        rows = self._rows("SELECT files FROM build_selections WHERE key = ?", key)
        if not rows:
            return None
        return documents.decode(zlib.decompress(_bytes(rows[0][0])), dict[str, str])

    def keep_selection(self, key: str, files: Mapping[str, str]) -> None:
        """Remember them."""
        data = zlib.compress(msgspec.json.encode(dict(files)), 1)
        with self._write() as connection:
            connection.execute("INSERT OR REPLACE INTO build_selections VALUES (?, ?)", (key, data))


def _step(row: tuple[object, ...]) -> CachedStep:
    key, text, diff_id, blob, created, used, uses = row
    layer = Layer(_descriptor(blob), Digest(str(diff_id))) if diff_id else None
    return CachedStep(str(key), str(text), layer, _int(created), _int(used), _int(uses))


def _record(row: tuple[object, ...]) -> CacheRecord:
    key, command, family, place, material, diff_id, blob, seconds, created, used = row
    try:
        stuff = Material.decode(zlib.decompress(_bytes(material)))
    except (zlib.error, msgspec.DecodeError) as error:
        raise Corrupt(f"the build cache's record {key} is damaged: {error}") from error
    assert isinstance(seconds, float)
    layer = Layer(_descriptor(blob), Digest(str(diff_id))) if diff_id else None
    return CacheRecord(
        str(key), stuff, layer, str(command), str(family), str(place), seconds, _int(created), _int(used)
    )


def _descriptor(value: object) -> Descriptor:
    return documents.decode(_bytes(value), Descriptor)


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
