"""Recording of system calls: which ones this process makes, with what, and how long each takes.

All of ``linux/syscalls.py`` goes through one function, which is replaced while something is recorded, as are some of
``os``. Nothing of this is loaded, and no call takes longer, unless it is asked for.
"""

from __future__ import annotations

import ctypes
import errno
import os
from time import monotonic_ns

from jupyter_containers.linux import netlink, syscalls
from jupyter_containers.runtime.call_words import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Call = list[Any]  # name, arguments as text, nanoseconds, name of the error or ""
    Step = list[Any]  # whose, name, when it began (monotonic nanoseconds), how long, calls

MOST_CALLS = 2000
_LONGEST = 160
_NAMES = {number: name for name, number in syscalls.NUMBERS.items()}
# Functions of os that are system calls, and the name of the call.
_OS = {
    "open": "openat",
    "write": "write",
    "mkdir": "mkdirat",
    "mknod": "mknodat",
    "symlink": "symlinkat",
    "rename": "renameat",
    "rmdir": "unlinkat",
    "fchown": "fchown",
    "chown": "chown",
    "chdir": "chdir",
    "fchdir": "fchdir",
    "umask": "umask",
    "setsid": "setsid",
    "dup2": "dup3",
    "setgroups": "setgroups",
    "setresgid": "setresgid",
    "setresuid": "setresuid",
    "execve": "execve",
}


class Recorder:
    """Keeps what one process does, step by step. ``whose``: ``monitor`` or ``init``."""

    def __init__(self, whose: str) -> None:
        self.steps: list[Step] = []
        self._whose = whose
        self._calls: list[Call] = []
        self._count = 0
        self._paths: dict[int, str] = {}
        self._kept: list[tuple[Any, str, Any]] = []

    def step(self, name: str, do: Callable[[], Any]) -> Any:
        """Do something as a step of this name."""
        calls: list[Call] = []
        self._calls = calls
        began = monotonic_ns()
        entry = [self._whose, name, began, -1, calls]
        self.steps.append(entry)
        try:
            return do()
        finally:
            entry[3] = monotonic_ns() - began
            self._calls = []

    def call(self, name: str, text: str, do: Callable[[], Any]) -> Any:
        """Make a call and note it. One that does not come back (execve) has no time."""
        entry = [name, text[:_LONGEST], -1, ""]
        if self._count < MOST_CALLS:
            self._count += 1
            self._calls.append(entry)
        began = monotonic_ns()
        try:
            return do()
        except OSError as error:
            entry[3] = errno.errorcode.get(error.errno or 0, str(error.errno))
            raise
        finally:
            entry[2] = monotonic_ns() - began

    # -- putting it in the way of calls --------------------------------------------------------------------------

    def begin(self) -> None:
        """From now on calls are noted."""
        self._replace(syscalls, "_syscall", self._raw(syscalls._syscall))  # noqa: SLF001 - the one place all go through
        self._replace(netlink, "transact", self._netlink(netlink.transact))
        for name, call in _OS.items():
            self._replace(os, name, self._wrapped(call, getattr(os, name)))

    def end(self) -> None:
        """Calls are noted no more."""
        for module, name, function in reversed(self._kept):
            setattr(module, name, function)
        self._kept.clear()

    def _replace(self, module: Any, name: str, function: Any) -> None:
        self._kept.append((module, name, getattr(module, name)))
        setattr(module, name, function)

    def _raw(self, real: Callable[..., int]) -> Callable[..., int]:
        def record(number: int, *arguments: Any) -> int:
            name = _NAMES.get(number, str(number))
            entry = [name, describe(name, arguments)[:_LONGEST], -1, ""]
            if self._count < MOST_CALLS:
                self._count += 1
                self._calls.append(entry)
            began = monotonic_ns()
            result = real(number, *arguments)
            entry[2] = monotonic_ns() - began
            if name == "openat2" and result >= 0:
                self._paths[result] = _text(arguments[1])
            if result < 0:
                code = ctypes.get_errno()
                entry[3] = errno.errorcode.get(code, str(code))
                ctypes.set_errno(code)
            return result

        return record

    def _netlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def record(batches: list[bytes], *more: Any) -> None:
            size = sum(map(len, batches))
            self.call("sendmsg", f"NETLINK, {size} bytes", lambda: real(batches, *more))

        return record

    def _wrapped(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any, **more: Any) -> Any:
            if call == "execve":
                text = _text(arguments[0])  # not the arguments: they may hold a password
            elif call == "write":
                text = f"{self._paths.get(arguments[0], arguments[0])}, {_content(arguments[1])}"
            elif call == "openat":
                text = f"{_text(arguments[0])}, {_flags(arguments[1])}"
            else:
                text = ", ".join(_text(each) for each in arguments[:3])
            result = self.call(call, text, lambda: real(*arguments, **more))
            if call == "openat":
                self._paths[result] = _text(arguments[0])
            return result

        return record


_OPEN = {value: name for name, value in vars(os).items() if name.startswith("O_") and value}


def _flags(value: int) -> str:
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR")[value & os.O_ACCMODE]
    wanted = ("O_CREAT", "O_EXCL", "O_PATH", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY")
    bits = {name: bit for bit, name in _OPEN.items() if name in wanted}
    return " | ".join([access, *(name for name in wanted if value & bits[name] == bits[name])])


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


_SHORT = 64


def _content(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip().replace("\n", "; ")
    return text if len(data) <= _SHORT else f"{len(data)} bytes"
