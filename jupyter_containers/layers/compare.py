"""Whether a file of a whole tree is the one the layers below have: for snapshots made by copying."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final

from jupyter_containers.layers.disk import get_xattrs

if TYPE_CHECKING:
    from jupyter_containers.layers.base import Node
    from jupyter_containers.layers.tar import Entry
    from jupyter_containers.layers.view import LayerView

_CHUNK: Final = 1 << 20


def same_content(lowers: LayerView, node: Node, entry: Entry, mtime: int, opened: int | None) -> bool:
    """Whether ``entry``, in the tree with the time ``mtime`` and open as ``opened``, equals ``node`` below.

    Files of one size and time are compared byte by byte: a program may have set the time back.
    """
    there = (node.kind, node.mode, node.uid, node.gid, node.mtime)
    if there != (entry.kind, entry.mode, entry.uid, entry.gid, mtime):
        return False
    if node.kind == "symlink":
        return os.fsencode(node.target) == entry.target
    if node.kind != "file":
        return node.device == (entry.major, entry.minor)
    if node.size != entry.size or opened is None:
        return False
    with lowers.open(node.path) as source:
        return (get_xattrs(source.fileno()) or None) == entry.xattrs and _same_bytes(source, opened)


def _same_bytes(source: BinaryIO, opened: int) -> bool:
    offset = 0
    while data := source.read(_CHUNK):
        if os.pread(opened, len(data), offset) != data:
            return False
        offset += len(data)
    return True
