"""The first process of a container: from a fresh clone to the container's program.

The steps, in this order, each with its method. What does not depend on the request (``ahead.py``): bind to the starter,
enter the cgroups, wait for the starter, join namespaces, cut mount propagation, stage the kernel's file systems,
loopback. Then wait for the request: assemble the root file system, put what was staged there, mounts, files, devices,
terminal, gate, interfaces, kernel parameters, protections, enter the root, host name, limits, user, working directory,
standard descriptors, become the user, announce, restrict, execute.
"""

from __future__ import annotations

import os

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import namespaces as ns
from jupyter_containers.linux import netlink, syscalls
from jupyter_containers.runtime import credentials, devices, plan, rootfs
from jupyter_containers.runtime.process_start import OrphanedError, Start
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, NoReturn

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import Linux, Mount
    from jupyter_containers.runtime.ahead import Ahead

_EPERM, _EINVAL = 1, 22
_STAGE_OPTIONS = ["mode=755"]


class Init(Start):
    """The start of a container.

    Parameters
    ----------
    ahead
        What is done before there is a request.
    namespaces
        Its namespaces, as :class:`plan.Namespaces` sorted them.
    cgroup
        The cgroups this process is put into, or None.
    sync
        The socket to the starter.
    """

    def __init__(self, ahead: Ahead, namespaces: plan.Namespaces, cgroup: CgroupPlan | None, sync: socket) -> None:
        super().__init__({}, {}, [], sync)
        self.ahead = ahead
        self.namespaces = namespaces
        self.cgroup = cgroup
        self.spec: Any = {}
        self.linux: Linux = {}
        self.mountpoint = b""
        self.gated = False
        self.sources: dict[int, int] = {}
        self.staged: list[tuple[str, int]] = []
        self.files: dict[str, tuple[int, int]] = {}
        self.tree: rootfs.Tree

    def start(self) -> NoReturn:
        """Do all steps."""
        self.run([*self.first_steps(), self.await_request, *self.steps()])

    def first_steps(self) -> list[Callable[[], None]]:
        """What needs no request."""
        return [
            self.bind_to_parent,
            self.enter_cgroups,
            self.await_permission,
            self.join_namespaces,
            self.mount_propagation,
            self.stage,
            self.loopback,
        ]

    def steps(self) -> list[Callable[[], None]]:
        """What a request is needed for."""
        return [
            self.root_file_system,
            self.put_staged,
            self.mounts,
            self.write_files,
            self.devices,
            self.terminal,
            self.gate,
            self.interfaces,
            self.sysctls,
            self.protections,
            self.oom_score,
            self.enter_root,
            self.host_name,
            self.limits,
            self.lookup_user,
            self.working_directory,
            self.connect_stdio,
            self.become,
            self.listen,
            self.announce,
            self.restrict,
            self.execute,
        ]

    # -- before there is a request -------------------------------------------------------------------------------

    def join_namespaces(self) -> None:
        """Join those given by path, and make the cgroup namespace now that this process is in its cgroup.

        With a user namespace the starter has had this process born in the others (``visit.py``).
        """
        if not self.namespaces.has("user"):
            for kind, path in self.namespaces.join:
                if kind != "pid":
                    join(kind, path)
        if self.namespaces.late:
            syscalls.unshare(self.namespaces.late)
        if self.namespaces.has("user"):
            credentials.be_somebody()
        self.setgroups = credentials.may_setgroups()

    def mount_propagation(self) -> None:
        """Nothing mounted here may show outside; what is mounted outside later shows here unless asked otherwise."""
        mounting.mount(None, b"/", None, mounting.MS_SLAVE | mounting.MS_REC)

    def stage(self) -> None:
        """Mount the kernel's file systems where nobody sees them, and keep them by descriptors, mounted nowhere.

        The stage covers the root directory, which hides nothing: paths begin below what is mounted there.
        """
        self.null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
        ahead = self.ahead
        if not ahead["mounts"] and not ahead["files"]:
            return
        stage = mounting.make(b"tmpfs", b"stage", _STAGE_OPTIONS)
        mounting.attach_at(stage, b"/")
        self.tree = rootfs.Stage(stage)
        for mount in ahead["mounts"]:
            self._mount(mount)
        if ahead["devices"]:
            devices.make(self.tree, ahead["devices"], nodes=not self.namespaces.has("user"))
            devices.link(self.tree)
        self.tree.sysctl(ahead["sysctl"])
        self.tree.protect(ahead["readonly"])
        self.tree.mask(ahead["masked"], self.null)
        for place in ahead["tops"]:
            self.staged.append((place, self._lift(place)))
        for number, place in enumerate(ahead["files"]):
            file = self.tree.open(f"/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            self.files[place] = file, self._lift(f"/{number}")
        mounting.umount(b"/proc/self/fd/%d" % stage, mounting.MNT_DETACH)
        os.close(stage)

    def _lift(self, path: str) -> int:
        """A copy of what is mounted at a path of the stage, with all below it, mounted nowhere."""
        descriptor = self.tree.open(path)
        try:
            return mounting.open_tree(descriptor, b"", recursive=True)
        finally:
            os.close(descriptor)

    def loopback(self) -> None:
        """Bring up the loopback interface."""
        if self.namespaces.creates("network"):
            netlink.transact([netlink.loopback_up()])

    def await_request(self) -> None:
        """Wait until somebody wants a container of this kind."""
        if self.permission.get("answer"):
            send(self.sync, {"kind": "ready"})
        message, self.stdio = receive(self.sync)
        if message is None:
            raise OrphanedError
        self.request = message["request"]
        self.spec = self.request["spec"]
        self.linux = self.spec.get("linux", {})
        self.process = self.spec["process"]
        self.mountpoint = message["mountpoint"]
        self.gated = message["gate"]
        numbers = message["sources"]
        while len(self.sources) < len(numbers):
            more, descriptors = receive(self.sync)
            if more is None:
                raise OrphanedError
            self.sources.update(zip(numbers[len(self.sources) :], descriptors, strict=False))

    # -- for the request -----------------------------------------------------------------------------------------

    def root_file_system(self) -> None:
        """The root."""
        self.reach_labels()
        follows = plan.rootfs_propagation(self.linux).removeprefix("r") in {"slave", "shared"}
        tree = self.sources.get(plan.ROOT, -1)
        self.tree = rootfs.assemble(self.mountpoint, self.request.get("rootfs") or [], tree, private=not follows)

    def put_staged(self) -> None:
        """What was staged, to its place."""
        for place, tree in self.staged:
            self.tree.attach_tree(tree, place, mounting.Options([]), kernels=place in {"/proc", "/sys"})
            os.close(tree)

    def mounts(self) -> None:
        """What is not staged of ``mounts``, in the order given."""
        for number, mount in enumerate(self.spec.get("mounts", [])):
            if number in self.sources:
                self.tree.mount(mount, self.sources[number])
            elif number >= len(self.ahead["mounts"]):
                self._mount(self._labelled(mount))

    def _labelled(self, mount: Mount) -> Mount:
        label = self.linux.get("mountLabel")
        if not label:
            return mount
        from jupyter_containers.runtime.attributes import labelled  # noqa: PLC0415 - a rare field

        return labelled(mount, label)

    def write_files(self) -> None:
        """The files that the engine writes for the container, which are no part of its root file system."""
        for place, data in (self.request.get("files") or {}).items():
            file, tree = self.files[place]
            os.write(file, data)
            self.tree.attach_tree(tree, place, mounting.Options([]))
            os.close(tree)
            os.close(file)

    def _mount(self, mount: Mount) -> None:
        kind = mount.get("type", "")
        if kind in {"cgroup", "cgroup2"}:
            self._cgroup(mount)
        elif kind in {"sysfs", "mqueue"}:
            self._kernel_view(mount, kind)
        else:
            self.tree.mount(mount)

    def _kernel_view(self, mount: Mount, kind: str) -> None:
        """Sysfs and mqueue belong to a namespace; where that is the host's, a user namespace may only bind them."""
        owner = {"sysfs": "network", "mqueue": "ipc"}[kind]
        try:
            self.tree.mount(mount)
        except rootfs.MountError as error:
            if error.errno != _EPERM or self.namespaces.creates(owner):
                raise
            destination = mount["destination"]
            source = {"sysfs": "/sys", "mqueue": "/dev/mqueue"}[kind]
            options = ["rbind", *(option for option in mount.get("options", []) if option != "ro")]
            if "ro" in mount.get("options", []):
                options.append("rro")
            self.tree.bind(source, destination, mounting.Options(options))

    def _cgroup(self, mount: Mount) -> None:
        """The container's own cgroups: one file system with version 2, a directory per controller with version 1."""
        cgroup = self.cgroup
        if not cgroup:
            return
        destination = mount["destination"]
        options = mount.get("options", [])
        if not cgroup["dirs"]:
            self._cgroup2(mount, cgroup["unified"])
            return
        # what is below a read-only mount is put there before it becomes read-only
        flags = [option for option in options if option != "ro"]
        self.tree.mount(
            {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": [*flags, "mode=755"]}
        )
        for controller, directory in cgroup["dirs"].items():
            self.tree.bind(directory, f"{destination}/{controller}", mounting.Options(["bind", *options]))
        if "ro" in options:
            self.tree.protect_mount(destination)

    def _cgroup2(self, mount: Mount, directory: str) -> None:
        if self.namespaces.creates("cgroup"):
            self.tree.mount({**mount, "type": "cgroup2", "source": "cgroup"})
        else:
            self.tree.bind(directory, mount["destination"], mounting.Options(["bind", *mount.get("options", [])]))

    def devices(self) -> None:
        """Device nodes, and the links every container has in /dev."""
        if not self.ahead["devices"]:
            devices.make(self.tree, plan.devices(self.spec), nodes=not self.namespaces.has("user"))
            devices.link(self.tree)

    def terminal(self) -> None:
        """A terminal of the container's own, which is also its /dev/console."""
        if not self.process.get("terminal"):
            return
        slave = self.open_terminal(self.tree.open)
        console = mounting.open_tree(slave, b"")
        self.tree.attach_tree(console, "/dev/console", mounting.Options(["bind"]))
        os.close(console)

    def gate(self) -> None:
        """Wait until the starter has done its part: limits, the outer ends of interfaces."""
        if self.gated and receive(self.sync)[0] is None:
            raise OrphanedError

    def interfaces(self) -> None:
        """The inner ends of the interfaces."""
        if self.namespaces.creates("network"):
            netlink.transact([batch for each in self.request.get("interfaces") or [] for batch in each["inside"]])

    def sysctls(self) -> None:
        """Kernel parameters of the container's namespaces."""
        if not self.ahead["sysctl"]:
            self.tree.sysctl(self.linux.get("sysctl", {}))

    def protections(self) -> None:
        """Read-only and masked paths."""
        if not self.ahead["readonly"] and not self.ahead["masked"]:
            self.tree.protect(self.linux.get("readonlyPaths", []))
            self.tree.mask(self.linux.get("maskedPaths", []), self.null)

    def oom_score(self) -> None:
        """How soon the kernel takes this process when memory runs out."""
        score = self.process.get("oomScoreAdj")
        if score is not None:
            ns.write_file("/proc/self/oom_score_adj", b"%d" % score)

    def enter_root(self) -> None:
        """Change the root; the host's file tree is gone after this."""
        self.stubs = self.tree.stubs
        name = plan.rootfs_propagation(self.linux)
        propagation = mounting.Options([name]).propagation[0] if name else 0
        self.tree.enter(readonly=self.spec.get("root", {}).get("readonly", False), propagation=propagation)

    def host_name(self) -> None:
        """Host and domain name."""
        if self.spec.get("hostname"):
            syscalls.sethostname(os.fsencode(self.spec["hostname"]))
        if self.spec.get("domainname"):
            syscalls.setdomainname(os.fsencode(self.spec["domainname"]))

    def limits(self) -> None:
        """Resource limits, and what is rarely asked for: execution domain, memory policy."""
        super().limits()
        if not plan.RARE_LINUX.isdisjoint(self.linux):
            from jupyter_containers.runtime.attributes import apply_linux  # noqa: PLC0415 - rare fields

            apply_linux(self.linux)


def join(kind: str, path: str) -> None:
    """Join a namespace by its path. Raises :exc:`OSError`, EINVAL for a path of no namespace of this type."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, ns.FLAGS[kind])
    except OSError as error:
        if error.errno == _EINVAL:
            raise OSError(_EINVAL, f"linux.namespaces: {path} is not a {kind} namespace that can be joined") from None
        raise
    finally:
        os.close(descriptor)
