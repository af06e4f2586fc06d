"""``build --output``: an image, an archive of one, or its files."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.errors import Unsupported, UsageError
from jupyter_containers.images import archive
from jupyter_containers.layers.base import ApplyOptions, Item, ViewSource
from jupyter_containers.layers.tar.entry import NANOSECONDS
from jupyter_containers.layers.trees import LocalTrees
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.build.options import BuildResult
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.layers.base import Node
    from jupyter_containers.oci.names import Reference

TYPES: Final = ("image", "local", "tar", "oci", "docker")
STDOUT: Final = "-"
STREAM: Final = "/dev/stdout"
_TRUE: Final = frozenset({"", "1", "true"})


@dataclass(frozen=True, slots=True)
class Output:
    """One ``--output``: ``dest`` is a directory for ``local``, else a file, ``-`` standard output."""

    type: str
    dest: str = ""
    archive: bool = True
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read ``type=TYPE,dest=PATH``, a directory, or ``-`` for a tar of the files.

        Raises
        ------
        UsageError, Unsupported
            for what is none, and for pushing.
        """
        if text == STDOUT:
            return cls("tar", STDOUT)
        if "=" not in text:
            return cls("local", text)
        fields: dict[str, str] = {}
        for part in next(csv.reader([text])):
            key, _equals, value = part.partition("=")
            fields[key.strip().lower()] = value
        kind = fields.pop("type", "")
        if kind not in TYPES:
            raise UsageError(f"invalid output {text!r}", hint=f"the types are {', '.join(TYPES)}")
        if fields.pop("push", "false").lower() in _TRUE:
            raise Unsupported("an output cannot push", hint="give the image a name and push it")
        output = cls(
            kind,
            fields.pop("dest", ""),
            fields.pop("tar", "true").lower() in _TRUE,
            tuple(filter(None, fields.pop("name", "").split(","))),
        )
        if fields:
            raise UsageError(f"output {text!r}: {min(fields)} is not known for the type {kind}")
        if not output.dest and kind != "image":
            raise UsageError(f"output {text!r} needs dest=PATH")
        return output


def write(parts: Parts, output: Output, result: BuildResult, names: Sequence[Reference]) -> None:
    """Write a built image where an output says; a file appears whole or not at all."""
    if output.type == "image":
        return
    if output.type == "local":
        _files(parts, result, Path(output.dest).expanduser())
        return
    if output.type in {"oci", "docker"} and not output.archive:
        archive.save_layout(parts.store, [(result.manifest, names)], Path(output.dest).expanduser())
        return
    path = Path(STREAM if output.dest == STDOUT else output.dest).expanduser()
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            _archive(parts, output, result, names, file)
        return
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(half, "xb") as file:
            _archive(parts, output, result, names, file)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _archive(parts: Parts, output: Output, result: BuildResult, names: Sequence[Reference], out: BinaryIO) -> None:
    if output.type == "tar":
        parts.trees.pack(_items(parts, result), out)
    else:
        archive.save(parts.store, [(result.manifest, names)], out)


def _items(parts: Parts, result: BuildResult) -> list[Item]:
    dirs = tuple(parts.snapshotter.layer_dirs(chain_ids(result.layers))) if result.layers else ()
    nodes = parts.trees.walk(dirs, "") if dirs else []
    first: dict[tuple[int, int], str] = {}
    return [_item(node, dirs, first) for node in nodes if node.path]


def _item(node: Node, dirs: tuple[Path, ...], first: dict[tuple[int, int], str]) -> Item:
    same = first.setdefault(node.inode, node.path) if any(node.inode) else node.path
    return Item(
        node.path,
        node.kind if same == node.path else "link",
        node.mode,
        node.uid,
        node.gid,
        node.mtime // NANOSECONDS,
        source=ViewSource(dirs, node.path) if node.kind == "file" and same == node.path else b"",
        target=node.target if same == node.path else same,
        device=node.device,
    )


def _files(parts: Parts, result: BuildResult, target: Path) -> None:
    """The files in a directory of the user's, merged with what is there; only root can give them their owners."""
    items = _items(parts, result)
    if os.geteuid():
        items = [replace(item, uid=0, gid=0) for item in items if item.kind not in {"char", "block"}]
    with parts.snapshotter.prepare(()) as scratch, open(scratch.directory / "files.tar", "w+b") as spooled:
        parts.trees.pack(items, spooled)
        spooled.seek(0)
        LocalTrees().apply(spooled, target, ApplyOptions())
