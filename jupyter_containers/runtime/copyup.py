"""A tmpfs that begins with what it hides: the mount option ``tmpcopyup`` (config.md, "Linux mount options")."""

from __future__ import annotations

import os
import stat

from jupyter_containers.linux import mount as mounting

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_copy(source: str, target: int, options: mounting.Options) -> None:
    """Mount a tmpfs on the directory ``target``, a descriptor, with a copy of all that is in it.

    The root of the tmpfs has the mode and owner of the directory where the options do not say otherwise.
    """
    set_bits = mounting.attributes(options.flags)[0]
    tree = mounting.make(b"tmpfs", os.fsencode(source), options.data, set_bits & ~mounting.MOUNT_ATTR_RDONLY)
    try:
        old = os.open(".", _DIRECTORY, dir_fd=target)
        new = os.open(".", _DIRECTORY, dir_fd=tree)
        try:
            given = {option.partition("=")[0] for option in options.data}
            info = os.fstat(old)
            if not given & {"uid", "gid"}:
                os.fchown(new, info.st_uid, info.st_gid)
            if "mode" not in given:
                os.fchmod(new, stat.S_IMODE(info.st_mode))
            _copy_tree(old, new)
        finally:
            os.close(old)
            os.close(new)
        if set_bits & mounting.MOUNT_ATTR_RDONLY:
            mounting.set_attributes(tree, mounting.MOUNT_ATTR_RDONLY)
        mounting.attach(tree, target)
    finally:
        os.close(tree)


def _copy_tree(old: int, new: int) -> None:
    for name in os.listdir(old):
        info = os.stat(name, dir_fd=old, follow_symlinks=False)
        _copy(name, info, old, new)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=new, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=new)  # after chown, which takes set-user-id away
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=new, follow_symlinks=False)


def _copy(name: str, info: os.stat_result, old: int, new: int) -> None:
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(name, 0o700, dir_fd=new)
        inner_old = os.open(name, _DIRECTORY, dir_fd=old)
        inner_new = os.open(name, _DIRECTORY, dir_fd=new)
        _copy_tree(inner_old, inner_new)
        os.close(inner_old)
        os.close(inner_new)
    elif stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
    elif stat.S_ISREG(info.st_mode):
        _copy_file(name, old, new)
    else:
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=new)


def _copy_file(name: str, old: int, new: int) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=old)
    writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=new)
    while chunk := os.read(reading, _CHUNK):
        while chunk:
            chunk = chunk[os.write(writing, chunk) :]
    for attribute in os.listxattr(reading):
        os.setxattr(writing, attribute, os.getxattr(reading, attribute))
    os.close(reading)
    os.close(writing)
