"""What has changed in the state file since its last copy, as the statements that did it: with both nothing is lost.

A transaction is one ``write`` to a file opened for appending, made while the transaction has SQLite's lock: their order
is that of the changes. What a crash cut off, or damage fell on, is left out when it is read. Addresses are not kept:
they are given out anew. An entry is: a mark of four bytes, the length and the CRC-32 of what follows (big-endian),
a list of statements with their values as MessagePack.
"""

from __future__ import annotations

import os
import sqlite3
from binascii import crc32
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Statement: TypeAlias = "tuple[str, Sequence[Any]]"

LARGEST = 64 << 20
"""Bytes after which no more is kept: the file shrinks with the next copy of the state file."""
DUE = 4 << 20
"""Bytes that are reason enough for a copy."""
_MARK = b"\xc5jc\x01"
_HEAD = Struct(">4sII")
_CHANGES = ("INSERT", "UPDATE", "DELETE")
_LEFT_OUT = " addresses "


class Recorder:
    """A connection within a transaction, which remembers the statements that change something."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.statements: list[Statement] = []

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """See :meth:`sqlite3.Connection.execute`."""
        if statement.startswith(_CHANGES) and _LEFT_OUT not in statement:
            self.statements.append((statement, values))
        return self._connection.execute(statement, values)


def path_of(state: Path) -> Path:
    """Where the changes of a state file are kept."""
    return state.with_suffix(".changes")


def _earlier(state: Path) -> Path:
    """Where those are that a copy is just being made of."""
    return state.with_suffix(".changes-copied")


def is_due(state: Path) -> bool:
    """Whether there are so many that the state file should be copied."""
    try:
        return path_of(state).stat().st_size >= DUE
    except FileNotFoundError:
        return False


def keep(state: Path, statements: Sequence[Statement]) -> None:
    """Write down what a transaction does, just before it is done. A full disk loses it, and nothing else."""
    if not statements:
        return
    data = msgspec.msgpack.encode(statements, enc_hook=str.__str__)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(OSError):
        descriptor = os.open(path_of(state), flags, 0o600)
        try:
            if os.fstat(descriptor).st_size < LARGEST:
                os.write(descriptor, _HEAD.pack(_MARK, len(data), crc32(data)) + data)
        finally:
            os.close(descriptor)


def set_aside(state: Path) -> None:
    """Begin a new list: a copy is about to be made that has all of this one. No transaction is under way."""
    current, earlier = path_of(state), _earlier(state)
    with suppress(FileNotFoundError):
        if not earlier.exists():
            current.rename(earlier)
            return
        with earlier.open("ab") as file:  # the copy that it was set aside for was never finished
            file.write(current.read_bytes())
        current.unlink()


def forget(state: Path) -> None:
    """The copy is there."""
    _earlier(state).unlink(missing_ok=True)


def apply(state: Path, connection: sqlite3.Connection) -> int:
    """Make the changes again, of the state file ``state``, in a copy of it; how many transactions there were."""
    count = 0
    for path in (_earlier(state), path_of(state)):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        for statements in _transactions(data):
            count += 1
            for text, values in statements:
                if text.startswith(_CHANGES):
                    with suppress(sqlite3.Error):  # it is there already
                        connection.execute(text, values)
    return count


def _transactions(data: bytes) -> Iterator[list[Statement]]:
    at = 0
    while (at := data.find(_MARK, at)) >= 0 and at + _HEAD.size <= len(data):
        _, length, checksum = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) != length or crc32(body) != checksum:
            at += len(_MARK)
            continue
        at += _HEAD.size + length
        yield msgspec.msgpack.decode(body, type=list[tuple[str, list[Any]]])
