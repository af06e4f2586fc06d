"""The last part of a start, the same for a container's init and for an exec: from inside the file tree to execve."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
import fcntl
import os
import resource
import stat
from _socket import MSG_DONTWAIT
from errno import EINVAL, ENOENT, EPERM

from jupyter_containers.linux import cgroups, syscalls
from jupyter_containers.runtime import credentials, plan, program, reaper
from jupyter_containers.runtime.identity import Identity, UnknownUserError, resolve
from jupyter_containers.runtime.rootfs import MountError
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, NoReturn

    from jupyter_containers.oci.runtime_spec import Process

SIGKILL = 9
_DEFAULT_UMASK = 0o022
_LARGEST_FILE = 4 << 20
_CHUNK = 1 << 16
_TIOCSCTTY = 0x540E
_TIOCSWINSZ = 0x5414
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_SIGNALS = 65

RLIMITS = {name: value for name, value in vars(resource).items() if name.startswith("RLIMIT_")} | {
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}


class OrphanedError(Exception):
    """The monitor is gone; nobody is to be told."""


class Start:
    """A start in progress: which step it is in, and what the steps share.

    Attributes
    ----------
    step
        Name of the step being done: what a failure names.
    stdio
        Descriptors for standard input, output and error; replaced by a terminal's where one is asked for.
    needed
        Other descriptors the steps need.
    tasks
        Those by which it enters its cgroups.
    master
        The terminal's controlling side, to be handed to the monitor, or -1.
    permission
        The message that let it go on.
    labels
        The host's /proc/self/attr, where the process is to have a security label.
    kept
        How many descriptors from 3 on the program inherits; they are open.
    """

    def __init__(self, request: dict[str, Any], process: Process, stdio: list[int], sync: socket) -> None:
        self.step = "start"
        self.request = request
        self.process = process
        self.stdio = stdio
        self.sync = sync
        self.master = -1
        self.permission: dict[str, Any] = {}
        self.kept = 0
        self.labels = -1
        self.identity = Identity(0, 0, [], "/")
        self.stubs: list[str] = []
        self.needed: list[int] = []
        self.tasks: list[int] = []

    # -- steps ---------------------------------------------------------------------------------------------------

    def bind_to_parent(self) -> None:
        """Die with the monitor; be a session of its own."""
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGKILL)
        # without the monitor's own end of the socket, its end shows here even if it died before the line above
        syscalls.close_except([*self.stdio, self.sync.fileno(), *self.needed, *self.tasks])
        os.setsid()
        credentials.leave_keyring()
        os.umask(_DEFAULT_UMASK)

    def enter_cgroups(self) -> None:
        """Those of version 1; into that of version 2 it was born."""
        cgroups.enter(self.tasks)

    def await_permission(self) -> None:
        """Wait until the monitor has done its part: id maps."""
        message, _ = receive(self.sync)
        if message is None:
            raise OrphanedError
        self.permission = message

    def reach_labels(self) -> None:
        """Keep hold of the host's /proc where the next program gets a security label."""
        if self.process.get("apparmorProfile") or self.process.get("selinuxLabel"):
            self.labels = os.open("/proc/self/attr", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def limits(self) -> None:
        """Resource limits, and what is rarely asked for: scheduling, security labels."""
        for number, soft, hard in plan.rlimits({"process": self.process}, RLIMITS):
            try:
                resource.setrlimit(number, (soft, hard))
            except (ValueError, PermissionError):
                name = next(name for name, value in RLIMITS.items() if value == number)
                have = resource.getrlimit(number)[1]
                raise MountError(f"{name}={soft}:{hard} is above the hard limit {have} of this user", 1) from None
        if not plan.RARE_PROCESS.isdisjoint(self.process):
            from jupyter_containers.runtime.attributes import apply_process  # noqa: PLC0415 - rare fields

            apply_process(self.process, self.labels)

    def lookup_user(self) -> None:
        """Who to be: names from the container's own files."""
        user = self.request.get("user")
        groups = self.request.get("groups") or []
        spec_user = self.process.get("user", {})
        named = user is not None or "user" not in self.process  # by whom Docker calls a user, not by a specification
        if user is None:
            user = (
                f"{spec_user.get('uid', 0)}:{spec_user['gid']}" if "gid" in spec_user else str(spec_user.get("uid", 0))
            )
        self.identity = resolve(user, groups, read_text("/etc/passwd"), read_text("/etc/group"))
        if named and self.identity.gid not in self.identity.groups:
            # As Docker since CVE-2022-36109: a set-group-id program must not get rid of a group that is kept out.
            self.identity.groups.insert(0, self.identity.gid)
        if not self.setgroups and not groups:
            self.identity.groups.clear()  # with a single mapped id nobody can have others; asking for them is an error
        self.identity.groups += [gid for gid in spec_user.get("additionalGids", []) if gid not in self.identity.groups]

    def working_directory(self) -> None:
        """Make the working directory if it is missing; entered once the user is the right one."""
        os.makedirs(self.process.get("cwd") or "/", exist_ok=True)

    def open_terminal(self, opener: Callable[[str, int], int]) -> int:
        """Take a terminal from the container's devpts; its user's side becomes standard input, output and error.

        Returns the descriptor of that side.
        """
        master = opener("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(master, _TIOCSPTLCK, bytes(4))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        size = self.process.get("consoleSize")
        if size and size["height"] and size["width"]:
            rows, columns = size["height"], size["width"]
            fcntl.ioctl(master, _TIOCSWINSZ, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))
        self.master = master
        self.stdio = [slave, slave, slave]
        return slave

    def connect_stdio(self) -> None:
        """Put the standard descriptors in place; pipes and terminals made for the container belong to its user."""
        if self.master >= 0:
            fcntl.ioctl(self.stdio[0], _TIOCSCTTY, 0)
        if not self.request.get("direct"):
            for descriptor in set(self.stdio):
                self._give(descriptor)
        for number, descriptor in enumerate(self.stdio):
            os.dup2(descriptor, number)

    def _give(self, descriptor: int) -> None:
        info = os.fstat(descriptor)
        made_for_it = stat.S_ISFIFO(info.st_mode) or (self.master >= 0 and stat.S_ISCHR(info.st_mode))
        if made_for_it and info.st_uid != self.identity.uid:
            try:
                os.fchown(descriptor, self.identity.uid, -1)
            except OSError as error:
                # a user that is not mapped, as the next step will say; or a pipe of one that is not mapped, which
                # the process can use all the same, though not open again as /dev/stdout
                if error.errno not in {EINVAL, EPERM}:
                    raise

    def become(self) -> None:
        """Change the user; die with the monitor still."""
        credentials.become(self.process, self.identity, setgroups=self.setgroups)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGKILL)
        place = self.process.get("cwd") or "/"
        try:
            os.chdir(place)
        except FileNotFoundError:
            raise MountError(f"the working directory {place} does not exist", ENOENT) from None
        os.umask(self.process.get("user", {}).get("umask", _DEFAULT_UMASK))

    def listen(self) -> None:
        """Where an agent is asked about system calls: load the filter, and wait until the agent has it."""
        if "seccomp_agent" not in self.request:
            return
        request = self.request
        listener = credentials.load_filter(self.process, self.identity, request["seccomp"], request["seccomp_flags"])
        send(self.sync, {"kind": "listener"}, [listener])
        os.close(listener)
        message, _ = receive(self.sync)
        if message is None:
            raise OrphanedError

    def announce(self) -> None:
        """Tell the monitor that all is done but the program itself, and see that it lives."""
        send(self.sync, {"kind": "mounted", "stubs": self.stubs}, [self.master] if self.master >= 0 else [])
        if self.master >= 0:
            os.close(self.master)
        try:
            message, _ = receive(self.sync, MSG_DONTWAIT)
        except BlockingIOError:
            return
        if message is None:
            raise OrphanedError

    def filter(self) -> bytes:
        """The filter that is still to be loaded; empty for none."""
        return b"" if "seccomp_agent" in self.request else self.request.get("seccomp") or b""

    def restrict(self) -> None:
        """Filter and capabilities, and what comes before them."""
        self.detach()
        credentials.restrict(self.process, self.identity, self.filter(), self.request.get("seccomp_flags", 0))

    def detach(self) -> None:
        """Signals as a new program expects them, and no descriptor left open.

        What this process remembers of its starter is closed to the container (ptrace(2), "dumpable"), which may see it
        in a pid namespace they share; execve gives the program its own.
        """
        reset_signals()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.close_range(3 + self.kept, flags=syscalls.CLOSE_RANGE_CLOEXEC)
        for descriptor in range(3, 3 + self.kept):
            os.set_inheritable(descriptor, True)

    def execute(self) -> None:
        """Become the program."""
        env = list(self.process.get("env", []))
        if not any(entry.startswith("HOME=") for entry in env):
            env.append(f"HOME={self.identity.home}")
        if self.request.get("init"):
            reaper.stand_by()
        program.execute(self.process["args"], env)

    #: read before the root changes: /proc may not be there in the container
    setgroups = True

    # -- running them --------------------------------------------------------------------------------------------

    def run(self, steps: list[Callable[[], None]]) -> NoReturn:
        """Do the steps in order; the last one never returns. A failure is sent to the monitor."""
        try:
            for step in steps:
                self.step = step.__name__.strip("_").replace("_", " ")
                step()
        except OrphanedError:
            pass
        except BaseException as error:  # noqa: BLE001 - the boundary of this process: nothing may get past it
            self._report(error)
        os._exit(127)

    def _report(self, error: BaseException) -> None:
        try:
            self.tell(self._failure(error))
        except OSError:
            os._exit(126)  # the monitor is gone: nobody to tell

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to whoever started this process. Raises :exc:`OSError` when nobody listens any more."""
        send(self.sync, message)

    def _failure(self, error: BaseException) -> dict[str, Any]:
        message = {"kind": "failed", "what": "failed", "step": self.step, "errno": getattr(error, "errno", 0) or 0}
        if isinstance(error, program.ProgramError):
            message["what"] = "command-not-executable" if error.found else "command-not-found"
            message["detail"] = error.detail
        elif isinstance(error, OSError):
            name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
            message["detail"] = f"{error.strerror}{name}"
        elif isinstance(error, (MountError, UnknownUserError, plan.SpecError, credentials.CredentialError)):
            message["detail"] = str(error)
        else:
            message["detail"] = f"{type(error).__name__}: {error}"
        return message


def reset_signals() -> None:
    """Default dispositions and an empty mask: a program inherits what Python and its starter ignore."""
    for number in range(1, _SIGNALS):
        if number in {SIGKILL, 19}:  # SIGSTOP
            continue
        if number in {32, 33}:  # the C library's, which Python leaves alone: an execve passes on that they are ignored
            syscalls.default_action(number)
        elif _signal.getsignal(number) is not _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def read_text(path: str) -> str:
    """A small text file of the container, or nothing; never blocks on a pipe an image put in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        parts = []
        while part := os.read(descriptor, _CHUNK):
            parts.append(part)
            if sum(map(len, parts)) > _LARGEST_FILE:
                break
        return b"".join(parts).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
