"""A merged view, or a part of it, as one directory: root file systems without overlay, the content of volumes."""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from jupyter_containers.layers.attributes import Attributes
from jupyter_containers.layers.base import Usage
from jupyter_containers.layers.disk import get_xattrs
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.tar import Entry
from jupyter_containers.layers.view import LayerView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from jupyter_containers.layers.base import Node, Progress

_PIECE: Final = 8 << 20
_NO_RANGE_COPY: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


def copy_view(dirs: Sequence[Path], target: Path, *, path: str = "", progress: Progress | None = None) -> Usage:
    """Copy what the layers ``dirs`` (top first) show together at ``path`` to the new directory ``target``.

    Owners, modes, times, attributes and hard links are kept; blocks are shared with the layers where the file system
    can. ``progress`` gets bytes of files.

    Raises
    ------
    NotFound
        when there is no ``path``.
    PermissionDenied, SystemFailure
        when the kernel refuses.
    """
    try:
        os.mkdir(target, 0o755)
        with LayerView(dirs) as view:
            return _Copier(view, target, progress).run(path)
    except OSError as error:
        raise failure(error, f"copying layers to {target}") from error


class _Copier:
    """One copy. The target is new and private: what is made in it can be named by path."""

    def __init__(self, view: LayerView, target: Path, progress: Progress | None) -> None:
        self._view = view
        self._target = os.fspath(target)
        self._progress = progress
        self._attributes = Attributes()
        self._links: dict[tuple[int, int], str] = {}
        self._bytes = 0

    def run(self, top: str) -> Usage:
        """Copy everything below ``top``, then set the times of directories."""
        if not top and not self._view.find(""):
            return Usage(0, 0)
        count = 0
        directories: list[tuple[Node, str]] = []
        above = len((found := self._view.resolve(top)).path)
        for count, node in enumerate(self._view.walk(found.path)):  # noqa: B007 - the number of the last one
            below = node.path[above:].lstrip("/")
            path = f"{self._target}/{below}" if below else self._target
            if node.kind == "dir":
                self._directory(node, path)
                directories.append((node, path))
            elif node.kind == "file":
                self._file(node, path)
            else:
                self._other(node, path)
        for node, path in reversed(directories):
            os.utime(path, ns=(node.mtime, node.mtime), follow_symlinks=False)
        return Usage(self._bytes, count)

    def _directory(self, node: Node, path: str) -> None:
        if path != self._target:
            os.mkdir(path, 0o700)
        source = self._view.directory_fd(node)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._attributes.set_directory(fd, _entry(node, source))
            finally:
                os.close(fd)
        finally:
            os.close(source)

    def _file(self, node: Node, path: str) -> None:
        with self._view.open(node.path) as source:
            status = os.fstat(source.fileno())
            key = (status.st_dev, status.st_ino)
            if status.st_nlink > 1 and key in self._links:
                os.link(self._links[key], path, follow_symlinks=False)
                return
            self._links[key] = path
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _copy(source, fd, status.st_size)
                self._attributes.set_file(fd, _entry(node, source.fileno()))
            finally:
                os.close(fd)
        self._bytes += status.st_size
        if self._progress is not None:
            self._progress(self._bytes)

    def _other(self, node: Node, path: str) -> None:
        entry = _entry(node, None)
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        name = os.fsencode(os.path.basename(path))
        try:
            if node.kind == "symlink":
                os.symlink(node.target, name, dir_fd=parent)
                self._attributes.set_symlink(parent, name, entry)
            elif node.kind in {"char", "block", "fifo"}:
                self._attributes.make_device(parent, name, entry)
                self._attributes.set_special(parent, name, entry)
        finally:
            os.close(parent)


def _copy(source: BinaryIO, target: int, size: int) -> None:
    """Copy a file: inside the kernel where it can, which shares blocks on some file systems."""
    left = size
    try:
        while left and (done := os.copy_file_range(source.fileno(), target, min(left, _PIECE))):
            left -= done
    except OSError as error:
        if error.errno not in _NO_RANGE_COPY:
            raise
    while data := source.read(_PIECE):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def _entry(node: Node, fd: int | None) -> Entry:
    return Entry(
        os.fsencode(node.path),
        node.kind,
        node.mode,
        node.uid,
        node.gid,
        node.size,
        node.mtime,
        os.fsencode(node.target),
        *node.device,
        xattrs=None if fd is None else get_xattrs(fd) or None,
    )


def make_directory(path: Path, like: Sequence[Path] = ()) -> None:
    """Create a directory with the attributes of the root of the merged view ``like``, else 0755 of root.

    Raises
    ------
    SystemFailure, PermissionDenied
        when the kernel refuses, also when the directory exists.
    """
    try:
        os.mkdir(path, 0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            root = _root(tuple(like))
            Attributes().set_directory(fd, root or Entry(b"", "dir", 0o755))
            if root is not None:
                os.utime(fd, ns=(root.mtime, root.mtime))
        finally:
            os.close(fd)
    except OSError as error:
        raise failure(error, f"creating {path}") from error


@lru_cache(maxsize=64)
def _root(dirs: tuple[Path, ...]) -> Entry | None:
    """The root of a merged view of layers, which never change."""
    with LayerView(dirs) as view:
        node = view.find("")
        if node is None:
            return None
        source = view.directory_fd(node)
        try:
            return _entry(node, source)
        finally:
            os.close(source)
