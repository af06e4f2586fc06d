"""The monitor of one container: starts it, stays beside it, and writes down how it ended.

It is forked by the fork server and is alone in its process. Whatever ends it (a kill -9 too) ends the container, which
asks the kernel for that (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import gc
import os
import stat
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from jupyter_containers.linux import cgroups, namespaces, netlink, syscalls
from jupyter_containers.monitor import control, record, watchdog
from jupyter_containers.monitor.job import Job
from jupyter_containers.monitor.log import Log
from jupyter_containers.monitor.loop import READ, Loop
from jupyter_containers.runtime import plan
from jupyter_containers.runtime.init import Init
from jupyter_containers.runtime.join import Join
from jupyter_containers.runtime.wire import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan

_SIGKILL = 9
_EBUSY = 16


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
    """

    def __init__(self, request: dict[str, Any], channel: socket, clients: list[int], owner: int, boot_id: str) -> None:
        self.request = request
        self.loop = Loop()
        self._boot_id = boot_id
        self._cgroup: CgroupPlan | None = request.get("cgroup")
        self._run_dir: str = request.get("run_dir") or ""
        self._state_dir: str = request.get("state_dir") or ""
        self._detached = bool(request.get("detach"))
        self._owner_dead = False
        self._over_limit = 0
        self._removing = False
        self._own_pid_namespace = -1
        self._listener: socket | None = None
        self._mountpoint = b""
        self._execs: list[Job] = []
        self._step = "configuration"
        log_options = request.get("log")
        self.log = Log(log_options) if log_options else None
        self.job = Job(self.loop, self.log, self._state_dir, self._ended)
        self.job.on_running = self._running
        self._namespaces = plan.validate(request["spec"])
        self._clients = clients
        self._owner = control.Connection(self, channel, lost=self._owner_died)
        self.job.watchers.append(self._owner)
        if not self._detached and owner >= 0:
            self.loop.watch(owner, READ, self._owner_died)
        self._owner_pidfd = owner

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything up to the container's program, as far as the monitor does it. The rest happens in the loop."""
        request = self.request
        if self._state_dir:
            _remove(f"{self._state_dir}/exit")  # of an earlier run of the same container
        if self._run_dir:
            self._listener = control.listen(self._run_dir)
            self.loop.watch(self._listener.fileno(), READ, self._accept)
        self._mountpoint = self._make_mountpoint()
        terminal = bool(request["spec"]["process"].get("terminal"))
        stdio = self.job.connect(request, self._clients, terminal=terminal)
        self._give_to_mapped_root(stdio)
        unified = -1
        if self._cgroup:
            self._step = "cgroup"
            cgroups.create(self._cgroup)
            unified = cgroups.open_unified(self._cgroup)
        if not self._namespaces.has("pid"):
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # to find what the container leaves running
        self._step = "namespaces"
        self._join_pid_namespace()
        pid, pidfd = syscalls.clone(self._namespaces.create, cgroup=unified)
        if pid == 0:
            Init(request, self._namespaces, stdio, self.job.far_sync, self._mountpoint).start()
        close_all([*stdio, unified])
        self.job.began(pid, pidfd)
        if self._cgroup:
            self._step = "cgroup"
            cgroups.attach(self._cgroup, pid, unified=False)
        self._step = "id maps"
        self._map_ids(pid)
        self._step = "network"
        for interface in request.get("interfaces") or []:
            netlink.transact([netlink.patch(data, offset, pid) for data, offset in interface["host"]])
        if request.get("hold"):
            self._owner.tell({"kind": "created", "pid": pid, "start_time": self.job.start_time})
        else:
            self.job.go()

    def _make_mountpoint(self) -> bytes:
        path = self.request["spec"].get("root", {}).get("path", "")
        if path:
            return os.fsencode(path)
        made = f"{self._run_dir}/rootfs"
        os.makedirs(made, 0o700, exist_ok=True)
        return os.fsencode(made)

    def _join_pid_namespace(self) -> None:
        for kind, path in self._namespaces.join:
            if kind == "pid":
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._enter_pid_namespace(descriptor)
                os.close(descriptor)

    def _enter_pid_namespace(self, descriptor: int) -> None:
        """Have children born in another pid namespace; :meth:`_leave_pid_namespace` takes it back."""
        if self._own_pid_namespace < 0:
            self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(descriptor, syscalls.CLONE_NEWPID)

    def _leave_pid_namespace(self) -> None:
        if self._own_pid_namespace >= 0:
            syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)

    def _give_to_mapped_root(self, stdio: list[int]) -> None:
        """Pipes belong to somebody the container knows, so that it can open /dev/stdout again."""
        linux = self.request["spec"].get("linux", {})
        ids = [
            next((each["hostID"] for each in linux.get(field, []) if each["containerID"] == 0), -1)
            for field in ("uidMappings", "gidMappings")
        ]
        if not self._namespaces.creates("user") or self.request.get("direct"):
            return
        for descriptor in stdio:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.fchown(descriptor, ids[0], ids[1])

    def _map_ids(self, pid: int) -> None:
        if self._namespaces.creates("user"):
            linux = self.request["spec"].get("linux", {})
            maps = [
                [(each["containerID"], each["hostID"], each["size"]) for each in linux.get(field, [])]
                for field in ("uidMappings", "gidMappings")
            ]
            namespaces.write_maps(pid, maps[0], maps[1])

    def _running(self) -> None:
        """The container's program runs."""
        job = self.job
        if self._run_dir:
            own = os.getpid()
            record.write(
                f"{self._run_dir}/monitor.json",
                {
                    "id": self.request["id"],
                    "monitor": {"pid": own, "start_time": namespaces.start_time(own)},
                    "init": {"pid": job.pid, "start_time": job.start_time},
                    "started_at": job.started_at,
                    "boot_id": self._boot_id,
                },
            )
        limit = self.request.get("memory_watch") or 0
        if limit:
            watchdog.Watchdog(self.loop, job, limit, self._too_much_memory)
        for connection in job.watchers:
            connection.tell(control.started(job))

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
        terminal = bool(request["process"].get("terminal"))
        job = Job(self.loop, None, self._state_dir, self._exec_ended)
        job.watchers.append(connection)
        job.on_running = lambda: connection.tell(control.started(job))
        if self.job.status is not None or not self.job.running:
            close_all(clients)
            connection.tell(_failure("join", 0, "the container is not running"))
            return job
        stdio = job.connect({"direct": True, **request}, clients, terminal=terminal)
        try:
            self._enter_pid_namespace(self.job.pidfd)
            pid, pidfd = syscalls.clone(0)
            if pid == 0:
                Join(request, self.job.pidfd, self.job.pid, stdio, job.far_sync).start()
        except OSError as error:
            connection.tell(_failure("join", error.errno or 0, f"cannot enter the container: {error.strerror}"))
            return job
        finally:
            close_all(stdio)
        self._execs.append(job)
        job.began(pid, pidfd)
        if self._cgroup:
            cgroups.attach(self._cgroup, pid)
        job.go()
        return job

    def _exec_ended(self, job: Job) -> None:
        self._execs.remove(job)
        self._announce(job)

    def _announce(self, job: Job) -> None:
        """Tell everybody who watches a process how it ended, or why it did not start."""
        message = {"kind": "failed", **job.failure} if job.failure else {"kind": "exited", "status": job.status}
        for connection in job.watchers:
            connection.tell(message)

    def _owner_died(self) -> None:
        if self._owner_pidfd >= 0:
            self.loop.forget(self._owner_pidfd)
        held = self.request.get("hold") and not self.job.released
        if self._detached and not held:
            return
        self._owner_dead = True
        self.job.signal(_SIGKILL)

    def _too_much_memory(self, used: int) -> None:
        self._over_limit = used
        self.job.signal(_SIGKILL)

    # -- end -----------------------------------------------------------------------------------------------------

    def _ended(self, job: Job) -> None:
        """The container's process was reaped: take down what it left, write the record, tell those who wait."""
        status = job.status
        assert status is not None
        if self._cgroup:
            self._account(self._cgroup, status)
        if self._over_limit:
            status["oom_killed"] = True
            limit = self.request["memory_watch"]
            status["cause"] = f"out of memory: used {self._over_limit >> 20} MiB, the limit is {limit >> 20} MiB"
        self._kill_children()
        if self.log:
            self.log.close()
            status["cause"] = status["cause"] or self.log.problem
        if self._cgroup:
            self._remove_cgroup(self._cgroup)
        if self._state_dir and not job.failure:
            self._keep(status)
        self._clean_run_dir()
        self._announce(job)
        if self.request.get("cleanup") and (self._detached or self._owner_dead):
            self._clean_up(self.request["cleanup"])

    def _keep(self, status: dict[str, Any]) -> None:
        """Write the exit record; where that fails, as on a full disk, those who wait are told all the same."""
        try:
            record.write(f"{self._state_dir}/exit", status)
        except OSError as error:
            status["cause"] = status["cause"] or f"exit record: {error.strerror}"

    def _account(self, cgroup: CgroupPlan, status: dict[str, Any]) -> None:
        stats = cgroups.stats(cgroup)
        usage = status["usage"]
        usage["cpu_user_ns"] = stats.get("cpu_user", usage.get("cpu_user_ns", 0))
        usage["cpu_system_ns"] = stats.get("cpu_system", usage.get("cpu_system_ns", 0))
        usage["memory_peak"] = stats.get("memory_peak", usage.get("memory_peak", 0))
        if cgroups.oom_kills(cgroup):
            status["oom_killed"] = True
            limit = stats.get("memory_limit")
            status["cause"] = f"out of memory (limit {limit >> 20} MiB)" if limit else "out of memory"

    def _kill_children(self) -> None:
        """What is still running of a container that shares a pid namespace; elsewhere the kernel has done it."""
        if self._namespaces.creates("pid"):
            return
        self._leave_pid_namespace()
        if self._cgroup:
            cgroups.kill(self._cgroup)
        execs = {job.pid for job in self._execs}
        for job in self._execs:
            job.signal(_SIGKILL)
        while True:
            with open(f"/proc/self/task/{os.getpid()}/children", "rb", buffering=0) as file:
                children = {int(pid) for pid in file.read(65536).split()} - execs
            if not children:
                return
            for pid in children:
                os.kill(pid, _SIGKILL)
                os.waitpid(pid, 0)

    def _remove_cgroup(self, cgroup: CgroupPlan) -> None:
        self._removing = False
        try:
            cgroups.remove(cgroup)
        except OSError as error:
            if error.errno != _EBUSY:
                raise
            self._removing = True  # the kernel has not let go of the last process yet
            self.loop.after("cgroup", 1.0, lambda: self._remove_cgroup(cgroup))

    def _clean_run_dir(self) -> None:
        if self._listener is not None:
            self.loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        names = (control.SOCKET_NAME, "monitor.json") if self._run_dir else ()
        for name in names:
            _remove(f"{self._run_dir}/{name}")
        if self._run_dir and not self.request["spec"].get("root", {}).get("path"):
            try:
                os.rmdir(self._mountpoint)
            except FileNotFoundError:
                return

    def _clean_up(self, command: list[str]) -> None:
        self._leave_pid_namespace()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        os.close(null)
        os.waitpid(pid, 0)

    def give_up(self, error: OSError) -> None:
        """The monitor's part of the start failed: kill what there is and say so."""
        name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        self.job.abort(_failure(self._step, error.errno or 0, f"{error.strerror}{name}"))

    def finished(self) -> bool:
        """Whether nothing is left to do: all ended and every client has all of its output."""
        return self.job.status is not None and not self._execs and not self._removing and self._flushed()

    def _flushed(self) -> bool:
        return not any(output.busy() for output in self.job.outputs.values())


def _failure(step: str, errno: int, detail: str) -> dict[str, Any]:
    return {"kind": "failed", "what": "failed", "step": step, "errno": errno, "detail": detail}


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


_SAMPLE: dict[str, Any] = {
    "id": "",
    "spec": {
        "process": {"args": ["true"], "env": ["PATH=/bin"]},
        "linux": {"namespaces": [{"type": kind} for kind in namespaces.FLAGS if kind not in {"user", "time"}]},
    },
}


def prepare() -> None:
    """Make this process a monitor, and write to the memory a start will write to, which copies it."""
    os.setsid()
    os.umask(0o077)
    gc.enable()  # the server turned it off; what it had is frozen
    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    rehearsal = Monitor(_SAMPLE, near, [-1, -1, -1], -1, "")
    close_all(rehearsal.job.connect(_SAMPLE, [-1, -1, -1], terminal=False))
    rehearsal.job.discard()
    far.close()
    near.close()


def run(request: dict[str, Any], channel: socket, clients: list[int], owner: int, boot_id: str) -> None:
    """The rest of a monitor's life."""
    try:
        monitor = Monitor(request, channel, clients, owner, boot_id)
    except (plan.SpecError, OSError) as error:
        detail = error.strerror if isinstance(error, OSError) else str(error)
        control.answer(channel, _failure("configuration", getattr(error, "errno", 0) or 0, detail or str(error)))
        return
    try:
        monitor.start()
    except OSError as error:
        monitor.give_up(error)
    while not monitor.finished():
        monitor.loop.turn()
