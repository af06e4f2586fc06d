"""Another process in a running container: from a fresh clone, through setns(2), to its program."""

from __future__ import annotations

import os

from jupyter_containers.linux import namespaces as ns
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime import credentials, plan
from jupyter_containers.runtime.process_start import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, NoReturn


class Join(Start):
    """The start of an exec.

    The clone was made by the monitor, which had its children born in the container's pid namespace.

    Parameters
    ----------
    request
        An ExecRequest.
    pidfd
        Of the container's init.
    pid
        Its pid.
    stdio
        Three descriptors above 2.
    sync
        The socket to the monitor.
    """

    def __init__(self, request: dict[str, Any], pidfd: int, pid: int, stdio: list[int], sync: socket) -> None:
        super().__init__(request, request["process"], stdio, sync)
        self._pidfd = pidfd
        self.needed = [pidfd]
        self._pid = pid

    def start(self) -> NoReturn:
        """Do all steps."""
        self.run(self.steps())

    def steps(self) -> list[Callable[[], None]]:
        """The steps in order; the last one never returns."""
        return [
            self.bind_to_parent,
            self.check,
            self.join_namespaces,
            self.terminal,
            self.enter_cgroups,
            self.limits,
            self.lookup_user,
            self.await_permission,
            self.connect_stdio,
            self.become,
            self.listen,
            self.announce,
            self.restrict,
            self.execute,
        ]

    def check(self) -> None:
        """The request itself, and the score it gives this process when memory runs out."""
        plan.validate_process({"process": self.process})
        self.reach_labels()
        score = self.process.get("oomScoreAdj")
        if score is not None:
            ns.write_file("/proc/self/oom_score_adj", b"%d" % score)

    def join_namespaces(self) -> None:
        """All namespaces of init that are not this process's own.

        This process becomes undumpable first: the container must not get at the memory it has of the monitor.
        """
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        self.setgroups = credentials.may_setgroups()
        flags = 0
        for kind, name in ns.FILES.items():
            if kind == "pid":
                continue
            try:
                own = os.readlink(f"/proc/self/ns/{name}")
            except FileNotFoundError:
                continue  # a kernel without namespaces of this type
            if own != os.readlink(f"/proc/{self._pid}/ns/{name}"):
                flags |= ns.FLAGS[kind]
        syscalls.setns(self._pidfd, flags)
        if flags & ns.FLAGS["user"]:
            credentials.be_somebody()
            self.setgroups = credentials.may_setgroups()

    def terminal(self) -> None:
        """A terminal of the container's devpts."""
        if self.process.get("terminal"):
            self.open_terminal(os.open)

    def limits(self) -> None:
        """Resource limits, and on which CPUs of the container's this process runs."""
        super().limits()
        if "execCPUAffinity" in self.process:
            from jupyter_containers.runtime.attributes import apply_affinity  # noqa: PLC0415 - a rare field

            apply_affinity(self.process["execCPUAffinity"], "final")
