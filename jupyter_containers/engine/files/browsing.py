"""Looking at the files of a container or a volume: the names in a directory, the beginning of a file."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jupyter_containers.engine.files import copying
from jupyter_containers.errors import InvalidInput, NotFound, size_text
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from jupyter_containers.engine.files.file_tree import FileTree

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A name in a directory: ``mode`` as ls writes it, ``size`` in bytes, ``target`` of a symbolic link."""

    name: str
    mode: str
    size: int
    modified: datetime
    target: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory itself, not a link to one."""
        return self.mode.startswith("d")


@dataclass(frozen=True, slots=True)
class Directory:
    """Names in a directory; ``total`` is how many there are, of which ``entries`` may be a part."""

    path: str
    total: int
    entries: tuple[FileEntry, ...]


def listing(tree: FileTree, path: str, *, skip: int, limit: int) -> Directory:
    """What is in a directory, links followed within the tree.

    Raises
    ------
    NotFound, InvalidInput, PermissionDenied
        naming the path.
    """
    path = copying.absolute(path)
    answer = tree.ask("list", path=path, skip=skip, limit=limit)
    entries = [
        FileEntry(name, stat.filemode(mode), size, datetime.fromtimestamp(modified / 1e9, tz=UTC), target)
        for name, mode, size, modified, target in answer["rows"]
    ]
    return Directory(path, answer["total"], tuple(entries))


def content(tree: FileTree, path: str, *, limit: int, partly: bool) -> bytes:
    """What is in a regular file, links followed within the tree.

    Parameters
    ----------
    limit
        The most bytes that are read.
    partly
        Whether the beginning of a longer file will do.

    Raises
    ------
    NotFound, InvalidInput, PermissionDenied
        naming the path; InvalidInput for one that is no regular file, or too long.
    """
    path = copying.absolute(path)
    found = tree.find(path, follow=True)
    if found is None:
        raise NotFound(f"could not find the file {path} in {tree.name}")
    if not stat.S_ISREG(found.mode):
        raise InvalidInput(f"{path} is not a regular file")
    pieces: list[bytes] = []

    def take(pipe: int) -> None:
        while data := os.read(pipe, _PIECE):
            pieces.append(data)

    tree.read(take, "content", path=path, limit=limit if partly else limit + 1)
    data = b"".join(pieces)
    if len(data) > limit:
        raise InvalidInput(f"{path} is larger than {size_text(limit)}", hint="copy it with cp instead")
    return data
