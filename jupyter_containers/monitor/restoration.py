"""A container whose processes come from another store as they were: CRIU makes them where a Launch would clone.

CRIU runs in a mount namespace of its own, in which everything that is not part of the state is mounted as a start
would: the root file system, volumes and binds, the small files. It runs in the container's cgroups, and what it makes
becomes a child of the monitor (``--restore-sibling``) and a container like any other.

Sources: criu(8); mount_namespaces(7).
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair
from errno import EIO

from jupyter_containers.linux import cgroups, netlink, syscalls
from jupyter_containers.linux import mount as mounting
from jupyter_containers.monitor.books import remove
from jupyter_containers.runtime import credentials, criu, plan, rootfs
from jupyter_containers.runtime.process_start import read_text
from jupyter_containers.runtime.wire import close_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.monitor.job import Job
    from jupyter_containers.runtime.plan import Namespaces

_SIGKILL = 9
_STREAMS = ("stdin", "stdout", "stderr")
_NET = ("net.", "net/")


class RestorationError(OSError):
    """It could not be done; ``what`` is that of a Failure."""

    what = "failed"

    def __init__(self, detail: str) -> None:
        super().__init__(EIO, detail)


class Restoration:
    """One start from a state; takes the place of a Launch.

    Parameters
    ----------
    request
        A LaunchRequest with ``restore``.
    namespaces
        The container's.
    mountpoint
        Where the root file system is mounted, for CRIU to see.
    """

    def __init__(self, request: dict[str, Any], namespaces: Namespaces, mountpoint: bytes) -> None:
        self.step = "restore"
        self._request = request
        self._restore: dict[str, Any] = request["restore"]
        self._namespaces = namespaces
        self._mountpoint = mountpoint
        self._pid_file = f"{request['run_dir']}/restored"

    def begin(self, job: Job, stdio: list[int], connect: Callable[[list[bytes]], object]) -> int:
        """Have its processes made and go on; the network namespace they are in, or -1 for the host's.

        Raises
        ------
        OSError
            Also as RestorationError, with what CRIU said.
        """
        network = -1
        try:
            network = self._make_network(connect)
            self.step = "restore"
            pid = self._run(stdio, network)
        except BaseException:
            close_all([network])
            raise
        finally:
            close_all(stdio)
        near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        job.began(pid, os.pidfd_open(pid), near, lambda: None)
        send(far, {"kind": "mounted", "stubs": []})
        far.close()
        job.go()
        return network

    # -- the network ---------------------------------------------------------------------------------------------

    def _make_network(self, connect: Callable[[list[bytes]], object]) -> int:
        """A network namespace with the container's interfaces, which nobody is in yet."""
        self.step = "network"
        if not self._namespaces.creates("network"):
            return -1
        near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        pid, pidfd = syscalls.clone(syscalls.CLONE_NEWNET)
        if pid == 0:
            near.close()
            self._exit_after(lambda: self._set_up(far), far)
        far.close()
        os.close(pidfd)
        network = -1
        try:
            network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            for interface in self._request.get("interfaces") or []:
                connect([netlink.patch(data, offset, pid) for data, offset in interface["host"]])
            send(near, {"kind": "go"})
            told, _ = receive(near)
        except BaseException:
            close_all([network])
            raise
        finally:
            near.close()
            os.waitpid(pid, 0)
        if told is None or told["kind"] != "done":
            os.close(network)
            raise RestorationError(told["detail"] if told else "the network cannot be set up")
        return network

    def _set_up(self, channel: Any) -> None:
        netlink.transact([netlink.loopback_up()])
        if receive(channel)[0] is None:
            return
        netlink.transact([batch for each in self._request.get("interfaces") or [] for batch in each["inside"]])
        wanted: dict[str, str] = self._request["spec"]["linux"].get("sysctl", {})
        host = rootfs.Tree(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        host.sysctl({key: value for key, value in wanted.items() if key.startswith(_NET)})
        send(channel, {"kind": "done"})

    # -- the processes -------------------------------------------------------------------------------------------

    def _run(self, stdio: list[int], network: int) -> int:
        """Run CRIU; the pid of the container's first process."""
        cgroup = self._request.get("cgroup")
        unified, tasks = -1, []
        if cgroup:
            self.step = "cgroup"
            cgroups.create(cgroup)
            unified, tasks = cgroups.open_unified(cgroup), cgroups.open_tasks(cgroup)
        self.step = "restore"
        remove(self._pid_file)
        near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            child, pidfd = syscalls.clone(0, cgroup=unified)
            if child == 0:
                near.close()
                self._exit_after(lambda: self._become(tasks, stdio, network), far)
        finally:
            close_all([unified, *tasks])
            far.close()
        os.close(pidfd)
        told, _ = receive(near)
        near.close()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if told is not None:
            raise RestorationError(told["detail"])
        if status:
            log = read_text(f"{self._restore['directory']}/{criu.LOG}")
            raise RestorationError(f"criu: {criu.problem(log)}")
        pid = int(read_text(self._pid_file))
        remove(self._pid_file)
        return pid

    def _become(self, tasks: list[int], stdio: list[int], network: int) -> None:
        """Mount what the state leaves out, and execute CRIU."""
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
        credentials.leave_keyring()
        cgroups.enter(tasks)
        own = syscalls.CLONE_NEWCGROUP if self._namespaces.creates("cgroup") else 0
        syscalls.unshare(syscalls.CLONE_NEWNS | own)
        mounting.mount(None, b"/", None, mounting.MS_PRIVATE | mounting.MS_REC)
        self._mount()
        arguments = [
            *("restore", "--images-dir", self._restore["directory"], "--root", os.fsdecode(self._mountpoint)),
            *("--restore-detached", "--restore-sibling", "--pidfile", self._pid_file, *criu.COMMON),
        ]
        for place, kind in self._restore["mounts"].items():
            arguments += ["--external", f"mnt[{place}]:{self._source(place, kind)}"]
        names = [(stdio[_STREAMS.index(stream)], name) for stream, name in self._restore["streams"].items()]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        names += [(null, name) for name in self._restore["null"]]
        if network >= 0:
            names.append((network, criu.NETWORK))
        for descriptor, name in names:
            copy = os.dup(descriptor)
            os.set_inheritable(copy, True)
            arguments += ["--inherit-fd", f"fd[{copy}]:{name}"]
        for number in (0, 1, 2):
            os.dup2(null, number, inheritable=True)
        os.execve(self._restore["program"], [self._restore["program"], *arguments], os.environ)  # noqa: S606 - no shell

    def _mount(self) -> None:
        """The root file system, and in it the mounts of the specification and the files of the engine."""
        outside: dict[str, str] = self._restore["mounts"]
        spec = self._request["spec"]
        tree = rootfs.assemble(self._mountpoint, self._request.get("rootfs") or [])
        if plan.sources(spec, user=False, root=True):
            raise RestorationError("mounts with an id map or shared propagation cannot be restored")
        for mount in spec.get("mounts", []):
            if outside.get(mount["destination"]) == criu.MOUNT:
                tree.mount(mount)
        files = [(place, data) for place, data in (self._request.get("files") or {}).items() if place in outside]
        if not files:
            return
        stage = mounting.make(b"tmpfs", b"stage", ["mode=755"])
        mounting.attach_at(stage, b"/")  # which hides nothing
        for number, (place, data) in enumerate(files):
            file = os.open(f"{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=stage)
            os.write(file, data)
            os.close(file)
            copy = mounting.open_tree(stage, b"%d" % number)
            tree.attach_tree(copy, place, mounting.Options([]))
            os.close(copy)
        mounting.umount(b"/proc/self/fd/%d" % stage, mounting.MNT_DETACH)
        os.close(stage)

    def _source(self, place: str, kind: str) -> str:
        """Where what is mounted there is found in CRIU's mount namespace."""
        if kind == criu.NULL:
            return "/dev/null"
        cgroup = self._request.get("cgroup")
        if kind == criu.CGROUP and cgroup:
            return str(cgroup["dirs"].get(os.path.basename(place)) or cgroup["unified"])
        return f"{os.fsdecode(self._mountpoint)}{place}"

    @staticmethod
    def _exit_after(function: Callable[[], object], channel: Any) -> None:
        """Run a child's function and end; what goes wrong is told."""
        status = 1
        try:
            function()
            status = 0
        except OSError as error:
            name = f": {error.filename}" if isinstance(error.filename, str) else ""
            send(channel, {"kind": "failed", "detail": f"{error.strerror}{name}"})
        except rootfs.MountError as error:
            send(channel, {"kind": "failed", "detail": str(error)})
        finally:
            os._exit(status)
