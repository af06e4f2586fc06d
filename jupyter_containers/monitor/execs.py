"""The other processes in a running container, started by ``exec``, and what became of each."""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair

from jupyter_containers.linux import cgroups, namespaces, syscalls
from jupyter_containers.monitor import control
from jupyter_containers.monitor.job import Job
from jupyter_containers.runtime.join import Join
from jupyter_containers.runtime.wire import close_all, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.monitor.process import Monitor

_SIGKILL = 9
_REMEMBERED = 32
_NOT_RUNNING = {"kind": "refused", "detail": "the container is not running"}


class Execs:
    """See the module.

    Attributes
    ----------
    running
        The jobs that have not ended.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.running: list[Job] = []
        self._known: dict[str, tuple[dict[str, Any], Job]] = {}

    def start(
        self,
        request: dict[str, Any],
        clients: list[int],
        ended: Callable[[Job], None],
        *,
        log: Any = None,
        watcher: control.Connection | None = None,
    ) -> Job:
        """Start a process in the container; ``ended`` is called once, also when it could not be started.

        ``log`` takes its output (``write`` and ``end`` as a Log's); without one it has the clients' descriptors.
        """
        monitor = self._monitor
        container = monitor.job
        job = Job(monitor.loop, log, monitor.state_dir, lambda job: self._ended(job, container, ended))
        if watcher is not None:
            job.watchers.append(watcher)
        why = monitor.why_no_exec()
        if why:
            close_all(clients)
            return _fail(job, {"kind": "refused", "detail": why}, ended)
        job.on_running = lambda: self._running(job, request)
        terminal = bool(request["process"].get("terminal"))
        stdio = job.connect({"direct": log is None, **request}, clients, terminal=terminal)
        near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        unified, tasks = -1, []
        try:
            if monitor.cgroup:
                unified, tasks = cgroups.open_unified(monitor.cgroup), cgroups.open_tasks(monitor.cgroup)
            pid, pidfd = self._clone(container.pidfd, unified)
            if pid == 0:
                process = Join(request, container.pidfd, container.pid, stdio, far)
                process.tasks = tasks
                process.start()
        except OSError as error:
            near.close()
            return _fail(job, _NOT_RUNNING if _over(container) else _told(error), ended)
        finally:
            close_all([*stdio, unified, *tasks])
            far.close()
        self.running.append(job)
        self._remember(request, job)
        job.began(pid, pidfd, near, lambda: _go(near))
        job.go()
        return job

    def _clone(self, init: int, cgroup: int) -> tuple[int, int]:
        """Clone into the container's pid namespace and cgroup of version 2; ``init`` is a pidfd of its init."""
        if namespaces.in_user_namespace():
            from jupyter_containers.runtime import visit  # noqa: PLC0415 - not for root's

            return visit.clone_into(init, cgroup)
        self._monitor.starter.note_own_pid_namespace()
        syscalls.setns(init, syscalls.CLONE_NEWPID)
        return syscalls.clone(0, cgroup=cgroup)

    def _running(self, job: Job, request: dict[str, Any]) -> None:
        for watcher in job.watchers:
            watcher.tell(control.started(job))
        if request.get("exec_id"):
            self._tell("exec_start", request)

    def _ended(self, job: Job, container: Job, ended: Callable[[Job], None]) -> None:
        self.running.remove(job)
        if job.failure and job.failure["what"] == "failed" and _over(container):
            job.failure = dict(_NOT_RUNNING)  # what failed is a consequence
        request = next((request for request, known in self._known.values() if known is job), {})
        if request.get("exec_id") and job.status is not None and not job.failure:
            self._tell("exec_die", request, exitCode=str(job.status["code"]))
        ended(job)

    def _tell(self, action: str, request: dict[str, Any], **more: str) -> None:
        if action == "exec_start":
            action = f"exec_start: {' '.join(request['process']['args'])}"
        self._monitor.books.event(action, execID=request["exec_id"], **more)

    def _remember(self, request: dict[str, Any], job: Job) -> None:
        if not request.get("exec_id"):
            return
        self._known[request["exec_id"]] = request, job
        for identity, (_request, known) in list(self._known.items()):
            if len(self._known) <= _REMEMBERED:
                return
            if known.status is not None:
                del self._known[identity]

    def list(self) -> list[dict[str, Any]]:
        """What is known of each: of those that ended the last ones."""
        return [
            {
                "id": identity,
                "args": list(request["process"]["args"]),
                "user": request.get("user") or "",
                "terminal": bool(request["process"].get("terminal")),
                "running": job.status is None,
                "code": None if job.status is None else job.status["code"],
                "pid": job.pid if job.status is None else 0,
            }
            for identity, (request, job) in self._known.items()
        ]

    def kill(self) -> None:
        """Kill those that run."""
        for job in self.running:
            job.signal(_SIGKILL)


def _told(error: OSError) -> dict[str, Any]:
    """Why there is no process: a file of the cgroups, or the clone."""
    number, why = error.errno or 0, error.strerror or ""
    if error.filename:
        return control.failure("cgroup", number, f"{why} {error.filename}")
    return control.failure("join", number, f"cannot enter the container: {why}")


def _over(container: Job) -> bool:
    """Whether the container's process ends: none can be started beside it, and those that were are killed."""
    return container.status is not None or namespaces.exiting(container.pid)


def _fail(job: Job, failure: dict[str, Any], ended: Callable[[Job], None]) -> Job:
    """What becomes of a process that there is not."""
    job.discard()
    job.failure = dict(failure)
    ended(job)
    return job


def _go(sync: socket) -> None:
    """Let a process do its steps; one that died meanwhile shows at its pidfd."""
    try:
        send(sync, {"kind": "go"})
    except OSError:
        return
