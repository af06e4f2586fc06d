"""Where in the target an extraction stands: a stack of open directories, from the root to the current one.

Archives list entries in the order of the tree, so that the next parent is mostly the current directory or near it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from jupyter_containers.errors import LayerCorrupt
from jupyter_containers.layers.attributes import Attributes
from jupyter_containers.layers.disk import DIRECTORY, MAX_DEPTH, get_xattrs, is_whiteout, set_opaque
from jupyter_containers.layers.tar import Entry

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from jupyter_containers.layers.base import Node
    from jupyter_containers.layers.view import LayerView

_MAX_LINKS: Final = 40
_CHUNK: Final = 1 << 20


class Descent:
    """The way down from ``target``; ``lowers`` is the merged view of the layers below.

    ``times`` collects the modification times (nanoseconds) of the directories that were made on the way.
    """

    def __init__(self, target: Path, lowers: LayerView) -> None:
        self.root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.lowers = lowers
        self.attributes = Attributes()
        self.times: dict[tuple[bytes, ...], int] = {}
        self._names: list[bytes] = []
        self._fds: list[int] = []

    def __enter__(self) -> Self:
        self._inherit(self.root)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pop_to(0)
        os.close(self.root)

    @property
    def current(self) -> tuple[bytes, ...]:
        """The real path of the current directory: no link in it."""
        return tuple(self._names)

    def directory(self, path: tuple[bytes, ...], *, create: bool = True) -> int | None:
        """Go to a directory and return its descriptor, valid until the next call.

        Symbolic links on the way are followed inside the root. What is missing is made with the attributes it has in
        the layers below, or not made and None returned.

        Raises
        ------
        LayerCorrupt
            when something on the way is no directory, there are too many links, or it is too deep.
        OSError
            when the kernel refuses.
        """
        names = self._names
        common = 0
        for mine, wanted in zip(names, path, strict=False):
            if mine != wanted:
                break
            common += 1
        if common != len(names):
            self._pop_to(common)
        if common != len(path):
            pending = list(path[common:])[::-1]
            links = 0
            while pending:
                name = pending.pop()
                if name in {b"", b"."}:
                    continue
                if name == b"..":
                    self._pop_to(max(len(self._names) - 1, 0))
                    continue
                target = self._step(name, create=create)
                if target is None:
                    return None
                if target:
                    links += 1
                    if links > _MAX_LINKS:
                        raise LayerCorrupt(f"layer has too many symbolic links in {b'/'.join(path)!r}")
                    if target[:1] == b"/":
                        self._pop_to(0)
                    pending += target.split(b"/")[::-1]
        return self._fds[-1] if self._fds else self.root

    def push(self, name: bytes) -> int:
        """Enter a directory in the current one, which must be one and no link."""
        if len(self._fds) >= MAX_DEPTH:
            raise LayerCorrupt(f"layer has directories nested more than {MAX_DEPTH} deep")
        fd = os.open(name, DIRECTORY, dir_fd=self._here)
        self._fds.append(fd)
        self._names.append(name)
        return fd

    def copy_up(self, path: tuple[bytes, ...]) -> None:
        """Copy a file from the layers below: the target of a hard link. Raises LayerCorrupt when it is not there."""
        text = os.fsdecode(b"/".join(path))
        node = self.lowers.find(text, follow=False)
        if node is None or node.kind != "file":
            raise LayerCorrupt(f"layer has a hard link to {text!r}, which does not exist")
        parent = self.directory(path[:-1])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(FileNotFoundError):
            os.unlink(path[-1], dir_fd=parent)  # a whiteout; the link shows that the file is meant to be there
        fd = os.open(path[-1], flags, 0o600, dir_fd=parent)
        try:
            with self.lowers.open(text) as source:
                while data := source.read(_CHUNK):
                    os.write(fd, data)
                self.attributes.set_file(fd, _entry(node, source.fileno()))
        finally:
            os.close(fd)

    @property
    def _here(self) -> int:
        return self._fds[-1] if self._fds else self.root

    def _pop_to(self, count: int) -> None:
        for fd in self._fds[count:]:
            os.close(fd)
        del self._fds[count:]
        del self._names[count:]

    def _step(self, name: bytes, *, create: bool) -> bytes | None:
        """Enter ``name``: empty when it was entered, its target when it is a link, None when it is not there."""
        here = self._here
        try:
            self.push(name)
            return b""
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            if error.errno == errno.ENOENT:
                if not create:
                    return None
                self._make(name)
                return b""
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=here)
        if not create:
            return None
        if is_whiteout(status):
            os.unlink(name, dir_fd=here)
            self._make(name)
            set_opaque(self._here)
            return b""
        raise LayerCorrupt(f"layer has entries below {b'/'.join((*self._names, name))!r}, which is no directory")

    def _make(self, name: bytes) -> None:
        """Make and enter a directory that the archive does not list."""
        os.mkdir(name, 0o755, dir_fd=self._here)
        self._inherit(self.push(name))

    def _inherit(self, fd: int) -> None:
        """Give the current directory the attributes it has in the layers below, else those of a plain one."""
        path = os.fsdecode(b"/".join(self._names))
        node = self.lowers.find(path, follow=False)
        if node is None or node.kind != "dir":
            self.times[self.current] = 0
            self.attributes.set_directory(fd, Entry(b"", "dir", 0o755))
            return
        self.times[self.current] = node.mtime
        source = self.lowers.directory_fd(node)
        try:
            self.attributes.set_directory(fd, _entry(node, source))
        finally:
            os.close(source)


def _entry(node: Node, fd: int) -> Entry:
    """The attributes of a node in the layers below as those of an entry."""
    return Entry(b"", node.kind, node.mode, node.uid, node.gid, node.size, node.mtime, xattrs=get_xattrs(fd) or None)
