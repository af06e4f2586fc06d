"""When the state file is damaged: making a new one of what can still be had.

That is: the rows of the damaged file that can be read, those of the last copy with what has changed since
(``state/changes.py``) whose things are still on the disk, the names of images in the content store's ``index.json``.
Data of volumes that nobody has a name for any more gets its id as its name. What is left of containers of which nothing
is known is set aside in ``lost+found``, as is the damaged file: nothing is deleted.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers import documents
from jupyter_containers.engine.repair.state_file import copy_path
from jupyter_containers.engine.volumes import VolumeRecord
from jupyter_containers.errors import EngineError
from jupyter_containers.images.model import Image as ImageModel
from jupyter_containers.oci.image_spec import ANNOTATION_REF_NAME, Index
from jupyter_containers.oci.names import Digest, Reference
from jupyter_containers.state import ImageRow, State, VolumeRow, changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.config import Paths
    from jupyter_containers.content.store import ContentStore

TABLES = {"images": 5, "names": 2, "containers": 5, "addresses": 3, "networks": 3, "volumes": 4, "volume_users": 2}


def remake(paths: Paths, store: ContentStore, tell: Callable[[list[str]], None]) -> State:
    """Make a new state file; see the module. Tells what was found. Nobody else has the store open."""
    aside = paths.root / "lost+found" / f"state-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    aside.mkdir(mode=0o700, parents=True)
    for path in sorted(paths.root.glob("state.sqlite*")):
        path.rename(aside / path.name)
    state = State(paths.database)
    told = [f"the state file was damaged: it is in {aside}, and a new one was made"]
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as target:
        target.execute("BEGIN")
        read = _take(aside / "state.sqlite", target, lambda _table, _row: True)
        copied = _take(_expected(paths, aside), target, lambda table, row: _is_there(paths, store, table, row))
        target.execute("DELETE FROM names WHERE digest NOT IN (SELECT digest FROM images)")
        target.execute("DELETE FROM volume_users WHERE volume NOT IN (SELECT id FROM volumes)")
        target.execute("DELETE FROM addresses WHERE container NOT IN (SELECT id FROM containers)")
        target.execute("COMMIT")
    told.append(
        f"{read} of its entries could be read, {copied} more are from its last copy and what is known to have changed"
    )
    told += [*_restore_names(state, store), *_restore_volumes(paths, state), *_set_aside(paths, state, aside)]
    tell(told)
    return state


def _expected(paths: Paths, aside: Path) -> Path:
    """What the file should hold: its last copy, with the changes since made again."""
    path = aside / "expected.sqlite"
    with suppress(FileNotFoundError):
        shutil.copyfile(copy_path(paths), path)
    try:
        State(path).close()  # of this version, also where there is no copy
    except EngineError:
        path.unlink()
        State(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        changes.apply(paths.database, connection)
        connection.execute("COMMIT")
    return path


def _take(path: Path, target: sqlite3.Connection, wanted: Callable[[str, tuple[object, ...]], bool]) -> int:
    """Copy the rows of a state file that can be read; how many were not there before."""
    count = 0
    for table, columns in TABLES.items():
        insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * columns)})"  # noqa: S608 - of the table above
        for order in ("", " ORDER BY rowid DESC"):  # from both ends, up to the damage
            for row in _readable(path, f"SELECT * FROM {table}{order}"):  # noqa: S608 - the same
                if len(row) == columns and wanted(table, row):
                    with suppress(sqlite3.IntegrityError):  # what was read is no longer of the right kind
                        count += target.execute(insert, row).rowcount
    return count


def _readable(path: Path, query: str) -> Iterator[tuple[object, ...]]:
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as source:
        try:
            yield from source.execute(query)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return


def _is_there(paths: Paths, store: ContentStore, table: str, row: tuple[object, ...]) -> bool:
    """Whether a thing that was there when the copy was made is still there."""
    match table:
        case "images":
            return store.has(Digest(str(row[0])))
        case "volumes":
            return (paths.root / "volumes" / str(row[0])).is_dir()
        case "addresses":
            return False  # given out anew
        case _:
            return True


def _restore_names(state: State, store: ContentStore) -> list[str]:
    """Enter the images that the index of the content store names."""
    try:
        index = documents.decode((store.root / "index.json").read_bytes(), Index)
    except (OSError, msgspec.DecodeError):
        return []
    count = 0
    for descriptor in index.manifests:
        text = (descriptor.annotations or {}).get(ANNOTATION_REF_NAME, "")
        with suppress(EngineError):  # its documents are gone
            names = (str(Reference.parse(text)),) if text else ()
            if all(state.image_named(name) for name in names) and state.image(descriptor.digest):
                continue
            model = ImageModel.read(store, descriptor)
            kind, size = descriptor.media_type, descriptor.size
            state.add_image(ImageRow(descriptor.digest, model.id, kind, size, time.time_ns(), names))
            count += 1
    return [f"{count} images were found in the index of the content store"] if count else []


def _restore_volumes(paths: Paths, state: State) -> list[str]:
    known = {row.id for row in state.volumes()}
    found = []
    for path in sorted((paths.root / "volumes").glob("[0-9a-f]*")):
        if path.name not in known and (path / "data").is_dir():
            record = msgspec.json.encode(VolumeRecord())
            state.add_volume(VolumeRow(path.name, path.name, time.time_ns(), record))
            found.append(f"a volume whose name is lost is {path.name[:12]} now: volume rename {path.name} NAME")
    return found


def _set_aside(paths: Paths, state: State, aside: Path) -> list[str]:
    known = state.container_ids()
    told = []
    for path in sorted(paths.containers.glob("[0-9a-f]*")):
        if path.name not in known:
            path.rename(aside / path.name)
            told.append(f"of the container {path.name[:12]} only the files are left: {aside / path.name}")
    return told
