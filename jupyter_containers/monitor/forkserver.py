"""The spawner's process: imports everything once, then forks a monitor for every container.

A child keeps no descriptor it has no use for: a socket whose other end is kept open by a bystander never ends.

One monitor is forked ahead and waits for its request: what a fork costs, and the copying of the pages a child writes
to, is then paid while nobody waits.

Started by ``runtime/spawner.py`` as ``python -I -S -c ... <descriptor> <mode>``. It does nothing but poll its socket,
the process it belongs to, and its children; it ends when the engine ends.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
import gc
import os
import select
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import syscalls
from jupyter_containers.monitor import control, process
from jupyter_containers.runtime.process_start import reset_signals
from jupyter_containers.runtime.wire import close_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGKILL = 9
_QUIET_MS = 4
_USER = "user"


class ForkServer:
    """Requests come by ``channel``; ``owner`` is a pidfd of the process that sends them."""

    def __init__(self, channel: socket, owner: int) -> None:
        self._channel = channel
        self._owner = owner
        self._children: dict[int, tuple[int, socket | None]] = {}
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(owner, select.POLLIN)
        self._boot_id = _boot_id()
        self._spare: tuple[int, int, socket] | None = None

    def serve(self) -> None:
        """Until the engine is gone."""
        while True:
            ready = self._poll.poll(_QUIET_MS if self._spare is None else None)
            if not ready:
                self._prepare()
            for descriptor, _events in ready:
                if descriptor == self._owner:
                    return
                if descriptor in self._children:
                    self._reap(descriptor)
                elif not self._request():
                    return

    def _prepare(self) -> None:
        """Fork a monitor that waits for its request."""
        near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            pid, pidfd = syscalls.clone(0)
        except OSError:  # no process to be had now: the next launch will see, and say so
            near.close()
            far.close()
            return
        if pid == 0:
            syscalls.close_except([far.fileno(), self._owner])
            _exit_after(self._wait_as_spare, far)
        far.close()
        self._spare = pid, pidfd, near
        self._adopt(pid, pidfd, None)

    def _wait_as_spare(self, requests: socket) -> None:
        process.prepare()
        message, descriptors = receive(requests)
        requests.close()
        if message is not None:
            self._monitor(message, socket(fileno=descriptors.pop(0)), descriptors)

    def _monitor(self, message: dict[str, Any], channel: socket, descriptors: list[int]) -> None:
        clients = control.spread(message["stdio"], descriptors)
        process.run(message["request"], channel, clients, self._owner, self._boot_id)

    def _reap(self, pidfd: int) -> None:
        if self._spare is not None and self._spare[1] == pidfd:
            self._spare[2].close()
            self._spare = None
        pid, channel = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _pid, status = os.waitpid(pid, 0)
        if channel is not None:
            control.answer(channel, {"kind": "exited", "status": os.waitstatus_to_exitcode(status)})

    def _request(self) -> bool:
        message, descriptors = receive(self._channel)
        if message is None:
            return False
        channel = socket(fileno=descriptors.pop(0))
        if message["kind"] == "launch":
            self._launch(message, channel, descriptors)
        else:
            self._work(message, channel, descriptors)
        return True

    def _fork(self, channel: socket, descriptors: list[int]) -> tuple[int, int]:
        try:
            return syscalls.clone(0)
        except OSError as error:
            close_all(descriptors)
            failure = {"what": "failed", "step": "fork", "errno": error.errno or 0, "detail": error.strerror}
            control.answer(channel, {"kind": "failed", **failure})
            return -1, -1

    def _launch(self, message: dict[str, Any], channel: socket, descriptors: list[int]) -> None:
        if self._spare is not None:
            _pid, _pidfd, requests = self._spare
            self._spare = None
            try:
                send(requests, message, [channel.fileno(), *descriptors])
            except OSError:  # somebody killed it
                requests.close()
            else:
                requests.close()
                channel.close()
                close_all(descriptors)
                return
        pid, pidfd = self._fork(channel, descriptors)
        if pid == 0:
            syscalls.close_except([channel.fileno(), self._owner, *descriptors])
            process.prepare()
            _exit_after(self._monitor, message, channel, descriptors)
        if pid < 0:
            return
        channel.close()
        close_all(descriptors)
        self._adopt(pid, pidfd, None)

    def _work(self, message: dict[str, Any], channel: socket, descriptors: list[int]) -> None:
        """A program beside the containers, in the same user namespace, that dies with this process."""
        pid, pidfd = self._fork(channel, descriptors)
        if pid == 0:
            _exit_after(_become, message, descriptors)
        if pid < 0:
            return
        close_all(descriptors)
        send(channel, {"kind": "started", "pid": pid})
        self._adopt(pid, pidfd, channel)

    def _adopt(self, pid: int, pidfd: int, channel: socket | None) -> None:
        self._children[pidfd] = (pid, channel)
        self._poll.register(pidfd, select.POLLIN)


def _exit_after(function: Any, *arguments: Any) -> None:
    """Run a forked child's function and never come back into the server's loop."""
    status = 1
    try:
        function(*arguments)
        status = 0
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
    """Become root of a user namespace whose ids the engine maps, with a mount namespace of its own.

    Raises
    ------
    OSError
        From unshare(2), which the engine explains.
    """
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    send(channel, {"kind": "map"})
    message, _ = receive(channel)
    if message is None:
        os._exit(1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if message["setgroups"]:
        os.setgroups([])
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounting.mount(None, b"/", None, mounting.MS_SLAVE | mounting.MS_REC)


def main(descriptor: int, mode: str) -> None:
    """The process's entry point."""
    syscalls.prctl(syscalls.PR_SET_NAME, b"jc-spawner")
    reset_signals()
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    channel = socket(AF_UNIX, SOCK_SEQPACKET, 0, descriptor)
    os.set_inheritable(descriptor, False)
    owner = os.pidfd_open(os.getppid())
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
    ForkServer(channel, owner).serve()
