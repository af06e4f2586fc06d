"""Find and execute the program of a container, and say in Docker's words why that failed.

Source: execve(2), POSIX "Command Search and Execution".
"""

from __future__ import annotations

import os
import stat

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_EPERM, _ENOENT, _ENOEXEC, _EACCES, _ENOTDIR, _ELOOP = 1, 2, 8, 13, 20, 40


class ProgramError(Exception):
    """The program cannot be executed. ``found`` is false when there is no such program."""

    def __init__(self, detail: str, errno: int, *, found: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errno = errno
        self.found = found


def search_path(env: list[str]) -> str:
    """The PATH of an environment; the usual one where it has none."""
    for entry in env:
        if entry.startswith("PATH="):
            return entry[5:]
    return DEFAULT_PATH


def candidates(name: str, path: str) -> list[str]:
    """Where to look for a program: the name itself when it holds a slash, else in every directory of ``path``."""
    if "/" in name:
        return [name]
    return [f"{directory or '.'}/{name}" for directory in path.split(":")]


def find(args: list[str], env: list[str]) -> None:
    """See whether the program can be executed, as far as that shows without doing it; raises ProgramError if not."""
    _attempt(args[0], env, _check)


def execute(args: list[str], env: list[str]) -> None:
    """execve(2) the first candidate that can be; returns only by raising ProgramError."""
    environment = {os.fsencode(key): os.fsencode(value) for key, _, value in (item.partition("=") for item in env)}
    _attempt(args[0], env, lambda file: os.execve(file, args, environment))  # noqa: S606 - what the process is for


def _check(file: str) -> None:
    if stat.S_ISDIR(os.stat(file).st_mode) or not os.access(file, os.X_OK, effective_ids=True):
        raise PermissionError(_EACCES, "permission denied")


def _attempt(name: str, env: list[str], action: Callable[[str], None]) -> None:
    """Do something with the first candidate it can be done with; raises ProgramError when there is none."""
    denied = ""
    for file in candidates(name, search_path(env)) if name else []:
        try:
            action(file)
            return
        except OSError as error:
            if error.errno in {_ENOENT, _ENOTDIR}:
                if "/" in name or os.path.lexists(file):
                    _explain_missing(name, file, error.errno)
                continue
            if error.errno == _EACCES and "/" not in name:
                denied = denied or file
                continue
            raise _explain(name, file, error) from None
    if denied:
        raise _explain(name, denied, PermissionError(_EACCES, "permission denied"))
    raise ProgramError(f'exec: "{name}": executable file not found in $PATH', _ENOENT, found=False)


def _explain_missing(name: str, file: str, code: int) -> None:
    """Raise for a file that is named and missing, or there and cannot be executed for want of its interpreter."""
    try:
        os.stat(file)
    except OSError:
        if "/" not in name:
            return
        text = os.strerror(code).lower()
        raise ProgramError(f'exec: "{name}": stat {name}: {text}', code, found=False) from None
    reason = "its interpreter or loader is missing (a script's #! line, or the C library it is linked to)"
    raise ProgramError(f'exec: "{name}": no such file or directory: {reason}', code, found=False)


def _explain(name: str, file: str, error: OSError) -> ProgramError:
    code = error.errno or 0
    if code == _EACCES:
        try:
            if stat.S_ISDIR(os.stat(file).st_mode):
                return ProgramError(f'exec: "{name}": is a directory', code, found=True)
        except OSError as missing:
            return ProgramError(f'exec: "{name}": {os.strerror(missing.errno or 0).lower()}', code, found=True)
        return ProgramError(f'exec: "{name}": permission denied', code, found=True)
    if code == _ENOEXEC:
        return ProgramError(f'exec: "{name}": exec format error', code, found=True)
    return ProgramError(f'exec: "{name}": {os.strerror(code).lower()}', code, found=True)
