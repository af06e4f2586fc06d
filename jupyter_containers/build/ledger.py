"""What builds came to: the latest ones with the file system after each of their steps, and what a failed step left.

It lives in the file of the build cache. A row is small; the layers it names are those of the cache and of images, but
for the one that a failed step left: that one is kept while its row is among the latest (:data:`STATES_KEPT`).
"""

from __future__ import annotations

import secrets
import time
import zlib
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from jupyter_containers import documents
from jupyter_containers.build.graph import RunMount
from jupyter_containers.build.interfaces import Layer
from jupyter_containers.errors import Corrupt, NotFound
from jupyter_containers.oci.image_spec import Descriptor
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from jupyter_containers.build.interfaces import Stack

BUILDS_KEPT: Final = 20
STATES_KEPT: Final = 3

StepStatus: TypeAlias = Literal["hit", "miss", "skipped", "failed"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS builds (
    id TEXT PRIMARY KEY,
    family TEXT NOT NULL,               -- as of build_records
    top TEXT NOT NULL,                  -- digest of the diff ids of the result, empty: it failed
    used INTEGER NOT NULL,              -- ns since the epoch: when it was last built so
    record BLOB NOT NULL,               -- ledger.BuildRecord as JSON, deflated
    diff_id TEXT NOT NULL,              -- of the layer that the failed step left, empty: none
    blob BLOB NOT NULL                  -- its descriptor as JSON
) STRICT;
"""


class KeptLayer(msgspec.Struct, frozen=True):
    """A layer of a recorded stack."""

    blob: Descriptor
    diff_id: str

    @classmethod
    def of(cls, layer: Layer) -> KeptLayer:
        """A layer as it is kept."""
        return cls(layer.blob, str.__str__(layer.diff_id))

    def layer(self) -> Layer:
        """The layer."""
        return Layer(self.blob, Digest(self.diff_id))


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """The file system after a step, and what its command saw; of a failed step what it left, of a skipped one nothing.

    ``made`` is the diff id of the layer that is its own, on top of ``layers``; empty: it has none. ``needs`` are the
    steps it works on, by stage and index. ``mounts`` are those
    of a RUN, ``mounted`` the layers of the binds among them by target.
    """

    stage: str
    index: int
    total: int
    text: str
    line: int
    status: StepStatus
    reason: str
    seconds: float
    layers: list[KeptLayer]
    env: list[tuple[str, str]]
    cwd: str
    user: str
    shell: list[str]
    made: str = ""
    needs: list[tuple[str, int]] = []
    network: str = "default"
    mounts: list[RunMount] = []
    mounted: dict[str, list[KeptLayer]] = {}

    @property
    def stack(self) -> Stack:
        """The layers of the file system."""
        return tuple(layer.layer() for layer in self.layers)


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One build; times in ns since the epoch. ``error`` is why it failed, empty: it did not."""

    id: str
    created: int
    name: str
    tags: list[str]
    context: str
    error: str
    seconds: float
    steps: list[StepState]


class Ledger:
    """The rows, through the connection of the cache they stand beside. Thread-safe."""

    def __init__(
        self,
        write: Callable[[], AbstractContextManager[sqlite3.Connection]],
        rows: Callable[..., list[tuple[object, ...]]],
    ) -> None:
        self._write = write
        self._rows = rows

    def add(self, record: BuildRecord, family: str, *, top: str, left: Layer | None) -> None:
        """Enter a build; the oldest go, and with them what their failed steps left."""
        data = zlib.compress(msgspec.json.encode(record, enc_hook=str), 1)
        blob = msgspec.json.encode(left.blob, enc_hook=str) if left else b""
        with self._write() as connection:
            connection.execute(
                "INSERT INTO builds VALUES (?, ?, ?, ?, ?, ?, ?)",
                (record.id, family, top, time.time_ns(), data, str(left.diff_id) if left else "", blob),
            )
            connection.execute(
                "DELETE FROM builds WHERE id NOT IN (SELECT id FROM builds ORDER BY used DESC LIMIT ?)", (BUILDS_KEPT,)
            )
            connection.execute(
                "UPDATE builds SET diff_id = '', blob = x'' WHERE diff_id != '' AND id NOT IN "
                "(SELECT id FROM builds WHERE diff_id != '' ORDER BY used DESC LIMIT ?)",
                (STATES_KEPT,),
            )

    def again(self, family: str, top: str) -> str | None:
        """The id of a build that came to the same before, which becomes the latest; None: there is none."""
        rows = self._rows("SELECT id FROM builds WHERE family = ? AND top = ? ORDER BY used DESC LIMIT 1", family, top)
        if not rows:
            return None
        with self._write() as connection:
            connection.execute("UPDATE builds SET used = ? WHERE id = ?", (time.time_ns(), rows[0][0]))
        return str(rows[0][0])

    def all(self) -> list[BuildRecord]:
        """All builds, the latest first."""
        return [_decode(*row) for row in self._rows("SELECT id, record FROM builds ORDER BY used DESC")]

    def find(self, name: str = "") -> BuildRecord:
        """A build by its id, the beginning of it, or a name of its image; without any of them the latest.

        Raises
        ------
        NotFound
            when there is none.
        """
        records = self.all()
        named = [record for record in records if {name, f"{name}:latest"} & set(record.tags)]
        found = named or [record for record in records if record.id.startswith(name)]
        if found:
            return found[0]
        if name:
            raise NotFound(f"no build {name!r} is remembered", hint="'builder history' lists those that are")
        raise NotFound("no build is remembered", hint="build something first")

    def left(self) -> list[Layer]:
        """The layers that failed steps left: what clearing up must keep."""
        rows = self._rows("SELECT blob, diff_id FROM builds WHERE diff_id != ''")
        return [
            Layer(documents.decode(blob, Descriptor), Digest(str(diff_id)))
            for blob, diff_id in rows
            if isinstance(blob, bytes)
        ]

    def failures(self) -> list[tuple[BuildRecord, Layer]]:
        """The builds whose failed step left something, with the layer that is."""
        rows = self._rows("SELECT id, record, blob, diff_id FROM builds WHERE diff_id != ''")
        return [
            (_decode(identity, data), Layer(documents.decode(blob, Descriptor), Digest(str(diff_id))))
            for identity, data, blob, diff_id in rows
            if isinstance(blob, bytes)
        ]

    def drop(self, identity: str) -> None:
        """Let go of what the failed step of a build left; the build is still known."""
        with self._write() as connection:
            connection.execute("UPDATE builds SET diff_id = '', blob = x'' WHERE id = ?", (identity,))

    def clear(self) -> None:
        """Forget all builds."""
        with self._write() as connection:
            connection.execute("DELETE FROM builds")


def new_id() -> str:
    """An id for a build."""
    return secrets.token_hex(6)


def _decode(identity: object, data: object) -> BuildRecord:
    assert isinstance(data, bytes)
    try:
        return documents.decode(zlib.decompress(data), BuildRecord)
    except (zlib.error, msgspec.DecodeError) as error:
        raise Corrupt(f"the record of the build {identity} is damaged: {error}") from error
