"""Mounts: mount(2), the newer descriptor-based calls, and the meaning of mount options.

Options are those of fstab and of the OCI runtime specification (config.md, "Linux mount options").
"""

from __future__ import annotations

import os

from jupyter_containers.linux.syscalls import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    call,
    openat2,
)

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_SYMLINKS = 0x10
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC

#: mount(2) reads one page of options and ignores the rest without a word.
PAGE = 4096

# option -> (flags to set, flags to clear)
_FLAGS = {
    "defaults": (0, 0),
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "nosuid": (MS_NOSUID, 0),
    "suid": (0, MS_NOSUID),
    "nodev": (MS_NODEV, 0),
    "dev": (0, MS_NODEV),
    "noexec": (MS_NOEXEC, 0),
    "exec": (0, MS_NOEXEC),
    "sync": (MS_SYNCHRONOUS, 0),
    "async": (0, MS_SYNCHRONOUS),
    "dirsync": (MS_DIRSYNC, 0),
    "remount": (MS_REMOUNT, 0),
    "mand": (MS_MANDLOCK, 0),
    "nomand": (0, MS_MANDLOCK),
    "noatime": (MS_NOATIME, MS_RELATIME | MS_STRICTATIME),
    "atime": (0, MS_NOATIME),
    "nodiratime": (MS_NODIRATIME, 0),
    "diratime": (0, MS_NODIRATIME),
    "relatime": (MS_RELATIME, MS_NOATIME | MS_STRICTATIME),
    "norelatime": (0, MS_RELATIME),
    "strictatime": (MS_STRICTATIME, MS_NOATIME | MS_RELATIME),
    "nostrictatime": (0, MS_STRICTATIME),
    "nosymfollow": (MS_NOSYMFOLLOW, 0),
    "symfollow": (0, MS_NOSYMFOLLOW),
    "iversion": (MS_I_VERSION, 0),
    "noiversion": (0, MS_I_VERSION),
    "lazytime": (MS_LAZYTIME, 0),
    "nolazytime": (0, MS_LAZYTIME),
    "silent": (MS_SILENT, 0),
    "loud": (0, MS_SILENT),
    "bind": (MS_BIND, 0),
    "rbind": (MS_BIND | MS_REC, 0),
}

_PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}

_ATTRIBUTES = {
    MS_RDONLY: MOUNT_ATTR_RDONLY,
    MS_NOSUID: MOUNT_ATTR_NOSUID,
    MS_NODEV: MOUNT_ATTR_NODEV,
    MS_NOEXEC: MOUNT_ATTR_NOEXEC,
    MS_NODIRATIME: MOUNT_ATTR_NODIRATIME,
    MS_NOSYMFOLLOW: MOUNT_ATTR_NOSYMFOLLOW,
}
_ATIMES = {MS_NOATIME: MOUNT_ATTR_NOATIME, MS_STRICTATIME: MOUNT_ATTR_STRICTATIME, MS_RELATIME: 0}
# The same for a mount and all mounts below it: rro, rrw, rnosuid, rsuid ... Options of a file system have no such form.
_RECURSIVE = {
    f"r{name}": pair
    for name, pair in _FLAGS.items()
    if (pair[0] | pair[1]) & (sum(_ATTRIBUTES) | sum(_ATIMES)) and not pair[0] & MS_BIND
}
#: Options the runtime does itself: ``Options.own``.
_OWN = {"idmap", "ridmap", "tmpcopyup"}


class Options:
    """Mount options sorted by what the kernel does with them.

    Attributes
    ----------
    flags
        ``MS_*`` bits of the mount itself.
    cleared
        ``MS_*`` bits the options take away (``rw``, ``suid``).
    recursive, recursive_cleared
        The same for the mount and all mounts below (``rro``, ``rrw``).
    propagation
        ``MS_PRIVATE`` and its like to apply afterwards, in order.
    own
        What is the runtime's affair: ``idmap``, ``ridmap``, ``tmpcopyup``.
    data
        What is left for the file system, in order.
    """

    __slots__ = ("cleared", "data", "flags", "own", "propagation", "recursive", "recursive_cleared")

    def __init__(self, options: list[str]) -> None:
        self.flags = self.cleared = self.recursive = self.recursive_cleared = 0
        self.propagation: list[int] = []
        self.own: set[str] = set()
        self.data: list[str] = []
        for option in options:
            if option in _FLAGS:
                on, off = _FLAGS[option]
                self.flags = (self.flags | on) & ~off
                self.cleared = (self.cleared | off) & ~on
            elif option in _PROPAGATION:
                self.propagation.append(_PROPAGATION[option])
            elif option in _RECURSIVE:
                on, off = _RECURSIVE[option]
                self.recursive = (self.recursive | on) & ~off
                self.recursive_cleared = (self.recursive_cleared | off) & ~on
            elif option in _OWN:
                self.own.add(option)
            else:
                self.data.append(option)


def attributes(flags: int, cleared: int = 0) -> tuple[int, int]:
    """``MS_*`` bits as mount_setattr(2) takes them: what to set and what to clear."""
    set_bits = clear_bits = 0
    for flag, attribute in _ATTRIBUTES.items():
        if flags & flag:
            set_bits |= attribute
        if cleared & flag:
            clear_bits |= attribute
    for flag, attribute in _ATIMES.items():
        if flags & flag:
            set_bits |= attribute
            clear_bits |= MOUNT_ATTR__ATIME
    if cleared & (MS_NOATIME | MS_STRICTATIME):
        clear_bits |= MOUNT_ATTR__ATIME  # without a new one in its place this is relatime, the kernel's usual
    return set_bits, clear_bits


def known_options() -> list[str]:
    """The options that are not a file system's own, sorted."""
    return sorted({*_FLAGS, *_PROPAGATION, *_RECURSIVE, *_OWN})


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int = 0, data: bytes | None = None) -> None:
    """mount(2); E2BIG for options longer than the page the kernel would silently cut them to."""
    if data is not None and len(data) >= PAGE:
        raise OSError(7, "mount options longer than a page")
    call("mount", source, target, kind, flags, data)


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    call("umount2", target, flags)


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """pivot_root(2)."""
    call("pivot_root", new_root, put_old)


def set_attributes(
    descriptor: int,
    set_bits: int = 0,
    clear_bits: int = 0,
    *,
    propagation: int = 0,
    recursive: bool = False,
    user_namespace: int = 0,
) -> None:
    """Change the attributes of the mount a descriptor stands for, mount_setattr(2), Linux 5.12.

    Parameters
    ----------
    descriptor
        Of a mount's root.
    set_bits, clear_bits
        ``MOUNT_ATTR_*``.
    propagation
        One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 for no change.
    recursive
        Do the same to all mounts below.
    user_namespace
        For MOUNT_ATTR_IDMAP: a descriptor of the user namespace with the mapping.
    """
    values = (set_bits, clear_bits, propagation, user_namespace)
    attribute = b"".join(value.to_bytes(8, "little") for value in values)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", descriptor, b"", flags, attribute, len(attribute))


def open_tree(directory: int, path: bytes, *, recursive: bool = False) -> int:
    """A detached copy of a mount, as ``mount --bind`` makes; follows a symbolic link at the end of the path."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return call("open_tree", directory, path, flags | (0 if path else AT_EMPTY_PATH))


def open_source(path: bytes, below: bytes = b"", *, recursive: bool = False) -> int:
    """A detached copy of the mount at ``path``, or of what is below it; no symbolic link leads out of ``path``."""
    if not below:
        return open_tree(AT_FDCWD, path, recursive=recursive)
    top = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = openat2(top, below, os.O_PATH, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    finally:
        os.close(top)
    try:
        return open_tree(found, b"", recursive=recursive)
    finally:
        os.close(found)


def attach(tree: int, target: int) -> None:
    """Put a detached mount on the file or directory ``target`` (a descriptor), move_mount(2)."""
    call("move_mount", tree, b"", target, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def make(kind: bytes, source: bytes, options: list[str], attribute_bits: int = 0) -> int:
    """A detached mount of a new file system, however long its options are (fsopen, fsconfig, fsmount).

    ``lowerdir=a:b:c`` is given to overlay directory by directory as ``lowerdir+`` (Linux 6.7).
    """
    context = call("fsopen", kind, _FSOPEN_CLOEXEC)
    try:
        call("fsconfig", context, _FSCONFIG_SET_STRING, b"source", source, 0)
        for option in options:
            key, sep, value = os.fsencode(option).partition(b"=")
            if kind == b"overlay" and key == b"lowerdir":
                for directory in value.split(b":"):
                    call("fsconfig", context, _FSCONFIG_SET_STRING, b"lowerdir+", directory, 0)
            elif sep:
                call("fsconfig", context, _FSCONFIG_SET_STRING, key, value, 0)
            else:
                call("fsconfig", context, _FSCONFIG_SET_FLAG, key, None, 0)
        call("fsconfig", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", context, _FSMOUNT_CLOEXEC, attribute_bits)
    finally:
        os.close(context)


def attach_at(tree: int, target: bytes) -> None:
    """Put a detached mount on a path; symbolic links are followed, as in /proc/self/fd."""
    call("move_mount", tree, b"", AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_SYMLINKS)
