"""The build context: a directory of the user's, without what ``.dockerignore`` leaves out."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.cache import FileStamp
from jupyter_containers.build.dockerfile.ignore import Decision, IgnoreMatcher
from jupyter_containers.build.selection import printable
from jupyter_containers.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from jupyter_containers.layers.base import Node, NodeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jupyter_containers.build.cache import CacheStore

SETTLED_NS: Final = 2_000_000_000
"""A file changed less than this before it was read is read again next time: its stamp may not tell another change."""

_KINDS: Final[dict[int, NodeKind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def load_ignore(context: Path, dockerfile: str) -> IgnoreMatcher:
    """The patterns of ``<dockerfile>.dockerignore`` or else of ``.dockerignore`` in the context.

    Raises
    ------
    DockerfileError
        with the line that is malformed.
    """
    for name in (f"{os.path.basename(dockerfile)}.dockerignore", ".dockerignore"):
        try:
            with open(context / name, encoding="utf-8", errors="surrogateescape") as file:
                return IgnoreMatcher.parse(file.read(), name=name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise PermissionDenied(f"cannot read {name} of the build context: {error.strerror}") from error
    return IgnoreMatcher()


class LocalTree:
    """A :class:`~.selection.SourceTree` over a directory.

    Everything belongs to 0:0; sockets are left out. What is known of unchanged files comes from ``cache``.

    Raises
    ------
    NotFound
        when there is no such directory.
    """

    name = "build context"

    def __init__(self, root: Path, ignore: IgnoreMatcher, cache: CacheStore) -> None:
        if not root.is_dir():
            raise NotFound(f"the build context {root} is not a directory")
        self.root = root
        self._base = os.path.realpath(root)
        self._ignore = ignore
        self._cache = cache
        self._stamps: dict[str, FileStamp] = {}
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
        found = []
        try:
            with os.scandir(self._path(path)) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    child = f"{path}/{entry.name}" if path else entry.name
                    decision = self._decisions[child] = self._ignore.decide(child, parent)
                    if decision.excluded and not (decision.descend and entry.is_dir(follow_symlinks=False)):
                        continue
                    node = self._node(child, entry.stat(follow_symlinks=False))
                    if node is not None:
                        found.append((node, decision))
        except OSError as error:
            raise self._denied(path, error) from error
        return found

    def _decide(self, path: str) -> Decision:
        decision = self._decisions.get(path)
        if decision is None:
            decision = self._decisions[path] = self._ignore.decide(path, self._decide(path.rpartition("/")[0]))
        return decision

    def _node(self, path: str, status: os.stat_result) -> Node | None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in {"char", "block"} else (0, 0)
        target = os.readlink(self._path(path)) if kind == "symlink" else ""
        if kind == "file":
            self._stamps[path] = FileStamp.of(status)
        mode = 0o777 if kind == "symlink" else stat.S_IMODE(status.st_mode)
        size = status.st_size if kind == "file" else 0
        return Node(path, kind, mode, 0, 0, size=size, mtime=status.st_mtime_ns, target=target, device=device)

    def digests(self, nodes: Sequence[Node]) -> Mapping[str, str]:
        """The sha256 of each file; only those that changed since they were last seen are read."""
        known = self._cache.files(self._base)
        fresh: dict[bytes, tuple[FileStamp, str]] = {}
        digests: dict[str, str] = {}
        for node in nodes:
            if node.kind != "file":
                continue
            stamp, name = self._stamps[node.path], os.fsencode(node.path)
            seen = known.get(name)
            if seen is not None and seen[0] == stamp:
                digests[node.path] = seen[1]
                continue
            digest = digests[node.path] = self._hash(node.path, stamp)
            if time.time_ns() - max(stamp.ctime, stamp.mtime) > SETTLED_NS:
                fresh[name] = (stamp, digest)
        self._cache.keep_files(self._base, fresh)
        return digests

    def _hash(self, path: str, stamp: FileStamp) -> str:
        try:
            fd = os.open(self._path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._denied(path, error) from error
        with open(fd, "rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if FileStamp.of(os.fstat(fd)) != stamp:
                raise _changed(path)
        return digest

    def content(self, node: Node) -> Path:
        """Where a file's bytes are."""
        return self.root / node.path

    def check_unchanged(self, nodes: Sequence[Node]) -> None:
        """Raise Conflict when a file is no longer what it was when it was looked at."""
        for node in nodes:
            if node.kind == "file":
                try:
                    now = FileStamp.of(os.lstat(self._path(node.path)))
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


def _changed(path: str) -> Conflict:
    return Conflict(
        f"{printable(path)} changed while the build read it", hint="stop what writes to it, then build again"
    )
