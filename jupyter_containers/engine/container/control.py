"""What is done to containers that exist: found, started, stopped, paused, renamed, changed, removed."""

from __future__ import annotations

import os
import signal as signals
import time as clock
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from jupyter_containers.engine import status, supervision
from jupyter_containers.engine.launch import creation
from jupyter_containers.engine.launch.limits import make_resources
from jupyter_containers.engine.move import mark as move_mark
from jupyter_containers.engine.network import publishing
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.options import RunOptions, signal_number
from jupyter_containers.engine.record import ContainerRecord, change, rename
from jupyter_containers.engine.repair import recovery
from jupyter_containers.engine.small_files import clear_away
from jupyter_containers.engine.views import Container
from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerRunning,
    EngineError,
    InvalidInput,
    UsageError,
)
from jupyter_containers.linux import cgroup_changes
from jupyter_containers.runtime import handle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.network.ports import Port
    from jupyter_containers.runtime.handle import Process

    WaitCondition = Literal["not-running", "next-exit", "removed"]

KILL_WAIT = 10.0
WAIT_CONDITIONS = ("not-running", "next-exit", "removed")
_POLL = 0.05
_RESOURCES = ("memory", "memory_swap", "cpus", "cpu_shares", "pids_limit")
_MORE_RESOURCES = (
    "memory_reservation",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpuset_cpus",
    "cpuset_mems",
    "blkio_weight",
)


class Control:
    """See the module. All methods block and are thread-safe; a container is named by name, id, or prefix of its id."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # -- finding -----------------------------------------------------------------------------------------------------

    def record(self, name: str) -> ContainerRecord:
        """What is kept of one container; by name, id, or the beginning of its id.

        Raises
        ------
        ContainerNotFound
            when there is none.
        Conflict
            when several ids begin so.
        """
        rows = self._parts.state.find_containers(name) if name else []
        if len(rows) > 1:
            raise Conflict(f"several containers have an id that begins with {name}", hint="give more of its digits")
        if not rows:
            raise ContainerNotFound(f"no such container: {name}", hint="'ps -a' lists what there is")
        return ContainerRecord.decode(rows[0].record)

    def get(self, name: str) -> Container:
        """One container by name or id."""
        record = self.record(name)
        return Container(record.id, record.name, record.image)

    def runs(self, record: ContainerRecord) -> bool:
        """Whether a container runs now, or is paused."""
        return self._status(record).running

    def _status(self, record: ContainerRecord) -> status.Status:
        return status.read(self._parts.paths, record.id)

    def _connected(self, record: ContainerRecord, *, ending: bool = False) -> Process:
        """The way to its monitor. ``ending``: one that is lost or killed is ended here, for good; else it stays."""
        run = self._parts.paths.running / record.id
        if self._status(record).running:
            try:
                return handle.connect(str(run))
            except ContainerNotRunning:
                # Unlike one that was removed, a socket that nobody listens at belongs to a monitor that is dying.
                if not ending and not (run / handle.CONTROL).exists() and self._status(record).running:
                    raise ContainerNotRunning(
                        f"the container {record.name} cannot be reached: its control socket was removed",
                        hint=f"stop {record.name}, and start it again",
                    ) from None
        if ending:
            recovery.end_lost(self._parts, record.id, stopped=True)  # nothing, if it has just ended
        raise not_running(record)

    def _tell(self, record: ContainerRecord, action: str, **attributes: str) -> None:
        supervision.tell(self._parts, record, action, **attributes)

    # -- ending ------------------------------------------------------------------------------------------------------

    def stop(self, name: str, *, time: float | None = None, signal: str | None = None) -> None:
        """Ask it to end, and after ``time`` seconds (default: the image's or 10) kill it. Stopped: nothing happens.

        Its restart policy does not start it again.
        """
        record = self.record(name)
        if self._stop(record, time, signal):
            self._tell(record, "stop")
        self._after_end(record)

    def _stop(self, record: ContainerRecord, time: float | None, signal: str | None) -> bool:
        """Whether there was something to stop."""
        number = signal_number(signal or record.stop_signal)
        grace = record.stop_timeout if time is None else time
        try:
            process = self._connected(record, ending=True)
        except ContainerNotRunning:
            return False
        with process:
            self._tell(record, "kill", signal=str(number))
            process.signal(number, final=True)
            if process.wait(timeout=grace if grace >= 0 else None) is None:
                self._tell(record, "kill", signal=str(int(signals.SIGKILL)))
                process.kill()
                process.wait(timeout=KILL_WAIT)
        return True

    def kill(self, name: str, *, signal: str = "SIGKILL") -> None:
        """Send a signal to its first process. SIGKILL and its stop signal end it for good, whatever its policy.

        Raises
        ------
        ContainerNotRunning
            when it does not run.
        """
        record = self.record(name)
        number = signal_number(signal)
        final = number in {signals.SIGKILL, signal_number(record.stop_signal)}
        with self._connected(record, ending=final) as process:
            self._tell(record, "kill", signal=str(number))
            process.signal(number, final=final)
            if number == signals.SIGKILL:
                process.wait(timeout=KILL_WAIT)

    def wait(self, name: str, *, condition: WaitCondition = "not-running") -> int:
        """Wait until it ends; its exit status.

        Parameters
        ----------
        condition
            ``not-running``: at once when it does not run; ``next-exit``: until it ends the next time, also when it has
            to be started first; ``removed``: until it is gone.

        Raises
        ------
        UsageError
            for another condition.
        """
        if condition not in WAIT_CONDITIONS:
            raise UsageError(f"unknown condition {condition!r}", hint=f"use one of {', '.join(WAIT_CONDITIONS)}")
        record = self.record(name)
        if condition == "next-exit":
            while not self._status(record).running:
                self._still_there(record)
                clock.sleep(_POLL)
        code = self._wait_end(record)
        while condition == "removed" and self._parts.state.find_containers(record.id):
            clock.sleep(_POLL)
            code = self._wait_end(record, code)
        return code

    @contextmanager
    def _owning(self, record: ContainerRecord) -> Iterator[ContainerRecord]:
        """Keep other engines from starting or removing it meanwhile; gives the record as it is then."""
        with recovery.Ownership(self._parts, record.id):
            yield self._still_there(record)

    def _still_there(self, record: ContainerRecord) -> ContainerRecord:
        """The record as it is now."""
        rows = [row for row in self._parts.state.find_containers(record.id) if row.id == record.id]
        if not rows:
            clear_away(self._parts.paths.running / record.id)
            raise ContainerNotFound(f"no such container: {record.name}", hint="it was removed meanwhile")
        return ContainerRecord.decode(rows[0].record)

    def _wait_end(self, record: ContainerRecord, before: int = 0) -> int:
        """The exit status once it does not run; ``before`` where nothing is known of it any more."""
        with suppress(ContainerNotRunning), self._connected(record) as process:
            ended = process.wait()
            if ended is not None:
                return ended["code"]
        current = self._status(record)
        return current.exit["code"] if current.exit else before

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete it with its writable layer and its log, and with ``volumes`` the anonymous ones only it uses.

        Raises
        ------
        ContainerRunning
            when it runs and ``force`` is not set.
        """
        record, running = self.removable(name, force=force)
        if running:
            with suppress(ContainerNotRunning):
                self.kill(record.id)
        with recovery.Ownership(self._parts, record.id, patience=KILL_WAIT):
            if self._status(record).running:  # another engine has started it meanwhile
                if not force:
                    raise ContainerRunning(f"the container {record.name} has just been started")
                with suppress(ContainerNotRunning):
                    self.kill(record.id)
            creation.discard(self._parts, record, volumes=volumes)

    def removable(self, name: str, *, force: bool = False) -> tuple[ContainerRecord, bool]:
        """The container that :meth:`remove` would take away, and whether it runs; it raises the same."""
        record = self.record(name)
        current = self._status(record)
        if current.running and not force:
            raise ContainerRunning(
                f"the container {record.name} is {current.state}",
                hint=f"stop it first (stop {record.name}), or remove it with force",
            )
        return record, current.running

    def _after_end(self, record: ContainerRecord) -> None:
        if record.options.remove:
            creation.discard(self._parts, record)

    # -- starting again, standing still ------------------------------------------------------------------------------

    def restart(self, name: str, *, time: float | None = None, signal: str | None = None) -> None:
        """Stop it as :meth:`stop` does, if it runs, and start it; also one with ``--rm``."""
        with self._owning(self.record(name)) as record:
            self._stop(record, time, signal)
            self._begin(record)
        self._tell(record, "restart")

    def _begin(self, record: ContainerRecord) -> None:
        """Start a container in the background that was created before."""
        creation.renew_work(self._parts, record)
        creation.start(self._parts, record, (None, None, None), detach=True).close()

    def pause(self, name: str) -> None:
        """Stop all its processes where they are: by its cgroup, or with SIGSTOP where it has none.

        Raises
        ------
        ContainerNotRunning, Conflict
            when it does not run, or is paused already.
        """
        self._pause(name, paused=True)

    def unpause(self, name: str) -> None:
        """Let its processes go on."""
        self._pause(name, paused=False)

    def _pause(self, name: str, *, paused: bool) -> None:
        record = self.record(name)
        if not paused and move_mark.read(self._parts.paths.root, record.id) is not None:
            from jupyter_containers.engine.move import live  # noqa: PLC0415 - seldom is one being moved

            live.check_unpause(self._parts, record)
        with self._connected(record) as process:
            try:
                process.ask({"kind": "pause", "paused": paused})
            except Conflict as error:
                raise named(error, record) from None
        self._tell(record, "pause" if paused else "unpause")

    # -- changing ----------------------------------------------------------------------------------------------------

    def rename(self, name: str, new_name: str) -> None:
        """Give it another name.

        Raises
        ------
        NameInUse, InvalidInput
            for a name that another one has, or that is none.
        """
        record = self.record(name)
        RunOptions(name=new_name).check()
        if new_name == record.name:
            raise InvalidInput(f"the container is named {new_name} already")
        changed = rename(self._parts.state, record.id, new_name)
        self._inform(changed)
        network_service.told(self._parts, changed)
        self._tell(changed, "rename", oldName=f"/{record.name}")

    def _inform(self, record: ContainerRecord, **more: Any) -> None:
        """Tell the monitor, if there is one, what has changed."""
        with suppress(ContainerNotRunning), self._connected(record) as process:
            process.ask(supervision.update_message(record, **more))

    def ports(self, name: str) -> tuple[Port, ...]:
        """Where its published ports are; none while it does not run."""
        return publishing.bound(self._parts, self.record(name))

    def update(
        self,
        name: str,
        *,
        restart: str | None = None,
        publish_add: Sequence[str] = (),
        publish_rm: Sequence[str] = (),
        **limits: Any,
    ) -> None:
        """Change the limits, the restart policy and the published ports, of a running container at once.

        Parameters
        ----------
        restart
            The new policy, as ``run`` takes it.
        publish_add
            Ports to publish, as ``run`` takes them.
        publish_rm
            Ports to give up: ``80/tcp``, or ``8080:80`` for that place alone.
        limits
            Named as the options of ``run``: ``memory``, ``memory_swap``, ``cpus``, ``cpu_shares``, ``pids_limit`` ...

        Raises
        ------
        UsageError, InvalidInput, Unsupported, NotFound, PortInUse
            naming the limit or the port; then nothing has changed.
        """
        record = self.record(name)
        unknown = set(limits) - {*_RESOURCES, *_MORE_RESOURCES} & set(RunOptions.__struct_fields__)
        if unknown:
            raise UsageError(f"{min(unknown)} cannot be changed", hint=f"what can be: {', '.join(_RESOURCES)}, restart")
        if restart is not None:
            limits["restart"] = restart
        options = msgspec.structs.replace(record.options, **limits)
        options.check()
        resources = make_resources(options)
        memory = resources.get("memory", {}).get("limit")
        if publish_add or publish_rm:
            publishing.update(self._parts, record, publish_add, publish_rm)

        def updated(current: ContainerRecord) -> ContainerRecord:
            changed = msgspec.structs.replace(current.options, **limits)
            return msgspec.structs.replace(current, options=changed, memory_limit=memory)

        if self._status(record).running:
            resources.pop("devices", None)
            if "pids_limit" in limits and "pids" not in resources:
                resources["pids"] = {"limit": -1}
            plan, watch = self._parts.host.plan_cgroup(record.id, resources, parent=record.options.cgroup_parent)
            self._apply(record, plan)
            changed = change(self._parts.state, record.id, updated)
            self._inform(changed, memory_watch=watch, cgroup=plan, resources=resources)
        else:
            changed = change(self._parts.state, record.id, updated)
        self._tell(changed, "update")

    def _apply(self, record: ContainerRecord, plan: CgroupPlan | None) -> None:
        if plan is None:
            return
        try:
            cgroup_changes.change(plan)
        except OSError as error:
            self._inform(record, cgroup={**plan, "writes": []})  # what was made is to be removed with the container
            name = os.path.basename(os.fsdecode(error.filename or ""))
            below = "a limit of memory cannot be below what is in use"
            raise InvalidInput(
                f"the kernel refused a limit ({name}): {error.strerror}",
                hint=below if name.startswith("memory.") else None,
            ) from error


def not_running(record: ContainerRecord) -> ContainerNotRunning:
    """The error for a container that would have to run."""
    return ContainerNotRunning(f"the container {record.name} is not running", hint="'ps -a' shows how it ended")


def named(error: EngineError, record: ContainerRecord) -> EngineError:
    """An error of the monitor's with the name of the container instead of "the container"."""
    message = error.message.replace("the container", f"the container {record.name}", 1)
    return type(error)(message, hint=error.hint)
