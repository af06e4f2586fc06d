"""The engine's side of the spawner: starts the small process when it is first needed, and has it start containers.

A kernel has many threads and much memory: it must never fork, unshare or setns itself. The small process does, and it
is started as a program of its own (``vfork`` and ``execve``), so it inherits neither.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self, cast

from jupyter_containers.errors import StartFailed, Unsupported
from jupyter_containers.linux import namespaces
from jupyter_containers.runtime import ahead, failures, idmap, user_namespace, wire
from jupyter_containers.runtime.handle import Process
from jupyter_containers.runtime.seal import sealed_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jupyter_containers.runtime.ahead import Ahead
    from jupyter_containers.runtime.handle import StartWatcher
    from jupyter_containers.runtime.idmap import IdMap
    from jupyter_containers.runtime.protocol import LaunchRequest
    from jupyter_containers.runtime.user_namespace import UserNamespace

_PATIENCE = 30.0
_SIGKILL = 9

# The package's own __init__ would import what the small process has no use for, so an empty package stands for it.
_BOOTSTRAP = """\
import sys
from types import ModuleType
package = ModuleType("jupyter_containers")
package.__path__ = [sys.argv[1]]
sys.modules["jupyter_containers"] = package
from jupyter_containers.monitor.forkserver import main
main(int(sys.argv[2]), sys.argv[3], once=sys.argv[4] == "once")
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


class _Child:
    """The small process, for the process that started it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._lock = threading.Lock()
        self._ended = False

    def has_ended(self) -> bool:
        """Whether it has; then it is reaped."""
        with self._lock:
            return self._reap(os.WNOHANG)

    def wait(self) -> None:
        """Wait for its end."""
        with self._lock:
            self._reap(0)

    def kill(self) -> None:
        """End it."""
        with self._lock:
            if not self._reap(os.WNOHANG):
                os.kill(self.pid, _SIGKILL)
                self._reap(0)

    def _reap(self, options: int) -> bool:
        if not self._ended:
            try:
                self._ended = os.waitpid(self.pid, options)[0] != 0
            except ChildProcessError:  # somebody in this process waits for every child
                self._ended = True
        return self._ended


class Spawner:
    """Starts containers by a small process of its own. Thread-safe; closing it ends the small process.

    Containers that were not detached are killed when this process ends, not when the spawner is closed.

    Parameters
    ----------
    once
        No second container is expected: nothing is made ready for it.
    memory
        With ``once``, a file that tells from one process to the next what kind of container was asked for last: the
        next one is likely to be of that kind, and its start is begun before it is asked for.
    """

    def __init__(self, *, once: bool = False, memory: str = "") -> None:
        self._once = once
        self._memory = memory
        self._expected: Ahead | None = None
        self._lock = threading.Lock()
        self._process: _Child | None = None
        self._channel: socket.socket | None = None
        self._beginning: socket.socket | None = None
        self._errors = -1
        self._pid = 0
        self._id_map: IdMap | None = None
        self._shared: UserNamespace | None = None

    def share(self, shared: UserNamespace) -> None:
        """Have the small process be in the user namespace of others, where it needs one. Before it is first used."""
        self._shared = shared

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

    def reaches(self, pid: int) -> bool:
        """Whether a container's monitor is in the user namespace of this spawner, by the pid of its init."""
        if self.id_map.kind == "host":
            return True
        self.start()
        try:
            return user_namespace.same(namespaces.parent(pid), self.pid)
        except OSError:
            return False  # it has ended

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

    def begin(self) -> None:
        """Have the small process start while this one does something else. Raises as :meth:`start`."""
        with self._lock:
            if self._channel is None and self._beginning is None:
                self._beginning = self._spawn()
                if self._memory and self.id_map.kind == "host":  # others have to be told their namespace first
                    self._expect(self._beginning)

    def _expect(self, channel: socket.socket) -> None:
        self._expected = ahead.recall(self._memory)
        if self._expected is not None:
            with suppress(OSError):  # that it has ended shows when it is asked for something
                wire.send(channel, {"kind": "expect", "ahead": cast("dict[str, Any]", self._expected)})

    def _running_channel(self) -> socket.socket:
        if self._pid not in {0, os.getpid()}:  # a fork of the engine's process: the spawner is not its own
            self._forget()
        if self._process is not None and self._process.has_ended():
            self._forget()
        if self._channel is None:
            self._channel = self._greeted(self._beginning or self._spawn())
            self._beginning = None
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
        command.append("once" if self._once else "often")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._errors, 2),
            (os.POSIX_SPAWN_DUP2, far.fileno(), far.fileno()),  # it alone stays open, beside what others left open
        ]
        try:
            # vfork: nothing of this process is copied. The interpreter's descriptor closes when it is executed.
            pid = os.posix_spawn(f"/proc/self/fd/{interpreter}", command, os.environ, file_actions=actions, setsid=True)
        except OSError as error:
            near.close()
            raise StartFailed(
                f"the spawner cannot be started: {error}", step="spawner", errno=error.errno or 0
            ) from error
        finally:
            far.close()
            os.close(interpreter)
        self._process = _Child(pid)
        self._pid = os.getpid()
        return near

    def _greeted(self, near: socket.socket) -> socket.socket:
        """The channel of a process that was started, once it is ready; it is ended when it does not get there."""
        assert self._process is not None
        shared = self._shared if self.id_map.kind != "host" else None
        try:
            with shared.joining(self.id_map) if shared else nullcontext(-1) as namespace:
                self._greet(near, namespace)
                if shared:
                    shared.add(self._process.pid)
        except BaseException:
            near.close()
            self._process.kill()
            self._forget()
            raise
        return near

    def _greet(self, channel: socket.socket, namespace: int) -> None:
        """Wait until the small process is ready, telling it on the way which user namespace it is to be in."""
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
            if message["kind"] == "where":
                wire.send(channel, {"kind": "there"}, [namespace] if namespace >= 0 else [])
                continue
            assert self._process is not None
            idmap.write(self.id_map, self._process.pid)
            wire.send(channel, {"kind": "mapped"})

    def _last_error(self) -> str:
        with os.fdopen(os.dup(self._errors), "rb") as file:
            file.seek(0)
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no reason is known"

    def _forget(self) -> None:
        for channel in (self._channel, self._beginning):
            if channel is not None:
                channel.close()
        self._channel = self._beginning = None
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
                        if self._process is not None:
                            self._process.kill()  # it was killed already: reaped, and one more is started
                        self._forget()
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
        watcher: StartWatcher | None = None,
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
        watcher
            With ``request["watch"]``: told of its stages and steps.

        Raises
        ------
        StartFailed
            Or its kinds CommandNotFound and CommandNotExecutable.
        """
        stdio = (stdin, stdout, stderr)
        present = [descriptor is not None and descriptor >= 0 for descriptor in stdio]
        descriptors = [descriptor for descriptor in stdio if descriptor is not None and descriptor >= 0]
        kind = ahead.of(request)
        message = {
            "kind": "launch",
            "request": cast("dict[str, Any]", request),
            "ahead": cast("dict[str, Any]", kind),
            "stdio": present,
        }
        for last in (False, True):
            process = Process(self._ask(message, descriptors))
            try:
                process.await_start(created, watcher)
            except BaseException as error:
                process.close()
                # A spawner that was killed with the request in its queue has started nothing.
                if not last and isinstance(error, StartFailed) and error.step == "monitor" and self._is_dead():
                    continue
                raise
            if self._memory and kind["pooled"] and kind != self._expected:
                ahead.remember(self._memory, kind)
                self._expected = kind
            return process
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _is_dead(self) -> bool:
        """Whether the small process has ended, or is about to: then its end of the channel is closed."""
        with self._lock:
            if self._process is None or self._channel is None or self._process.has_ended():
                return True
            poll = select.poll()
            poll.register(self._channel.fileno(), select.POLLHUP)
            if not poll.poll(0):
                return False
            self._process.wait()
            return True

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
