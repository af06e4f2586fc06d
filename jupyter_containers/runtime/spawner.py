"""The engine's side of the spawner: starts the small process when it is first needed, and has it start containers.

A kernel has many threads and much memory: it must never fork, unshare or setns itself. The small process does, and it
is started as a program of its own (``vfork`` and ``execve``), so it inherits neither.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self, cast

from jupyter_containers.errors import StartFailed, Unsupported
from jupyter_containers.runtime import failures, idmap, wire
from jupyter_containers.runtime.handle import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jupyter_containers.runtime.idmap import IdMap
    from jupyter_containers.runtime.protocol import LaunchRequest

_PATIENCE = 30.0
_SEAL_ATTEMPTS = 20

# The package's own __init__ would import what the small process has no use for, so an empty package stands for it.
_BOOTSTRAP = """\
import sys
from types import ModuleType
package = ModuleType("jupyter_containers")
package.__path__ = [sys.argv[1]]
sys.modules["jupyter_containers"] = package
from jupyter_containers.monitor.forkserver import main
main(int(sys.argv[2]), sys.argv[3])
"""


class Worker:
    """A program in the spawner's namespaces, that ends with the spawner.

    Attributes
    ----------
    pid
        Its pid as this process sees it.
    """

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self._channel = channel
        self.pid = pid

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit status, negative for a signal; None if it still runs after ``timeout`` seconds or is not known."""
        self._channel.settimeout(timeout)
        try:
            message, _ = wire.receive(self._channel)
        except TimeoutError:
            return None
        return message["status"] if message else None

    def close(self) -> None:
        """Let go of it; it goes on until it ends by itself."""
        self._channel.close()


class Spawner:
    """Starts containers by a small process of its own. Thread-safe; closing it ends the small process.

    Containers that were not detached are killed when this process ends, not when the spawner is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._errors = -1
        self._pid = 0
        self._id_map: IdMap | None = None

    @property
    def id_map(self) -> IdMap:
        """The ids containers can have, and why not more."""
        if self._id_map is None:
            self._id_map = idmap.choose()
        return self._id_map

    @property
    def pid(self) -> int:
        """Of the small process; 0 while it was not needed."""
        return self._process.pid if self._process else 0

    # -- the small process ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the small process, if it does not run.

        Raises
        ------
        StartFailed
            It cannot be started, or this user may not have a user namespace.
        Unsupported
            There is no Python interpreter to start it with.
        """
        with self._lock:
            self._running_channel()

    def _running_channel(self) -> socket.socket:
        if self._pid not in {0, os.getpid()}:  # a fork of the engine's process: the spawner is not its own
            self._forget()
        if self._process is not None and self._process.poll() is not None:
            self._forget()
        if self._channel is None:
            self._channel = self._spawn()
        return self._channel

    def _spawn(self) -> socket.socket:
        if not sys.executable:
            raise Unsupported("the path of the Python interpreter is not known (sys.executable is empty)")
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = os.memfd_create("spawner-errors", os.MFD_CLOEXEC)
        interpreter = sealed_copy(sys.executable)
        mode = "host" if self.id_map.kind == "host" else "user"
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        command = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, package, str(far.fileno()), mode]
        try:
            self._process = subprocess.Popen(
                command,
                executable=f"/proc/self/fd/{interpreter}",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(far.fileno(), interpreter),
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            near.close()
            raise StartFailed(
                f"the spawner cannot be started: {error}", step="spawner", errno=error.errno or 0
            ) from error
        finally:
            far.close()
            os.close(interpreter)
        self._pid = os.getpid()
        try:
            self._greet(near)
        except BaseException:
            near.close()
            self._process.kill()
            self._process.wait()
            self._forget()
            raise
        return near

    def _greet(self, channel: socket.socket) -> None:
        """Wait until the small process is ready, mapping its ids on the way."""
        channel.settimeout(_PATIENCE)
        while True:
            try:
                message, _ = wire.receive(channel)
            except TimeoutError:
                raise StartFailed(f"the spawner did not answer within {_PATIENCE:.0f} s", step="spawner") from None
            if message is None:
                raise StartFailed(f"the spawner ended: {self._last_error()}", step="spawner")
            if message["kind"] == "failed":
                raise failures.no_user_namespace(message["errno"], message["detail"])
            if message["kind"] == "ready":
                channel.settimeout(None)
                return
            assert self._process is not None
            idmap.write(self.id_map, self._process.pid)
            wire.send(channel, {"kind": "mapped", "setgroups": self.id_map.kind != "single"})

    def _last_error(self) -> str:
        with os.fdopen(os.dup(self._errors), "rb") as file:
            file.seek(0)
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no reason is known"

    def _forget(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1
        self._process = None
        self._pid = 0

    def close(self) -> None:
        """End the small process. Containers go on; detached ones also beyond the end of this process."""
        with self._lock:
            process = self._process
            own = self._pid == os.getpid()
            self._forget()
        if process is not None and own:
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- requests ------------------------------------------------------------------------------------------------

    def _ask(self, message: dict[str, Any], descriptors: Sequence[int]) -> socket.socket:
        """Send a request, together with one end of a channel for the answers; returns the other end."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            for last in (False, True):
                with self._lock:
                    channel = self._running_channel()
                    try:
                        wire.send(channel, message, [far.fileno(), *descriptors])
                        break
                    except (BrokenPipeError, ConnectionResetError):
                        self._forget()  # it was killed: one more is started
                        if last:
                            raise StartFailed("the spawner ends again and again", step="spawner") from None
        except BaseException:
            near.close()
            raise
        finally:
            far.close()
        return near

    def launch(
        self,
        request: LaunchRequest,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        *,
        created: Callable[[int], None] | None = None,
    ) -> Process:
        """Start a container and wait until its program runs.

        Parameters
        ----------
        request
            What to start.
        stdin, stdout, stderr
            Descriptors of this process; they are copied and may be closed afterwards. None: no client there.
        created
            With ``request["hold"]``: called with the pid of init before it does anything in its namespaces.

        Raises
        ------
        StartFailed
            Or its kinds CommandNotFound and CommandNotExecutable.
        """
        stdio = (stdin, stdout, stderr)
        present = [descriptor is not None and descriptor >= 0 for descriptor in stdio]
        descriptors = [descriptor for descriptor in stdio if descriptor is not None and descriptor >= 0]
        message = {"kind": "launch", "request": cast("dict[str, Any]", request), "stdio": present}
        for last in (False, True):
            process = Process(self._ask(message, descriptors))
            try:
                process.await_start(created)
            except BaseException as error:
                process.close()
                # A spawner that was killed with the request in its queue has started nothing.
                if not last and isinstance(error, StartFailed) and error.step == "monitor" and self._is_dead():
                    continue
                raise
            return process
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _is_dead(self) -> bool:
        """Whether the small process has ended."""
        with self._lock:
            return self._process is None or self._process.poll() is not None

    def start_worker(
        self, argv: Sequence[str], descriptors: Mapping[int, int], env: Mapping[str, str] | None = None
    ) -> Worker:
        """Run a program in the spawner's namespaces: as root of the user namespace where there is one.

        Parameters
        ----------
        argv
            The program, an absolute path, and its arguments.
        descriptors
            Number in the program -> descriptor of this process, which is copied.
        env
            Its environment; None: that of this process.

        Raises
        ------
        StartFailed
            The process cannot be made. A program that cannot be executed shows in :meth:`Worker.wait`.
        """
        message = {
            "kind": "work",
            "argv": list(argv),
            "numbers": list(descriptors),
            "env": dict(os.environ if env is None else env),
        }
        channel = self._ask(message, list(descriptors.values()))
        answer, _ = wire.receive(channel)
        if answer is None or answer["kind"] != "started":
            channel.close()
            detail = answer["detail"] if answer else "the spawner ended"
            raise StartFailed(f"a worker cannot be started: {detail}", step="worker")
        return Worker(channel, answer["pid"])


def sealed_copy(program: str) -> int:
    """An executable copy of a program in memory that nobody can change.

    A container that gets hold of a descriptor of the interpreter (through /proc/<pid>/exe of a process that enters it)
    and keeps it could otherwise overwrite the program for its owner: the class of CVE-2019-5736.
    """
    executable = getattr(os, "MFD_EXEC", 0x10)
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        copy = os.memfd_create("python", flags | executable)
    except OSError:  # a kernel before 6.3 does not know MFD_EXEC, and needs none
        copy = os.memfd_create("python", flags)
    try:
        with open(program, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            sent = 0
            while sent < size:
                sent += os.sendfile(copy, source.fileno(), sent, size - sent)
        import fcntl  # noqa: PLC0415 - Linux only, and this module is imported elsewhere too

        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        for attempt in range(_SEAL_ATTEMPTS):
            try:
                fcntl.fcntl(copy, fcntl.F_ADD_SEALS, seals)
                break
            except OSError as error:
                # The kernel may still hold pages of the copy (fcntl(2), EBUSY); it has waited for them already.
                if error.errno != errno.EBUSY or attempt == _SEAL_ATTEMPTS - 1:
                    raise
    except BaseException:
        os.close(copy)
        raise
    return copy
