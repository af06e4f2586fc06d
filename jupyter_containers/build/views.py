"""The files of a stack of layers as the builder looks at them, without mounting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.layers.base import ViewSource
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.interfaces import Stack
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.layers.base import Node, Trees
    from jupyter_containers.snapshots.base import Snapshotter

ACCOUNTS_LIMIT: Final = 4 << 20
"""What ``/etc/passwd`` and ``/etc/group`` may have at most, in bytes."""


def unpack_stack(stack: Stack, store: ContentStore, snapshotter: Snapshotter, cancel: CancelToken) -> list[Digest]:
    """See to it that all layers are unpacked; their chain ids, bottom first.

    Raises
    ------
    BlobNotFound
        when a layer is neither unpacked nor in the store.
    """
    chains = chain_ids(stack)
    for index, (layer, chain) in enumerate(zip(stack, chains, strict=True)):
        if snapshotter.info(chain) is not None:
            continue
        cancel.check()
        digest = Digest(layer.blob.digest)
        store.size(digest)
        snapshotter.unpack(chain, store.path(digest), diff_id=layer.diff_id, parents=chains[:index])
    return chains


class ImageTree:
    """A :class:`~.selection.SourceTree` over layer directories, top first.

    ``hashes``: whether :meth:`hash` will be asked for; the files are then read when they are listed.
    """

    def __init__(self, trees: Trees, dirs: Sequence[Path], *, name: str, hashes: bool = False) -> None:
        self._trees = trees
        self._dirs = tuple(dirs)
        self._hashes = hashes
        self.name = name

    def lookup(self, path: str) -> Node | None:
        """The node at a path without links in its directories; a link at its end is not followed."""
        if not self._dirs:
            return None
        try:
            return self._trees.walk(self._dirs, path, follow=False, recursive=False)[0]
        except NotFound:
            return None

    def children(self, path: str) -> Sequence[Node]:
        """What a directory holds, by name."""
        depth = path.count("/") + 1 if path else 0
        nodes = self._trees.walk(self._dirs, path, follow=False)
        return [node for node in nodes[1:] if node.path.count("/") == depth]

    def tree(self, path: str) -> Sequence[Node]:
        """The node at ``path`` and everything below it, parents first, by name."""
        return self._trees.walk(self._dirs, path, follow=False, hashes=self._hashes)

    def hash(self, nodes: Iterable[Node]) -> None:
        """See :class:`.selection.SourceTree`: done when they were listed."""
        assert self._hashes or not any(node.kind == "file" for node in nodes)

    def content(self, node: Node) -> ViewSource:
        """Where a file's bytes are."""
        return ViewSource(self._dirs, node.path)

    def read(self, path: str) -> str:
        """A small text file, empty when it is not there; links are followed inside the tree."""
        if not self._dirs:
            return ""
        try:
            return self._trees.read(self._dirs, path, limit=ACCOUNTS_LIMIT).decode("utf-8", "surrogateescape")
        except NotFound:
            return ""


def find_owner(text: str, tree: ImageTree) -> tuple[int, int]:
    """The ids that ``user[:group]`` of ``--chown`` and USER stands for in an image.

    Names are looked up in its ``/etc/passwd`` and ``/etc/group``. Without a group it is that of the user's entry, or
    the number of the user where it was given as a number (Dockerfile reference, "COPY --chown --chmod").

    Raises
    ------
    InvalidInput
        when there is no such user or group.
    """
    user, _colon, group = text.partition(":")
    uid, gid = 0, 0
    if user.isdigit():
        uid = gid = int(user)
    elif user:
        entry = _entry(tree.read("etc/passwd"), user, fields=4)
        if entry is None:
            raise InvalidInput(
                f"no user {user} in the image's /etc/passwd", hint="add the user first, or give a number"
            )
        uid, gid = int(entry[2]), int(entry[3])
    if group.isdigit():
        gid = int(group)
    elif group:
        entry = _entry(tree.read("etc/group"), group, fields=3)
        if entry is None:
            raise InvalidInput(
                f"no group {group} in the image's /etc/group", hint="add the group first, or give a number"
            )
        gid = int(entry[2])
    return uid, gid


def _entry(text: str, name: str, *, fields: int) -> list[str] | None:
    for line in text.splitlines():
        entry = line.split(":")
        if entry[0] == name and len(entry) >= fields and all(number.isdigit() for number in entry[2:fields]):
            return entry
    return None
