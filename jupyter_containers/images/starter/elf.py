"""What the dynamic loader reads of an ELF file: its interpreter, the libraries it needs and where it looks for them.

Source: System V ABI, "Object Files" and "Program Loading and Dynamic Linking" (elf(5)). Nothing is executed: running a
program to learn its libraries, as ldd(1) does, is running a program.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from jupyter_containers.errors import Corrupt
from jupyter_containers.records import dataclass

_MAGIC = b"\x7fELF"
_PT_LOAD = 1
_PT_DYNAMIC = 2
_PT_INTERP = 3
_DT_NULL = 0
_DT_NEEDED = 1
_DT_STRTAB = 5
_DT_STRSZ = 10
_DT_SONAME = 14
_DT_RPATH = 15
_DT_RUNPATH = 29
_MAX_TABLE = 1 << 24


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the fields are in a file of one class: formats for struct, without the byte order."""

    header: str  # e_type e_machine e_version e_entry e_phoff e_shoff e_flags e_ehsize e_phentsize e_phnum
    segment: str
    segment_fields: tuple[int, int, int, int]  # the positions of p_type, p_offset, p_vaddr, p_filesz
    dynamic: str


_LAYOUTS = {
    1: _Layout("HHIIIIIHHH", "IIIIIIII", (0, 1, 2, 4), "iI"),
    2: _Layout("HHIQQQIHHH", "IIQQQQQQ", (0, 2, 3, 5), "qQ"),
}
_ORDERS = {1: "<", 2: ">"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header: ``offset`` and ``size`` in the file, ``address`` in memory."""

    type: int
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """The dynamic part of a program or a shared library.

    ``target`` is (class, byte order, machine): only files of the same target can be linked with each other.
    """

    target: tuple[int, int, int]
    interpreter: str | None
    needed: tuple[str, ...]
    soname: str | None
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]

    @property
    def is_static(self) -> bool:
        """Whether it runs without a loader and without shared libraries."""
        return self.interpreter is None and not self.needed


def is_elf(path: str) -> bool:
    """Whether a file begins as ELF files do; False for what cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def read_elf(path: str) -> Elf:
    """Read the dynamic part of a file.

    Raises
    ------
    Corrupt
        when it is no ELF file or its tables point outside of it.
    OSError
        when it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            return _read(file, os.fstat(file.fileno()).st_size)
        except (struct.error, UnicodeDecodeError, ValueError, KeyError, OverflowError) as error:
            raise Corrupt(f"{path} is not an ELF file that can be read: {error}") from error


def _read(file: BinaryIO, total: int) -> Elf:
    ident = file.read(16)
    if ident[:4] != _MAGIC or len(ident) < 16:  # noqa: PLR2004 - EI_NIDENT, elf(5)
        raise ValueError("it does not begin with the ELF magic")
    layout, order = _LAYOUTS[ident[4]], _ORDERS[ident[5]]
    header = struct.Struct(order + layout.header)
    fields = header.unpack(file.read(header.size))
    target = (ident[4], ident[5], fields[1])

    def part(offset: int, size: int) -> bytes:
        if offset + size > total or size > _MAX_TABLE:
            raise ValueError("a table lies outside of the file")
        file.seek(offset)
        return file.read(size)

    segments = _segments(part(fields[4], fields[8] * fields[9]), order, layout, entry_size=fields[8])
    interpreter = next((part(s.offset, s.size).rstrip(b"\0").decode() for s in segments if s.type == _PT_INTERP), None)
    dynamic = next((s for s in segments if s.type == _PT_DYNAMIC), None)
    if dynamic is None:
        return Elf(target, interpreter, (), None, (), ())
    entries = _entries(part(dynamic.offset, dynamic.size), order + layout.dynamic)
    numbers = dict(reversed(entries))
    if _DT_STRTAB not in numbers:
        return Elf(target, interpreter, (), None, (), ())
    strings = part(_file_offset(segments, numbers[_DT_STRTAB]), numbers[_DT_STRSZ])

    def text(start: int) -> str:
        return strings[start : strings.index(b"\0", start)].decode()

    def search_path(tag: int) -> tuple[str, ...]:
        return tuple(entry for entry in text(numbers[tag]).split(":") if entry) if tag in numbers else ()

    return Elf(
        target=target,
        interpreter=interpreter,
        needed=tuple(text(value) for tag, value in entries if tag == _DT_NEEDED),
        soname=text(numbers[_DT_SONAME]) if _DT_SONAME in numbers else None,
        rpath=() if _DT_RUNPATH in numbers else search_path(_DT_RPATH),
        runpath=search_path(_DT_RUNPATH),
    )


def _segments(table: bytes, order: str, layout: _Layout, *, entry_size: int) -> list[Segment]:
    shape = struct.Struct(order + layout.segment)
    if entry_size < shape.size:
        raise ValueError("its program headers are too short")
    rows = [shape.unpack_from(table, start) for start in range(0, len(table), entry_size)]
    kind, where, address, size = layout.segment_fields
    return [Segment(row[kind], row[where], row[address], row[size]) for row in rows]


def _entries(table: bytes, shape: str) -> list[tuple[int, int]]:
    usable = len(table) - len(table) % struct.calcsize(shape)
    entries: list[tuple[int, int]] = []
    for tag, value in struct.iter_unpack(shape, table[:usable]):
        if tag == _DT_NULL:
            break
        entries.append((tag, value))
    return entries


def _file_offset(segments: list[Segment], address: int) -> int:
    for segment in segments:
        if segment.type == _PT_LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise ValueError("its string table is in no segment")
