"""The tables of the build cache, and how a file of an older release gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.build import ledger

if TYPE_CHECKING:
    import sqlite3

VERSION: Final = 2

SCHEMA: Final = """
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
    used INTEGER NOT NULL,              -- ns since the epoch
    text TEXT NOT NULL DEFAULT '',      -- the instruction, for listings
    uses INTEGER NOT NULL DEFAULT 0     -- how often it was taken again
) STRICT;
CREATE INDEX IF NOT EXISTS build_records_by_family ON build_records(family, used);
CREATE TABLE IF NOT EXISTS build_directories (
    root TEXT NOT NULL,                 -- the directory of the context
    path BLOB NOT NULL,                 -- of one in it
    files BLOB NOT NULL,                -- name -> stamp and digest, as MessagePack
    PRIMARY KEY (root, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS build_selections (
    key TEXT PRIMARY KEY,
    files BLOB NOT NULL                 -- path -> digest as JSON, deflated
) STRICT;
CREATE TABLE IF NOT EXISTS build_removed (
    key TEXT PRIMARY KEY,               -- of a record that was removed, so that a miss can say so
    removed INTEGER NOT NULL            -- ns since the epoch
) STRICT, WITHOUT ROWID;
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables that are missing, and the columns that an older release did not have."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(SCHEMA + ledger.SCHEMA)
    if connection.execute("PRAGMA user_version").fetchone()[0] >= VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    known = {row[1] for row in connection.execute("PRAGMA table_info(build_records)")}
    if "text" not in known:
        connection.execute("ALTER TABLE build_records ADD COLUMN text TEXT NOT NULL DEFAULT ''")
        connection.execute("ALTER TABLE build_records ADD COLUMN uses INTEGER NOT NULL DEFAULT 0")
    connection.execute("DROP TABLE IF EXISTS build_files")  # until version 1, one row for each file
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
