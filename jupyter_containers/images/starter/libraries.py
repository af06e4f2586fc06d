"""Finding the shared libraries of programs, as the dynamic loader would.

Source: ld.so(8) for the order (DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the cache, the default directories) and the
layout of ``/etc/ld.so.cache`` in glibc's dl-cache.h; musl's loader for ``/etc/ld-musl-<machine>.path``.
"""

from __future__ import annotations

import glob
import os
import struct
from functools import cached_property
from typing import TYPE_CHECKING

from jupyter_containers.errors import Corrupt, Unsupported
from jupyter_containers.images.starter.elf import Elf, read_elf
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CACHE = "/etc/ld.so.cache"
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEADER = struct.Struct("=20sIIB3xI12x")
_CACHE_ENTRY = struct.Struct("=iIIIQ")
_LIBC_NAMES = ("libc.so.6", "libc.so")


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library: the name that others ask for, its file, and whether a search path of the asker led to it."""

    name: str
    path: str
    by_search_path: bool = False


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that some programs need to be loaded: the loaders (as PT_INTERP has them) and the libraries."""

    interpreters: tuple[str, ...]
    libraries: tuple[Library, ...]


@dataclass
class LibraryFinder:
    """Looks libraries up on this machine.

    Parameters
    ----------
    library_path
        Directories as in ``LD_LIBRARY_PATH``, for machines whose programs need it.
    cache_file
        ``ld.so.cache``; need not exist.
    """

    library_path: Sequence[str] = ()
    cache_file: str = _CACHE
    _read: dict[str, Elf] = field(default_factory=dict, repr=False)

    def elf(self, path: str) -> Elf:
        """The dynamic part of a file, read once."""
        if path not in self._read:
            self._read[path] = read_elf(path)
        return self._read[path]

    def closure(self, paths: Iterable[str]) -> Closure:
        """The loaders and libraries of some programs or libraries, without themselves, sorted.

        Raises
        ------
        Unsupported
            when a library is not found, naming it and who asks for it.
        """
        interpreters: set[str] = set()
        found: dict[str, Library] = {}
        waiting: list[tuple[str, tuple[str, ...]]] = [(path, ()) for path in paths]
        while waiting:
            path, inherited = waiting.pop()
            elf = self.elf(path)
            if elf.interpreter is not None:
                interpreters.add(elf.interpreter)
            chain = (*_expand(elf.rpath, path), *inherited)
            for name in elf.needed:
                if name in found or any(os.path.basename(loader) == name for loader in interpreters):
                    continue
                library = self.find(name, asker=path, inherited=inherited)
                if library is None:
                    raise Unsupported(f"the shared library {name} that {path} needs is not found on this machine")
                found[name] = library
                waiting.append((library.path, chain))
        loaders = {os.path.basename(loader) for loader in interpreters}
        libraries = (found[name] for name in sorted(found) if name not in loaders)
        return Closure(tuple(sorted(interpreters)), tuple(libraries))

    def find(self, name: str, *, asker: str, inherited: Sequence[str] = ()) -> Library | None:
        """The library that a file gets for a name of its DT_NEEDED, or None.

        ``inherited`` are the DT_RPATH directories of the files that led to ``asker``.
        """
        elf = self.elf(asker)
        if "/" in name:
            return Library(name, name) if os.path.exists(name) else None
        rpath = () if elf.runpath else (*_expand(elf.rpath, asker), *inherited)
        for directories, own in ((rpath, True), (self.library_path, False), (_expand(elf.runpath, asker), True)):
            for directory in directories:
                if self._fits(candidate := os.path.join(directory, name), elf):
                    return Library(name, candidate, own)
        for candidate in (*self.cached.get(name, ()), *(os.path.join(d, name) for d in self.default_directories)):
            if self._fits(candidate, elf):
                return Library(name, candidate)
        return None

    def libc_directory(self, asker: str) -> str:
        """The directory of the C library that a program uses: every loader looks into it by default.

        Raises
        ------
        Unsupported
            when the program is linked with no C library.
        """
        closure = self.closure([asker])
        for name in _LIBC_NAMES:
            for library in closure.libraries:
                if library.name == name:
                    return os.path.dirname(library.path)
        for loader in closure.interpreters:  # musl: the loader is the C library
            return os.path.dirname(loader)
        raise Unsupported(f"{asker} is linked with no C library")

    def _fits(self, path: str, asker: Elf) -> bool:
        if not os.path.isfile(path):
            return False
        try:
            return self.elf(path).target == asker.target
        except (Corrupt, OSError):  # a linker script, a file of another format, or unreadable: the loader goes on too
            return False

    @cached_property
    def cached(self) -> dict[str, list[str]]:
        """``ld.so.cache``: the paths of each name, without those for special processors; empty when there is none."""
        try:
            with open(self.cache_file, "rb") as file:
                return parse_cache(file.read())
        except OSError:
            return {}

    @cached_property
    def default_directories(self) -> list[str]:
        """The directories that loaders of this machine search by themselves, most specific first."""
        directories: list[str] = []
        for listing in sorted(glob.glob("/etc/ld-musl-*.path")):
            with open(listing, encoding="utf-8") as file:
                directories += file.read().replace("\n", ":").split(":")
        machine = os.uname().machine
        for base in ("/lib", "/usr/lib"):
            directories += sorted(glob.glob(f"{base}/{machine}-linux-*"))
        directories += ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"]
        return [directory for directory in dict.fromkeys(directories) if os.path.isdir(directory)]


def parse_cache(data: bytes) -> dict[str, list[str]]:
    """The names and paths of an ``ld.so.cache``; empty when it is of no format known here.

    Entries with a hardware capability are left out: what they point to may not run on the next machine.
    """
    start = data.find(_CACHE_MAGIC)
    if start < 0 or len(data) < start + _CACHE_HEADER.size:
        return {}
    _, count, _, _, _ = _CACHE_HEADER.unpack_from(data, start)
    names: dict[str, list[str]] = {}
    for name, path in _cache_entries(data, start, count):
        names.setdefault(name, []).append(path)
    return names


def _cache_entries(data: bytes, start: int, count: int) -> Iterator[tuple[str, str]]:
    first = start + _CACHE_HEADER.size
    for offset in range(first, min(first + count * _CACHE_ENTRY.size, len(data)), _CACHE_ENTRY.size):
        if offset + _CACHE_ENTRY.size > len(data):
            return
        _, key, value, _, hwcap = _CACHE_ENTRY.unpack_from(data, offset)
        name, path = _c_string(data, start + key), _c_string(data, start + value)
        if hwcap == 0 and name and path.startswith("/"):
            yield name, path


def _c_string(data: bytes, start: int) -> str:
    end = data.find(b"\0", start)
    return data[start:end].decode("utf-8", "surrogateescape") if 0 <= start < end else ""


def _expand(directories: Sequence[str], asker: str) -> tuple[str, ...]:
    """``$ORIGIN`` is the directory of the file itself, links followed (ld.so(8), "Dynamic string tokens")."""
    origin = os.path.dirname(os.path.realpath(asker))
    expanded = (entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for entry in directories)
    return tuple(os.path.normpath(entry) for entry in expanded if entry.startswith("/"))
