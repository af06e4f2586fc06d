"""Extraction of a layer to overlay's on-disk format, safe against hostile archives.

Every path is walked one component at a time by descriptors with O_NOFOLLOW. A parent that is a symbolic link of the
same layer is followed as it would be with the target as root directory (as Docker does), so that no entry is ever
written outside. Whiteouts concern the layers below only, wherever they stand in the archive.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Protocol

from jupyter_containers.errors import DigestMismatch, LayerCorrupt
from jupyter_containers.layers.base import Applied, ApplyOptions
from jupyter_containers.layers.descent import Descent
from jupyter_containers.layers.disk import (
    OPAQUE_MARKER,
    WHITEOUT_META,
    WHITEOUT_PREFIX,
    is_opaque,
    is_whiteout,
    set_opaque,
)
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.readahead import ReadAhead
from jupyter_containers.layers.remove import remove_at
from jupyter_containers.layers.tar import Entry, TarReader
from jupyter_containers.layers.view import LayerView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.layers.attributes import Attributes
    from jupyter_containers.layers.base import Progress
    from jupyter_containers.layers.earlier import EarlierTree

_SMALL = 1 << 20
_HOSTILE = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EFBIG, errno.EMLINK})


def apply_layer(
    stream: BinaryIO, target: Path, *, options: ApplyOptions | None = None, progress: Progress | None = None
) -> Applied:
    """Extract a layer, compressed or not, to ``target``, a directory that does not exist yet or is empty.

    Modes, owners, times, hard links, devices, extended attributes are those of the archive; what this user cannot set
    is recorded (see ``disk``). A failed extraction leaves a part behind, which the caller removes.

    Parameters
    ----------
    progress
        Gets the bytes taken from ``stream``.

    Raises
    ------
    LayerCorrupt
        when the archive is damaged, leaves its root, or exceeds the limits of ``options``.
    DigestMismatch
        when it is not the one expected.
    PermissionDenied, SystemFailure
        when the kernel refuses to make a file.
    """
    options = options or ApplyOptions()
    source = ReadAhead(stream, max_bytes=options.max_bytes, progress=progress)
    try:
        os.makedirs(target, mode=0o755, exist_ok=True)
        with LayerView(options.lowers or ()) as lowers, Descent(target, lowers) as descent:
            extractor = Extractor(descent, options)
            extractor.run(TarReader(source))  # type: ignore[arg-type]  # has the one method that is used
            opaque_root = is_opaque(descent.root)
    except OSError as error:
        raise failure(error, f"extracting to {target}") from error
    finally:
        source.close()
    if options.expected is not None and source.digest != options.expected:
        raise DigestMismatch(options.expected, source.digest, what="layer")
    return Applied(
        source.digest,
        source.size,
        extractor.entries,
        extractor.content_bytes,
        extractor.attributes.unrecorded,
        opaque_root,
    )


class FileContent(Protocol):
    """The content of a file of a layer, as :class:`.tar.TarReader` gives it."""

    def read(self) -> bytes | memoryview:
        """All of it, which is little."""
        ...

    def chunks(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """It in pieces, each with where it belongs."""
        ...


class Extractor:
    """One extraction."""

    def __init__(self, descent: Descent, options: ApplyOptions) -> None:
        self._descent = descent
        self._known_lowers = options.lowers is not None
        self._max_entries = options.max_entries
        self._whiteouts = options.whiteouts
        self.attributes: Attributes = descent.attributes
        self.entries = 0
        self.content_bytes = 0
        # Times of directories are set at the end: what is made in them changes them.
        self._times: dict[tuple[bytes, ...], int] = {}

    def run(self, reader: TarReader) -> None:
        """Extract all entries."""
        for entry in reader:
            self.extract(entry, reader)
        self.finish()

    def extract(self, entry: Entry, content: FileContent) -> None:
        """Extract the next entry; ``content`` is that of a file."""
        self.entries += 1
        if self._max_entries is not None and self.entries > self._max_entries:
            raise LayerCorrupt(f"layer has more than the {self._max_entries} entries allowed")
        try:
            self._extract(entry, content)
        except OSError as error:
            name = os.fsdecode(entry.name)
            if error.errno in _HOSTILE:
                raise LayerCorrupt(f"layer entry {name!r} cannot be made: {error.strerror}") from error
            raise failure(error, f"extracting {name!r}") from error

    def link_from(self, tree: EarlierTree, entry: Entry) -> bool:
        """Make a file a second name of that of an earlier layer; False where that cannot be."""
        path = clean(entry.name)
        parent = self._descent.directory(path[:-1])
        assert parent is not None
        return tree.link(self._descent.current, parent, path[-1], entry)

    def finish(self) -> None:
        """Set the times of directories, when all is extracted."""
        for path, mtime in sorted({**self._descent.times, **self._times}.items()):
            fd = self._descent.directory(path, create=False)
            if fd is not None:
                os.utime(fd, ns=(mtime, mtime))

    def _extract(self, entry: Entry, content: FileContent) -> None:
        path = clean(entry.name)
        if not path:
            if entry.kind != "dir":
                raise LayerCorrupt(f"layer entry {entry.name!r} would replace the root")
            self._set_directory(self._descent.root, (), entry)
            return
        leaf = path[-1]
        if self._whiteouts and WHITEOUT_PREFIX in entry.name:
            if any(part.startswith(WHITEOUT_META) and part != OPAQUE_MARKER for part in path):
                return  # AUFS's own book-keeping
            if any(part.startswith(WHITEOUT_PREFIX) for part in path[:-1]):
                raise LayerCorrupt(f"layer entry {entry.name!r} is inside a whiteout")
            if leaf.startswith(WHITEOUT_PREFIX):
                self._whiteout(path)
                return
        if entry.kind == "link":
            self._link(path, entry)
            return
        parent = self._descent.directory(path[:-1])
        assert parent is not None
        match entry.kind:
            case "file":
                self._file(parent, leaf, entry, content)
            case "dir":
                self._directory(parent, leaf, entry)
            case "symlink":
                if not entry.target:
                    raise LayerCorrupt(f"layer entry {entry.name!r} is a symbolic link to nothing")
                self._make(lambda: os.symlink(entry.target, leaf, dir_fd=parent), parent, leaf)
                self.attributes.set_symlink(parent, leaf, entry)
            case _:
                self._make(lambda: self.attributes.make_device(parent, leaf, entry), parent, leaf)
                self.attributes.set_special(parent, leaf, entry)

    def _file(self, parent: int, leaf: bytes, entry: Entry, content: FileContent) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(leaf, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            remove_at(parent, leaf)
            fd = os.open(leaf, flags, 0o600, dir_fd=parent)
        try:
            size = entry.size
            self.content_bytes += size
            if size <= _SMALL and entry.sparse is None:
                if size:
                    _write(fd, content.read())
            else:
                for offset, data in content.chunks():
                    os.lseek(fd, offset, os.SEEK_SET)
                    _write(fd, data)
                os.ftruncate(fd, size)
            self.attributes.set_file(fd, entry)
        finally:
            os.close(fd)

    def _directory(self, parent: int, leaf: bytes, entry: Entry) -> None:
        hides = False
        try:
            os.mkdir(leaf, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                hides = is_whiteout(status)
                os.unlink(leaf, dir_fd=parent)
                os.mkdir(leaf, 0o700, dir_fd=parent)
        fd = self._descent.push(leaf)
        if hides:
            set_opaque(fd)
        self._set_directory(fd, self._descent.current, entry)

    def _set_directory(self, fd: int, path: tuple[bytes, ...], entry: Entry) -> None:
        if path in self._descent.times and path not in self._times:
            self.attributes.clear(fd)
        self.attributes.set_directory(fd, entry)
        self._times[path] = self.attributes.time(entry.mtime)

    def _link(self, path: tuple[bytes, ...], entry: Entry) -> None:
        target = clean(entry.target)
        if not target:
            raise LayerCorrupt(f"layer entry {entry.name!r} is a hard link to the root")
        source = self._descent.directory(target[:-1], create=False)
        found = None
        if source is not None:
            try:
                found = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
            except FileNotFoundError:
                found = None
        if found is None or is_whiteout(found):
            self._descent.copy_up(target)
            source = self._descent.directory(target[:-1])
            found = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
        assert source is not None
        if stat.S_ISDIR(found.st_mode):
            raise LayerCorrupt(f"layer entry {entry.name!r} is a hard link to a directory")
        source = os.dup(source)
        try:
            parent = self._descent.directory(path[:-1])
            assert parent is not None
            try:
                there = os.stat(path[-1], dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
                return
            self._make(
                lambda: os.link(target[-1], path[-1], src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
                parent,
                path[-1],
            )
        finally:
            os.close(source)

    def _whiteout(self, path: tuple[bytes, ...]) -> None:
        parent = self._descent.directory(path[:-1])
        assert parent is not None
        if path[-1] == OPAQUE_MARKER:
            set_opaque(parent)
            return
        name = path[-1][len(WHITEOUT_PREFIX) :]
        if name in {b"", b".", b".."}:
            raise LayerCorrupt(f"layer entry {path[-1]!r} is a whiteout of nothing")
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            below = b"/".join((*self._descent.current, name))
            if not self._known_lowers or self._descent.lowers.find(os.fsdecode(below), follow=False):
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
            return
        if stat.S_ISDIR(status.st_mode):
            set_opaque(self._descent.push(name))

    @staticmethod
    def _make(create: Callable[[], object], parent: int, leaf: bytes) -> None:
        """Create a name; what the same layer has there already is replaced."""
        try:
            create()
        except FileExistsError:
            remove_at(parent, leaf)
            create()


def clean(name: bytes) -> tuple[bytes, ...]:
    """The components of an entry's name, cleaned lexically as Docker does; LayerCorrupt when it leaves the root."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise LayerCorrupt(f"layer entry {name!r} leaves its root")
            parts.pop()
        elif part and part != b".":
            parts.append(part)
    return tuple(parts)


def _write(fd: int, data: bytes | memoryview) -> None:
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])
