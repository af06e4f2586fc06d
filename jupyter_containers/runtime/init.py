"""The first process of a container: from a fresh clone to the container's program.

The steps, in this order, each with its method: bind to the monitor and wait for it, join namespaces, cut mount
propagation, assemble the root file system, mounts, devices, terminal, network, kernel parameters, protections, enter
the root, host name, limits, user, working directory, standard descriptors, become the user, announce, restrict,
execute.
"""

from __future__ import annotations

import os

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import namespaces as ns
from jupyter_containers.linux import netlink, syscalls
from jupyter_containers.runtime import credentials, plan, rootfs
from jupyter_containers.runtime.process_start import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any, NoReturn

    from jupyter_containers.oci.runtime_spec import Mount

_PROPAGATIONS = {"": "rslave", "private": "rprivate", "slave": "rslave", "shared": "rshared"}
_EPERM = 1


class Init(Start):
    """The start of a container.

    Parameters
    ----------
    request
        A LaunchRequest.
    namespaces
        Its namespaces, as :func:`plan.validate` sorted them.
    stdio
        Three descriptors above 2.
    sync
        The socket to the monitor.
    mountpoint
        A directory on which the root file system is mounted.
    """

    def __init__(
        self,
        request: dict[str, Any],
        namespaces: plan.Namespaces,
        stdio: list[int],
        sync: socket,
        mountpoint: bytes,
    ) -> None:
        spec = request["spec"]
        super().__init__(request, spec["process"], stdio, sync)
        self.spec = spec
        self.linux: dict[str, Any] = spec.get("linux", {})
        self.namespaces = namespaces
        self.mountpoint = mountpoint
        self.tree: rootfs.Tree

    def start(self) -> NoReturn:
        """Do all steps."""
        self.run(
            [
                self.bind_to_parent,
                self.join_namespaces,
                self.mount_propagation,
                self.root_file_system,
                self.mounts,
                self.devices,
                self.terminal,
                self.network,
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
                self.announce,
                self.restrict,
                self.execute,
            ]
        )

    def join_namespaces(self) -> None:
        """Join those given by path, and make the cgroup namespace now that this process is in its cgroup."""
        descriptors = [
            (kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC)) for kind, path in self.namespaces.join if kind != "pid"
        ]
        for kind, descriptor in descriptors:
            syscalls.setns(descriptor, ns.FLAGS[kind])
            os.close(descriptor)
        if self.namespaces.late:
            syscalls.unshare(self.namespaces.late)
        if self.namespaces.has("user"):
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        self.setgroups = credentials.may_setgroups()

    def mount_propagation(self) -> None:
        """Nothing mounted here may show outside; what is mounted outside later shows here unless asked otherwise."""
        name = self.linux.get("rootfsPropagation", "").removeprefix("r")
        option = mounting.Options([_PROPAGATIONS.get(name, "rslave")])
        mounting.mount(None, b"/", None, mounting.MS_SLAVE | mounting.MS_REC)
        if option.propagation[0] != mounting.MS_SLAVE | mounting.MS_REC:
            mounting.mount(None, b"/", None, option.propagation[0])

    def root_file_system(self) -> None:
        """The root, and the host's null device for masks while it can still be reached."""
        self.null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
        self.tree = rootfs.assemble(self.mountpoint, self.request.get("rootfs") or [])

    def mounts(self) -> None:
        """Everything in ``mounts``, in the order given."""
        for mount in self.spec.get("mounts", []):
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
        cgroup = self.request.get("cgroup")
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
        nodes = not self.namespaces.has("user")
        self.tree.devices(plan.devices(self.spec), nodes=nodes)
        self.tree.links()

    def terminal(self) -> None:
        """A terminal of the container's own, which is also its /dev/console."""
        if not self.process.get("terminal"):
            return
        slave = self.open_terminal(self.tree.open)
        console = mounting.open_tree(slave, b"")
        self.tree.attach_tree(console, "/dev/console", mounting.Options(["bind"]))
        os.close(console)

    def network(self) -> None:
        """Loopback, and this side of the interfaces."""
        if not self.namespaces.creates("network"):
            return
        batches = [netlink.loopback_up()]
        for interface in self.request.get("interfaces") or []:
            batches += interface["inside"]
        netlink.transact(batches)

    def sysctls(self) -> None:
        """Kernel parameters of the container's namespaces."""
        self.tree.sysctl(self.linux.get("sysctl", {}))

    def protections(self) -> None:
        """Read-only and masked paths."""
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
        self.tree.enter(readonly=self.spec.get("root", {}).get("readonly", False))

    def host_name(self) -> None:
        """Host and domain name."""
        if self.spec.get("hostname"):
            syscalls.sethostname(os.fsencode(self.spec["hostname"]))
        if self.spec.get("domainname"):
            syscalls.setdomainname(os.fsencode(self.spec["domainname"]))
