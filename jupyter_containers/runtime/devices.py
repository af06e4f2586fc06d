"""Devices of a container, and the links every container has in /dev.

Source: OCI runtime specification 1.3, config-linux.md "Devices" and "Default Devices"; mknod(2).
"""

from __future__ import annotations

import os
import stat
from errno import EEXIST, ENOENT, EPERM

from jupyter_containers.linux import mount as mounting
from jupyter_containers.runtime.plan import LINKS, is_default_device
from jupyter_containers.runtime.rootfs import MountError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Device
    from jupyter_containers.runtime.rootfs import Tree

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def make(tree: Tree, wanted: list[Device], *, nodes: bool) -> None:
    """Make device nodes; bind the host's where nodes cannot be made (``nodes`` false, or EPERM).

    The files an image has in the place of the devices every container has give way; in the place of another device they
    are an error.
    """
    made = _make_nodes(tree, [device for device in wanted if nodes or device.get("type") == "p"])
    for device in wanted:
        kind = device.get("type", "c")
        if device["path"] in made:
            continue
        if kind == "p":
            raise MountError(f"the pipe {device['path']} cannot be made", EPERM)
        tree.bind(_host_device(device), device["path"], mounting.Options(["bind"]))


def _host_device(device: Device) -> str:
    """The host's node of a device: the one of the same path, if it is that, else the one the kernel names."""
    path = device["path"]
    number = os.makedev(device.get("major", 0), device.get("minor", 0))
    block = device.get("type", "c") == "b"
    try:
        info = os.stat(path)
    except OSError:
        info = None
    if info is not None and info.st_rdev == number and stat.S_ISBLK(info.st_mode) == block:
        return path
    kind = "block" if block else "char"
    major_minor = f"{os.major(number)}:{os.minor(number)}"
    try:
        with open(f"/sys/dev/{kind}/{major_minor}/uevent", encoding="utf-8") as file:
            names = [line[8:].strip() for line in file if line.startswith("DEVNAME=")]
    except OSError:
        names = []
    if not names:
        raise MountError(f"device {path}: the host has no node of {kind} device {major_minor} to show", ENOENT)
    return f"/dev/{names[0]}"


def _make_nodes(tree: Tree, wanted: list[Device]) -> set[str]:
    """The paths of those that could be made, or are there."""
    parents: dict[str, int] = {}
    umask = os.umask(0)
    try:
        made = set()
        for device in wanted:
            parent, _, name = device["path"].rpartition("/")
            if parent not in parents:
                parents[parent] = tree.place(parent or "/", directory=True)
            if _make_node(parents[parent], name, device):
                made.add(device["path"])
        return made
    finally:
        os.umask(umask)
        for descriptor in parents.values():
            os.close(descriptor)


def _make_node(parent: int, name: str, device: Device) -> bool:
    kind = _KINDS[device.get("type", "c")]
    number = os.makedev(device.get("major", 0), device.get("minor", 0))
    try:
        os.mknod(name, kind | stat.S_IMODE(device.get("fileMode", 0o666)), number, dir_fd=parent)
        if device.get("uid", 0) or device.get("gid", 0):
            os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        return _is_node(parent, device["path"], kind, number)
    except PermissionError:
        return False
    return True


def _is_node(parent: int, path: str, kind: int, number: int) -> bool:
    name = path.rpartition("/")[2]
    info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_IFMT(info.st_mode) == kind and info.st_rdev == number:
        return True
    if not is_default_device(path):
        raise MountError(f"device {path}: another file is in its place", EEXIST)
    os.unlink(name, dir_fd=parent)  # an image's file where a device belongs: the bind makes its own stub
    return False


def link(tree: Tree) -> None:
    """The links every container has; what an image has in their place stays."""
    directory = tree.place("/dev", directory=True)
    try:
        for path, target in LINKS:
            name = path.rpartition("/")[2]
            try:
                os.symlink(target, name, dir_fd=directory)
            except FileExistsError:
                continue
    finally:
        os.close(directory)
