"""A layer that is extracted while it is written: what is read once goes to the archive and to the new files.

A second thread hashes and writes the archive, a mebibyte at a time. A third one that makes the files is no gain: for
each of their many short system calls two threads would hand the interpreter's lock to and fro, which takes longer.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

from jupyter_containers.layers.apply import Extractor
from jupyter_containers.layers.base import Written
from jupyter_containers.layers.descent import Descent
from jupyter_containers.layers.earlier import EarlierArchive, EarlierTree
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.lane import Lane
from jupyter_containers.layers.pack import add_items
from jupyter_containers.layers.tar import TarWriter
from jupyter_containers.layers.view import LayerView
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jupyter_containers.layers.base import ApplyOptions, Earlier, HashingSink, Item, Progress, Sink
    from jupyter_containers.layers.tar import Entry
    from jupyter_containers.layers.tar.writer import Content


def write_and_apply(
    items: Iterable[Item],
    out: Sink | HashingSink,
    target: Path,
    options: ApplyOptions,
    *,
    earlier: Earlier | None = None,
    timestamp: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write a layer as :func:`.pack.write_items` does, and extract it as :func:`.apply.apply_layer` does.

    Raises what these do; then a part of the extraction is left behind, which the caller removes.
    """
    archive: Lane[bytes, Digest] = Lane(lambda pieces: _store(pieces, out), "layer-archive")
    try:
        os.makedirs(target, mode=0o755, exist_ok=True)
        with ExitStack() as stack:
            known, tree = _open(earlier, stack)
            descent = Descent(target, stack.enter_context(LayerView(options.lowers or ())))
            files = Extractor(stack.enter_context(descent), options)
            writer = TarWriter(_Archive(stack.enter_context(archive)))
            both = _Both(writer, files, tree)
            content = add_items(items, both, earlier=known, timestamp=timestamp, progress=progress)
            files.finish()
            return Written(writer.close(), writer.size, writer.entries, content)
    except OSError as error:
        raise failure(error, f"extracting to {target}") from error


def _open(earlier: Earlier | None, stack: ExitStack) -> tuple[EarlierArchive | None, EarlierTree | None]:
    if earlier is not None:
        try:
            return stack.enter_context(EarlierArchive(earlier)), stack.enter_context(EarlierTree(earlier))
        except OSError:
            pass  # it is being removed: all is made anew
    return None, None


def _store(pieces: Iterator[bytes], out: Sink | HashingSink) -> Digest:
    """The thread of the archive."""
    digest = None if hasattr(out, "hashed") else hashlib.sha256()
    for piece in pieces:
        if digest is not None:
            digest.update(piece)
        out.write(piece)
    return cast("HashingSink", out).hashed() if digest is None else Digest(f"sha256:{digest.hexdigest()}")


class _Archive:
    """What the tar writer writes to: the thread of the archive, which hashes."""

    def __init__(self, lane: Lane[bytes, Digest]) -> None:
        self.write = lane.put
        self.hashed = lane.result  # at the end of the archive, when nothing is written any more


class _Both:
    """Puts each entry into the archive, and makes it."""

    def __init__(self, archive: TarWriter, files: Extractor, earlier: EarlierTree | None) -> None:
        self.size = 0
        self._archive = archive
        self._files = files
        self._earlier = earlier

    def add(self, entry: Entry, content: Content = b"", *, header: bytes | None = None) -> None:
        """See :class:`.pack.Writer`."""
        pieces = self._archive.passing(entry, content, header=header)
        if header is None or not self._linked(entry):
            self._files.extract(entry, _Pieces(pieces))
        for _piece in pieces:
            pass  # what was not wanted for the file goes into the archive all the same
        self.size = self._archive.size

    def _linked(self, entry: Entry) -> bool:
        """Whether a file got its place by a second name for that of the earlier layer."""
        return self._earlier is not None and self._files.link_from(self._earlier, entry)


class _Pieces:
    """The content of a file; see :class:`.apply.FileContent`."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces

    def read(self) -> bytes | memoryview:
        """All of it."""
        pieces = list(self._pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """It in pieces, each with where it belongs."""
        at = 0
        for piece in self._pieces:
            yield at, piece
            at += len(piece)
