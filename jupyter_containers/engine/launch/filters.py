"""Compiled system call filters: each is compiled once, and kept for the processes that come later.

Compiling takes some milliseconds, which every command line would pay. A filter is kept under a name made of everything
it depends on, and begins with a digest of the rest: a damaged file is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from jupyter_containers import linux
from jupyter_containers.engine.small_files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_containers.oci.runtime_spec import Seccomp

_DIGEST = 32
_LARGEST = 8 * 4096  # BPF_MAXINSNS instructions
_SOURCES = ("seccomp.py", "seccomp_default.py", "seccomp_profile.py", "syscall_table.py")


class Filters:
    """The filters for one kernel and machine, kept in ``directory``. Thread-safe."""

    def __init__(self, directory: Path, kernel: tuple[int, int], machine: str) -> None:
        self._directory = directory
        self._kernel = kernel
        self._machine = machine
        self._lock = threading.Lock()
        self._known: dict[tuple[tuple[str, ...], str], bytes] = {}

    def get(self, capabilities: Sequence[str], profile: str = "") -> bytes:
        """The filter of a profile's JSON text, or of Docker's default profile, for a set of capabilities.

        Raises
        ------
        InvalidInput, Unsupported
            when the profile cannot be understood, or no filter can be made for this machine.
        """
        key = tuple(sorted(capabilities)), profile
        with self._lock:
            if key not in self._known:
                self._known[key] = self._kept(*key)
            return self._known[key]

    def _kept(self, capabilities: tuple[str, ...], profile: str) -> bytes:
        depends_on = repr((self._compiler, self._kernel, self._machine, capabilities, profile))
        path = self._directory / hashlib.sha256(depends_on.encode()).hexdigest()[:32]
        if program := _read(path):
            return program
        program = self._compile(capabilities, profile)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_file(path, hashlib.sha256(program).digest() + program, mode=0o600)
        return program

    def _compile(self, capabilities: tuple[str, ...], profile: str) -> bytes:
        from jupyter_containers.linux import seccomp  # noqa: PLC0415 - see the module

        return seccomp.compile_filter(self.rules(capabilities, profile), arch=self._machine)

    def rules(self, capabilities: Sequence[str], profile: str = "") -> Seccomp:
        """What :meth:`get` compiles, as a configuration has it."""
        from jupyter_containers.linux import seccomp_default, seccomp_profile  # noqa: PLC0415 - see the module

        if profile:
            return seccomp_profile.load(profile, capabilities, self._kernel, arch=self._machine)
        return seccomp_default.docker_profile(capabilities, self._kernel, arch=self._machine)

    def flags(self, profile: str = "") -> int:
        """``SECCOMP_FILTER_FLAG_*`` of a profile's JSON text; the default profile has none."""
        if not profile:
            return 0
        from jupyter_containers.linux import seccomp_load  # noqa: PLC0415 - see the module

        return int(seccomp_load.load_options(self.rules((), profile))["seccomp_flags"])

    @cached_property
    def _compiler(self) -> tuple[tuple[int, int], ...]:
        """Which compiler it is: a filter of another version of it is another one."""
        directory = linux.__path__[0]
        found = [os.stat(os.path.join(directory, name)) for name in _SOURCES]
        return tuple((info.st_mtime_ns, info.st_size) for info in found)


def _read(path: Path) -> bytes:
    """A kept filter; nothing where there is none, or where it is not what was written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    digest, program = data[:_DIGEST], data[_DIGEST:]
    if len(program) > _LARGEST or hashlib.sha256(program).digest() != digest:
        return b""
    return program
