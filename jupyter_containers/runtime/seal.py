"""A copy of the interpreter that a container cannot change. Sources: memfd_create(2), fcntl(2) "File Sealing"."""

from __future__ import annotations

import errno
import os

_SEAL_ATTEMPTS = 20


def sealed_copy(program: str) -> int:
    """An executable copy of a program in memory that nobody can change.

    A container that gets hold of a descriptor of the interpreter (through /proc/<pid>/exe of a process that enters it)
    and keeps it could otherwise overwrite the program for its owner: the class of CVE-2019-5736.
    """
    executable = getattr(os, "MFD_EXEC", 0x10)
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        copy = os.memfd_create("python", flags | executable)
    except PermissionError as error:
        from jupyter_containers.errors import StartFailed  # noqa: PLC0415 - only on the way to an error

        raise StartFailed(
            "the interpreter cannot be copied into memory: the sysctl vm.memfd_noexec forbids programs there",
            step="spawner",
            errno=error.errno or 0,
            hint="sudo sysctl -w vm.memfd_noexec=1",
        ) from error
    except OSError:  # a kernel before 6.3 does not know MFD_EXEC, and needs none
        copy = os.memfd_create("python", flags)
    try:
        with open(program, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            sent = 0
            while sent < size:
                sent += os.sendfile(copy, source.fileno(), sent, size - sent)
        import fcntl  # noqa: PLC0415 - Linux only, and this module is imported elsewhere too

        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        for attempt in range(_SEAL_ATTEMPTS):
            try:
                fcntl.fcntl(copy, fcntl.F_ADD_SEALS, seals)
                break
            except OSError as error:
                # The kernel may still hold pages of the copy (fcntl(2), EBUSY); it has waited for them already.
                if error.errno != errno.EBUSY or attempt == _SEAL_ATTEMPTS - 1:
                    raise
    except BaseException:
        os.close(copy)
        raise
    return copy
