"""What the making of a container's first process and of another one in it have in common."""

from __future__ import annotations

import fcntl
import os
from _signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
from errno import EACCES

from jupyter_containers.linux import syscalls
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from jupyter_containers.linux.cgroup_host import CgroupHost
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci_runtime.options import Options

_FORWARDED = (SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2)
_SIGNALLED = 128


class Conversation:
    """With a process that is starting; its failure is raised.

    Attributes
    ----------
    master
        The controlling side of its terminal, or -1.
    failed_step
        What it was doing when it failed.
    introduce
        Gives the listener of its filter to the agent that answers for it.
    """

    def __init__(self, channel: socket) -> None:
        self._channel = channel
        self.master = -1
        self.failed_step = ""
        self.introduce: Callable[[int], None] | None = None

    def go(self) -> None:
        """Let it do the next steps."""
        try:
            send(self._channel, {"kind": "go"})
        except BrokenPipeError:
            return  # it has ended, and next() says why

    def next(self) -> dict[str, Any] | None:
        """The next message; None once the program runs.

        Raises
        ------
        CommandError
            The process cannot become the program.
        """
        try:
            message, descriptors = receive(self._channel)
        except ConnectionResetError:
            return None
        if message is not None and message["kind"] == "listener":
            return self._introduce(descriptors[0])
        if descriptors:
            self.master = descriptors[0]
        if message is not None and message["kind"] == "failed":
            self.failed_step = message["step"]
            raise CommandError(explain(message))
        return message

    def _introduce(self, listener: int) -> dict[str, Any] | None:
        assert self.introduce is not None
        try:
            self.introduce(listener)
        except OSError as error:
            raise CommandError(error.strerror or str(error)) from None
        finally:
            os.close(listener)
        self.go()
        return self.next()

    def expect(self) -> dict[str, Any]:
        """The next message; :exc:`CommandError` where there is none as well."""
        message = self.next()
        if message is None:
            raise CommandError("unable to start container process: it ended unexpectedly")
        return message

    def close(self) -> None:
        """End it."""
        self._channel.close()


def explain(message: dict[str, Any]) -> str:
    """A failure that a starting process told, in runc's words where its callers look for them."""
    if message["what"] != "failed" or message["step"].endswith("hooks"):
        detail = message["detail"]
        # what Docker and Podman look for to tell the exit statuses 126 and 127 apart
        told = "" if message["errno"] != EACCES or "permission denied" in detail else ": permission denied"
        return f"unable to start container process: {detail}{told}"
    return f"unable to start container process: {message['step']}: {message['detail']}"


def check_console(options: Options, process: dict[str, Any], *, detached: bool) -> None:
    """Raise :exc:`CommandError` where a terminal would have nobody at its other end, or a socket no terminal."""
    wanted, path = bool(process.get("terminal")), options.value("console-socket")
    if path and not wanted:
        raise CommandError("cannot use console socket if the process has no terminal")
    if wanted and detached and not path:
        raise CommandError("cannot allocate tty if the process is detached without a console socket")
    if path:
        from jupyter_containers.oci_runtime import terminal  # noqa: PLC0415 - few have one

        terminal.check(path)


def preserved(options: Options, process: dict[str, Any]) -> int:
    """How many descriptors from 3 on the process inherits; those of socket activation count too, sd_listen_fds(3).

    Raises
    ------
    CommandError
        One of them is not open.
    """
    count = options.number("preserve-fds")
    sockets = os.environ.get("LISTEN_FDS", "")
    if sockets.isdigit() and int(sockets):
        count = max(count, int(sockets))
        process["env"] = [*process.get("env", []), f"LISTEN_FDS={sockets}", "LISTEN_PID=1"]
    for descriptor in range(3, 3 + count):
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:
            raise CommandError(f"--preserve-fds {count}: file descriptor {descriptor} is not open") from None
        os.set_inheritable(descriptor, False)  # hooks do not get them
    return count


def standard_descriptors(preserve: int) -> list[int]:
    """Copies of this command's own, above those that are preserved."""
    return [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3 + preserve) for number in range(3)]


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid in one step; nothing where there is no path."""
    if not path:
        return
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, str(pid).encode())
    finally:
        os.close(descriptor)
    os.rename(temporary, path)


def plan_cgroup(host: CgroupHost, name: str, resources: dict[str, Any], place: str) -> CgroupPlan | None:
    """The cgroups and limits. Raises :exc:`CommandError` for what cannot be had here."""
    from jupyter_containers.errors import EngineError  # noqa: PLC0415 - raised by the plan

    try:
        return host.plan(name, resources, place)  # type: ignore[arg-type]  # as config.json has them
    except EngineError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise CommandError(f"linux.resources: {error}{hint}") from None
    except ValueError as error:
        raise CommandError(f"linux.cgroupsPath: {error}") from None


def recorded(plan: CgroupPlan | None) -> dict[str, Any] | None:
    """What is kept of a plan: where the cgroups are."""
    return {"name": plan["name"], "dirs": plan["dirs"], "unified": plan["unified"], "writes": []} if plan else None


def pass_on_signals(pidfd: int) -> None:
    """From now on a signal that this command gets is the process's."""

    def forward(number: int, _frame: FrameType | None) -> None:
        try:
            syscalls.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return

    for number in _FORWARDED:
        signal(number, forward)


def attend(pidfd: int, pid: int, master: int) -> int:
    """Pass on a terminal until the process ends; its exit status, 128 + n for a signal."""
    if master >= 0:
        from jupyter_containers.oci_runtime.terminal import Relay  # noqa: PLC0415 - few have a terminal

        relay = Relay(master)
        try:
            while relay.turn(pidfd):
                continue
        finally:
            relay.close()
    _pid, status = os.waitpid(pid, 0)
    return _SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
