"""The streaming reader: one pass, nothing held but the current header."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, cast

from jupyter_containers.errors import LayerCorrupt, size_text
from jupyter_containers.layers.tar.entry import (
    BLOCK,
    NANOSECONDS,
    Entry,
    checksum,
    parse_decimal,
    parse_number,
    parse_time,
)
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.layers.base import NodeKind

_ZERO: Final = bytes(BLOCK)
_CHUNK: Final = 1 << 20
_META_LIMIT: Final = 8 << 20
_SPARSE_LIMIT: Final = 1 << 18
_KINDS: Final[dict[int, str]] = {
    0: "file",
    ord("0"): "file",
    ord("1"): "link",
    ord("2"): "symlink",
    ord("3"): "char",
    ord("4"): "block",
    ord("5"): "dir",
    ord("6"): "fifo",
    ord("7"): "file",
    ord("D"): "dir",
    ord("S"): "file",
}
_SPARSE_FILE: Final = ord("S")
_DUMP_DIRECTORY: Final = ord("D")
_XATTR: Final = b"SCHILY.xattr."
_SPARSE: Final = b"GNU.sparse."


@dataclass(slots=True)
class _Pending:
    """What the headers before an entry say about it."""

    name: bytes | None = None
    target: bytes | None = None
    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    used: bool = False


class TarReader:
    """Iterates over the entries of an archive.

    ``stream.read(n)`` must give ``n`` bytes unless the archive ends (any buffered reader does). The content of the
    current entry is read with :meth:`chunks` or :meth:`read`; what is not read is skipped by the next step.

    Raises
    ------
    LayerCorrupt
        when the archive is damaged, cut off, or no tar archive.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.read
        self._left = 0  # bytes of the current entry as stored, not yet read
        self._padding = 0
        self._entry: Entry | None = None
        self._global: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry, None at the end of the archive (all that follows it was read as well)."""
        if self._left or self._padding:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        pending = _Pending()
        while True:
            header = self._header()
            if header is None:
                if pending.used:
                    raise LayerCorrupt("tar archive ends after an extended header")
                self._entry = None
                return None
            flag = header[156]
            if flag in _KINDS or not self._metadata(header, flag, pending):
                break
        entry = _parse(header, flag)
        self._left = entry.size
        if pending.name is not None:
            entry.name = pending.name
        if pending.target is not None:
            entry.target = pending.target
        if pending.records or self._global:
            self._extend(entry, {**self._global, **dict(pending.records)}, pending.records)
        if flag == _SPARSE_FILE:
            self._old_sparse(entry, header)
        return self._finish(entry, flag)

    def _metadata(self, header: bytes, flag: int, pending: _Pending) -> bool:
        """Read what describes the following entries; False when the header is that of an entry itself."""
        kind = chr(flag)
        if kind == "L":
            pending.name = self._meta(header).rstrip(b"\0")
        elif kind == "K":
            pending.target = self._meta(header).rstrip(b"\0")
        elif kind in "xX":
            pending.records = _pax_records(self._meta(header))
        elif kind == "g":
            self._global.update(_pax_records(self._meta(header)))
            return True
        elif kind == "V":  # the label of a GNU volume
            self._skip(_padded(parse_number(header[124:136])))
            return True
        elif kind == "M":
            raise LayerCorrupt("tar archive is one volume of several")
        else:
            return False  # POSIX: an unknown type is read as a file
        pending.used = True
        return True

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """The content of the current entry as ``(offset, data)`` pieces of up to 1 MiB; holes are left out."""
        entry = self._entry
        if entry is None or entry.kind != "file":
            return
        for offset, length in entry.sparse if entry.sparse is not None else [(0, entry.size)]:
            for at in range(offset, offset + length, _CHUNK):
                yield at, self._take(min(_CHUNK, offset + length - at))

    def passed(self, count: int) -> None:
        """Take note that so many bytes of the current entry were taken from the stream by other ways."""
        self._left -= count

    def read(self) -> bytes:
        """The whole remaining stored content of the current entry: for small files that are not sparse."""
        return self._take(self._left)

    def _take(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) != count:
            raise LayerCorrupt("tar archive ends in the middle of a file")
        self._left -= count
        return data

    def _skip(self, count: int) -> None:
        while count:
            data = self._read(min(count, _CHUNK))
            if not data:
                raise LayerCorrupt("tar archive ends in the middle of a file")
            count -= len(data)

    def _header(self) -> bytes | None:
        header = self._read(BLOCK)
        if len(header) != BLOCK:
            if header:
                raise LayerCorrupt("tar archive ends in the middle of a header")
            return None
        if header == _ZERO:
            while self._read(_CHUNK):
                pass
            return None
        try:
            stored = parse_number(header[148:156])
        except LayerCorrupt:
            stored = -1
        if checksum(header) != stored and _signed_checksum(header) != stored:
            raise LayerCorrupt("tar header has a wrong checksum: damaged, or no tar archive")
        return header

    def _meta(self, header: bytes) -> bytes:
        size = parse_number(header[124:136])
        if not 0 <= size <= _META_LIMIT:
            raise LayerCorrupt(f"tar archive has an extended header of {size_text(size)}")
        data = self._read(_padded(size))
        if len(data) < size:
            raise LayerCorrupt("tar archive ends in the middle of an extended header")
        return data[:size]

    def _finish(self, entry: Entry, flag: int) -> Entry:
        """Names without slashes at their ends, and how much of the stream belongs to the entry."""
        if entry.name[-1:] == b"/":
            # Archives older than POSIX have no type for directories.
            if entry.kind == "file" and flag == 0:
                entry.kind = "dir"
            entry.name = entry.name.rstrip(b"/") or b"/"
        if b"\0" in entry.name or b"\0" in entry.target:
            raise LayerCorrupt(f"tar entry {entry.name!r} has a NUL in its name")
        if entry.kind != "file":
            # Only GNU's dump directories have content; the size of a hard link is that of its target.
            if flag != _DUMP_DIRECTORY:
                self._left = 0
            entry.size = 0
            entry.sparse = None
        if entry.size < 0 or self._left < 0:
            raise LayerCorrupt(f"tar entry {entry.name!r} has a negative size")
        self._padding = -self._left % BLOCK
        self._entry = entry
        return entry

    def _extend(self, entry: Entry, records: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> None:
        """Let pax records override the header (an empty value deletes a record, POSIX)."""
        sparse = False
        for key, value in records.items():
            if key.startswith(_XATTR):
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs[key[13:].replace(b"%3D", b"=").replace(b"%25", b"%")] = value
            elif not value:
                continue
            elif key == b"path":
                entry.name = value
            elif key == b"linkpath":
                entry.target = value
            elif key == b"size":
                entry.size = self._left = parse_decimal(value, key)
            elif key == b"mtime":
                entry.mtime = parse_time(value)
            elif key == b"uid":
                entry.uid = parse_decimal(value, key)
            elif key == b"gid":
                entry.gid = parse_decimal(value, key)
            elif key.startswith(_SPARSE):
                sparse = True
        if sparse and entry.kind == "file":
            self._pax_sparse(entry, records, pairs)

    def _pax_sparse(self, entry: Entry, records: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> None:
        """GNU's sparse formats 0.0, 0.1 and 1.0 (GNU tar manual, "PAX Formats")."""
        entry.name = records.get(b"GNU.sparse.name", entry.name)
        real = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        if records.get(b"GNU.sparse.major") == b"1":
            numbers = self._sparse_1_0()
        elif (listed := records.get(b"GNU.sparse.map")) is not None:
            numbers = [parse_decimal(text, b"GNU.sparse.map") for text in listed.split(b",") if text]
        else:
            wanted = {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}
            numbers = [parse_decimal(value, key) for key, value in pairs if key in wanted]
        if real is None:
            raise LayerCorrupt(f"sparse file {entry.name!r} has no size")
        entry.size = parse_decimal(real, b"GNU.sparse.size")
        self._set_sparse(entry, numbers)

    def _sparse_1_0(self) -> list[int]:
        """The map at the head of the data: a count, then pairs, one number a line, padded to whole blocks."""
        text = b""

        def more() -> None:
            nonlocal text
            if self._left < BLOCK:
                raise LayerCorrupt("sparse file is cut off in its map")
            text += self._take(BLOCK)

        more()
        while b"\n" not in text:
            more()
            if len(text) > _CHUNK:
                raise LayerCorrupt("sparse file has a map without lines")
        count = parse_decimal(text[: text.index(b"\n")], b"sparse map")
        if not 0 <= count <= _SPARSE_LIMIT:
            raise LayerCorrupt(f"sparse file has a map of {count} pieces")
        newlines = text.count(b"\n")
        while newlines < 1 + 2 * count:
            size = len(text)
            more()
            newlines += text.count(b"\n", size)
        return [parse_decimal(line, b"sparse map") for line in text.split(b"\n")[1 : 1 + 2 * count]]

    def _old_sparse(self, entry: Entry, header: bytes) -> None:
        """The map of GNU's oldest format: in the header, continued in blocks of 21 pairs."""
        entry.size = parse_number(header[483:495])
        numbers = _old_pairs(header[386:482], 4)
        extended = header[482]
        while extended:
            block = self._read(BLOCK)
            if len(block) != BLOCK or len(numbers) > 2 * _SPARSE_LIMIT:
                raise LayerCorrupt("sparse file is cut off in its map")
            numbers += _old_pairs(block, 21)
            extended = block[504]
        self._set_sparse(entry, numbers)

    def _set_sparse(self, entry: Entry, numbers: list[int]) -> None:
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
        end = total = 0
        for offset, length in pairs:
            if offset < end or length < 0 or offset + length > entry.size:
                raise LayerCorrupt(f"sparse file {entry.name!r} has a map out of order")
            end = offset + length
            total += length
        if len(numbers) % 2 or len(pairs) > _SPARSE_LIMIT or total > self._left:
            raise LayerCorrupt(f"sparse file {entry.name!r} has a map that does not fit its data")
        entry.sparse = pairs


def _padded(size: int) -> int:
    if size < 0:
        raise LayerCorrupt("tar entry has a negative size")
    return size + -size % BLOCK


def _signed_checksum(header: bytes) -> int:
    """What some old implementations computed: the bytes as signed numbers."""
    return sum(byte - 256 if byte > 127 else byte for byte in header[:148] + b" " * 8 + header[156:])  # noqa: PLR2004 - signed bytes


def _old_pairs(block: bytes, count: int) -> list[int]:
    numbers = []
    for at in range(0, 24 * count, 24):
        if not block[at]:
            break
        numbers += [parse_number(block[at : at + 12]), parse_number(block[at + 12 : at + 24])]
    return numbers


def _parse(header: bytes, flag: int) -> Entry:
    """The entry as the ustar header alone has it."""
    name = header[:100]
    if name[-1] == 0:
        name = name[: name.index(0)]
    magic = header[257:265]
    if magic[:6] == b"ustar\0" and header[345]:
        prefix = header[345:476] if header[508:] == b"tar\0" else header[345:500]
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    entry = Entry(
        name,
        cast("NodeKind", _KINDS.get(flag, "file")),
        parse_number(header[100:108]) & 0o7777,
        parse_number(header[108:116]),
        parse_number(header[116:124]),
        parse_number(header[124:136]),
        parse_number(header[136:148]) * NANOSECONDS,
    )
    if header[157]:
        entry.target = header[157:257].split(b"\0", 1)[0]
    if flag in {0x33, 0x34}:  # character and block devices
        entry.major = parse_number(header[329:337])
        entry.minor = parse_number(header[337:345])
    return entry


def _pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """``length keyword=value`` lines; the length counts the whole line."""
    records = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at:space] if space > 0 else b""
        if not digits.isdigit():
            if not data[at:].strip(b"\0"):
                break
            raise LayerCorrupt("pax header has a record without a length")
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space or data[end - 1 : end] != b"\n" or not equals or not key:
            raise LayerCorrupt("pax header has a malformed record")
        records.append((key, value))
        at = end
    return records
