"""Sources of mounts that init cannot open by itself: its starter does, with its own rights and mount namespace.

That is so for bind mounts into a container with a user namespace, whose root may be unable to reach them; for mounts
that share events with the host, which init's copy of the mounts no longer does; and for mounts with an id mapping of
their own, which takes privileges over the file system. Imported only where there is such a mount.

Sources: mount_setattr(2), user_namespaces(7); config.md, "Mounts".
"""

from __future__ import annotations

import os

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import namespaces, syscalls
from jupyter_containers.runtime.plan import ROOT, is_bind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.oci.runtime_spec import IdMapping, Linux, Mount, Spec

_SIGKILL = 9


class Mappings:
    """User namespaces that exist only for their id maps, each made once."""

    def __init__(self, linux: Linux) -> None:
        self._linux = linux
        self._made: dict[str, int] = {}

    def of(self, mount: Mount) -> int:
        """A descriptor of the user namespace with the mapping of a mount, else with that of the container."""
        uids, gids = mount.get("uidMappings"), mount.get("gidMappings")
        if not uids and not gids:
            for namespace in self._linux.get("namespaces", []):
                if namespace.get("type") == "user" and namespace.get("path"):
                    return self._open(namespace["path"])
            uids, gids = self._linux.get("uidMappings"), self._linux.get("gidMappings")
        key = repr((uids, gids))
        if key not in self._made:
            self._made[key] = _make(_ranges(uids or []), _ranges(gids or []))
        return self._made[key]

    def root(self) -> tuple[int, int]:
        """The host's ids of the container's root."""
        uid, gid = (
            next((each["hostID"] for each in maps if each["containerID"] == 0), 0)
            for maps in (self._linux.get("uidMappings", []), self._linux.get("gidMappings", []))
        )
        return uid, gid

    def _open(self, path: str) -> int:
        if path not in self._made:
            self._made[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._made[path]

    def close(self) -> None:
        """Let go of them; the mounts keep what they need."""
        for descriptor in self._made.values():
            os.close(descriptor)


def _ranges(mappings: list[IdMapping]) -> list[tuple[int, int, int]]:
    return [(each["containerID"], each["hostID"], each["size"]) for each in mappings]


def _make(uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> int:
    """A user namespace with these maps: that of a child which waits to be killed."""
    reading, writing = os.pipe()
    pid, pidfd = syscalls.clone(syscalls.CLONE_NEWUSER)
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # until killed, or until the starter is
        os._exit(0)
    try:
        namespaces.write_maps(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)
        for descriptor in (pidfd, reading, writing):
            os.close(descriptor)


def open_sources(spec: Spec, numbers: list[int], mountpoint: bytes, rootfs: Sequence[Mount] = ()) -> list[int]:
    """Descriptors of detached mounts, for numbers of mounts in the configuration or ``plan.ROOT``, in their order.

    The root is what is at ``mountpoint``, or the first mount of ``rootfs`` under the ids of the container.

    Raises
    ------
    OSError
        Naming the mount. EPERM for an id mapping that only root of the host may make.
    """
    mappings = Mappings(spec.get("linux", {}))
    opened: list[int] = []
    try:
        for number in numbers:
            what = f"the root file system {os.fsdecode(mountpoint)}"
            try:
                if number == ROOT:
                    opened.append(_open_root(mountpoint, rootfs, mappings))
                    continue
                mount = spec["mounts"][number]
                what = f"mount on {mount['destination']}: source {mount.get('source', '')}"
                opened.append(_open(mount, mappings))
            except OSError as error:
                raise OSError(error.errno, f"{what}: {os.strerror(error.errno or 0).lower()}") from None
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    finally:
        mappings.close()
    return opened


def _open_root(mountpoint: bytes, rootfs: Sequence[Mount], mappings: Mappings) -> int:
    if not rootfs:
        return mounting.open_tree(syscalls.AT_FDCWD, mountpoint, recursive=True)
    if is_bind(rootfs[0]):
        return _open(rootfs[0], mappings)
    from jupyter_containers.runtime.remap import open_overlay  # noqa: PLC0415 - only for root's user namespaces

    uid, gid = mappings.root()
    return open_overlay(rootfs[0], mappings.of(rootfs[0]), uid, gid)


def _open(mount: Mount, mappings: Mappings) -> int:
    options = mounting.Options(mount.get("options", []))
    recursive = bool(options.flags & mounting.MS_REC)
    tree = mounting.open_source(
        os.fsencode(mount["source"]), os.fsencode(mount.get("subpath", "")), recursive=recursive
    )
    if not options.own & {"idmap", "ridmap"} and not mount.get("uidMappings"):
        return tree
    try:
        mounting.set_attributes(
            tree,
            mounting.MOUNT_ATTR_IDMAP,
            recursive="ridmap" in options.own,
            user_namespace=mappings.of(mount),
        )
    except BaseException:
        os.close(tree)
        raise
    return tree
