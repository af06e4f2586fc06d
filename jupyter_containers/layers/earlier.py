"""What a layer has in common with one that was made before: its bytes in that archive, its extracted files.

Nothing is believed: an entry is the same when its header has the same bytes, and the content in the earlier archive
the digest that the new one has. Extracted files never change, so one may have a name in the directories of both.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final, Self

from jupyter_containers.errors import LayerCorrupt
from jupyter_containers.layers.disk import DIRECTORY
from jupyter_containers.layers.tar.entry import BLOCK, parse_number
from jupyter_containers.layers.tar.writer import encode_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from jupyter_containers.layers.base import Earlier
    from jupyter_containers.layers.tar import Entry

_WINDOW: Final = 1 << 20
_KNOWN: Final = b"023456x"
_EXTENDED: Final = ord("x")
_MAX_LINKS: Final = 32_000
"""So many names a file may have at most, less than any file system allows (ext4: 65,000)."""


class EarlierArchive:
    """The plain archive of an earlier layer, read once from its beginning to its end.

    It must be sorted as :mod:`.pack` does it; of another one less is found. A context manager.
    """

    def __init__(self, earlier: Earlier) -> None:
        self._fd = os.open(earlier.blob, os.O_RDONLY | os.O_CLOEXEC)
        self._window = memoryview(b"")
        self._start = 0
        self._at = 0
        self._size = 0
        self._extended = self._plain = False
        self._header = b""
        self._key: bytes | None = None
        self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def find(self, entry: Entry, sha256: str) -> bytes | None:
        """The header of a file that is there too, with that content; sets the size of ``entry``.

        Must be asked in the order of the archive.
        """
        wanted = entry.name.replace(b"/", b"\0")
        while self._key is not None and (self._extended or self._key < wanted):
            self._at += BLOCK + self._size + -self._size % BLOCK
            self._load()
        if self._key != wanted or not self._plain:
            return None
        entry.size = self._size
        if encode_header(entry) != self._header:
            return None
        digest = hashlib.sha256()
        for piece in self.content():
            digest.update(piece)
        return self._header if digest.hexdigest() == sha256 else None

    def content(self) -> Iterator[memoryview]:
        """The content of the file that was found."""
        end = self._at + BLOCK + self._size
        for at in range(self._at + BLOCK, end, _WINDOW):
            yield self._view(at, min(_WINDOW, end - at))

    def _load(self) -> None:
        """Look at the header where the archive stands; what is no header is its end."""
        header = self._header = bytes(self._view(self._at, BLOCK))
        self._key = None
        if header[257:263] != b"ustar\0" or header[156] not in _KNOWN:
            return
        try:
            self._size = parse_number(header[124:136])
        except LayerCorrupt:
            return
        # An entry with an extended header is passed over: its own header, the next one, does not tell all of it.
        self._plain, self._extended = not self._extended, header[156] == _EXTENDED
        name = header[:100].rstrip(b"\0")
        if header[345]:
            name = header[345:500].rstrip(b"\0") + b"/" + name
        self._key = name.rstrip(b"/").replace(b"/", b"\0")

    def _view(self, at: int, count: int) -> memoryview:
        begin = at - self._start
        if not 0 <= begin <= len(self._window) - count:
            self._window, self._start, begin = memoryview(os.pread(self._fd, _WINDOW, at)), at, 0
        return self._window[begin : begin + count]


class EarlierTree:
    """The directory that an earlier layer was extracted to. A context manager."""

    def __init__(self, earlier: Earlier) -> None:
        self._root = os.open(earlier.directory, DIRECTORY)
        self._path: tuple[bytes, ...] = ()
        self._fd = self._root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        os.close(self._root)

    def link(self, path: tuple[bytes, ...], parent: int, leaf: bytes, entry: Entry) -> bool:
        """Give the file ``leaf`` of the directory ``path`` a second name in ``parent``; False where that cannot be."""
        try:
            if path != self._path:
                self._enter(path)
            status = os.stat(leaf, dir_fd=self._fd, follow_symlinks=False)
            if (
                not stat.S_ISREG(status.st_mode)
                or (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime)
                or status.st_nlink >= _MAX_LINKS
            ):
                return False
            os.link(leaf, leaf, src_dir_fd=self._fd, dst_dir_fd=parent, follow_symlinks=False)
        except OSError:  # it is being removed, for instance: the file is written as any other
            return False
        return True

    def _enter(self, path: tuple[bytes, ...]) -> None:
        self._leave()
        try:
            for name in path:
                fd = os.open(name, DIRECTORY, dir_fd=self._fd)
                self._leave()
                self._fd = fd
        except OSError:
            self._leave()
            raise
        self._path = path

    def _leave(self) -> None:
        fd, self._fd, self._path = self._fd, self._root, ()
        if fd != self._root:
            os.close(fd)
