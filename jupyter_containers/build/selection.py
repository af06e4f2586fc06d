"""Choosing the files that COPY and ADD name, the same way in a build context and in an image.

Paths are relative to the root of a :class:`SourceTree`, without a leading slash; ``""`` is the root. Symbolic links
are followed inside the tree only, and only where Docker does: on the way to a source and in the source itself, never
in what lies below it.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jupyter_containers.build import wildcards
from jupyter_containers.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jupyter_containers.layers.base import Node, ViewSource

MAX_LINKS = 255


class SourceTree(Protocol):
    """Files that can be copied from. ``Node.path`` is relative to the root, ``""`` the root itself."""

    name: str
    """What messages call it: ``build context``, ``stage build``."""

    def lookup(self, path: str) -> Node | None:
        """The node at a path whose directories are no links; a link at its end is not followed."""
        ...

    def children(self, path: str) -> Sequence[Node]:
        """What a directory holds, by name."""
        ...

    def tree(self, path: str) -> Sequence[Node]:
        """The node at ``path`` and everything below it, parents first, by name."""
        ...

    def digests(self, nodes: Sequence[Node]) -> Mapping[str, str]:
        """The sha256 (hexadecimal) of each regular file, by path."""
        ...

    def content(self, node: Node) -> Path | ViewSource:
        """Where a regular file's bytes are."""
        ...


def resolve(path: str, lookup: Callable[[str], Node | None]) -> str:
    """Follow the links in a path within a tree and return a path without any.

    What does not exist is kept as it is written; ``..`` does not leave the root.

    Raises
    ------
    InvalidInput
        when there are too many links.
    """
    done: list[str] = []
    todo = [part for part in reversed(path.split("/")) if part not in {"", "."}]
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del done[-1:]
            continue
        node = lookup("/".join([*done, part]))
        if node is None or node.kind != "symlink":
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise InvalidInput(f"too many levels of symbolic links: {path}")
        if node.target.startswith("/"):
            done.clear()
        todo.extend(step for step in reversed(node.target.split("/")) if step not in {"", "."})
    return "/".join(done)


@dataclass(frozen=True, slots=True)
class Choice:
    """One source, found.

    Parameters
    ----------
    written
        The path by which it was found, links not followed.
    root
        Its path with links followed.
    nodes
        The file, or the directory and what is below it, parents first.
    """

    written: str
    root: str
    nodes: tuple[Node, ...]

    @property
    def base(self) -> str:
        """The name it gets in a directory."""
        return posixpath.basename(self.written)

    def below(self, node: Node) -> str:
        """The path of a node relative to the source, ``""`` for the source itself."""
        return node.path[len(self.root) :].lstrip("/")


def choose(tree: SourceTree, pattern: str) -> list[Choice]:
    """What a source pattern names, by name; nothing when it has wildcards and no match.

    Raises
    ------
    NotFound
        when it has no wildcards and there is no such file.
    """
    whole = _normal(pattern)
    paths = list(_match(tree, [], whole.split("/"))) if wildcards.has_wildcard(whole) else [wildcards.unescape(whole)]
    choices = []
    for path in paths:
        root = resolve(path, tree.lookup)
        if tree.lookup(root) is None:
            raise NotFound(f"file not found in {tree.name}: {path or '/'}")
        choices.append(Choice(path, root, tuple(tree.tree(root))))
    return choices


def _normal(path: str) -> str:
    """Relative to the root, without ``.`` and ``..``; one that begins with ``/`` is meant from the root too."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def _match(tree: SourceTree, done: list[str], todo: list[str]) -> Iterator[str]:
    if not todo:
        yield "/".join(done)
        return
    head, *rest = todo
    if not wildcards.has_wildcard(head):
        name = wildcards.unescape(head)
        if tree.lookup(resolve("/".join([*done, name]), tree.lookup)) is not None:
            yield from _match(tree, [*done, name], rest)
        return
    directory = resolve("/".join(done), tree.lookup)
    found = tree.lookup(directory)
    if found is None or found.kind != "dir":
        return
    if head == "**":
        yield from _match(tree, done, rest or ["*"])
    for node in tree.children(directory):
        name = posixpath.basename(node.path)
        if head == "**":
            if node.kind == "dir":
                yield from _match(tree, [*done, name], todo)
        elif wildcards.component(head).fullmatch(name):
            yield from _match(tree, [*done, name], rest)


def describe(choices: Sequence[Choice], digests: Mapping[str, str]) -> dict[str, str]:
    """What of the chosen files enters the cache key: kind, mode, owner and content of each; no times."""
    files: dict[str, str] = {}
    for choice in choices:
        for node in choice.nodes:
            name = posixpath.join(choice.written, choice.below(node)).rstrip("/")
            content = digests.get(node.path, node.target)
            device = f" {node.device[0]}:{node.device[1]}" if node.kind in {"char", "block"} else ""
            files[printable(name) or "."] = printable(
                f"{node.kind} {node.mode:o} {node.uid}:{node.gid} {content}{device}".rstrip()
            )
    return files


def printable(name: str) -> str:
    """A file name as text that can be stored and shown, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
