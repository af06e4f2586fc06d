"""A root file system under other ids: what belongs to root on disk belongs to the root of a container's user namespace.

Nothing is copied and nothing is changed on disk. The layers are shown through mounts with an id mapping, and overlay
stacks those. What overlay makes for itself it makes as whoever mounts it, so that has to be somebody whom the mapping
knows: the mount is made with the file system ids of the container's root and the capabilities of the host's.

A child does it, in a mount namespace of its own where the layers can be attached for a moment. Needs root of the host.
Sources: mount_setattr(2), setfsuid(2), capabilities(7); overlayfs.rst; Linux 6.7 for ``lowerdir+``.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from jupyter_containers.oci.runtime_spec import Mount

_EPERM = 1


def open_overlay(mount: Mount, user_namespace: int, uid: int, gid: int) -> int:
    """A descriptor of an overlay, mounted nowhere, as the container's root sees it.

    Parameters
    ----------
    mount
        An overlay with ``lowerdir``, ``upperdir`` and ``workdir``; the last two in one directory.
    user_namespace
        A descriptor of one with the mapping.
    uid, gid
        Of its root, on the host.

    Raises
    ------
    OSError
        EINVAL where the file system of the layers knows no id mappings.
    """
    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    child, pidfd = syscalls.clone(0)
    if child == 0:
        _be_mounter(far, mount, user_namespace, uid, gid)
    far.close()
    try:
        message, descriptors = receive(near)
    finally:
        near.close()
        os.close(pidfd)
        os.waitpid(child, 0)
    if message is None or not descriptors:
        code = message["errno"] if message else _EPERM
        raise OSError(code, os.strerror(code))
    return descriptors[0]


def _be_mounter(channel: socket, mount: Mount, user_namespace: int, uid: int, gid: int) -> None:
    try:
        send(channel, {}, [_mount(mount, user_namespace, uid, gid)])
    except OSError as error:
        send(channel, {"errno": error.errno or _EPERM})
    finally:
        os._exit(0)


def _mount(mount: Mount, user_namespace: int, uid: int, gid: int) -> int:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounting.mount(None, b"/", None, mounting.MS_PRIVATE | mounting.MS_REC)
    stage = mounting.make(b"tmpfs", b"stage", ["mode=711"])
    mounting.attach_at(stage, b"/")
    shown = _Shown(stage, user_namespace)
    options = [shown.option(option) for option in mount.get("options", []) if option != "idmap"]
    parsed = mounting.Options(options)
    syscalls.become_for_files(uid, gid)
    return mounting.make(b"overlay", b"overlay", parsed.data, mounting.attributes(parsed.flags)[0])


class _Shown:
    """Directories of the host shown on a stage under other ids."""

    def __init__(self, stage: int, user_namespace: int) -> None:
        self._stage = stage
        self._user_namespace = user_namespace
        self._known: dict[str, str] = {}

    def option(self, option: str) -> str:
        """An option of overlay with the directories in it replaced."""
        key, _, value = option.partition("=")
        if key == "lowerdir":
            return f"lowerdir={':'.join(self._place(path) for path in split_paths(value))}"
        if key in {"upperdir", "workdir"}:  # overlay wants them on one mount
            parent, _, name = split_paths(value)[0].rpartition("/")
            return f"{key}={self._place(parent)}/{name}"
        return option

    def _place(self, path: str) -> str:
        if path not in self._known:
            place = f"/proc/self/fd/{self._stage}/{len(self._known)}"
            os.mkdir(place)
            tree = mounting.open_tree(syscalls.AT_FDCWD, os.fsencode(path))
            mounting.set_attributes(tree, mounting.MOUNT_ATTR_IDMAP, user_namespace=self._user_namespace)
            mounting.attach_at(tree, os.fsencode(place))
            os.close(tree)
            self._known[path] = place
        return self._known[path]


def split_paths(text: str) -> list[str]:
    r"""The paths of ``lowerdir``: separated by colons, ``\`` before a character that is meant as it is."""
    found, current, escaped = [], "", False
    for character in text:
        if escaped or character not in "\\:":
            current += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            found.append(current)
            current = ""
    return [*found, current]
