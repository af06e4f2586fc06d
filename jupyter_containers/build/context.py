"""The build context: a directory of the user's, without what ``.dockerignore`` leaves out."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile.ignore import Decision, IgnoreMatcher
from jupyter_containers.build.selection import printable
from jupyter_containers.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from jupyter_containers.layers.base import Node, NodeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from jupyter_containers.build.cache import CacheStore

SETTLED_NS: Final = 2_000_000_000
"""A file changed less than this before it was read is read again next time: its stamp may not tell another change."""

_STAMP: Final = struct.Struct("<QQqqq")
"""What tells an unchanged file, all of it from ``lstat``: device, inode, change and modification time (ns), size."""

_ENCODING: Final = sys.getfilesystemencoding()
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1 << 20
_SMALL: Final = 1 << 18

_KINDS: Final[dict[int, NodeKind]] = {
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def load_ignore(context: Path, dockerfile: str, beside: Path | None = None) -> IgnoreMatcher:
    """The patterns of ``<dockerfile>.dockerignore``, ``beside`` it or in the context, or else of ``.dockerignore``.

    Raises
    ------
    DockerfileError
        with the line that is malformed.
    """
    places = [context / f"{os.path.basename(dockerfile)}.dockerignore", context / ".dockerignore"]
    for place in ([beside] if beside is not None else []) + places:
        name = place.name
        try:
            with open(place, encoding="utf-8", errors="surrogateescape") as file:
                return IgnoreMatcher.parse(file.read(), name=name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise PermissionDenied(f"cannot read {name} of the build context: {error.strerror}") from error
    return IgnoreMatcher()


class LocalTree:
    """A :class:`~.selection.SourceTree` over a directory.

    Everything belongs to 0:0; sockets are left out. What is known of unchanged files comes from ``cache``, unless the
    directory is one that is not seen again (``remember``).

    Raises
    ------
    NotFound
        when there is no such directory.
    """

    def __init__(self, root: Path, ignore: IgnoreMatcher, cache: CacheStore, *, remember: bool = True) -> None:
        if not root.is_dir():
            raise NotFound(f"the build context {root} is not a directory")
        self.name = "build context"
        self.root = root
        self._remember = remember
        self._base = os.path.realpath(root)
        self._ignore = ignore
        self._cache = cache
        self._stamps: dict[str, bytes] = {}
        self._decisions: dict[str, Decision] = {"": ignore.root}

    def lookup(self, path: str) -> Node | None:
        """The node at a path without links in its directories; a link at its end is not followed."""
        try:
            status = os.lstat(self._path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._denied(path, error) from error
        decision = self._decide(path)
        if decision.excluded and not (decision.descend and stat.S_ISDIR(status.st_mode)):
            return None
        return self._node(path, status)

    def excluded(self, path: str) -> bool:
        """Whether ``.dockerignore`` is why a path is not there."""
        return os.path.lexists(self._path(path)) and self._decide(path).excluded

    def children(self, path: str) -> Sequence[Node]:
        """What a directory holds, by name."""
        return [node for node, _decision in self._list(path)]

    def tree(self, path: str) -> Sequence[Node]:
        """The node at ``path`` and what is below it, parents first, by name."""
        node = self.lookup(path)
        if node is None:
            raise NotFound(f"{path} is not in the build context")
        nodes = [node]
        if node.kind == "dir":
            self._descend(path, nodes)
        return nodes

    def _descend(self, path: str, nodes: list[Node]) -> None:
        for node, decision in self._list(path):
            before = len(nodes)
            nodes.append(node)
            if node.kind == "dir":
                self._descend(node.path, nodes)
                if decision.excluded and len(nodes) == before + 1:
                    nodes.pop()  # entered for the sake of exceptions, and none was there

    def _list(self, path: str) -> list[tuple[Node, Decision]]:
        parent = self._decide(path)
        found: list[tuple[Node, Decision]] = []
        add, prefix, everything = found.append, f"{path}/" if path else "", not self._ignore.patterns
        try:
            with os.scandir(self._path(path)) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    child = prefix + entry.name
                    if everything:
                        decision = parent
                    else:
                        decision = self._ignore.decide(child, parent)
                        if decision.excluded and not (decision.descend and entry.is_dir(follow_symlinks=False)):
                            continue
                    node = self._node(child, entry.stat(follow_symlinks=False))
                    if node is not None:
                        add((node, decision))
                        if node.kind == "dir":
                            self._decisions[child] = decision
        except OSError as error:
            raise self._denied(path, error) from error
        return found

    def _decide(self, path: str) -> Decision:
        decision = self._decisions.get(path)
        if decision is None:
            decision = self._decisions[path] = self._ignore.decide(path, self._decide(path.rpartition("/")[0]))
        return decision

    def _node(self, path: str, status: os.stat_result) -> Node | None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._stamps[path] = _stamp(status)
            node = Node(path, "file", mode & 0o7777, 0, 0, status.st_size, status.st_mtime_ns)
            if status.st_nlink > 1:
                node.inode = status.st_dev, status.st_ino
            return node
        kind = _KINDS.get(stat.S_IFMT(mode))
        if kind is None:
            return None
        mode = stat.S_IMODE(mode)
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in {"char", "block"} else (0, 0)
        target = os.readlink(self._path(path)) if kind == "symlink" else ""
        return Node(path, kind, 0o777 if kind == "symlink" else mode, 0, 0, 0, status.st_mtime_ns, target, device)

    def hash(self, nodes: Iterable[Node]) -> None:
        """Fill in the sha256 of each file; only those that changed since they were last seen are read."""
        directories: dict[str, list[Node]] = {}
        for node in nodes:
            if node.kind == "file":
                directories.setdefault(node.path.rpartition("/")[0], []).append(node)
        fresh: dict[bytes, dict[bytes, bytes]] = {}
        for directory, found in directories.items():
            files = self._cache.files(self._base, os.fsencode(directory)) if self._remember else {}
            if self._hash_directory(found, len(directory) + bool(directory), files):
                fresh[os.fsencode(directory)] = files
        if self._remember:
            self._cache.keep_files(self._base, fresh)

    def _hash_directory(self, nodes: list[Node], skipped: int, files: dict[bytes, bytes]) -> bool:
        """Those of one directory; ``files`` is what is known of it, and whether there is more to know now."""
        stamps, length, more = self._stamps, _STAMP.size, False
        for node in nodes:
            path = node.path
            stamp, name = stamps[path], path[skipped:].encode(_ENCODING, "surrogateescape")
            seen = files.get(name)
            if seen is not None and seen.startswith(stamp):
                node.sha256 = seen[length:].hex()
                continue
            digest = self._hash(path, stamp)
            node.sha256 = digest.hex()
            _dev, _ino, ctime, mtime, _size = _STAMP.unpack(stamp)
            if time.time_ns() - max(ctime, mtime) > SETTLED_NS:
                files[name] = stamp + digest
                more = True
        return more

    def _hash(self, path: str, stamp: bytes) -> bytes:
        try:
            fd = os.open(self._path(path), _READ)
        except OSError as error:
            raise self._denied(path, error) from error
        try:
            digest = hashlib.sha256()
            size = _STAMP.unpack(stamp)[-1]
            # One that grows is noticed below; most files are one read.
            while data := os.read(fd, size + 1 if size < _SMALL else _CHUNK):
                digest.update(data)
                if len(data) == size:
                    break
            if _stamp(os.fstat(fd)) != stamp:
                raise _changed(path)
        except OSError as error:
            raise self._denied(path, error) from error
        finally:
            os.close(fd)
        return digest.digest()

    def content(self, node: Node) -> str:
        """Where a file's bytes are."""
        return f"{self.root}/{node.path}"

    def check_unchanged(self, nodes: Sequence[Node]) -> None:
        """Raise Conflict when a file is no longer what it was when it was looked at."""
        for node in nodes:
            if node.kind == "file":
                try:
                    now = _stamp(os.lstat(self._path(node.path)))
                except OSError as error:
                    raise _changed(node.path) from error
                if now != self._stamps[node.path]:
                    raise _changed(node.path)

    def _path(self, path: str) -> str:
        if "\0" in path:
            raise InvalidInput("a path in the build context has a NUL character")
        return f"{self._base}/{path}" if path else self._base

    def _denied(self, path: str, error: OSError) -> Conflict | PermissionDenied:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return _changed(path)
        return PermissionDenied(
            f"cannot read {printable(path) or '.'} of the build context: {error.strerror}",
            hint="make it readable, or leave it out with .dockerignore",
        )


def _stamp(status: os.stat_result) -> bytes:
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size)


def _changed(path: str) -> Conflict:
    return Conflict(
        f"{printable(path) or 'the directory'} changed while the build read it",
        hint="stop what writes to it, then build again",
    )
