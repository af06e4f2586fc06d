"""The merged content of stacked layer directories, read without a mount.

Every step opens one component of one directory with O_NOFOLLOW; symbolic links are resolved here, inside the view. So
nothing outside the directories is ever reached, not even while a container changes its upper directory.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

from jupyter_containers.errors import InvalidInput, NotFound, Unsupported, size_text
from jupyter_containers.layers.base import Node, NodeKind
from jupyter_containers.layers.disk import (
    DIRECTORY,
    MAX_DEPTH,
    Record,
    is_opaque,
    is_whiteout,
    overlay_style,
    owner,
    read_record,
)
from jupyter_containers.layers.failures import failure
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

_MAX_LINKS: Final = 40
_CHUNK: Final = 1 << 20
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_KINDS: Final[dict[int, NodeKind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """A node and, for a directory, the layers that make it up, top first."""

    node: Node
    layers: tuple[int, ...] = ()


class LayerView:
    """Several layer directories, top first, seen as one file system.

    A context manager; holds one descriptor for each directory. Paths are relative to the root of the view, with or
    without a leading slash, and may pass through symbolic links.
    """

    def __init__(self, dirs: Sequence[Path]) -> None:
        self._roots: list[int] = []
        self._stack = ExitStack()
        opaque = False
        for directory in dirs:
            try:
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                self._stack.close()
                raise failure(error, f"opening the layer {directory}") from error
            self._roots.append(fd)
            self._stack.callback(os.close, fd)
            opaque = is_opaque(fd)
            if opaque:
                break  # it hides all below; the kernel does not look at the roots' attribute, so this is done here

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the directories. Idempotent."""
        self._stack.close()

    def find(self, path: str, *, follow: bool = True) -> Node | None:
        """The node at ``path``, None when there is none; ``follow``: when it is a symbolic link, what it points to."""
        place = self._find(path, follow=follow)
        return place.node if place else None

    def resolve(self, path: str, *, follow: bool = True) -> Node:
        """The node at ``path``; raises NotFound."""
        return self._place(path, follow=follow).node

    def parts(self, path: str) -> list[tuple[int, str]]:
        """What makes up the file or the merged directory at ``path``: layer and path in it, top first; raises NotFound.

        No symbolic link is in those paths.
        """
        place = self._place(path, follow=True)
        return [(layer, place.node.path) for layer in place.layers or (place.node.layer,)]

    def listdir(self, path: str) -> list[Node]:
        """The nodes in a directory, sorted by name; raises NotFound, InvalidInput when it is no directory."""
        place = self._place(path, follow=True)
        if place.node.kind != "dir":
            raise InvalidInput(f"{path!r} is not a directory")
        return [child.node for child in self._children(place)]

    def walk(self, path: str, *, follow: bool = True, hashes: bool = False) -> Iterator[Node]:
        """The node at ``path`` and all below it, parents first, names sorted. Links below are not followed."""
        pending = [self._place(path, follow=follow)]
        while pending:
            place = pending.pop()
            node = place.node
            if hashes and node.kind == "file":
                node = replace(node, sha256=self._hash(node))
            yield node
            if node.kind == "dir":
                pending += reversed(self._children(place))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading (unbuffered, with a descriptor); raises NotFound, InvalidInput when it is none."""
        return self._open(self.resolve(path))

    def read_bytes(self, path: str, *, limit: int) -> bytes:
        """The content of a file; raises NotFound, InvalidInput when it is none or has more than ``limit`` bytes."""
        with self.open(path) as opened, io.BufferedReader(cast("io.RawIOBase", opened)) as buffered:
            data = buffered.read(limit + 1)
        if len(data) > limit:
            raise InvalidInput(f"{path!r} has more than {size_text(limit)}")
        return data

    def parent_fd(self, node: Node) -> int:
        """A descriptor of the directory that holds the node in its layer; the caller closes it. Raises NotFound."""
        fd = self._directory(node.layer, node.path.split("/")[:-1])
        if fd is None:
            raise NotFound(f"{node.path!r} is gone")
        return fd

    def directory_fd(self, node: Node) -> int:
        """A descriptor of a directory in its top layer; the caller closes it. Raises NotFound."""
        if not self._roots:
            raise NotFound("the view is empty")
        fd = self._directory(node.layer, node.path.split("/") if node.path else [])
        if fd is None:
            raise NotFound(f"{node.path!r} is gone")
        return fd

    # -- lookups -----------------------------------------------------------------------------------------------------

    def _place(self, path: str, *, follow: bool) -> _Place:
        place = self._find(path, follow=follow)
        if place is None:
            raise NotFound(f"{path!r} does not exist")
        return place

    def _root(self) -> _Place | None:
        if not self._roots:
            return None
        return _Place(self._node("", 0, os.fstat(self._roots[0]), self._roots[0], None), tuple(range(len(self._roots))))

    def _find(self, path: str, *, follow: bool) -> _Place | None:
        root = self._root()
        if root is None:
            return None
        stack = [root]
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                if len(stack) > 1:
                    stack.pop()
                continue
            here = stack[-1]
            if here.node.kind != "dir":
                return None
            place = self._lookup(here, name)
            if place is None:
                return None
            if place.node.kind == "symlink" and (follow or any(part not in {"", "."} for part in pending)):
                links += 1
                if links > _MAX_LINKS:
                    return None
                if place.node.target.startswith("/"):
                    del stack[1:]
                pending += place.node.target.split("/")[::-1]
                continue
            stack.append(place)
        return stack[-1]

    def _lookup(self, here: _Place, name: str) -> _Place | None:
        """One name in a merged directory."""
        names = here.node.path.split("/") if here.node.path else []
        path = f"{here.node.path}/{name}" if names else name
        node: Node | None = None
        layers: list[int] = []
        for layer in here.layers:
            fd = self._directory(layer, names)
            if fd is None:
                continue
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                done = not self._adopt(status, node)
                if node is None and not is_whiteout(status):
                    node = self._node(path, layer, status, fd, name)
                if not done:
                    layers.append(layer)
                    done = self._opaque_at(fd, name)
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise failure(error, f"looking up {path!r}") from error
            finally:
                os.close(fd)
            if done:
                break
        return _Place(node, tuple(layers)) if node else None

    @staticmethod
    def _adopt(status: os.stat_result, above: Node | None) -> bool:
        """Whether a directory of this status belongs to the merged one below ``above``."""
        return stat.S_ISDIR(status.st_mode) and (above is None or above.kind == "dir")

    @staticmethod
    def _opaque_at(fd: int, name: str) -> bool:
        child = os.open(name, DIRECTORY, dir_fd=fd)
        try:
            return is_opaque(child)
        finally:
            os.close(child)

    def _children(self, place: _Place) -> list[_Place]:
        """All names in a merged directory, sorted."""
        path = place.node.path
        names = path.split("/") if path else []
        if len(names) > MAX_DEPTH:
            raise Unsupported(f"directories are nested more than {MAX_DEPTH} deep")
        nodes: dict[str, Node | None] = {}
        layers: dict[str, list[int]] = {}
        closed: set[str] = set()
        for layer in place.layers:
            fd = self._directory(layer, names)
            if fd is None:
                continue
            try:
                for name in os.listdir(fd):
                    if name in closed:
                        continue
                    with suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                        if name not in nodes:
                            full = f"{path}/{name}" if path else name
                            nodes[name] = None if is_whiteout(status) else self._node(full, layer, status, fd, name)
                        if stat.S_ISDIR(status.st_mode):
                            layers.setdefault(name, []).append(layer)
                            if not self._opaque_at(fd, name):
                                continue
                        closed.add(name)
            except OSError as error:
                raise failure(error, f"reading the directory {path!r}") from error
            finally:
                os.close(fd)
        return [_Place(node, tuple(layers.get(name, ()))) for name, node in sorted(nodes.items()) if node]

    def _directory(self, layer: int, names: Sequence[str]) -> int | None:
        """Open a directory of one layer without following any link, None when it is not there."""
        fd = os.dup(self._roots[layer])
        try:
            for name in names:
                child = os.open(name, DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = child
        except OSError as error:
            os.close(fd)
            if error.errno in _GONE:
                return None
            raise failure(error, f"opening {'/'.join(names)!r}") from error
        return fd

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _node(self, path: str, layer: int, status: os.stat_result, fd: int, name: str | None) -> Node:
        """The node of ``name`` in the open directory ``fd``, or of ``fd`` itself."""
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        mode = stat.S_IMODE(status.st_mode)
        uid, gid = owner(status)
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in {"char", "block"} else (0, 0)
        record = _recorded(kind, fd, name)
        if record is not None:
            uid, gid = record.uid, record.gid
            mode = mode if record.mode is None else record.mode
            if record.device:
                kind = "char" if record.device[0] == "c" else "block"
                device = record.device[1:]
        target = os.readlink(name, dir_fd=fd) if kind == "symlink" and name is not None else ""
        size = status.st_size if kind == "file" else 0
        inode = (status.st_dev, status.st_ino) if kind == "file" and status.st_nlink > 1 else (0, 0)
        return Node(path, kind, mode, uid, gid, size, status.st_mtime_ns, target, device, layer, inode=inode)

    def _open(self, node: Node) -> BinaryIO:
        if node.kind != "file":
            raise InvalidInput(f"{node.path!r} is not a regular file")
        parent = self.parent_fd(node)
        try:
            fd = _open_file(parent, node.path.rsplit("/", 1)[-1])
        except OSError as error:
            raise failure(error, f"opening {node.path!r}") from error
        finally:
            os.close(parent)
        opened = open(fd, "rb", buffering=0)  # noqa: SIM115 - the caller closes it
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            opened.close()
            raise InvalidInput(f"{node.path!r} is not a regular file")
        return opened

    def _hash(self, node: Node) -> str:
        digest = hashlib.sha256()
        with self._open(node) as opened:
            while data := opened.read(_CHUNK):
                digest.update(data)
        return digest.hexdigest()


def _open_file(parent: int, name: str) -> int:
    # NONBLOCK: a fifo that took the place of the file must not make us wait for a writer.
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)


def _recorded(kind: NodeKind, fd: int, name: str | None) -> Record | None:
    """The recorded owner, where this user has to record owners at all."""
    if overlay_style() == "trusted" or kind not in {"file", "dir"}:
        return None
    if name is None:
        return read_record(fd)
    try:
        child = _open_file(fd, name)
    except PermissionError:
        return None
    try:
        return read_record(child)
    finally:
        os.close(child)
