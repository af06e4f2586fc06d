"""Make a container's file tree: the root, the mounts in it, devices, masks, and the change of root.

Every place in the tree is looked up by openat2(2) with RESOLVE_IN_ROOT, so a symbolic link in an image or a volume
cannot lead out of it, and every mount is made on the descriptor found that way, so nothing can be swapped in between.
"""

from __future__ import annotations

import os
import stat

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime.plan import LINKS, is_bind, sysctl_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Device, Mount

_EPERM, _ENOENT, _EEXIST, _EAGAIN, _EINVAL, _ELOOP, _ENOTDIR = 1, 2, 17, 11, 22, 40, 20
_MOST_LINKS = 40
_TRIES = 50
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_MASK_OPTIONS = b"size=0,mode=000"


class MountError(Exception):
    """A mount cannot be made; the text says which and why."""

    def __init__(self, detail: str, errno: int = 0) -> None:
        super().__init__(detail)
        self.errno = errno


class Tree:
    """The root file system while it is being put together, by descriptor.

    Attributes
    ----------
    stubs
        Paths, relative to the root with a leading slash, that had to be made in the root file system itself so that
        something could be mounted on them; parents before children.
    """

    def __init__(self, path: bytes) -> None:
        self.descriptor = os.open(path, _DIRECTORY | os.O_CLOEXEC)
        self._path = os.readlink(b"/proc/self/fd/%d" % self.descriptor)
        self._mounted: list[str] = []
        self.stubs: list[str] = []

    # -- places --------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
        """A descriptor of a path inside the root."""
        encoded = os.fsencode(path.lstrip("/")) or b"."
        for _ in range(_TRIES):
            try:
                return syscalls.openat2(self.descriptor, encoded, flags, mode=mode, resolve=syscalls.RESOLVE_IN_ROOT)
            except OSError as error:
                if error.errno != _EAGAIN:  # something was renamed during the walk: openat2(2)
                    raise
        raise MountError(f"{path}: the file tree keeps changing", _EAGAIN)

    def real_path(self, descriptor: int) -> str:
        """Where in the root a descriptor is, links resolved."""
        path = os.readlink(b"/proc/self/fd/%d" % descriptor)
        if path == self._path:
            return "/"
        prefix = self._path.rstrip(b"/") + b"/"
        return "/" + os.fsdecode(path[len(prefix) :]) if path.startswith(prefix) else os.fsdecode(path)

    def place(self, path: str, *, directory: bool, mode: int = 0o755) -> int:
        """A descriptor of the file or directory ``path``, which is made with its parents if it is missing."""
        return self._place(path, directory, mode, 0)

    def _place(self, path: str, directory: bool, mode: int, depth: int) -> int:
        if depth > _MOST_LINKS:
            raise MountError(f"{path}: too many symbolic links", _ELOOP)
        try:
            return self.open(path)
        except OSError as error:
            if error.errno != _ENOENT:
                raise
        parent_path, _, name = path.rstrip("/").rpartition("/")
        if name in {"", ".", ".."}:
            raise MountError(f"{path} cannot be made", _ENOENT)
        parent = self._place(parent_path or "/", True, 0o755, depth + 1)
        try:
            encoded = os.fsencode(name)
            try:
                self._create(parent, encoded, directory, mode)
            except FileExistsError:
                # a symbolic link that leads nowhere yet: make what it points at, inside the root
                link = os.readlink(encoded, dir_fd=parent)
                target = os.fsdecode(link)
                if not target.startswith("/"):
                    target = f"{self.real_path(parent).rstrip('/')}/{target}"
                return self._place(target, directory, mode, depth + 1)
            made = os.open(encoded, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)
        self._note(made)
        return made

    @staticmethod
    def _create(parent: int, name: bytes, directory: bool, mode: int) -> None:
        if directory:
            os.mkdir(name, mode, dir_fd=parent)
            return
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644 if mode == 0o755 else mode, dir_fd=parent))  # noqa: PLR2004 - the default

    def _note(self, descriptor: int) -> None:
        real = self.real_path(descriptor)
        if not any(real.startswith(mounted.rstrip("/") + "/") for mounted in self._mounted):
            self.stubs.append(real)

    # -- mounts --------------------------------------------------------------------------------------------------

    def mount(self, mount: Mount) -> None:
        """Make one mount of a configuration."""
        destination = mount["destination"]
        kind = mount.get("type", "")
        options = mounting.Options(mount.get("options", []))
        try:
            if is_bind(mount):
                self.bind(mount["source"], destination, options)
            else:
                self._mount_new(kind, mount.get("source") or kind, destination, options)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise MountError(f"mount {kind or 'bind'} on {destination}: {reason}", error.errno or 0) from None

    def bind(self, source: str, destination: str, options: mounting.Options) -> None:
        """Show a file or directory of the host at ``destination``."""
        recursive = bool(options.flags & mounting.MS_REC)
        try:
            tree = mounting.open_tree(syscalls.AT_FDCWD, os.fsencode(source), recursive=recursive)
        except FileNotFoundError:
            raise MountError(f"bind source path does not exist: {source}", _ENOENT) from None
        try:
            self.attach_tree(tree, destination, options)
        finally:
            os.close(tree)

    def attach_tree(self, tree: int, destination: str, options: mounting.Options) -> None:
        """Set a detached mount's attributes and put it on ``destination``, which is made if it is missing."""
        propagation = options.propagation or [mounting.MS_PRIVATE | mounting.MS_REC]
        for change in propagation:
            mounting.set_attributes(
                tree, propagation=change & ~mounting.MS_REC, recursive=bool(change & mounting.MS_REC)
            )
        set_bits, clear_bits = mounting.attributes(options.flags)
        if set_bits:
            mounting.set_attributes(tree, set_bits, clear_bits)
        if options.recursive:
            mounting.set_attributes(tree, *mounting.attributes(options.recursive), recursive=True)
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = self.place(destination, directory=is_directory)
        try:
            mounting.attach(tree, target)
            self._mounted.append(self.real_path(target))
        finally:
            os.close(target)

    def _mount_new(self, kind: str, source: str, destination: str, options: mounting.Options) -> None:
        target = self.place(destination, directory=True)
        try:
            new_file_system(kind, source, b"/proc/self/fd/%d" % target, options)
            self._mounted.append(self.real_path(target))
        finally:
            os.close(target)
        for change in options.propagation:
            mounted = self.open(destination)
            mounting.set_attributes(
                mounted, propagation=change & ~mounting.MS_REC, recursive=bool(change & mounting.MS_REC)
            )
            os.close(mounted)

    # -- protections ---------------------------------------------------------------------------------------------

    def mask(self, paths: list[str], null: int) -> None:
        """Hide files behind /dev/null (its descriptor is ``null``) and directories behind an empty file system."""
        for path in paths:
            try:
                target = self.open(path)
            except OSError as error:
                if error.errno in {_ENOENT, _ENOTDIR}:
                    continue
                raise
            try:
                if stat.S_ISDIR(os.fstat(target).st_mode):
                    flags = mounting.MS_RDONLY | mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
                    mounting.mount(b"tmpfs", b"/proc/self/fd/%d" % target, b"tmpfs", flags, _MASK_OPTIONS)
                else:
                    tree = mounting.open_tree(null, b"")
                    mounting.attach(tree, target)
                    os.close(tree)
            finally:
                os.close(target)

    def protect(self, paths: list[str]) -> None:
        """Make paths read-only: a mount of its own on each, without write access."""
        for path in paths:
            try:
                target = self.open(path)
            except OSError as error:
                if error.errno in {_ENOENT, _ENOTDIR}:
                    continue
                raise
            tree = mounting.open_tree(target, b"", recursive=True)
            mounting.set_attributes(tree, mounting.MOUNT_ATTR_RDONLY, recursive=True)
            mounting.attach(tree, target)
            os.close(tree)
            os.close(target)

    def protect_mount(self, path: str) -> None:
        """Make the mount at ``path`` read-only, without those below it."""
        target = self.open(path)
        mounting.set_attributes(target, mounting.MOUNT_ATTR_RDONLY)
        os.close(target)

    # -- devices -------------------------------------------------------------------------------------------------

    def devices(self, wanted: list[Device], *, nodes: bool) -> None:
        """Make device nodes; bind the host's where nodes cannot be made (``nodes`` false, or EPERM)."""
        for device in wanted:
            path = device["path"]
            if nodes and self._make_node(device):
                continue
            self.bind(path, path, mounting.Options(["bind"]))

    def _make_node(self, device: Device) -> bool:
        kind = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[device.get("type", "c")]
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        parent_path, _, name = device["path"].rpartition("/")
        parent = self.place(parent_path or "/", directory=True)
        try:
            os.mknod(name, kind, number, dir_fd=parent)
            os.chmod(name, device.get("fileMode", 0o666), dir_fd=parent)
            if device.get("uid", 0) or device.get("gid", 0):
                os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            return self._is_node(parent, name, kind, number)
        except PermissionError:
            return False
        finally:
            os.close(parent)
        return True

    @staticmethod
    def _is_node(parent: int, name: str, kind: int, number: int) -> bool:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_IFMT(info.st_mode) == kind and info.st_rdev == number:
            return True
        os.unlink(name, dir_fd=parent)  # an image's file where a device belongs: the bind makes its own stub
        return False

    def links(self) -> None:
        """The links every container has; what an image has in their place stays."""
        directory = self.place("/dev", directory=True)
        try:
            for path, target in LINKS:
                name = path.rpartition("/")[2]
                try:
                    os.symlink(target, name, dir_fd=directory)
                except FileExistsError:
                    continue
        finally:
            os.close(directory)

    # -- kernel parameters ---------------------------------------------------------------------------------------

    def sysctl(self, values: dict[str, str]) -> None:
        """Set kernel parameters through the container's own /proc."""
        for key, value in values.items():
            try:
                file = self.open(f"/proc/sys/{sysctl_path(key)}", os.O_WRONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise MountError(f"sysctl {key}: this kernel has no such parameter", _ENOENT) from None
            try:
                os.write(file, value.encode())
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise MountError(f"sysctl {key}={value}: {reason}", error.errno or 0) from None
            finally:
                os.close(file)

    # -- the end -------------------------------------------------------------------------------------------------

    def enter(self, *, readonly: bool) -> None:
        """Make this tree the root of the mount namespace and let the old one go, pivot_root(2)."""
        if readonly:
            mounting.set_attributes(self.descriptor, mounting.MOUNT_ATTR_RDONLY)
        os.fchdir(self.descriptor)
        mounting.pivot_root(b".", b".")
        mounting.umount(b".", mounting.MNT_DETACH)
        os.chdir("/")
        os.close(self.descriptor)


def new_file_system(kind: str, source: str, target: bytes, options: mounting.Options) -> None:
    """mount(2), or the descriptor-based calls where the options are longer than a page."""
    data = os.fsencode(",".join(options.data))
    flags = options.flags & ~(mounting.MS_BIND | mounting.MS_REC)
    if len(data) < mounting.PAGE:
        try:
            mounting.mount(os.fsencode(source), target, kind.encode(), flags, data or None)
        except OSError as error:
            if kind != "devpts" or error.errno != _EINVAL or not any(o.startswith("gid=") for o in options.data):
                raise
            # with a single mapped id there is no group for terminals: devpts without gid= uses the caller's
            data = os.fsencode(",".join(option for option in options.data if not option.startswith("gid=")))
            mounting.mount(os.fsencode(source), target, b"devpts", flags, data or None)
        return
    tree = mounting.make(kind.encode(), os.fsencode(source), options.data, mounting.attributes(flags)[0])
    try:
        mounting.attach_at(tree, target)
    finally:
        os.close(tree)


def assemble(mountpoint: bytes, mounts: list[Mount]) -> Tree:
    """The root file system: ``mounts`` on ``mountpoint``, or that directory bound on itself where there are none.

    The mount a pivot_root needs is there in both cases.
    """
    rest = list(mounts)
    if rest and rest[0]["destination"] in {"/", ""} and not is_bind(rest[0]):
        first = rest.pop(0)
        kind = first.get("type", "")
        try:
            new_file_system(kind, first.get("source") or kind, mountpoint, mounting.Options(first.get("options", [])))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise MountError(f"mount {kind} as the root file system: {reason}", error.errno or 0) from None
    else:
        first_bind = rest.pop(0) if rest and rest[0]["destination"] in {"/", ""} else None
        _bind_root(mountpoint, first_bind)
    tree = Tree(mountpoint)
    for mount in rest:
        tree.mount(mount)
    tree.stubs.clear()  # what these needed belongs to the root file system itself
    return tree


def _bind_root(mountpoint: bytes, mount: Mount | None) -> None:
    source = os.fsencode(mount["source"]) if mount else mountpoint
    options = mounting.Options(mount.get("options", []) if mount else [])
    try:
        tree = mounting.open_tree(syscalls.AT_FDCWD, source, recursive=True)
    except FileNotFoundError:
        raise MountError(f"the root file system {os.fsdecode(source)} does not exist", _ENOENT) from None
    try:
        set_bits, clear_bits = mounting.attributes(options.flags)
        mounting.set_attributes(tree, set_bits, clear_bits, propagation=mounting.MS_PRIVATE)
        mounting.attach_at(tree, mountpoint)
    finally:
        os.close(tree)
