"""The monitor of one container: starts it, stays beside it, and writes down how it ended.

It is forked by the fork server and is alone in its process. Whatever ends it (a kill -9 too) ends the container, which
asks the kernel for that (PR_SET_PDEATHSIG). With a restart policy it starts the container again, from the same request.
"""

from __future__ import annotations

import fcntl
import os
from _socket import socket

from jupyter_containers.monitor import control, rest
from jupyter_containers.monitor.books import Books, remove
from jupyter_containers.monitor.control import failure
from jupyter_containers.monitor.execs import Execs
from jupyter_containers.monitor.job import Job
from jupyter_containers.monitor.log import Log
from jupyter_containers.monitor.loop import READ, Loop
from jupyter_containers.monitor.memory import Memory
from jupyter_containers.monitor.starter import Starter
from jupyter_containers.monitor.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.monitor.health import Health
    from jupyter_containers.monitor.restart import Restart
    from jupyter_containers.runtime.launch import Launch

_SIGKILL = 9
_FAILED_RESTART = {"command-not-found": 127, "command-not-executable": 126}


class Monitor:
    """See the module.

    Parameters
    ----------
    request
        A LaunchRequest.
    channel
        To the thread that asked for the start.
    clients
        Its descriptors for the container's input, output and errors; -1 for none.
    owner
        A pidfd of its process.
    boot_id
        Of the running kernel, for the record.
    waiting
        A process of the container's kind that waits for a request, or None.
    """

    def __init__(
        self,
        request: dict[str, Any],
        channel: socket,
        clients: list[int],
        owner: int,
        boot_id: str,
        waiting: Launch | None = None,
    ) -> None:
        self.request: Any = request
        self.loop = Loop()
        self.connections: set[control.Connection] = set()
        self.cgroup: CgroupPlan | None = request.get("cgroup")
        self.state_dir: str = request.get("state_dir") or ""
        self.stopped = self.paused = self.restart_anyway = False
        self.execs = Execs(self)
        self.books = Books(request, boot_id)
        self.memory = Memory(self, request.get("memory_watch") or 0)
        self._run_dir: str = request.get("run_dir") or ""
        self._hold = -1
        self._detached = bool(request.get("detach"))
        self._owner_dead = self._restarting = False
        self._listener: socket | None = None
        log_options = request.get("log")
        self.log = Log(log_options) if log_options else None
        self.job = self._new_job()
        self.starter = Starter(request, waiting)
        self._teardown = Teardown(self)
        self._clients = clients
        self._owner = control.Connection(self, channel, lost=self._owner_died)
        self._owner.took_input(clients[0])
        self.job.watchers.append(self._owner)
        if not self._detached and owner >= 0:
            self.loop.watch(owner, READ, self._owner_died)
        self._owner_pidfd = owner
        self.restart: Restart | None = None
        self.set_restart(request.get("restart"))
        self._health: Health | None = None

    def _new_job(self) -> Job:
        job = Job(self.loop, self.log, self.state_dir, self._ended)
        job.on_running = self._running
        if self.request.get("watch"):
            job.on_stage, job.executed = self._halted, self._executed
        return job

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything up to the container's program, as far as the monitor does it. The rest happens in the loop."""
        try:
            self._take_hold()
            self.starter.prepare()
            self._begin(self._clients)
        except OSError as error:
            self._give_up(error)

    def _take_hold(self) -> None:
        """Have the next start of this container wait until nothing of this one is left (``lifecycle.await_monitor``).

        A record says so too, but there is none before its program runs.
        """
        if self.state_dir:
            self._hold = os.open(self.state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._hold, fcntl.LOCK_SH)

    def let_go(self) -> None:
        """Nothing of the container is left."""
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1

    def _begin(self, clients: list[int]) -> None:
        """Make the container's process, and be there for others."""
        request = self.request
        stdio = self.job.connect(request, clients, terminal=bool(request["spec"]["process"].get("terminal")))
        if self.starter.begin(self.job, stdio, self._open_to_others):
            self._owner.tell({"kind": "created", "pid": self.job.pid, "start_time": self.job.start_time})

    def _give_up(self, error: OSError) -> None:
        """The monitor's part of the start failed: kill what there is and say so."""
        name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        told = failure(self.starter.step, error.errno or 0, f"{error.strerror}{name}")
        if not self.job.pid:
            self.starter.abandon()
        self.job.abort({**told, "what": getattr(error, "what", "failed")})

    def _open_to_others(self) -> None:
        """Take requests from other processes, and say that this one exists."""
        if self._listener is not None:  # it is started again
            return
        self.books.begins()
        if self._run_dir:
            self._listener = control.listen(self._run_dir)
            self.loop.watch(self._listener.fileno(), READ, self._accept)

    def _running(self) -> None:
        """The container's program runs."""
        job = self.job
        self._restarting = False  # what the record says until the next lines replace it
        if self.request.get("health"):
            from jupyter_containers.monitor.health import Health  # noqa: PLC0415 - for those that have a check

            self._health = Health(self, self.request["health"])
        try:
            self._write_record()
        except OSError as error:  # nobody would find it
            job.abort(failure("record", error.errno or 0, error.strerror or ""))
            return
        self.memory.begins()
        self.loop.after("rest", rest.AFTER, rest.give_back)
        self.books.event("start")
        told = control.started(job)
        if self.request.get("watch"):
            told["steps"] = self.starter.steps()
        for connection in job.watchers:
            connection.tell(told)

    def _halted(self, message: dict[str, Any]) -> None:
        """A stepped start waits after a stage until its owner says that it may go on."""
        self._owner.tell({**message, "pid": self.job.pid, "steps": self.starter.steps()})

    def _executed(self) -> bool:
        """Whether a watched start came to the last of its steps."""
        return any(name == "execute" for _whose, name, *_ in self.starter.steps())

    def keep_record(self) -> None:
        """Write down what is true of the container now; on a full disk what was true before stays."""
        try:
            self._write_record()
        except OSError:
            return

    def _write_record(self) -> None:
        self.books.runs(
            {"pid": self.job.pid, "start_time": self.job.start_time},
            self.job.started_at,
            paused=self.paused,
            restarting=self._restarting,
            restarts=self.restart.count if self.restart else 0,
            last=self.job.status,
            health=self._health.state() if self._health else None,
        )

    def set_restart(self, policy: dict[str, Any] | None) -> None:
        """Follow another restart policy from now on."""
        count = self.restart.count if self.restart else 0
        self.restart = None
        checked = (self.request.get("health") or {}).get("on_failure") == "restart"
        if checked or (policy and policy["name"] != "no"):
            from jupyter_containers.monitor.restart import Restart  # noqa: PLC0415 - few containers have one

            self.restart = Restart(policy or {"name": "no"}, count)

    # -- while it runs -------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            descriptor = control.accept(self._listener)
        except BlockingIOError:
            return
        channel = socket(fileno=descriptor)
        channel.setblocking(True)
        control.Connection(self, channel)

    def execute(self, request: dict[str, Any], clients: list[int], connection: control.Connection) -> Job:
        """Start another process in the container."""
        return self.execs.start(request, clients, self._announce, watcher=connection)

    def why_no_exec(self) -> str:
        """Why no process can be started in the container now; empty if one can."""
        if self._restarting:
            return "the container is restarting: wait until it runs"
        if self.paused:
            return "the container is paused: unpause it first"
        return "" if self.job.running and self.job.status is None else "the container is not running"

    def signal(self, number: int, *, final: bool = False) -> None:
        """Send a signal to the container. ``final``: it is to end by it, and no policy starts it again."""
        if final:
            self.stopped = True
        if self._restarting and self.job.status is not None:
            if final:
                self._give_up_restart()
            return
        self.job.signal(number)
        if self.paused and (final or number == _SIGKILL):  # a frozen process takes no signal
            self.pause(paused=False)

    def pause(self, *, paused: bool) -> None:
        """Stop all processes where they are, or let them go on."""
        from jupyter_containers.monitor import freezer  # noqa: PLC0415 - seldom asked for

        roots = [self.job.pid, *(job.pid for job in self.execs.running)]
        (freezer.pause if paused else freezer.resume)(self.cgroup, roots)
        self.paused = paused
        if self.job.status is None:
            self.keep_record()

    def update(self, message: dict[str, Any]) -> None:
        """Take over what was changed of a running container's settings."""
        if "restart" in message:
            self.set_restart(message["restart"])
        if "memory_watch" in message:
            self.memory.limit(message["memory_watch"])
        if self.cgroup and message.get("cgroup"):
            self._change_limits(self.cgroup, message)
        if "interfaces" in message and not self.starter.network_kept:
            self.request["interfaces"] = message["interfaces"]
        self.books.describe(message)

    def _change_limits(self, cgroup: CgroupPlan, message: dict[str, Any]) -> None:
        """Have the next run limited as this one is now, and what was made for it removed."""
        from jupyter_containers.linux import cgroup_changes  # noqa: PLC0415 - seldom asked for

        self.cgroup = self.request["cgroup"] = cgroup_changes.merged(cgroup, message["cgroup"])
        self.request["spec"]["linux"].setdefault("resources", {}).update(message.get("resources", {}))

    def untie(self) -> None:
        """Go on without the process that started the container: its user has detached from it."""
        self._detached = True
        if self._owner_pidfd >= 0:
            self.loop.forget(self._owner_pidfd)

    def _announce(self, job: Job, *, final: bool = False) -> None:
        """Tell everybody who watches a process how it ended, or why it did not start.

        ``final``: this process will end too, as soon as it has taken down what is left.
        """
        message = job.failure or {"kind": "exited", "status": job.status}
        message["final"] = final
        if job.failure and self.request.get("watch"):
            message["steps"] = self.starter.steps()
        for connection in job.watchers:
            connection.tell(message)

    def _owner_died(self) -> None:
        if self._owner_pidfd >= 0:
            self.loop.forget(self._owner_pidfd)
        stepped = self.request.get("watch", {}).get("hold") and not self.job.running
        held = stepped or (self.request.get("hold") and not self.job.released)
        if self._detached and not held:
            return
        self._owner_dead = True
        self.job.signal(_SIGKILL)

    # -- end -----------------------------------------------------------------------------------------------------

    def _ended(self, job: Job) -> None:
        """The container's process was reaped: note what it used, and start it again or take down what it left."""
        status = job.status
        assert status is not None
        if self._health:
            self._health.stop()
        if self.paused:  # killed while it was being paused: the next run may get the same cgroup
            from jupyter_containers.monitor import freezer  # noqa: PLC0415 - seldom asked for

            freezer.resume(self.cgroup, ())
            self.paused = False
        self.memory.account(status)
        self._teardown.kill_children()
        if self.starter.take_back():
            self._teardown.kill_children()
        pause = self._next_start(job, status)
        status["stopped"], status["restarts"] = self.stopped, self.restart.count if self.restart else 0
        if not job.failure:
            self.books.event("die", exitCode=str(status["code"]), execDuration=str(_seconds(status)))
        if pause is None:
            self._finish(job, status)
        else:
            self._wait_to_restart(job, pause)

    def _next_start(self, job: Job, status: dict[str, Any]) -> float | None:
        """Seconds until the policy has the container started again; None if it does not."""
        anyway, self.restart_anyway = self.restart_anyway, False
        if self.restart is None or self.stopped or self._owner_dead:
            return None
        if job.failure:
            if self.restart.count:  # it ran before: how this start failed is its end
                status["code"] = _FAILED_RESTART.get(job.failure["what"], 128)
                status["cause"] = f"it could not be started again: {job.failure['step']}: {job.failure['detail']}"
            return None
        return self.restart.pause_after(status, anyway=anyway)

    def _wait_to_restart(self, job: Job, pause: float) -> None:
        self._restarting = True
        self.starter.let_mounts_go()
        self.keep_record()
        self._announce(job)
        job.watchers = []
        self.loop.after("restart", pause, self._start_again)

    def _start_again(self) -> None:
        self._health = None
        watchers = self.job.watchers  # those who came meanwhile wait for the next end
        self.job = self._new_job()
        self.job.watchers = watchers
        try:
            self.starter.begin_again()
            self._begin([-1, -1, -1])
        except OSError as error:
            self._give_up(error)

    def _give_up_restart(self) -> None:
        """It was stopped while it waited for its next start: how the last run ended is its end."""
        self.loop.cancel("restart")
        job = self.job
        assert job.status is not None
        job.status["stopped"] = True
        self._finish(job, job.status)

    def _finish(self, job: Job, status: dict[str, Any]) -> None:
        """Write the record, tell those who wait, leave nothing behind."""
        self._restarting = False
        if self.log:
            self.log.close()
            status["cause"] = status["cause"] or self.log.problem
        # Of one to be thrown away the owner hears it, and nobody else will ask.
        forgotten = self.request.get("throwaway") and not self._detached and not self._owner_dead
        if not forgotten and (not job.failure or status["restarts"]):
            self.books.ended(status)
        self._announce(job, final=True)
        self.starter.let_mounts_go()
        self._teardown.remove_cgroups(self.starter.cgroups())
        self._clean_run_dir()
        if not self._teardown.pending:
            self.let_go()

    def note(self, cause: str) -> None:
        """Add to the exit record, where there is one, what else there is to say."""
        status = self.job.status
        if status and not status["cause"] and not self.job.failure:
            status["cause"] = cause
            self.books.ended(status)

    def _clean_run_dir(self) -> None:
        if self._listener is not None:
            self.loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        if self._run_dir:
            remove(f"{self._run_dir}/{control.SOCKET_NAME}")
        self.books.close()
        self.starter.close()

    def finished(self) -> bool:
        """Whether nothing is left to do: all ended and every client has all of its output."""
        return (
            self.job.status is not None
            and not self._restarting
            and not self.execs.running
            and not self._teardown.pending
            and self._flushed()
        )

    def _flushed(self) -> bool:
        return not any(output.busy() for output in self.job.outputs.values())

    def close(self) -> None:
        """Let all clients go, once :meth:`finished`."""
        for connection in list(self.connections):
            connection.close()

    def reusable(self) -> bool:
        """Whether this process, once :meth:`close` was called, is as it was before it had a container."""
        request = self.request
        special = request.get("hold") or request.get("restart") or request.get("health") or request.get("watch")
        failed = self._owner_dead or self.job.failure
        return not (special or self._detached or failed) and self.starter.untouched


def _seconds(status: dict[str, Any]) -> int:
    return int((status["finished_at"] - status["started_at"]) // 1_000_000_000)
