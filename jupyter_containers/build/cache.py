"""The build cache: what was made from which material, in the SQLite file of the store.

Three tables, usable by several processes at once (WAL, short transactions) and safe against being killed:

- *records*: key of a step -> the layer it made, with the material of the key;
- *files*: a file of a build context as it was last seen -> the digest of its content, so that unchanged files are not
  read again;
- *selections*: files chosen from a stack of layers -> their digests; a stack never changes.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from jupyter_containers.build.interfaces import Layer
from jupyter_containers.build.keys import Material
from jupyter_containers.errors import Corrupt, PermissionDenied
from jupyter_containers.oci.image_spec import Descriptor, encode
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS build_records (
    key TEXT PRIMARY KEY,
    command TEXT NOT NULL,              -- digest of the instruction's text
    family TEXT NOT NULL,               -- digest of what is built: context, file, image name
    place TEXT NOT NULL,                -- where in it: stage, number
    material BLOB NOT NULL,             -- keys.Material as JSON, deflated
    diff_id TEXT NOT NULL,              -- of the layer, empty: the step changed nothing
    blob BLOB NOT NULL,                 -- its descriptor as JSON
    seconds REAL NOT NULL,              -- it took to make
    created INTEGER NOT NULL,           -- ns since the epoch
    used INTEGER NOT NULL               -- ns since the epoch
) STRICT;
CREATE INDEX IF NOT EXISTS build_records_by_family ON build_records(family, used);
CREATE TABLE IF NOT EXISTS build_files (
    root TEXT NOT NULL,                 -- the directory of the context
    path BLOB NOT NULL,
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    ctime INTEGER NOT NULL,             -- ns
    mtime INTEGER NOT NULL,             -- ns
    size INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (root, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS build_selections (
    key TEXT PRIMARY KEY,
    files BLOB NOT NULL                 -- path -> digest as JSON, deflated
) STRICT;
"""


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


class FileStamp(NamedTuple):
    """What tells an unchanged file: all of it from ``lstat``, times in ns."""

    dev: int
    ino: int
    ctime: int
    mtime: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """The stamp of a file; device and inode numbers are taken as signed, as SQLite keeps them."""
        dev, ino = (number - (1 << 64) if number >= 1 << 63 else number for number in (status.st_dev, status.st_ino))
        return cls(dev, ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size)


class CacheStore(Protocol):
    """What the builder remembers between builds. Thread-safe."""

    def get(self, key: str) -> CacheRecord | None:
        """The step of that key."""
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

    def files(self, root: str) -> dict[bytes, tuple[FileStamp, str]]:
        """What is known of the files of a context: path -> stamp and digest."""
        ...

    def keep_files(self, root: str, files: Mapping[bytes, tuple[FileStamp, str]]) -> None:
        """Remember files of a context."""
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
        self._known: dict[str, dict[bytes, tuple[FileStamp, str]]] = {}
        try:
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
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

    _COLUMNS = "key, command, family, place, material, diff_id, blob, seconds, created, used"

    def get(self, key: str) -> CacheRecord | None:
        """The step of that key."""
        rows = self._rows(f"SELECT {self._COLUMNS} FROM build_records WHERE key = ?", key)  # noqa: S608 - constant
        return _record(rows[0]) if rows else None

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
        )
        with self._write() as connection:
            connection.execute("INSERT OR REPLACE INTO build_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def touch(self, keys: Iterable[str]) -> None:
        """Note that the steps were used now."""
        now = time.time_ns()
        with self._write() as connection:
            connection.executemany("UPDATE build_records SET used = ? WHERE key = ?", [(now, key) for key in keys])

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

    def records(self) -> list[CacheRecord]:
        """All steps, those not used for longest first: for listings and for removing old ones."""
        rows = self._rows(f"SELECT {self._COLUMNS} FROM build_records ORDER BY used, key")  # noqa: S608 - constant
        return [_record(row) for row in rows]

    def layers(self) -> set[Digest]:
        """The blobs that steps refer to: what clearing up must keep."""
        rows = self._rows("SELECT DISTINCT blob FROM build_records WHERE diff_id != ''")
        return {Digest(_descriptor(row[0]).digest) for row in rows}

    def remove(self, keys: Iterable[str]) -> None:
        """Forget steps; their layers are left to the caller."""
        with self._write() as connection:
            connection.executemany("DELETE FROM build_records WHERE key = ?", [(key,) for key in keys])

    # -- files -------------------------------------------------------------------------------------------------------

    def files(self, root: str) -> dict[bytes, tuple[FileStamp, str]]:
        """What is known of the files of a context; read once by each process, which then keeps it."""
        with self._lock:
            if root not in self._known:
                self._known[root] = {
                    _bytes(path): (FileStamp(*(_int(number) for number in numbers)), str(digest))
                    for path, *numbers, digest in self._rows(
                        "SELECT path, dev, ino, ctime, mtime, size, digest FROM build_files WHERE root = ?", root
                    )
                }
            return dict(self._known[root])

    def keep_files(self, root: str, files: Mapping[bytes, tuple[FileStamp, str]]) -> None:
        """Remember files of a context."""
        if not files:
            return
        with self._lock:
            self._known.setdefault(root, {}).update(files)
            with self._write() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO build_files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [(root, path, *stamp, digest) for path, (stamp, digest) in files.items()],
                )

    def selection(self, key: str) -> dict[str, str] | None:
        """The digests of files chosen from a stack of layers."""
        rows = self._rows("SELECT files FROM build_selections WHERE key = ?", key)
        if not rows:
            return None
        return msgspec.json.decode(zlib.decompress(_bytes(rows[0][0])), type=dict[str, str])

    def keep_selection(self, key: str, files: Mapping[str, str]) -> None:
        """Remember them."""
        data = zlib.compress(msgspec.json.encode(dict(files)), 1)
        with self._write() as connection:
            connection.execute("INSERT OR REPLACE INTO build_selections VALUES (?, ?)", (key, data))


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
    return msgspec.json.decode(_bytes(value), type=Descriptor)


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
