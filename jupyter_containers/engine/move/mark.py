"""The mark on the disk of a container that is being moved: away, or here while it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers import documents
from jupyter_containers.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path


class Mark(msgspec.Struct, frozen=True):
    """What is on the disk while a container is moved. ``running``: it ran before.

    ``live``: it does not end for that, but stands still. ``arriving``: it comes here, and is not yet to stay.
    """

    target: str
    committing: bool
    running: bool
    live: bool = False
    arriving: bool = False


def _path(root: Path, identity: str) -> Path:
    return root / "moves" / f"{identity}.json"


def read(root: Path, identity: str) -> Mark | None:
    """The mark of a container, if there is one."""
    try:
        return documents.decode(_path(root, identity).read_bytes(), Mark)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:  # it is written before anything is sent, and was not finished
        return Mark("", committing=False, running=False)


def write(root: Path, identity: str, mark: Mark) -> None:
    """Keep a mark, also through a power failure."""
    path = _path(root, identity)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(msgspec.json.encode(mark))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(root: Path, identity: str, name: str) -> None:
    """Refuse to start a container of which it is not known whether it is somewhere else by now.

    Raises
    ------
    Conflict
        that says how to find out.
    """
    mark = read(root, identity)
    if mark is not None and mark.committing:
        raise Conflict(
            f"the container {name} was being moved to {mark.target} when the connection broke off: it may be there",
            hint=f"container move {name} --to {mark.target} finishes the move",
        )


def clear(root: Path, identity: str) -> None:
    """Take a mark away. Idempotent."""
    _path(root, identity).unlink(missing_ok=True)


def marked(root: Path) -> list[str]:
    """The ids of the containers that have one."""
    return sorted(path.stem for path in (root / "moves").glob("*.json"))
