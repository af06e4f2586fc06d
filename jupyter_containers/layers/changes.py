"""What an upper directory changes, path by path, as ``docker diff`` lists it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.layers.base import Change, DiffOptions
from jupyter_containers.layers.diff import Differ
from jupyter_containers.layers.disk import OPAQUE_MARKER, WHITEOUT_PREFIX
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.view import LayerView

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jupyter_containers.layers.tar import Entry


class _Names:
    """Takes the names of what would stand in the layer."""

    def __init__(self) -> None:
        self.size = 0
        self.names: list[bytes] = []

    def add(self, entry: Entry, content: bytes | Iterable[bytes] = b"") -> None:
        """The next entry; its content is not read."""
        del content
        self.names.append(entry.name)


def list_changes(upper: Path, options: DiffOptions) -> list[Change]:
    """All paths that ``upper`` adds, changes or removes, sorted; a directory also when something in it did change.

    Of a directory that was removed only the directory is listed.

    Raises
    ------
    Unsupported, InvalidInput, PermissionDenied, SystemFailure
        as :func:`~jupyter_containers.layers.diff.write_layer` does.
    """
    names = _Names()
    try:
        with LayerView(options.lowers) as lowers:
            root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                Differ(lowers, names, options, None).root(root)
            finally:
                os.close(root)
            kinds = _kinds(names.names, lowers)
    except OSError as error:
        raise failure(error, f"reading the changes in {upper}") from error
    return [Change(kind, f"/{os.fsdecode(path)}") for path, kind in sorted(kinds.items()) if path]


def _kinds(names: list[bytes], lowers: LayerView) -> dict[bytes, str]:
    kinds: dict[bytes, str] = {}
    opaque = []
    for name in names:
        above, slash, leaf = name.rpartition(b"/")
        if leaf == OPAQUE_MARKER:
            opaque.append(above)
        elif leaf.startswith(WHITEOUT_PREFIX):
            kinds[above + slash + leaf.removeprefix(WHITEOUT_PREFIX)] = "D"
        else:
            kinds[name] = "C" if lowers.find(os.fsdecode(name), follow=False) else "A"
    for directory in opaque:
        for node in lowers.listdir(os.fsdecode(directory)):
            kinds.setdefault(os.fsencode(node.path), "D")
    return kinds
