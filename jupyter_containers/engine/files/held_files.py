"""The files of a container that somebody starts: seen between its making and its start, and after its end.

What ``run`` calls an attendant brings data in and takes results out, with nothing of it on the host in between.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from jupyter_containers.engine.files import copying, file_tree
from jupyter_containers.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.engine.views import Container, RunResult

_MOST_NAMES = 200


class HeldFiles:
    """Files by their paths in a container; what is written belongs to its root and everybody in it may read it.

    Raises NotFound, InvalidInput, PermissionDenied and SystemFailure, naming the path.
    """

    def __init__(self, tree: file_tree.FileTree, parts: Parts) -> None:
        self._tree = tree
        self._parts = parts

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and those above it; what is there stays as it is."""
        missing: list[str] = []
        path = posixpath.normpath(f"/{path}").replace("//", "/")
        while path != "/" and (found := self._tree.find(path, follow=True)) is None:
            missing.insert(0, posixpath.basename(path))
            path = posixpath.dirname(path)
        if path != "/" and found is not None and not found.is_directory:
            raise InvalidInput(f"{path} is a file in container {self._tree.name}, not a directory")
        entries = []
        for count in range(len(missing)):
            entry = tarfile.TarInfo("/".join(missing[: count + 1]))
            entry.type, entry.mode = tarfile.DIRTYPE, mode if count + 1 == len(missing) else 0o755
            entry.mtime = int(time.time())
            entries.append(entry.tobuf(tarfile.PAX_FORMAT))
        if entries:
            self._write(path, *entries)

    def write(self, path: str, data: bytes | memoryview) -> None:
        """Write a file, in the place of one that is there; directories above it are made, for everybody to write to."""
        above, name = posixpath.split(path)
        if not name:
            raise InvalidInput(f"{path} is a directory", hint="name the file")
        self.make_directory(above, 0o777)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = len(data), 0o644, int(time.time())
        self._write(above, entry.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE))

    def _write(self, path: str, *pieces: bytes | memoryview) -> None:
        def give(pipe: int) -> None:
            for piece in (*pieces, bytes(2 * tarfile.BLOCKSIZE)):
                view = memoryview(piece)
                while view:
                    view = view[os.write(pipe, view) :]

        self._tree.write(give, path=path)

    def copy_in(self, source: str, path: str) -> None:
        """Copy a file or a directory of the host to this very path; directories above it are made."""
        self.make_directory(posixpath.dirname(path.rstrip("/")), 0o777)
        owners = copying.owners_in(self._parts.spawner.id_map if self._parts.host.rootless else None)
        if os.path.isdir(source):
            self.make_directory(path)
            source = f"{source.rstrip('/')}/."
        copying.copy_in(self._tree, source, path, follow=True, owners=owners)

    def is_directory(self, path: str) -> bool | None:
        """Whether a path leads to a directory; None where there is nothing."""
        found = self._tree.find(copying.absolute(path), follow=True)
        return None if found is None else found.is_directory

    def read(self, path: str) -> bytes:
        """The content of a file."""
        if self.is_directory(path):
            raise InvalidInput(f"{path} is a directory in container {self._tree.name}, not a file")
        with self._archive(path) as archive:
            for entry in archive:
                if (stream := archive.extractfile(entry)) is not None:
                    return stream.read()
        raise InvalidInput(f"{path} in container {self._tree.name} is no file that can be read")

    def copy_out(self, path: str, target: str) -> None:
        """Copy a file or a directory to this very path of the host, in the place of a file that is there.

        The content of a directory goes into one that is there.
        """
        if self.is_directory(path):
            os.makedirs(target, exist_ok=True)
            path = f"{path.rstrip('/')}/."
        copying.copy_out(self._tree, path, target, follow=True, archive=False)

    def names(self, path: str) -> list[str]:
        """What is directly in a directory, sorted; nothing where there is none."""
        found: set[str] = set()
        if not self.is_directory(path):
            return []
        with self._archive(f"{path.rstrip('/')}/.") as archive:
            for entry in archive:
                parts = [part for part in entry.name.split("/") if part not in {"", "."}]
                found.update(parts[:1])
                if len(found) >= _MOST_NAMES:
                    break
        return sorted(found)

    @contextmanager
    def _archive(self, path: str) -> Iterator[tarfile.TarFile]:
        """An archive of what is at a path; what is not read of it is not sent."""
        if self.is_directory(path) is None:
            raise NotFound(f"could not find the file {path} in container {self._tree.name}")
        path = copying.absolute(path)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._tree.tell("send", [writer], path=path, follow=True, top=copying.base_name(path) or ".")
        finally:
            os.close(writer)
        try:
            with os.fdopen(reader, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                yield archive
        finally:
            self._tree.hear()  # its reason, where the archive broke off


OpenFiles: TypeAlias = "Callable[[], AbstractContextManager[HeldFiles]]"


class Attendant(Protocol):
    """Who is asked by ``run`` before a container starts and after it has ended, as long as it is there.

    ``files`` opens its files, for as long as the asking takes.
    """

    def created(self, container: Container, files: OpenFiles) -> None:
        """It exists and was not started yet. What is raised here removes it."""

    def ended(self, container: Container, result: RunResult, files: OpenFiles) -> None:
        """It has ended, and will be removed if it was to be. What is raised here removes it."""


@contextmanager
def held(parts: Parts, record: ContainerRecord) -> Iterator[HeldFiles]:
    """The files of a container whose lock the caller has."""
    with file_tree.open_tree(parts, record, locked=True) as tree:
        yield HeldFiles(tree, parts)
