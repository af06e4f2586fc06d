"""The layer of ``starter``: a shell and the core tools of this machine, and the skeleton of a file system."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

from jupyter_containers.errors import Corrupt, Unsupported
from jupyter_containers.images.starter.elf import is_elf
from jupyter_containers.images.starter.tree import Data, Directory, Link, Tree
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jupyter_containers.images.starter.libraries import Closure, LibraryFinder

PROGRAM_DIRECTORIES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/run/current-system/sw/bin")

# What scripts and lessons use; those that the machine lacks are left out.
TOOLS = (
    *("sh", "[", "awk", "basename", "cat", "chgrp", "chmod", "chown", "cmp", "cp", "cut", "date", "dd", "df", "diff"),
    *("dirname", "du", "echo", "env", "expr", "false", "find", "free", "grep", "gzip", "head", "hostname", "id", "ip"),
    *("kill", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mknod", "mktemp", "mount", "mv", "nice", "nohup", "nproc"),
    *("od", "printenv", "printf", "ps", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sha256sum"),
    *("sleep", "sort", "stat", "stty", "sync", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "tty"),
    *("umount", "uname", "uniq", "wc", "whoami", "xargs", "yes"),
)

# Opened by the C library at run time, so that no file names them as needed (nsswitch.conf(5), pthread_cancel(3)).
_OPENED_BY_LIBC = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1")

_TERMINALS = ("dumb", "linux", "screen", "screen-256color", "vt100", "xterm", "xterm-256color")
_TERMINFO_DIRECTORIES = ("/usr/share/terminfo", "/lib/terminfo", "/etc/terminfo")

_PASSWD = b"""root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = b"""root:x:0:
tty:x:5:
users:x:100:user
user:x:1000:
nogroup:x:65534:
"""
_NSSWITCH = b"""passwd: files
group: files
shadow: files
hosts: files dns
"""
_OS_RELEASE = b"""NAME="Starter"
PRETTY_NAME="Starter (made of the programs of one machine)"
ID=starter
"""
_USER_ID = 1000
_FOR_ALL = stat.S_IROTH | stat.S_IXOTH


@dataclass(frozen=True, slots=True)
class Base:
    """The starter's files, and where they come from in words."""

    tree: Tree
    summary: str


def find_program(name: str, directories: Sequence[str] = PROGRAM_DIRECTORIES) -> str | None:
    """The path of an ELF program of the machine that everybody may read and execute, or None.

    The user's PATH is not asked: the image shall be the same for all users of a machine.
    """
    for directory in directories:
        path = os.path.join(directory, name)
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & _FOR_ALL == _FOR_ALL and is_elf(path):
            return path
    return None


def make_base(finder: LibraryFinder, *, busybox: bool = True) -> Base:
    """The files of ``starter``: a static busybox if there is one and ``busybox`` allows it, else the tools.

    Raises
    ------
    Unsupported
        when the machine has no shell that can be copied.
    """
    tree = Tree()
    _add_skeleton(tree)
    program = find_static_busybox(finder) if busybox else None
    if program is not None and (applets := list_applets(program)):
        summary = _add_busybox(tree, program, applets)
    else:
        summary = _add_tools(tree, finder)
    return Base(tree, summary)


def find_static_busybox(finder: LibraryFinder) -> str | None:
    """The path of a busybox that needs no library, or None."""
    path = find_program("busybox")
    try:
        return path if path is not None and finder.elf(path).is_static else None
    except (Corrupt, OSError):
        return None


def list_applets(busybox: str) -> list[str]:
    """What a busybox calls itself; empty when it does not say, as a build without ``--list`` does."""
    try:
        done = subprocess.run([busybox, "--list"], capture_output=True, check=True, timeout=10, env={})
    except (OSError, subprocess.SubprocessError):
        return []
    names = sorted(set(done.stdout.decode("ascii", "replace").split()))
    return [name for name in names if "/" not in name and name.isprintable() and name != "busybox"]


def add_closure(tree: Tree, closure: Closure, libc_directory: str) -> None:
    """Add loaders where programs name them, and libraries where those loaders look without configuration.

    There is no ``ld.so.cache`` in the image. A library that was found by a search path of its user stays where it is;
    every other goes to the directory of the C library.
    """
    for loader in closure.interpreters:
        tree.add_copy(tree.place(loader), loader, program=True)
    for library in closure.libraries:
        directory = os.path.dirname(library.path) if library.by_search_path else libc_directory
        tree.add_copy(tree.place(os.path.join(directory, library.name)), library.path, program=True)


def opened_by_libc(finder: LibraryFinder, asker: str) -> list[str]:
    """The libraries that a program's C library opens at run time, where the machine has them."""
    found = (finder.find(name, asker=asker) for name in _OPENED_BY_LIBC)
    return [library.path for library in found if library is not None]


def add_runtime_libraries(tree: Tree, finder: LibraryFinder, programs: Sequence[str], libc_directory: str) -> None:
    """Add what programs need to be loaded and what their C library opens later.

    Raises
    ------
    Unsupported
        when a library is missing on the machine.
    """
    add_closure(tree, finder.closure(programs), libc_directory)
    extra = opened_by_libc(finder, programs[0])
    for path in extra:
        tree.add_copy(tree.place(os.path.join(libc_directory, os.path.basename(path))), path, program=True)
    add_closure(tree, finder.closure(extra), libc_directory)


def add_terminals(tree: Tree) -> None:
    """Add the descriptions of common terminals, for line editing (terminfo(5))."""
    for directory in _TERMINFO_DIRECTORIES:
        for name in _TERMINALS:
            source = os.path.join(directory, name[0], name)
            if os.path.isfile(source):
                tree.add_copy(f"/usr/share/terminfo/{name[0]}/{name}", source)


def _add_skeleton(tree: Tree) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.add(f"/usr/{name}", Directory())
        tree.add_link(f"/{name}", f"usr/{name}")
    for path in ("dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr/local/bin", "var/log"):
        tree.add(f"/{path}", Directory())
    tree.add("/root", Directory(0o700))
    tree.add("/home/user", Directory(owner=_USER_ID))
    tree.add("/tmp", Directory(0o1777))  # noqa: S108 - a path of the image
    tree.add("/var/tmp", Directory(0o1777))  # noqa: S108 - a path of the image
    tree.add("/var/run", Link("../run"))
    for name, content in (
        ("passwd", _PASSWD),
        ("group", _GROUP),
        ("nsswitch.conf", _NSSWITCH),
        ("os-release", _OS_RELEASE),
    ):
        tree.add(f"/etc/{name}", Data(content))


def _add_busybox(tree: Tree, program: str, applets: Iterable[str]) -> str:
    tree.add_copy("/usr/bin/busybox", program, program=True)
    count = sum(tree.add_link(f"/usr/bin/{name}", "busybox") for name in applets)
    return f"{os.path.realpath(program)} (static) with {count} applets"


def _add_tools(tree: Tree, finder: LibraryFinder) -> str:
    shell = find_program("sh")
    if shell is None:
        raise Unsupported(
            "the starter image cannot be made: there is no /bin/sh that can be copied",
            hint="install busybox-static, or pull an image",
        )
    programs: list[str] = []
    for name in TOOLS:
        path = find_program(name)
        if path is None:
            continue
        try:
            finder.closure([path])
        except (Unsupported, Corrupt, OSError):  # a tool that does not start here is of no use there
            continue
        real = os.path.basename(os.path.realpath(path))
        home = "/usr/sbin" if os.path.dirname(path).endswith("sbin") else "/usr/bin"
        tree.add_copy(f"{home}/{real}", path, program=True)
        tree.add_link(f"{home}/{name}", real)
        programs.append(path)
    add_runtime_libraries(tree, finder, programs, finder.libc_directory(shell))
    add_terminals(tree)
    return f"{len(programs)} tools of {shell} and its neighbours with their libraries"
