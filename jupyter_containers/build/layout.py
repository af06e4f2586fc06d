"""Docker's rules for where copied files go, as a list of layer entries.

A layer is computed from the file system below it (its *parent*) and what is copied; nothing is mounted. Directories
on the way that exist already are listed with the attributes they have, so that the layer does not change them.
"""

from __future__ import annotations

import posixpath
import time
from typing import TYPE_CHECKING

from jupyter_containers.build.selection import resolve
from jupyter_containers.errors import InvalidInput
from jupyter_containers.layers.base import Item, Node
from jupyter_containers.layers.tar.entry import NANOSECONDS
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.build.selection import Choice, SourceTree
    from jupyter_containers.build.views import ImageTree
    from jupyter_containers.layers.base import ViewSource

DIRECTORY_MODE = 0o755
FILE_MODE = 0o644
WHITEOUT_PREFIX = ".wh."


class Layout:
    """Collects the entries of one layer above ``parent``.

    Parameters
    ----------
    owner
        The owner of everything that is copied and of directories that are created, None to keep that of the source.
    mode
        What ``--chmod`` makes of modes, from :func:`.modes.parse_mode`; None keeps that of the source.
    timestamp
        The modification time of every entry, in seconds since the epoch; None: that of the source, now for new ones.
    """

    def __init__(
        self,
        parent: ImageTree,
        *,
        timestamp: int | None,
        owner: tuple[int, int] | None = None,
        mode: Callable[[int, bool], int] | None = None,
    ) -> None:
        self._parent = parent
        self._owner = owner
        self._mode = mode
        self._timestamp = timestamp
        self._now = int(time.time()) if timestamp is None else timestamp
        self._items: dict[str, Item] = {}
        self._known: dict[str, Node | None] = {}
        self._links: dict[str, list[str]] = {}
        self.changed = False
        """Whether the layer has anything that is not in the parent."""

    def items(self) -> list[Item]:
        """The entries, parents first and hard links last."""
        return sorted(self._items.values(), key=lambda item: (item.kind == "link", item.name.replace("/", "\0")))

    # -- looking -----------------------------------------------------------------------------------------------------

    def _below(self, path: str) -> Node | None:
        unknown: list[str] = []
        while path not in self._known:
            unknown.append(path)
            if not path:
                break
            path = posixpath.dirname(path)
        node = self._known.get(path)
        if node is None and path:
            return None  # what is below is not remembered: there may be ten thousands of them
        for name in reversed(unknown):
            node = self._known[name] = self._parent.lookup(name)
            if node is None:
                break
        return node

    def _lookup(self, path: str) -> Node | Item | None:
        return self._items.get(path) or self._below(path)

    def _resolve(self, path: str) -> str:
        return resolve(path, self._as_node)

    def _as_node(self, path: str) -> Node | None:
        item = self._items.get(path)
        if item is None:
            return self._below(path)
        return (
            Node(path, "symlink", item.mode, item.uid, item.gid, target=item.target) if item.kind == "symlink" else None
        )

    def is_directory(self, path: str) -> bool:
        """Whether a directory is there."""
        found = self._lookup(self._resolve(path))
        return found is not None and found.kind == "dir"

    # -- placing -----------------------------------------------------------------------------------------------------

    def directory(self, path: str) -> str:
        """See to it that a directory is there, with those above it; its path with links followed.

        Raises
        ------
        InvalidInput
            when something on the way is no directory.
        """
        target = self._resolve(path)
        parts = target.split("/") if target else []
        self._keep("")
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            found = self._lookup(name)
            if found is None:
                uid, gid = self._owner or (0, 0)
                self._put(Item(name, "dir", DIRECTORY_MODE, uid, gid, self._now))
            elif found.kind != "dir":
                raise InvalidInput(f"cannot create {target}: {name} is no directory in the image")
            else:
                self._keep(name)
        return target

    def _keep(self, name: str) -> None:
        if name in self._items:
            return
        node = self._below(name)
        if node is None:
            if not name:
                self._items[""] = Item("", "dir", DIRECTORY_MODE, mtime=self._now)
            return
        self._items[name] = Item(name, "dir", node.mode, node.uid, node.gid, self._time(node))

    def _time(self, node: Node) -> int:
        return max(0, node.mtime // NANOSECONDS) if self._timestamp is None else self._timestamp

    def _put(self, item: Item) -> None:
        if posixpath.basename(item.name).startswith(WHITEOUT_PREFIX):
            raise InvalidInput(
                f"/{item.name} cannot be in an image: names that begin with {WHITEOUT_PREFIX} mark deletions in layers",
                hint="rename the file, or leave it out with .dockerignore",
            )
        if item.kind == "char" and item.device == (0, 0):
            raise InvalidInput(
                f"/{item.name} cannot be in an image: the character device 0:0 marks deletions in layers"
            )
        self._release(item.name)
        self._items[item.name] = item
        if item.kind == "link":
            self._links.setdefault(item.target, []).append(item.name)
        self.changed = True

    def _release(self, name: str) -> None:
        """Before a file is replaced: the first of its hard links becomes the file, and the others follow it."""
        links = self._links.pop(name, [])
        links = [link for link in dict.fromkeys(links) if (x := self._items[link]).kind == "link" and x.target == name]
        if links and name in self._items:
            first, *others = links
            self._items[first] = replace(self._items[name], name=first)
            for other in others:
                self._items[other] = replace(self._items[other], target=first)
            self._links[first] = others

    def _file_target(self, destination: str, base: str) -> str:
        """Where a single file goes."""
        if destination.endswith("/"):
            return posixpath.join(self.directory(destination), base)
        target = self._resolve(destination)
        found = self._lookup(target)
        if not target or (found is not None and found.kind == "dir"):
            target = posixpath.join(target, base)
        self.directory(posixpath.dirname(target))
        return target

    def inline(self, name: str, data: bytes, destination: str) -> None:
        """A file whose content stands in the Dockerfile."""
        uid, gid = self._owner or (0, 0)
        mode = FILE_MODE if self._mode is None else self._mode(FILE_MODE, False)
        target = self._file_target(destination, name)
        self._refuse_directory(target)
        self._put(Item(target, "file", mode, uid, gid, self._now, source=data))

    def copy(self, choice: Choice, tree: SourceTree, destination: str, *, parents: bool = False) -> None:
        """A file, or what a directory holds; with ``parents`` under the path it has in the source.

        Raises
        ------
        InvalidInput
            when a file would replace a directory or the other way round.
        """
        if parents:
            self._copy_under(choice, tree, destination)
            return
        first, *below = choice.nodes
        if first.kind != "dir":
            target = self._file_target(destination, choice.base)
            self._refuse_directory(target)
            self._put(self._copied(first, target, tree))
            return
        target = self.directory(destination)
        self._copy_nodes([(node, posixpath.join(target, choice.below(node))) for node in below], tree)

    def _copy_nodes(self, nodes: list[tuple[Node, str]], tree: SourceTree) -> None:
        """Nodes of one source under new names; what is one file there is one file here."""
        first: dict[tuple[int, int], str] = {}
        for node, name in nodes:
            if node.kind == "dir":
                self._refuse_other(name)
            else:
                self._refuse_directory(name)
            copied = self._copied(node, name, tree)
            same = first.setdefault(node.inode, name) if any(node.inode) else name
            self._put(copied if same == name else replace(copied, kind="link", source=b"", target=same))

    def _copy_under(self, choice: Choice, tree: SourceTree, destination: str) -> None:
        target = self.directory(destination)
        parts = choice.under.split("/")
        for depth, node in enumerate(choice.ancestors, 1):
            name = posixpath.join(target, *parts[:depth])
            self._refuse_other(name)
            if self._lookup(name) is None:
                self._put(self._copied(node, name, tree))
        under = posixpath.join(target, choice.under)
        named = [(node, posixpath.join(under, choice.below(node)).rstrip("/")) for node in choice.nodes]
        self._copy_nodes([(node, name) for node, name in named if name], tree)

    def _copied(self, node: Node, name: str, tree: SourceTree) -> Item:
        uid, gid = self._owner or (node.uid, node.gid)
        mode = node.mode
        if self._mode is not None and node.kind != "symlink":
            mode = self._mode(mode, node.kind == "dir")
        source: bytes | str | ViewSource = tree.content(node) if node.kind == "file" else b""
        return Item(
            name,
            node.kind,
            mode,
            uid,
            gid,
            self._time(node),
            source=source,
            target=node.target,
            device=node.device,
            sha256=node.sha256,
        )

    def extracted(self, item: Item) -> None:
        """An entry of an archive that ADD extracts: replaces what is there, but merges directories."""
        parent = self.directory(posixpath.dirname(item.name))
        name = posixpath.join(parent, posixpath.basename(item.name))
        found = self._lookup(name)
        if item.kind != "dir" and found is not None and found.kind == "dir":
            raise InvalidInput(f"cannot replace the directory /{name} with a file of the archive")
        uid, gid = self._owner or (item.uid, item.gid)
        self._put(
            Item(
                name,
                item.kind,
                item.mode,
                uid,
                gid,
                item.mtime,
                source=item.source,
                target=item.target,
                device=item.device,
                xattrs=item.xattrs,
            )
        )

    def _refuse_directory(self, name: str) -> None:
        found = self._lookup(name)
        if not name or (found is not None and found.kind == "dir"):
            raise InvalidInput(f"cannot replace the directory /{name} with a file")

    def _refuse_other(self, name: str) -> None:
        found = self._lookup(name)
        if found is not None and found.kind != "dir":
            raise InvalidInput(
                f"cannot copy a directory over /{name}, which is a {found.kind} in the image",
                hint="copy to where the link leads" if found.kind == "symlink" else "choose another destination",
            )
