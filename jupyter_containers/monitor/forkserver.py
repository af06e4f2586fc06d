"""The spawner's process: imports everything once, then forks a monitor for every container.

A child keeps no descriptor it has no use for: a socket whose other end is kept open by a bystander never ends.

Monitors are forked ahead and wait for their request, each beside an init that waits too, with all done that the kind
of container asked for last needs (``runtime/ahead.py``): what a fork, namespaces and cgroups cost is then paid while
nobody waits. One whose container has ended waits again (``entry.py``). Those that wait end with this process. Their
cgroups, which would stay when a monitor is killed, have names that tell whose they are, and are removed here.

Started by ``runtime/spawner.py`` as ``python -I -S -c ... <descriptor> <mode>``. It does nothing but poll its socket,
the process it belongs to, and its children; it ends when the engine ends.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
import gc
import os
import select
import sys
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from jupyter_containers.linux import cgroups, namespaces, syscalls
from jupyter_containers.linux import mount as mounting
from jupyter_containers.monitor import control, entry
from jupyter_containers.runtime import ahead, credentials
from jupyter_containers.runtime.process_start import reset_signals
from jupyter_containers.runtime.wire import close_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.ahead import Ahead

_SIGKILL = 9
_SPARES = 2
_QUIET_MS = 1
_BUSY_MS = 50
_AFTER_DEATH_MS = 500
_USER = "user"


class Child:
    """A process forked here.

    Attributes
    ----------
    channel
        Who wants to know how it ended, or None.
    requests
        Where a monitor is told what to do; None for others, and for one that is to end.
    kind, name
        What it waits for, if for anything, and the name of the cgroups it waits in.
    """

    __slots__ = ("channel", "kind", "name", "pid", "pidfd", "requests")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel: socket | None = None
        self.requests: socket | None = None
        self.kind: Ahead | None = None
        self.name = ""


class ForkServer:
    """Requests come by ``channel``; ``owner`` is a pidfd of the process that sends them.

    ``once``: only one container is expected.
    """

    def __init__(self, channel: socket, owner: int, *, once: bool = False) -> None:
        self._once = once
        self._wanted = 1 if once else _SPARES
        self._channel = channel
        self._owner = owner
        self._children: dict[int, Child] = {}
        self._monitors: dict[int, Child] = {}
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(owner, select.POLLIN)
        self._boot_id = _boot_id()
        self._spares: list[Child] = []
        self._kind: Ahead | None = None
        self._own_name = f"{ahead.WAITING}-{os.getpid()}-{namespaces.start_time(os.getpid())}"
        self._count = 0
        self._swept = False
        self._quiet = _QUIET_MS
        self._left: list[CgroupPlan] = []

    def serve(self) -> None:
        """Until the engine is gone."""
        while True:
            ready = self._poll.poll(self._patience())
            if not ready:
                self._idle()
            descriptors = {descriptor for descriptor, _events in ready}
            if self._owner in descriptors:
                return
            for descriptor in descriptors:
                if descriptor in self._children:
                    self._reap(self._children[descriptor])
                elif descriptor in self._monitors:
                    self._hear(self._monitors[descriptor])
            # Last, for it opens descriptors, which may get the numbers of those that were closed above.
            if self._channel.fileno() in descriptors and not self._request():
                return

    # -- processes that wait -------------------------------------------------------------------------------------

    def _patience(self) -> int | None:
        """Milliseconds until :meth:`_idle` has something to do."""
        if self._wanted and any(spare.kind != self._kind for spare in self._spares):
            return self._quiet
        if len(self._spares) < self._wanted:  # some that have a container may soon have none
            return self._quiet if len(self._monitors) < self._wanted else max(self._quiet, _BUSY_MS)
        return _BUSY_MS if self._left else None

    def _idle(self) -> None:
        """Nobody wants anything: clear up, and prepare for the next request."""
        if self._kind and not self._swept:
            self._swept = True
            self._left += ahead.left_behind(self._kind)
        self._left = [plan for plan in self._left if not _removed(plan)]
        for spare in self._spares if self._wanted else ():
            if spare.kind != self._kind:
                self._prepare(spare)
                return
        if len(self._spares) < self._wanted:
            try:
                spare = self._fork_monitor(ahead=True)
            except OSError:  # no process to be had now: the next launch will see, and say so
                return
            self._spares.append(spare)
            self._prepare(spare)

    def _fork_monitor(self, *, ahead: bool) -> Child:
        """Fork a monitor, which waits for what it is told; ``ahead`` when that does not follow. Raises OSError."""
        near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            pid, pidfd = syscalls.clone(0)
            if pid == 0:
                syscalls.close_except([far.fileno(), self._owner])
                _exit_after(entry.serve, far, self._owner, self._boot_id, not ahead)
        except OSError:
            near.close()
            raise
        finally:
            far.close()
        child = self._adopt(pid, pidfd)
        child.requests = near
        self._monitors[near.fileno()] = child
        self._poll.register(near.fileno(), select.POLLIN)
        return child

    def _prepare(self, spare: Child) -> None:
        """Have an idle monitor make a process of the kind that was asked for last."""
        self._count += 1
        spare.kind, spare.name = self._kind, f"{self._own_name}-{self._count}"
        message = {"kind": "prepare", "ahead": spare.kind, "name": spare.name}
        if not self._tell(spare, message, []):
            self._spares.remove(spare)

    def _tell(self, monitor: Child, message: dict[str, Any], descriptors: list[int]) -> bool:
        """Send something to an idle monitor; whether it is there to take it."""
        if monitor.requests is None:
            return False
        try:
            send(monitor.requests, message, descriptors)
        except OSError:  # somebody killed it
            self._dismiss(monitor)
            return False
        return True

    def _hear(self, monitor: Child) -> None:
        """A monitor has no container any more, or is ending."""
        assert monitor.requests is not None
        message, _ = receive(monitor.requests)
        if message is None or len(self._spares) >= self._wanted:
            self._dismiss(monitor)
            return
        self._spares.append(monitor)
        self._prepare(monitor)

    def _dismiss(self, monitor: Child) -> None:
        """Close the way to a monitor: one that is idle ends."""
        if monitor.requests is not None:
            del self._monitors[monitor.requests.fileno()]
            self._poll.unregister(monitor.requests.fileno())
            monitor.requests.close()
            monitor.requests = None

    def dismiss(self) -> None:
        """End those that wait, and wait until they have."""
        for monitor in list(self._monitors.values()):
            self._dismiss(monitor)
        for spare in self._spares:
            os.waitpid(spare.pid, 0)

    def _reap(self, child: Child) -> None:
        if child in self._spares:
            self._spares.remove(child)
            self._quiet = _AFTER_DEATH_MS
        self._dismiss(child)
        del self._children[child.pidfd]
        self._poll.unregister(child.pidfd)
        os.close(child.pidfd)
        _pid, status = os.waitpid(child.pid, 0)
        if child.kind and status:  # it was killed, and could not take its cgroups away
            plan = ahead.waiting_cgroup(child.kind, child.name)
            self._left += [plan] if plan else []
        if child.channel is not None:
            control.answer(child.channel, {"kind": "exited", "status": os.waitstatus_to_exitcode(status)})

    # -- requests ------------------------------------------------------------------------------------------------

    def _request(self) -> bool:
        message, descriptors = receive(self._channel)
        if message is None:
            return False
        if message["kind"] == "expect":  # one of this kind is likely to be asked for
            self._kind = message["ahead"]
            return True
        channel = socket(fileno=descriptors.pop(0))
        if message["kind"] == "launch":
            self._launch(message, channel, descriptors)
        else:
            self._work(message, channel, descriptors)
        return True

    def _launch(self, message: dict[str, Any], channel: socket, descriptors: list[int]) -> None:
        self._quiet = _QUIET_MS
        self._kind = message["ahead"] if message["ahead"]["pooled"] else None
        try:
            while not self._tell(self._idle_monitor(), message, [channel.fileno(), *descriptors]):
                continue
        except OSError as error:
            _refuse(channel, error)
        channel.close()
        close_all(descriptors)
        if self._once:
            self._wanted = 0
            for spare in self._spares:  # made for what was expected, and something else was asked for
                self._dismiss(spare)

    def _idle_monitor(self) -> Child:
        """One that waits beside a process of the right kind, or else one that does not wait beside another."""
        for spare in self._spares:
            if spare.kind is None or spare.kind == self._kind:
                self._spares.remove(spare)
                return spare
        return self._fork_monitor(ahead=False)

    def _work(self, message: dict[str, Any], channel: socket, descriptors: list[int]) -> None:
        """A program beside the containers, in the same user namespace, that dies with this process."""
        try:
            pid, pidfd = syscalls.clone(0)
        except OSError as error:
            close_all(descriptors)
            _refuse(channel, error)
            return
        if pid == 0:
            _exit_after(_become, message, descriptors)
        close_all(descriptors)
        send(channel, {"kind": "started", "pid": pid})
        self._adopt(pid, pidfd).channel = channel

    def _adopt(self, pid: int, pidfd: int) -> Child:
        child = self._children[pidfd] = Child(pid, pidfd)
        self._poll.register(pidfd, select.POLLIN)
        return child


def _refuse(channel: socket, error: OSError) -> None:
    """Say that there is no process to be had."""
    failure = {"what": "failed", "step": "fork", "errno": error.errno or 0, "detail": error.strerror}
    control.answer(channel, {"kind": "failed", **failure})


def _removed(plan: CgroupPlan) -> bool:
    """Whether the cgroups are gone; they stay while a process is in them."""
    try:
        cgroups.remove(plan, patience=0)
    except OSError:
        return False
    return True


def _exit_after(function: Any, *arguments: Any) -> None:
    """Run a forked child's function and never come back into the server's loop."""
    status = 1
    try:
        function(*arguments)
        status = 0
    except BaseException as error:  # noqa: BLE001 - the engine finds it where this process writes its errors
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(status)


def _become(message: dict[str, Any], descriptors: list[int]) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
    reset_signals()
    numbers: list[int] = message["numbers"]
    moved = [os.dup(descriptor) if descriptor in numbers else descriptor for descriptor in descriptors]
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number, inheritable=True)
    os.execve(message["argv"][0], message["argv"], message["env"])  # noqa: S606 - a list, no shell


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
        return file.read(64).decode().strip()


def enter_user_namespace(channel: socket) -> None:
    """Become root of a user namespace, with a mount namespace of its own.

    The engine says which: one that there is, or a new one, whose ids it maps.

    Raises
    ------
    OSError
        From unshare(2), which the engine explains.
    """
    send(channel, {"kind": "where"})
    message, descriptors = receive(channel)
    if message is None:
        os._exit(1)
    if descriptors:
        syscalls.setns(descriptors[0], syscalls.CLONE_NEWUSER)
        close_all(descriptors)
    else:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        send(channel, {"kind": "map"})
        if receive(channel)[0] is None:
            os._exit(1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    with open("/proc/self/setgroups", "rb", buffering=0) as file:
        if file.read(16).startswith(b"allow"):
            os.setgroups([])
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounting.mount(None, b"/", None, mounting.MS_SLAVE | mounting.MS_REC)


def main(descriptor: int, mode: str, *, once: bool) -> None:
    """The process's entry point."""
    syscalls.prctl(syscalls.PR_SET_NAME, b"jc-spawner")
    reset_signals()
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    syscalls.close_except([descriptor])  # what a library in the engine's process may have left open for its children
    os.chdir("/")
    channel = socket(AF_UNIX, SOCK_SEQPACKET, 0, descriptor)
    os.set_inheritable(descriptor, False)
    owner = os.pidfd_open(os.getppid())
    credentials.leave_keyring(again=False)
    if mode == _USER:
        try:
            enter_user_namespace(channel)
        except OSError as error:
            send(channel, {"kind": "failed", "errno": error.errno or 0, "detail": error.strerror})
            return
    gc.collect()
    gc.freeze()
    gc.disable()
    send(channel, {"kind": "ready"})
    server = ForkServer(channel, owner, once=once)
    server.serve()
    server.dismiss()
    os._exit(0)  # nothing is to be taken apart
