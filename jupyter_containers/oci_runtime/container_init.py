"""The init of a container that is created by one command and started by another.

It stops at two places more than that of the engine: before the root changes, for hooks; and when all is done but the
program itself, where it waits for ``start``. From then on nobody has to be there: it no longer dies with its maker.
"""

from __future__ import annotations

import os

from jupyter_containers.linux import syscalls
from jupyter_containers.monitor.record import text
from jupyter_containers.runtime import hooks, program
from jupyter_containers.runtime.init import Init
from jupyter_containers.runtime.join import Join
from jupyter_containers.runtime.process_start import OrphanedError, Start
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.ahead import Ahead
    from jupyter_containers.runtime.plan import Namespaces


class Staying(Start):
    """A start whose process outlives the command that made it."""

    def find_program(self) -> None:
        """See that there is a program to become; the error is the maker's to tell."""
        if self.request.get("startable", True):
            program.find(self.process["args"], list(self.process.get("env", [])))

    def announce(self) -> None:
        """Tell the maker that all is done but the program itself, and stop depending on it when it says so."""
        send(self.sync, {"kind": "mounted"}, [self.master] if self.master >= 0 else [])
        if self.master >= 0:
            os.close(self.master)
        message, _ = receive(self.sync)
        if message is None:
            raise OrphanedError
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)


class ContainerInit(Init, Staying):
    """See the module.

    The request has ``hooks``, ``state`` and ``startable`` besides; two descriptors come with it after the standard
    ones: the pipe to wait at, and the file for what goes wrong later. ``preserve`` descriptors from 3 on are the
    program's.
    """

    def __init__(
        self,
        ahead: Ahead,
        namespaces: Namespaces,
        cgroup: CgroupPlan | None,
        sync: socket,
        *,
        preserve: int = 0,
    ) -> None:
        super().__init__(ahead, namespaces, cgroup, sync)
        self.kept = preserve
        self.needed += range(3, 3 + preserve)
        self._pipe = self._complaints = -1

    def await_request(self) -> None:
        """The request, with more descriptors than the engine's has."""
        super().await_request()
        *self.stdio, self._pipe, self._complaints = self.stdio

    def steps(self) -> list[Callable[[], None]]:
        """Those of every container, hooks, and the wait."""
        steps = super().steps()
        at = steps.index(self.enter_root)
        steps[at:at] = [self.create_hooks]
        at = steps.index(self.announce)
        steps[at : at + 1] = [self.find_program, self.announce, self.await_start, self.start_hooks]
        return steps

    def create_hooks(self) -> None:
        """Hooks outside, which the maker runs now that the namespaces are there, then those inside."""
        if any(self._hooks(kind) for kind in ("prestart", "createRuntime")):
            send(self.sync, {"kind": "hooks"})
            message, _ = receive(self.sync)
            if message is None:
                raise OrphanedError
        self._run("createContainer", "creating")

    def await_start(self) -> None:
        """Wait for ``start``, which writes to the pipe. This end is open for writing too, so that it never ends."""
        # the maker's own output is among the rest: its reader waits for its end
        syscalls.close_except([self._pipe, self._complaints, *range(3, 3 + self.kept)])
        self.tell = self._leave_message  # type: ignore[method-assign]  # nobody is at the socket any more
        os.read(self._pipe, 1)

    def start_hooks(self) -> None:
        """The hooks that the container's own file tree has."""
        self._run("startContainer", "created")

    def _hooks(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.request["hooks"].get(kind, [])
        return found

    def _run(self, kind: str, status: str) -> None:
        if not self._hooks(kind):
            return
        state = {**self.request["state"], "status": status, "pid": os.getpid()}
        hooks.run(kind, self._hooks(kind), text(state).encode("utf-8", "surrogateescape"))

    def _leave_message(self, message: dict[str, Any]) -> None:
        os.write(self._complaints, text(message).encode("utf-8", "surrogateescape"))


class ContainerEntry(Join, Staying):
    """Another process in a container, that outlives the command that made it."""

    def steps(self) -> list[Callable[[], None]]:
        """Those of every exec, with a look for the program."""
        steps = super().steps()
        at = steps.index(self.announce)
        steps[at:at] = [self.find_program]
        self.needed += range(3, 3 + self.request["preserve"])
        self.kept = self.request["preserve"]
        return steps
