"""The deterministic writer: the same entries give the same bytes, on any machine and at any time.

A plain ustar header where everything fits; a pax header before it where something does not. No user or group names,
no access or change times, no process ids; two zero blocks at the end and no further padding.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from zlib import adler32

from jupyter_containers.errors import Conflict, InvalidInput
from jupyter_containers.layers.tar.entry import BLOCK, FLAG_OF_KIND, NANOSECONDS, Entry
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jupyter_containers.layers.base import HashingSink, Sink

    Content: TypeAlias = bytes | memoryview | Iterable[bytes] | Iterable[memoryview] | Iterable[bytes | memoryview]

_CHUNK: Final = 1 << 20
_MAX_ID: Final = 0o7777777
_MAX_SIZE: Final = 0o77777777777
_NAME: Final = 100
_PREFIX: Final = 155
_PADDING: Final = [bytes(-size % BLOCK) for size in range(BLOCK)]


class TarWriter:
    """Writes an archive to ``out`` in pieces of about 1 MiB, and hashes it where ``out`` does not.

    ``subsecond``: keep fractions of seconds of modification times (in pax records) instead of cutting them off.
    """

    def __init__(self, out: Sink | HashingSink, *, subsecond: bool = False) -> None:
        self._out = out
        self._subsecond = subsecond
        self._hash = None if hasattr(out, "hashed") else hashlib.sha256()
        self._parts: list[bytes | memoryview] = []
        self._pending = 0
        self.size = 0
        """Bytes written so far, buffered ones included."""
        self.entries = 0

    def add(self, entry: Entry, content: Content = b"", *, header: bytes | None = None) -> None:
        """Append an entry; ``content`` must have ``entry.size`` bytes, ``header`` is that of the entry if it is known.

        Raises
        ------
        Conflict
            when it has not: the file changed while it was read.
        InvalidInput
            for an entry that the format cannot hold.
        """
        for _piece in self.passing(entry, content, header=header):
            pass

    def passing(
        self, entry: Entry, content: Content = b"", *, header: bytes | None = None
    ) -> Iterator[bytes | memoryview]:
        """Append an entry as :meth:`add` does, and hand on each piece of its content; it ends with the iterator."""
        self._put(header or encode_header(entry, subsecond=self._subsecond))
        self.entries += 1
        if entry.kind != "file":
            return
        left = entry.size
        for data in [content] if isinstance(content, bytes | memoryview) else content:
            left -= len(data)
            if left < 0:
                break
            self._put(data)
            yield data
        if left:
            raise _changed(entry)
        self._put(_PADDING[entry.size % BLOCK])

    def close(self) -> Digest:
        """Write the end of the archive; the digest of all of it."""
        self._put(bytes(2 * BLOCK))
        self._flush()
        if self._hash is None:
            return cast("HashingSink", self._out).hashed()
        return Digest(f"sha256:{self._hash.hexdigest()}")

    def _put(self, data: bytes | memoryview) -> None:
        self._parts.append(data)
        self._pending += len(data)
        self.size += len(data)
        if self._pending >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        self._parts = []
        self._pending = 0
        if self._hash is not None:
            self._hash.update(data)
        self._out.write(data)


def encode_header(entry: Entry, *, subsecond: bool = False) -> bytes:
    """The header blocks of an entry: ustar, after a pax header where that is needed."""
    name = entry.name
    if entry.kind == "dir":
        name = (name or b".") + b"/"
    if not name or b"\0" in name or b"\0" in entry.target:
        raise InvalidInput(f"{name!r} cannot be the name of a tar entry")
    records: dict[bytes, bytes] = {}
    prefix = b""
    if len(name) > _NAME:
        prefix, short = _split(name)
        if not prefix:
            records[b"path"] = name
        name = short
    target = entry.target
    if len(target) > _NAME:
        records[b"linkpath"] = target
        target = target[:_NAME]
    size = entry.size if entry.kind == "file" else 0
    if size > _MAX_SIZE:
        records[b"size"] = b"%d" % size
        size = 0
    uid, gid = entry.uid, entry.gid
    if uid > _MAX_ID:
        records[b"uid"] = b"%d" % uid
        uid = 0
    if gid > _MAX_ID:
        records[b"gid"] = b"%d" % gid
        gid = 0
    seconds, fraction = divmod(entry.mtime, NANOSECONDS)
    if not 0 <= seconds <= _MAX_SIZE or (subsecond and fraction):
        records[b"mtime"] = _pax_time(entry.mtime, subsecond=subsecond)
        seconds = min(max(seconds, 0), _MAX_SIZE)
    if entry.xattrs:
        for key, value in entry.xattrs.items():
            records[b"SCHILY.xattr." + key.replace(b"%", b"%25").replace(b"=", b"%3D")] = value
    device = (entry.major, entry.minor) if entry.kind in {"char", "block"} else (0, 0)
    header = _ustar(
        name, entry.mode, uid, gid, size, seconds, FLAG_OF_KIND[entry.kind], target=target, device=device, prefix=prefix
    )
    return _pax(entry.name, records) + header if records else header


def _ustar(  # noqa: PLR0913, PLR0917 - the fields of the header
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    flag: bytes,
    *,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
) -> bytes:
    head = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, seconds)
    tail = b"%b%bustar\00000%b%07o\0%07o\0%b" % (
        flag,
        target.ljust(100, b"\0"),
        bytes(64),
        *device,
        prefix.ljust(_PREFIX + 12, b"\0"),
    )
    # See entry.checksum; 8 spaces stand for the field itself.
    total = (adler32(head) & 0xFFFF) + (adler32(tail[:244]) & 0xFFFF) + (adler32(tail[244:]) & 0xFFFF) + 253
    return b"%b%06o\0 %b" % (head, total, tail)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """``(prefix, name)`` for the ustar header, or an empty prefix and a cut name when it cannot be split."""
    if len(name) <= _PREFIX + 1 + _NAME:
        at = name.find(b"/", max(0, len(name) - _NAME - 1), len(name) - 1)
        if 0 < at <= _PREFIX:
            return name[:at], name[at + 1 :]
    return b"", name[:_NAME]


def _pax_time(mtime: int, *, subsecond: bool) -> bytes:
    seconds, fraction = divmod(mtime, NANOSECONDS)
    if not subsecond or not fraction:
        return b"%d" % seconds
    whole, part = divmod(abs(mtime), NANOSECONDS)
    return b"%b%d.%b" % (b"-" if mtime < 0 else b"", whole, (b"%09d" % part).rstrip(b"0"))


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    """A pax header with its records, sorted by keyword."""
    lines = [_record(key, records[key]) for key in sorted(records)]
    names = [records[key] for key in (b"path", b"linkpath") if key in records]
    if not all(_is_utf8(text) for text in names):
        lines.insert(0, _record(b"hdrcharset", b"BINARY"))
    data = b"".join(lines)
    short = b"PaxHeaders/" + name.rsplit(b"/", 1)[-1][:80]
    return _ustar(short, 0o644, 0, 0, len(data), 0, b"x") + data + _PADDING[len(data) % BLOCK]


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _changed(entry: Entry) -> Conflict:
    name = entry.name.decode("utf-8", "surrogateescape")
    return Conflict(f"{name!r} changed while it was archived", hint="stop what writes to it, then try again")
