"""Containers that another OCI runtime makes (crun, runc): its command line is driven where a Launch would clone.

The monitor mounts the root file system in a mount namespace of its own, writes the bundle, and as the subreaper becomes
the parent of the process that ``create`` leaves behind. From then on it is a container like any other: its signals,
its streams, what is executed in it and its end are the monitor's affair. ``delete`` follows its end.

Sources: OCI runtime specification, bundle.md and runtime.md; the command line of runc.
"""

from __future__ import annotations

import os
import shutil
from _socket import AF_UNIX, CMSG_LEN, MSG_CMSG_CLOEXEC, SOCK_CLOEXEC, SOCK_SEQPACKET, SOCK_STREAM, socket, socketpair
from errno import EIO

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import netlink, syscalls
from jupyter_containers.monitor import control, record
from jupyter_containers.monitor.books import remove
from jupyter_containers.runtime import rootfs
from jupyter_containers.runtime.identity import UnknownUserError, resolve
from jupyter_containers.runtime.process_start import read_text
from jupyter_containers.runtime.wire import close_all, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.monitor.job import Job

#: What every runtime of today understands; the configuration has nothing of later versions that they would miss.
_VERSION = "1.0.2"
_SAID = 4096
_UNIFIED = "/sys/fs/cgroup/unified"
_SIGKILL = 9
_NOT_FOUND = ("executable file not found", "executable file `", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "open executable", "exec format error", "is a directory")


class ExternalError(OSError):
    """The runtime failed; ``what`` is that of a Failure."""

    def __init__(self, detail: str, what: str = "failed") -> None:
        super().__init__(EIO, detail)
        self.what = what


class External:
    """The starts of one container by a runtime; takes the place of a Launch.

    Parameters
    ----------
    request
        A LaunchRequest with ``runtime``.
    directory
        For the bundle and the runtime's state; made, and removed by :meth:`close`.
    mountpoint
        Where the root file system is mounted.
    """

    def __init__(self, request: dict[str, Any], directory: str, mountpoint: bytes) -> None:
        self.step = "runtime"
        self.pid, self.pidfd = 0, -1
        self.sync: socket
        self._far: socket
        self._request = request
        self._directory = directory
        self._mountpoint = mountpoint
        self._mounted = False
        self._terminal = bool(request["spec"]["process"].get("terminal"))
        self._master = -1
        self._command = [request["runtime"], "--root", f"{directory}/state", "--log", f"{directory}/log"]

    # -- a start -------------------------------------------------------------------------------------------------

    def create(self, stdio: list[int]) -> None:
        """Have the container made, up to its program, with these descriptors.

        Raises
        ------
        ExternalError
            With what the runtime said.
        """
        self.sync, self._far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        self._make_bundle()
        listener = self._listen() if self._terminal else None
        arguments = ["create", "--bundle", self._directory, "--pid-file", f"{self._directory}/pid"]
        if listener is not None:
            arguments += ["--console-socket", "console.sock"]
        try:
            os.chdir(self._directory)  # a socket's address holds no long path
            error = self._attempt([*arguments, self._request["id"]], stdio)
            if error is not None:
                raise error
            if listener is not None:
                self._master = _take(listener)
        finally:
            os.chdir("/")
            if listener is not None:
                listener.close()
        told = read_text(f"{self._directory}/pid").strip()
        if not told.isdigit():
            raise ExternalError("the runtime does not say which process it has made")
        self.pid = int(told)
        self.pidfd = os.pidfd_open(self.pid)

    def begin(self, job: Job, stdio: list[int], connect: Callable[[list[bytes]], object]) -> None:
        """Make the container's process, as :meth:`Monitor._begin` does with a Launch."""
        try:
            self.create(stdio)
        finally:
            close_all(stdio)
        job.began(self.pid, self.pidfd, self.sync, lambda: self._release(job))
        self._connect(connect)
        job.go()

    def _connect(self, connect: Callable[[list[bytes]], object]) -> None:
        """Make its interfaces, both ends."""
        self.step = "network"
        inside = []
        for interface in self._request.get("interfaces") or []:
            connect([netlink.patch(data, offset, self.pid) for data, offset in interface["host"]])
            inside += interface["inside"]
        if not inside:
            return
        child, pidfd = syscalls.clone(0)
        if child == 0:
            self._connect_inside(inside)
        _pid, status = os.waitpid(child, 0)
        os.close(pidfd)
        if status:
            raise ExternalError("an interface cannot be set up in the container's network namespace")

    def _connect_inside(self, messages: list[bytes]) -> None:
        status = 1
        try:
            syscalls.setns(self.pidfd, syscalls.CLONE_NEWNET)
            netlink.transact(messages)
            status = 0
        finally:
            os._exit(status)

    def _release(self, job: Job) -> None:
        """Have it started, and tell the socket what became of that; nothing is started that has ended already."""
        if job.status is not None:
            self._far.close()
            return
        send(self._far, {"kind": "mounted", "stubs": []}, [self._master] if self._master >= 0 else [])
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        error = self._attempt(["start", self._request["id"]], [null, null, null])
        if error is not None:
            message = control.failure("start", 0, error.strerror or "")
            send(self._far, {**message, "what": error.what})
            job.signal(_SIGKILL)
        os.close(null)
        self._far.close()

    # -- its end -------------------------------------------------------------------------------------------------

    def delete(self) -> None:
        """Have the runtime take back what it made; what it does not is killed and removed by the caller."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._attempt(["delete", "--force", self._request["id"]], [null, null, null])
        os.close(null)

    def close(self) -> None:
        """Unmount the root file system and remove the bundle."""
        if self._mounted:
            mounting.umount(self._mountpoint, mounting.MNT_DETACH)
            self._mounted = False
        shutil.rmtree(self._directory, ignore_errors=True)

    # -- the runtime ---------------------------------------------------------------------------------------------

    def _run(self, arguments: list[str], stdio: list[int]) -> int:
        """Its exit status; its descriptors are the container's."""
        remove(f"{self._directory}/log")  # of what was done before
        copies = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(stdio)]
        try:
            pid = os.posix_spawn(self._command[0], [*self._command, *arguments], os.environ, file_actions=copies)
        except OSError as error:
            raise ExternalError(f"{self._command[0]}: {(error.strerror or '').lower()}") from None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _attempt(self, arguments: list[str], stdio: list[int]) -> ExternalError | None:
        """Run it; why that failed, if it did."""
        try:
            return self._error() if self._run(arguments, stdio) else None
        except ExternalError as error:
            return error

    def _error(self) -> ExternalError:
        """What its log says, as text of logrus or of crun."""
        lines = read_text(f"{self._directory}/log")[-_SAID:].strip().splitlines()
        line = lines[-1] if lines else "it does not say why"
        told = line.partition(" msg=")[2].strip('"').replace('\\"', '"') or line
        what = "failed"
        if any(words in told for words in _NOT_FOUND) and "exec" in told:
            what = "command-not-found"
        elif any(words in told for words in _NOT_EXECUTABLE) and "exec" in told:
            what = "command-not-executable"
        return ExternalError(f"{os.path.basename(self._command[0])}: {told}", what)

    # -- the bundle ----------------------------------------------------------------------------------------------

    def _make_bundle(self) -> None:
        os.makedirs(self._directory, 0o700, exist_ok=True)
        if not self._mounted:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            mounting.mount(None, b"/", None, mounting.MS_SLAVE | mounting.MS_REC)
            self._hide_unified()
            self._mounted = True
        else:
            mounting.umount(self._mountpoint, mounting.MNT_DETACH)
        try:
            tree = rootfs.assemble(self._mountpoint, self._request.get("rootfs") or [])
            spec = self._spec(tree)
        except (rootfs.MountError, UnknownUserError) as error:
            raise ExternalError(str(error)) from None
        os.close(tree.descriptor)
        record.write(f"{self._directory}/config.json", spec)

    def _hide_unified(self) -> None:
        """Let the runtime see one version of control groups where all limits are those of version 1: crun wants it."""
        cgroup = self._request.get("cgroup")
        if cgroup and not cgroup["unified"] and os.path.ismount(_UNIFIED):
            mounting.umount(os.fsencode(_UNIFIED), mounting.MNT_DETACH)

    def _spec(self, tree: rootfs.Tree) -> dict[str, Any]:
        """The configuration with what only our own init understands put into its terms."""
        request = self._request
        spec: dict[str, Any] = dict(request["spec"])
        spec["ociVersion"] = _VERSION
        spec["root"] = {**spec.get("root", {}), "path": os.fsdecode(self._mountpoint)}
        files = [(place, data) for place, data in (request.get("files") or {}).items()]
        mounts = list(spec.get("mounts", []))
        for number, (place, data) in enumerate(files):
            source = f"{self._directory}/file-{number}"
            with open(source, "wb") as file:
                file.write(data)
            os.chmod(source, 0o644)
            mounts.append({"destination": place, "type": "bind", "source": source, "options": ["rbind", "rprivate"]})
        spec["mounts"] = mounts
        spec["process"] = self._process(spec["process"], tree)
        return spec

    def _process(self, process: dict[str, Any], tree: rootfs.Tree) -> dict[str, Any]:
        request = self._request
        user, passwd, group = request.get("user") or "0:0", _inside(tree, "/etc/passwd"), _inside(tree, "/etc/group")
        identity = resolve(user, request.get("groups") or [], passwd, group)
        env = list(process.get("env", []))
        if not any(entry.startswith("HOME=") for entry in env):
            env.append(f"HOME={identity.home}")
        ids = {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups}
        return {**process, "user": ids, "env": env, "cwd": process.get("cwd") or "/"}

    def _listen(self) -> socket:
        remove(f"{self._directory}/console.sock")
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        os.chdir(self._directory)
        listener.bind("console.sock")
        os.chdir("/")
        listener.listen(1)
        return listener


def _inside(tree: rootfs.Tree, path: str) -> str:
    """A file of the container's tree, or nothing."""
    try:
        descriptor = tree.open(path)
    except OSError:
        return ""
    try:
        return read_text(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _take(listener: socket) -> int:
    """The descriptor that the runtime sends."""
    channel = socket(fileno=control.accept(listener))
    try:
        _data, ancillary, _flags, _address = channel.recvmsg(4096, CMSG_LEN(4), MSG_CMSG_CLOEXEC)
    finally:
        channel.close()
    if not ancillary:
        raise ExternalError("the runtime sent no terminal")
    return int.from_bytes(ancillary[0][2][:4], "little")
