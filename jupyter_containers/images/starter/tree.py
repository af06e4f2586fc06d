"""The files of a layer before they are written: paths and where their content comes from."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, TypeAlias

from jupyter_containers.errors import InvalidInput
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DIRECTORY_MODE = 0o755
PROGRAM_MODE = 0o755
FILE_MODE = 0o644
_MERGED = ("bin", "sbin", "lib", "lib64")


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; ``owner`` is both its uid and its gid."""

    mode: int = DIRECTORY_MODE
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Data:
    """A file with content made here."""

    content: bytes
    mode: int = FILE_MODE


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of this machine; ``source`` is a path without symbolic links in its last component."""

    source: str
    mode: int = FILE_MODE


Node: TypeAlias = Directory | Link | Data | Copy


@dataclass
class Tree:
    """Nodes by absolute path. What ``below`` has is taken as there, and is neither added again nor written.

    ``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` are links into ``/usr`` in every image made here; :meth:`place`
    says where a path of this machine therefore lies in the image.
    """

    below: Mapping[str, Node] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    @staticmethod
    def place(path: str) -> str:
        """The path of the image that stands for a path of the machine."""
        normal = posixpath.normpath(path)
        head = normal.split("/", 2)[1] if normal.startswith("/") else ""
        return f"/usr{normal}" if head in _MERGED else normal

    def has(self, path: str) -> bool:
        """Whether the image has something there."""
        return path in self.nodes or path in self.below

    def add(self, path: str, node: Node) -> bool:
        """Add a node and the directories above it; False, and nothing is changed, when something is there.

        Raises
        ------
        InvalidInput
            when the path is not absolute and normal, or leads through something that is no directory.
        """
        if not path.startswith("/") or posixpath.normpath(path) != path or path == "/":
            raise InvalidInput(f"{path!r} is no path of an image")
        if self.has(path):
            return False
        parent = posixpath.dirname(path)
        if parent != "/":
            above = self.nodes.get(parent, self.below.get(parent))
            if above is None:
                self.add(parent, Directory())
            elif not isinstance(above, Directory):
                raise InvalidInput(f"{parent} is no directory, so {path} cannot be in it")
        self.nodes[path] = node
        return True

    def add_copy(self, path: str, source: str, *, program: bool = False) -> bool:
        """Add the file that ``source`` leads to; ``program`` makes it executable."""
        return self.add(path, Copy(os.path.realpath(source), PROGRAM_MODE if program else FILE_MODE))

    def add_link(self, path: str, target: str) -> bool:
        """Add a symbolic link."""
        return self.add(path, Link(target))

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        """The nodes of this layer, every directory before what is in it."""
        for path in sorted(self.nodes, key=lambda path: path.split("/")):
            yield path, self.nodes[path]

    def everything(self) -> dict[str, Node]:
        """The nodes of this layer and of those below."""
        return {**self.below, **self.nodes}

    def sources(self) -> Iterator[tuple[str, Copy]]:
        """The files of this layer that are copies, by path."""
        for path, node in self:
            if isinstance(node, Copy):
                yield path, node
