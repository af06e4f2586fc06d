"""Docker's rules for where copied files go, as a list of layer entries.

A layer is computed from the file system below it (its *parent*) and what is copied; nothing is mounted. Directories
on the way that exist already are listed with the attributes they have, so that the layer does not change them.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from jupyter_containers.build.selection import resolve
from jupyter_containers.errors import InvalidInput
from jupyter_containers.layers.base import Item

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.build.selection import Choice, SourceTree
    from jupyter_containers.build.views import ImageTree
    from jupyter_containers.layers.base import Node, ViewSource

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
        The mode of everything that is copied, None to keep that of the source.
    timestamp
        The modification time of every entry, in seconds since the epoch.
    """

    def __init__(
        self, parent: ImageTree, *, timestamp: int, owner: tuple[int, int] | None = None, mode: int | None = None
    ) -> None:
        self._parent = parent
        self._owner = owner
        self._mode = mode
        self._timestamp = timestamp
        self._items: dict[str, Item] = {}
        self._known: dict[str, Node | None] = {}
        self.changed = False
        """Whether the layer has anything that is not in the parent."""

    def items(self) -> list[Item]:
        """The entries, parents first and hard links last."""
        return sorted(self._items.values(), key=lambda item: (item.kind == "link", item.name.split("/")))

    # -- looking -----------------------------------------------------------------------------------------------------

    def _below(self, path: str) -> Node | None:
        if path not in self._known:
            above = self._known.get(posixpath.dirname(path), path)
            self._known[path] = None if path and above is None else self._parent.lookup(path)
        return self._known[path]

    def _lookup(self, path: str) -> Node | Item | None:
        return self._items.get(path) or self._below(path)

    def _resolve(self, path: str) -> str:
        return resolve(path, self._as_node)

    def _as_node(self, path: str) -> Node | None:
        # A path that this layer replaces is never a link to follow: what it copies is not below it yet.
        return None if path in self._items else self._below(path)

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
                self._put(Item(name, "dir", DIRECTORY_MODE, uid, gid, self._timestamp))
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
                self._items[""] = Item("", "dir", DIRECTORY_MODE, mtime=self._timestamp)
            return
        self._items[name] = Item(name, "dir", node.mode, node.uid, node.gid, self._timestamp)

    def _put(self, item: Item) -> None:
        if posixpath.basename(item.name).startswith(WHITEOUT_PREFIX):
            raise InvalidInput(
                f"/{item.name} cannot be in an image: names that begin with {WHITEOUT_PREFIX} mark deletions in layers",
                hint="rename the file, or leave it out with .dockerignore",
            )
        self._items[item.name] = item
        self.changed = True

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
        mode = FILE_MODE if self._mode is None else self._mode
        target = self._file_target(destination, name)
        self._refuse_directory(target)
        self._put(Item(target, "file", mode, uid, gid, self._timestamp, source=data))

    def copy(self, choice: Choice, tree: SourceTree, destination: str) -> None:
        """A file, or what a directory holds.

        Raises
        ------
        InvalidInput
            when a file would replace a directory or the other way round.
        """
        first, *below = choice.nodes
        if first.kind != "dir":
            target = self._file_target(destination, choice.base)
            self._refuse_directory(target)
            self._put(self._copied(first, target, tree))
            return
        target = self.directory(destination)
        for node in below:
            name = posixpath.join(target, choice.below(node))
            if node.kind == "dir":
                self._refuse_other(name)
            else:
                self._refuse_directory(name)
            self._put(self._copied(node, name, tree))

    def _copied(self, node: Node, name: str, tree: SourceTree) -> Item:
        uid, gid = self._owner or (node.uid, node.gid)
        mode = node.mode if self._mode is None or node.kind == "symlink" else self._mode
        source: bytes | Path | ViewSource = tree.content(node) if node.kind == "file" else b""
        return Item(
            name, node.kind, mode, uid, gid, self._timestamp, source=source, target=node.target, device=node.device
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
