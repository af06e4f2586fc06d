"""How layers lie on disk: the format of the kernel's overlay file system, and what a user without privileges adds.

Source: the kernel's Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "User xattr".

- A *whiteout* is a character device 0:0; a directory is *opaque* when its attribute ``trusted.overlay.opaque`` is
  ``y``, or ``user.overlay.opaque`` where the mount has the option ``userxattr``.
- An archive marks the same with names: ``.wh.NAME`` and ``.wh..wh..opq`` (image specification, layer.md).
- A user who is not root, outside of a user namespace, keeps root's files as its own. Who cannot give a file its owner
  records it in the attribute :data:`RECORD` of files and directories, as
  ``uid:gid:mode`` with an octal mode, which is empty when the mode could be set; ``:c:major:minor`` or
  ``:b:major:minor`` follows for a device, which is then an empty regular file.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import Final, Literal, TypeAlias

from jupyter_containers.records import dataclass

WHITEOUT_PREFIX: Final = b".wh."
WHITEOUT_META: Final = b".wh..wh."
OPAQUE_MARKER: Final = b".wh..wh..opq"
RECORD: Final = "user.jupyter-containers.stat"
MAX_DEPTH: Final = 256
"""Directories deeper than this are refused: each takes a descriptor, and no real file system has them."""

OverlayStyle: TypeAlias = Literal["trusted", "user"]

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CAP_DAC_OVERRIDE: Final = 1
_CAP_SYS_ADMIN: Final = 21
_ABSENT: Final = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES})


@functools.cache
def _capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


@functools.cache
def overlay_style() -> OverlayStyle:
    """The namespace of overlay's attributes in this process: only the host's administrator may use ``trusted``."""
    with open("/proc/self/uid_map", encoding="ascii") as uid_map:
        initial = uid_map.read().split() == ["0", "0", "4294967295"]
    return "trusted" if initial and _capabilities() >> _CAP_SYS_ADMIN & 1 else "user"


@functools.cache
def reads_everything() -> bool:
    """Whether modes do not bind this process (CAP_DAC_OVERRIDE, at least in its own user namespace)."""
    return bool(_capabilities() >> _CAP_DAC_OVERRIDE & 1)


@functools.cache
def _own_ids() -> tuple[int, int]:
    return os.geteuid(), os.getegid()


def owner(status: os.stat_result) -> tuple[int, int]:
    """The owner as a layer has it: an ordinary user stands for root, whose files it keeps as its own."""
    uid, gid = _own_ids()
    return 0 if status.st_uid == uid else status.st_uid, 0 if status.st_gid == gid else status.st_gid


def stands_for_root() -> bool:
    """Whether this is an ordinary user, so that files of its own are those of a layer's root."""
    return _own_ids()[0] != 0


def open_owned(parent: int, name: bytes, flags: int) -> int:
    """Open for reading a file that its mode may close even to its owner; the mode is as before afterwards.

    A container whose root is this user does not heed modes, so it leaves such files behind. A directory like that
    needs a process that does not heed modes either. Raises OSError.
    """
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            status = os.fstat(path_fd)
            if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
                raise
            # Through the descriptor: chmod by name could be led elsewhere by a link.
            handle = f"/proc/self/fd/{path_fd}"
            mode = stat.S_IMODE(status.st_mode)
            os.chmod(handle, mode | 0o600)
            try:
                return os.open(handle, flags & ~os.O_NOFOLLOW)
            finally:
                os.chmod(handle, mode)
        finally:
            os.close(path_fd)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is the mark for a name that was removed."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(fd: int) -> bool:
    """Whether an open directory hides what the layers below have in it."""
    return get_xattr(fd, f"{overlay_style()}.overlay.opaque") == b"y"


def set_opaque(fd: int) -> None:
    """Make an open directory opaque."""
    os.setxattr(fd, f"{overlay_style()}.overlay.opaque", b"y")


def get_xattr(fd: int, name: str) -> bytes | None:
    """An extended attribute, None when it is not there or may not be read."""
    try:
        return os.getxattr(fd, name)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def portable(name: str) -> bool:
    """Whether an extended attribute belongs into an archive: not overlay's own, not the host's security labels."""
    if name.startswith(("trusted.overlay.", "user.overlay.")) or name == RECORD:
        return False
    return name == "security.capability" or name.startswith(("user.", "trusted.", "system.posix_acl_"))


def get_xattrs(fd: int) -> dict[bytes, bytes]:
    """The extended attributes of an open file that belong into an archive."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno in _ABSENT:
            return {}
        raise
    found: dict[bytes, bytes] = {}
    for name in names:
        if portable(name) and (value := get_xattr(fd, name)) is not None:
            found[os.fsencode(name)] = _capability_v2(value) if name == "security.capability" else value
    return found


def _capability_v2(value: bytes) -> bytes:
    """File capabilities without the user namespace they were set in: revision 3 ends with its root's id."""
    if len(value) == 24 and value[3] == 3:  # noqa: PLR2004 - sizeof(struct vfs_ns_cap_data), VFS_CAP_REVISION_3
        return value[:3] + b"\x02" + value[4:20]
    return value


@dataclass(frozen=True, slots=True)
class Record:
    """What :data:`RECORD` holds; ``mode`` None: that of the file, ``device`` with ``c`` or ``b``."""

    uid: int
    gid: int
    mode: int | None = None
    device: tuple[Literal["c", "b"], int, int] | None = None

    def encode(self) -> bytes:
        """The value of the attribute."""
        text = f"{self.uid}:{self.gid}:" + ("" if self.mode is None else f"{self.mode:o}")
        if self.device:
            text += ":{}:{}:{}".format(*self.device)
        return text.encode()


def read_record(fd: int) -> Record | None:
    """The recorded owner of an open file or directory. A value of another form counts as none."""
    value = get_xattr(fd, RECORD)
    if value is None:
        return None
    parts = value.decode("ascii", "replace").split(":")
    try:
        uid, gid = int(parts[0]), int(parts[1])
        mode = int(parts[2], 8) & 0o7777 if parts[2] else None
        if len(parts) == 6 and parts[3] in {"c", "b"}:  # noqa: PLR2004 - with a device
            kind: Literal["c", "b"] = "c" if parts[3] == "c" else "b"
            return Record(uid, gid, mode, (kind, int(parts[4]), int(parts[5])))
    except (ValueError, IndexError):
        return None
    return Record(uid, gid, mode) if uid >= 0 and gid >= 0 else None
