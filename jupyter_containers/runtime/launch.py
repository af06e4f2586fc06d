"""The making of a container's first process, as far as its starter does it from outside.

All starters use it: the monitor, at once or ahead of a request, and the runtime command. What the process then does
itself is ``init.py``.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_DONTWAIT, MSG_PEEK, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair
from errno import EPERM

from jupyter_containers.linux import cgroups, namespaces, netlink, syscalls
from jupyter_containers.runtime import ahead as first_half
from jupyter_containers.runtime.init import Init
from jupyter_containers.runtime.plan import ROOT, Namespaces, sources
from jupyter_containers.runtime.wire import MOST_DESCRIPTORS, close_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.ahead import Ahead

    Range = tuple[int, int, int]

_SIGKILL = 9


class Launch:
    """One start: :meth:`clone`, :meth:`equip`, :meth:`connect`, :meth:`release`; between them it may wait.

    Parameters
    ----------
    ahead
        Its first half.
    cgroup
        The cgroups it is born in.
    kind
        What the clone becomes.

    Attributes
    ----------
    step
        Name of the step being done: what a failure names.
    pid, pidfd
        The process, once there is one.
    sync
        This end of the socket to it.
    cgroup
        The cgroups it is in.
    """

    def __init__(
        self,
        ahead: Ahead,
        cgroup: CgroupPlan | None,
        kind: Callable[[Ahead, Namespaces, CgroupPlan | None, socket], Init] = Init,
    ) -> None:
        self.step = "configuration"
        self.ahead = ahead
        self.pid = 0
        self.pidfd = -1
        self._namespaces = Namespaces({"linux": {"namespaces": ahead["namespaces"]}})
        self.cgroup = cgroup
        self._kind = kind
        self._network = -1  # kept open as long as there is somebody to give the interfaces back
        self._moved: dict[str, str] = {}
        self.sync: socket
        self.sync, self._far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)

    def clone(self) -> None:
        """Make the cgroups and the process.

        Where the container joins a pid namespace, all further children of this process are born there too.
        """
        unified, tasks = -1, []
        if self.cgroup:
            self.step = "cgroup"
            cgroups.create(self.cgroup)
            if self._namespaces.creates("user"):
                cgroups.show(self.cgroup)
            unified = cgroups.open_unified(self.cgroup)
            tasks = cgroups.open_tasks(self.cgroup)
        try:
            self.step = "namespaces"
            for kind, path in self._namespaces.join:
                if kind == "pid":
                    self._join_pid_namespace(path)
            self._clone(unified)
            if self.pid == 0:
                init = self._kind(self.ahead, self._namespaces, self.cgroup, self._far)
                init.tasks = tasks
                init.start()
        finally:
            close_all([unified, *tasks])
        self._far.close()

    def _clone(self, unified: int) -> None:
        wanted = self._namespaces
        if not wanted.time and not (wanted.join and wanted.has("user")):
            self.pid, self.pidfd = syscalls.clone(wanted.create, cgroup=unified)
            return
        from jupyter_containers.runtime import visit  # noqa: PLC0415 - few containers need it

        self.pid, self.pidfd = visit.clone(wanted, self.ahead["time"], unified)

    @staticmethod
    def _join_pid_namespace(path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(descriptor, syscalls.CLONE_NEWPID)
        finally:
            os.close(descriptor)

    def equip(self, *, wait: bool = False) -> bool:
        """Give the process its ids, and let it do what needs no request.

        With ``wait``: until it has done that; returns whether it could.
        """
        self.step = "id maps"
        if self._namespaces.creates("user"):
            uids, gids = (
                [(each["containerID"], each["hostID"], each["size"]) for each in ids] for ids in self.ahead["maps"]
            )
            _write_maps(self.pid, uids, gids)
        self._tell({"kind": "go", "answer": wait})
        if not wait:
            return True
        message, _ = receive(self.sync)
        return message is not None and message["kind"] == "ready"

    def waits(self) -> bool:
        """Whether the process is there and has nothing to complain about."""
        try:
            self.sync.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        return False

    def adopt(self, plan: CgroupPlan | None) -> None:
        """The cgroups it waited in become those of a container, with its limits. Raises :exc:`OSError`."""
        self.step = "cgroup"
        if self.cgroup and plan:
            cgroups.rename(self.cgroup, plan)
            self.cgroup = plan
            cgroups.apply(first_half.remaining_cgroup(self.ahead, plan))

    def connect(self, request: dict[str, Any], connect: Callable[[list[bytes]], object] = netlink.transact) -> None:
        """Give its interfaces their outer ends (``connect``), and move those of the host that are to be its own."""
        self.step = "network"
        for interface in request.get("interfaces") or []:
            connect([netlink.patch(data, offset, self.pid) for data, offset in interface["host"]])
        devices = request["spec"].get("linux", {}).get("netDevices")
        if not devices:
            return
        from jupyter_containers.runtime import netdevices  # noqa: PLC0415 - few containers have any

        joined = dict(self._namespaces.join).get("network")
        self._network = os.open(joined or f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        netdevices.move(devices, self._network, self._moved)

    def give_back(self) -> None:
        """Take the host's interfaces back, for a container that does not come to be. Raises :exc:`OSError`."""
        if self._moved:
            from jupyter_containers.runtime import netdevices  # noqa: PLC0415 - few containers have any

            netdevices.give_back(self._moved, self._network)
            self._moved = {}

    def release(self, request: dict[str, Any], stdio: list[int], mountpoint: bytes, *, gate: bool = False) -> None:
        """Let the process go on for a request, with descriptors for input, output and errors, which are copied.

        With ``gate`` only up to its network, where it waits for :meth:`permit`. A process that died meanwhile shows at
        its pidfd.
        """
        numbers = sources(request["spec"], user=self._namespaces.has("user"), root=os.geteuid() == 0)
        rootfs = request.get("rootfs") or []
        if rootfs and ROOT in numbers and "idmap" not in rootfs[0].get("options", []):
            numbers.remove(ROOT)  # it is mounted, not bound
        message = {"kind": "request", "request": request, "mountpoint": mountpoint, "sources": numbers, "gate": gate}
        if not numbers:
            self._tell(message, stdio)
            return
        from jupyter_containers.runtime.sources import open_sources  # noqa: PLC0415 - few containers need it

        self.step = "mounts"
        opened = open_sources(request["spec"], numbers, mountpoint, rootfs)
        try:
            self._tell(message, stdio)
            for first in range(0, len(opened), MOST_DESCRIPTORS):
                self._tell({"kind": "sources"}, opened[first : first + MOST_DESCRIPTORS])
        finally:
            close_all(opened)

    def permit(self) -> None:
        """All is done outside: let the process pass the gate."""
        self._tell({"kind": "go"})

    def _tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        try:
            send(self.sync, message, descriptors or ())
        except (BrokenPipeError, ConnectionResetError):
            return

    def discard(self) -> None:
        """End a process that is not needed after all, and remove its cgroups."""
        self._far.close()
        self.sync.close()
        close_all([self._network])
        self._network = -1
        if self.pid:
            self._kill()
            os.waitpid(self.pid, 0)
            os.close(self.pidfd)
            self.pid, self.pidfd = 0, -1
        if self.cgroup:
            cgroups.remove(self.cgroup)

    def _kill(self) -> None:
        try:
            syscalls.pidfd_send_signal(self.pidfd, _SIGKILL)
        except ProcessLookupError:
            return


def _write_maps(pid: int, uids: list[Range], gids: list[Range]) -> None:
    """Give a user namespace its ids; for an ordinary user newuidmap(1) does that where they are others than its own."""
    alone = len(uids) == len(gids) == 1 and uids[0][2] == gids[0][2] == 1
    if alone or os.geteuid() == 0:
        namespaces.write_maps(pid, uids, gids)
        return
    from jupyter_containers.errors import StartFailed  # noqa: PLC0415 - not for those the engine starts
    from jupyter_containers.runtime import idmap  # noqa: PLC0415 - the same

    try:
        idmap.write(idmap.IdMap("subordinate", tuple(uids), tuple(gids)), pid)
    except StartFailed as error:
        raise OSError(error.errno or EPERM, error.message) from None
