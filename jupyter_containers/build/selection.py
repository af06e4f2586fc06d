"""Choosing the files that COPY and ADD name, the same way in a build context and in an image.

Paths are relative to the root of a :class:`SourceTree`, without a leading slash; ``""`` is the root. Symbolic links
are followed inside the tree only, and only where Docker does: on the way to a source and in the source itself, never
in what lies below it.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Protocol

from jupyter_containers.build import wildcards
from jupyter_containers.build.dockerfile.ignore import IgnoreMatcher
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jupyter_containers.layers.base import Node, ViewSource

MAX_LINKS = 255
_SINGLE = (0, 0)
"""``Node.inode`` of what has one name."""


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

    def hash(self, nodes: Iterable[Node]) -> None:
        """Fill in ``Node.sha256`` of each regular file."""
        ...

    def content(self, node: Node) -> str | ViewSource:
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
    under
        The path that ``--parents`` keeps: ``written`` without what stands before ``/./``.
    ancestors
        The directories of ``under``, without the last name.
    """

    written: str
    root: str
    nodes: tuple[Node, ...]
    under: str = ""
    ancestors: tuple[Node, ...] = ()

    @property
    def base(self) -> str:
        """The name it gets in a directory."""
        return posixpath.basename(self.written)

    def below(self, node: Node) -> str:
        """The path of a node relative to the source, ``""`` for the source itself."""
        return node.path[len(self.root) :].lstrip("/")


def choose(tree: SourceTree, pattern: str, *, parents: bool = False, exclude: Sequence[str] = ()) -> list[Choice]:
    """What a source pattern names, by name; nothing when it has wildcards and no match.

    ``exclude`` are patterns of ``.dockerignore``, relative to what is copied: to a directory whose content is, to the
    destination with ``parents``, to the directory of a single file.

    Raises
    ------
    NotFound
        when it has no wildcards and there is no such file.
    """
    whole = _normal(pattern)
    paths = list(_match(tree, [], whole.split("/"))) if wildcards.has_wildcard(whole) else [wildcards.unescape(whole)]
    before, pivot, _after = pattern.partition("/./")
    skipped = len(_normal(before).split("/")) if pivot and _normal(before) else 0
    ignore = IgnoreMatcher.parse("\n".join(exclude), name="--exclude") if exclude else None
    choices = []
    for path in paths:
        root = resolve(path, tree.lookup)
        if tree.lookup(root) is None:
            raise NotFound(f"file not found in {tree.name}: {path or '/'}")
        choice = Choice(path, root, tuple(tree.tree(root)))
        if parents:
            choice = _with_parents(choice, tree, path.split("/"), skipped)
        if ignore is not None:
            choice = replace(choice, nodes=tuple(_kept(choice, ignore)))
        if choice.nodes:
            choices.append(choice)
    return choices


def _with_parents(choice: Choice, tree: SourceTree, parts: list[str], skipped: int) -> Choice:
    above = [tree.lookup(resolve("/".join(parts[:depth]), tree.lookup)) for depth in range(skipped + 1, len(parts))]
    under = "/".join(parts[skipped:])
    return replace(choice, under=under, ancestors=tuple(node for node in above if node is not None))


def _kept(choice: Choice, ignore: IgnoreMatcher) -> Iterator[Node]:
    """The nodes that no pattern leaves out, and the directories above those of them that are exceptions."""
    single = choice.nodes[0].kind != "dir"
    above: list[Node] = []
    for node in choice.nodes:
        while above and not node.path.startswith(f"{above[-1].path}/"):
            above.pop()
        below = choice.below(node)
        name = posixpath.join(choice.under, below).rstrip("/") or (choice.base if single else "")
        if not name or not ignore.excludes(name):
            yield from above
            above.clear()
            yield node
        elif node.kind == "dir":
            above.append(node)


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


def describe(choices: Iterable[Choice]) -> dict[str, str]:
    """What of the chosen files enters the cache key: kind, mode, owner, content and other name of each; no times."""
    files: dict[str, str] = {}
    for choice in choices:
        first: dict[tuple[int, int], str] = {}
        above, skipped = posixpath.join(choice.written, ""), len(choice.root)
        for node in choice.nodes:
            below = node.path[skipped:].lstrip("/")
            name = above + below if below else above.rstrip("/")
            value = f"{node.kind} {node.mode:o} {node.uid}:{node.gid} {node.sha256 or node.target}"
            if node.kind != "file" or node.inode != _SINGLE:
                value = value.rstrip() + _others(node, name, first)
            files[printable(name) or "."] = printable(value)
    return files


def _others(node: Node, name: str, first: dict[tuple[int, int], str]) -> str:
    """What else there is to say of a device, or of a file with several names, of which ``first`` has the first."""
    device = f" {node.device[0]}:{node.device[1]}" if node.kind in {"char", "block"} else ""
    same = first.setdefault(node.inode, name) if node.inode != _SINGLE else name
    return f"{device} linked to {same}" if same != name else device


def printable(name: str) -> str:
    """A file name as text that can be stored and shown, whatever bytes it has."""
    if name.isascii():
        return name
    return os.fsencode(name).decode("utf-8", "backslashreplace")
