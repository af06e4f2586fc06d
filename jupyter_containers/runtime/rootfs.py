"""Make a container's file tree: the root, the mounts in it, devices, masks, and the change of root.

Every place in the tree is looked up by openat2(2) with RESOLVE_IN_ROOT, so a symbolic link in an image or a volume
cannot lead out of it, and every mount is made on the descriptor found that way, so nothing can be swapped in between.
"""

from __future__ import annotations

import os
import stat

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime.plan import is_bind, sysctl_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Mount

_EPERM, _ENOENT, _EEXIST, _EAGAIN, _EINVAL, _ELOOP, _ENOTDIR = 1, 2, 17, 11, 22, 40, 20
_MOST_LINKS = 40
_TRIES = 50
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_KERNELS = ("proc", "sysfs")
_MASK_OPTIONS = b"size=0,mode=000"


class MountError(Exception):
    """A mount cannot be made; the text says which and why."""

    def __init__(self, detail: str, errno: int = 0) -> None:
        super().__init__(detail)
        self.errno = errno


class Tree:
    """A file tree while it is being put together, by the descriptor of its top, which it takes over.

    Attributes
    ----------
    stubs
        Paths, relative to the root with a leading slash, that had to be made in the root file system itself so that
        something could be mounted on them; parents before children.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
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

    def mount(self, mount: Mount, tree: int = -1) -> None:
        """Make one mount of a configuration; ``tree``: its source, where the starter had to open it."""
        destination = mount["destination"]
        kind = mount.get("type", "")
        options = mounting.Options(mount.get("options", []))
        try:
            if tree >= 0:
                self.attach_tree(tree, destination, options)
            elif options.flags & mounting.MS_REMOUNT:
                self._remount(destination, options)
            elif is_bind(mount):
                self.bind(mount["source"], destination, options, mount.get("subpath", ""))
            else:
                self._mount_new(kind, mount.get("source") or kind, destination, options)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise MountError(f"mount {kind or 'bind'} on {destination}: {reason}", error.errno or 0) from None

    def bind(self, source: str, destination: str, options: mounting.Options, subpath: str = "") -> None:
        """Show a file or directory of the host, or what is below it at ``subpath``, at ``destination``."""
        recursive = bool(options.flags & mounting.MS_REC)
        try:
            tree = mounting.open_source(os.fsencode(source), os.fsencode(subpath), recursive=recursive)
        except FileNotFoundError:
            place = f"{source}: {subpath}" if subpath else source
            raise MountError(f"bind source path does not exist: {place}", _ENOENT) from None
        except OSError as error:
            if error.errno != _EINVAL or not source.startswith("/proc/"):
                raise
            from jupyter_containers.runtime.visit import open_in_container  # noqa: PLC0415 - rarely asked for

            tree = open_in_container(source, recursive=recursive)
        try:
            self.attach_tree(tree, destination, options)
        finally:
            os.close(tree)

    def attach_tree(self, tree: int, destination: str, options: mounting.Options, *, kernels: bool = False) -> None:
        """Set a detached mount's attributes and put it on ``destination``, which is made if it is missing.

        ``kernels``: it is procfs or sysfs, or has one in it.
        """
        if not options.propagation:
            mounting.set_attributes(tree, propagation=mounting.MS_PRIVATE, recursive=True)
        self._attributes(tree, options)
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = self.place(destination, directory=is_directory)
        try:
            if kernels:
                self._require_plain(target, destination)
            if stat.S_ISDIR(os.fstat(target).st_mode) != is_directory:
                kinds = ("a directory", "a file") if is_directory else ("a file", "a directory")
                raise MountError(f"mount on {destination}: the source is {kinds[0]} and the place {kinds[1]}", _ENOTDIR)
            mounting.attach(tree, target)
            self._remember(target)
        finally:
            os.close(target)

    def _remember(self, target: int) -> None:
        """What is made below this place from now on is no part of the root file system."""
        self._mounted.append(self.real_path(target))

    def _require_plain(self, target: int, destination: str) -> None:
        """Refuse procfs and sysfs behind a symbolic link of the image.

        Whoever can change the link later decides what programs find in the place of what is masked.
        """
        real, wanted = self.real_path(target), "/" + destination.strip("/")
        if real != wanted:
            raise MountError(f"mount on {destination}: a symbolic link of the image leads to {real} instead", _ELOOP)

    @staticmethod
    def _attributes(mounted: int, options: mounting.Options) -> None:
        """Give a mount the propagation and attributes of its options.

        What an outer user namespace has locked on a mount (read-only, no set-user-id ...) stays, also where the options
        would take it away.
        """
        for change in options.propagation:
            kind, below = change & ~mounting.MS_REC, bool(change & mounting.MS_REC)
            mounting.set_attributes(mounted, propagation=kind, recursive=below)
        for flags, cleared, below in (
            (options.flags, options.cleared, False),
            (options.recursive, options.recursive_cleared, True),
        ):
            set_bits, clear_bits = mounting.attributes(flags, cleared)
            if not set_bits | clear_bits:
                continue
            try:
                mounting.set_attributes(mounted, set_bits, clear_bits, recursive=below)
            except PermissionError:
                keep = mounting.attributes(flags)
                if keep == (set_bits, clear_bits):
                    raise
                mounting.set_attributes(mounted, *keep, recursive=below)

    def _remount(self, destination: str, options: mounting.Options) -> None:
        """Change a mount that is there: its own attributes with ``bind``, else those of its file system."""
        mounted = self.open(destination)
        try:
            if options.flags & mounting.MS_BIND:
                self._attributes(mounted, options)
                return
            data = os.fsencode(",".join(options.data))
            flags = options.flags & ~mounting.MS_REC
            mounting.mount(None, b"/proc/self/fd/%d" % mounted, None, flags, data or None)
        finally:
            os.close(mounted)

    def _mount_new(self, kind: str, source: str, destination: str, options: mounting.Options) -> None:
        target = self.place(destination, directory=True)
        try:
            if kind in _KERNELS:
                self._require_plain(target, destination)
            if "tmpcopyup" in options.own:
                from jupyter_containers.runtime.copyup import mount_copy  # noqa: PLC0415 - rarely asked for

                mount_copy(source, target, options)
            else:
                new_file_system(kind, source, b"/proc/self/fd/%d" % target, options)
            self._remember(target)
        finally:
            os.close(target)
        if options.propagation or options.recursive or options.recursive_cleared:
            mounted = self.open(destination)
            try:
                self._attributes(mounted, options)
            finally:
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

    # -- kernel parameters ---------------------------------------------------------------------------------------

    def sysctl(self, values: dict[str, str]) -> None:
        """Set kernel parameters through the container's own /proc."""
        for key, value in values.items():
            try:
                file = self.open(f"/proc/sys/{sysctl_path(key)}", os.O_WRONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise MountError(f"sysctl {key}: this kernel has no such parameter", _ENOENT) from None
            try:
                if syscalls.file_system_type(file) != syscalls.PROC_SUPER_MAGIC:
                    raise MountError(f"sysctl {key}: /proc/sys of the container is not the kernel's", _EINVAL)
                os.write(file, value.encode())
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise MountError(f"sysctl {key}={value}: {reason}", error.errno or 0) from None
            finally:
                os.close(file)

    # -- the end -------------------------------------------------------------------------------------------------

    def enter(self, *, readonly: bool, propagation: int = 0) -> None:
        """Make this tree the root of the mount namespace and let the old one go, pivot_root(2).

        ``propagation`` is that of the root mount afterwards: a shared one could not be pivoted to.
        """
        if readonly:
            mounting.set_attributes(self.descriptor, mounting.MOUNT_ATTR_RDONLY)
        os.fchdir(self.descriptor)
        mounting.pivot_root(b".", b".")
        mounting.umount(b".", mounting.MNT_DETACH)
        if propagation:
            kind, below = propagation & ~mounting.MS_REC, bool(propagation & mounting.MS_REC)
            mounting.set_attributes(self.descriptor, propagation=kind, recursive=below)
        os.chdir("/")
        os.close(self.descriptor)


class Stage(Tree):
    """A tree of our own making: it has no links, and what is made in it concerns nobody."""

    def _note(self, descriptor: int) -> None:
        """See the class."""

    def _remember(self, target: int) -> None:
        """See the class."""

    def _require_plain(self, target: int, destination: str) -> None:
        """See the class."""


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


def assemble(mountpoint: bytes, mounts: list[Mount], tree: int = -1, *, private: bool = True) -> Tree:
    """The root file system: ``mounts`` on ``mountpoint``, or that directory bound on itself where there are none.

    The mount a pivot_root needs is there in both cases.

    Parameters
    ----------
    mountpoint
        A directory of the host.
    mounts
        The first one is the root if its destination is ``/``; the others are made in it.
    tree
        The directory bound, where the starter had to open it: its path may be out of reach here, so it is put over the
        present root.
    private
        Whether the root is to be kept from the host's mount events.
    """
    rest = list(mounts)
    if tree < 0 and rest and rest[0]["destination"] in {"/", ""} and not is_bind(rest[0]):
        first = rest.pop(0)
        kind = first.get("type", "")
        try:
            new_file_system(kind, first.get("source") or kind, mountpoint, mounting.Options(first.get("options", [])))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise MountError(f"mount {kind} as the root file system: {reason}", error.errno or 0) from None
    else:
        first_bind = rest.pop(0) if rest and rest[0]["destination"] in {"/", ""} else None
        _bind_root(mountpoint, first_bind, tree, private=private)
    root = Tree(os.dup(tree) if tree >= 0 else os.open(mountpoint, _DIRECTORY | os.O_CLOEXEC))
    for mount in rest:
        root.mount(mount)
    root.stubs.clear()  # what these needed belongs to the root file system itself
    return root


def _bind_root(mountpoint: bytes, mount: Mount | None, tree: int, *, private: bool) -> None:
    source = os.fsencode(mount["source"]) if mount else mountpoint
    options = mounting.Options(mount.get("options", []) if mount else [])
    opened, place = -1, mountpoint if tree < 0 else b"/"
    if tree < 0:
        try:
            tree = opened = mounting.open_tree(syscalls.AT_FDCWD, source, recursive=True)
        except FileNotFoundError:
            raise MountError(f"the root file system {os.fsdecode(source)} does not exist", _ENOENT) from None
    try:
        set_bits, clear_bits = mounting.attributes(options.flags)
        mounting.set_attributes(tree, set_bits, clear_bits, propagation=mounting.MS_PRIVATE if private else 0)
        mounting.attach_at(tree, place)
    finally:
        if opened >= 0:
            os.close(opened)
