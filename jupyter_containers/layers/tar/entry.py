"""One entry of a tar archive, and the numbers of the format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import adler32

from jupyter_containers.errors import LayerCorrupt
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from jupyter_containers.layers.base import NodeKind

BLOCK: Final = 512
NANOSECONDS: Final = 1_000_000_000

FLAG_OF_KIND: Final[dict[str, bytes]] = {
    "file": b"0",
    "link": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
}


@dataclass(slots=True)
class Entry:
    """One entry, names as bytes.

    ``name`` has no trailing slash; ``mode`` holds the permission bits with setuid, setgid and sticky; ``size`` is that
    of the file (of a sparse one: expanded), 0 for all other kinds; ``mtime`` is in nanoseconds since the epoch;
    ``sparse`` lists the ``(offset, length)`` of the data of a sparse file.
    """

    name: bytes
    kind: NodeKind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] | None = None
    sparse: list[tuple[int, int]] | None = None


def checksum(header: bytes) -> int:
    """The sum of the bytes of a header block, its checksum field counted as spaces."""
    # Adler-32's lower half is 1 + the sum modulo 65521, which 256 bytes cannot exceed: an exact sum at C speed.
    return (
        (adler32(header[:148]) & 0xFFFF) + (adler32(header[156:400]) & 0xFFFF) + (adler32(header[400:]) & 0xFFFF) + 253
    )


def parse_number(field: bytes) -> int:
    """A numeric field: octal digits, or base-256 when the first bit is set (GNU, star).

    Raises
    ------
    LayerCorrupt
        when it is neither.
    """
    first = field[0]
    if first & 0x80:
        return int.from_bytes(field, "big", signed=True) if first == 0xFF else _base256(field)  # noqa: PLR2004 - the mark of a negative number
    digits = field.rstrip(b"\0 ")
    if not digits:
        return 0
    try:
        return int(digits, 8)
    except ValueError:
        pass
    digits = field.split(b"\0", 1)[0].strip()
    if digits and not digits.isdigit():
        raise LayerCorrupt(f"tar header has {field!r} where a number belongs")
    try:
        return int(digits or b"0", 8)
    except ValueError as error:
        raise LayerCorrupt(f"tar header has {field!r} where a number belongs") from error


def _base256(field: bytes) -> int:
    return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")


def parse_decimal(value: bytes, keyword: bytes) -> int:
    """A whole number of a pax record."""
    if not value.isdigit():
        if value[:1] == b"-" and value[1:].isdigit():
            return int(value)
        raise LayerCorrupt(f"pax record {keyword!r} has {value[:40]!r} where a number belongs")
    if len(value) > 24:  # noqa: PLR2004 - far beyond any size or time, within what int() converts quickly
        raise LayerCorrupt(f"pax record {keyword!r} has a number of {len(value)} digits")
    return int(value)


def parse_time(value: bytes) -> int:
    """A time of a pax record (``seconds[.fraction]``) in nanoseconds."""
    whole, _dot, fraction = value.partition(b".")
    seconds = 0 if whole in {b"", b"-"} and fraction else parse_decimal(whole, b"mtime")
    if fraction and not fraction.isdigit():
        raise LayerCorrupt(f"pax record mtime has {value[:40]!r} where a time belongs")
    nanoseconds = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    return seconds * NANOSECONDS + (-nanoseconds if value[:1] == b"-" else nanoseconds)
