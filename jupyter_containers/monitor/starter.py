"""The making of a container's process by its monitor: for its first run and each one after.

It is made by a Launch, which may have been waiting, or by another runtime's command.
"""

from __future__ import annotations

import os
import stat
from errno import EEXIST
from time import sleep

from jupyter_containers.linux import namespaces, netlink, syscalls
from jupyter_containers.runtime import ahead, plan
from jupyter_containers.runtime.launch import Launch
from jupyter_containers.runtime.wire import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.monitor.external import External
    from jupyter_containers.monitor.job import Job
    from jupyter_containers.monitor.restoration import Restoration
    from jupyter_containers.runtime.watched import WatchedLaunch

_LINK_PATIENCE = 100


class Starter:
    """See the module.

    Parameters
    ----------
    request
        A LaunchRequest.
    waiting
        A process of the container's kind that waits for a request, or None.

    Attributes
    ----------
    namespaces
        The container's, as :class:`plan.Namespaces` sorted them.
    mountpoint
        Where its root file system is put together.
    """

    def __init__(self, request: dict[str, Any], waiting: Launch | None) -> None:
        self._request: Any = request
        self.namespaces = plan.validate(self._request["spec"])
        self.mountpoint = b""
        self._run_dir: str = request.get("run_dir") or ""
        self._waiting = waiting
        self._launch: Launch | None = None
        self._external: External | None = None
        self._restoration: Restoration | None = None
        self._watched: WatchedLaunch | None = None
        self._own_pid_namespace = self._network = self._mount_namespace = -1
        self._again = self._moved = False

    @property
    def network_kept(self) -> bool:
        """Whether the container has a network that its next run joins."""
        return self._network >= 0

    @property
    def reaps(self) -> bool:
        """Whether what the container leaves running becomes this process's, and has to be killed."""
        return self._external is not None or not self.namespaces.creates("pid")

    @property
    def untouched(self) -> bool:
        """Whether this process has no children but those it makes, makes them where it is itself, and has not moved."""
        return not self.reaps and self._own_pid_namespace < 0 and not self._moved

    @property
    def step(self) -> str:
        """Name of the step being done: what a failure names."""
        making = self._launch or self._external or self._restoration
        return making.step if making else "configuration"

    def prepare(self) -> None:
        """What is done once, however often the container is started. Raises :exc:`OSError`."""
        self.mountpoint = self._make_mountpoint()
        if self._request.get("runtime"):
            from jupyter_containers.monitor.external import External  # noqa: PLC0415 - few containers have another one

            self._external = External(self._request, f"{self._run_dir}/bundle", self.mountpoint)
        if self._external is not None or not self.namespaces.has("pid"):
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # to find what the container leaves running

    def begin(self, job: Job, stdio: list[int], ready: Callable[[], None]) -> bool:
        """Make the container's process and let it go on, as far as that is done here; ``stdio`` is closed.

        ``ready`` is called before its program can run. Returns whether it is held back for its caller, who has
        something to do with its namespaces. Raises :exc:`OSError`; a process that no job knows of then is ended by
        :meth:`abandon`.
        """
        self._give_to_mapped_root(stdio)
        if self._external is not None:
            ready()
            self._external.begin(job, stdio, self._connect)
            return False
        if self._request.get("restore"):
            ready()
            self._restore(job, stdio)
            return False
        if self.namespaces.has("pid") and not self.namespaces.creates("pid"):
            self.note_own_pid_namespace()
        request = self._request
        launch, self._waiting = self._waiting, None
        fresh = launch is None
        self._launch = launch = launch or self._new_launch()
        if fresh:
            self._clone(launch, stdio)
        held = bool(request.get("hold")) and not self.network_kept

        def release() -> None:
            if job.status is None:
                launch.release(request, stdio, self.mountpoint, gate=not held)
            close_all(stdio)

        job.began(launch.pid, launch.pidfd, launch.sync, release)
        if fresh:
            launch.equip()
        if not held:
            job.go()  # it mounts while the rest is done here
        self._do_outside(launch, fresh=fresh)
        ready()
        if held:
            self._network = os.open(f"/proc/{launch.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        else:
            launch.permit()
        return held

    def _restore(self, job: Job, stdio: list[int]) -> None:
        """Let it go on from a state that was taken elsewhere: this once. Its next run has the same network."""
        from jupyter_containers.monitor.restoration import Restoration  # noqa: PLC0415 - only after a live move

        self._restoration = restoration = Restoration(self._request, self.namespaces, self.mountpoint)
        del self._request["restore"]
        self._network = restoration.begin(job, stdio, self._connect)

    def _new_launch(self) -> Launch:
        request = self._request
        if not request.get("watch"):
            return Launch(ahead.of(request), request.get("cgroup"))
        from jupyter_containers.runtime.watched import WatchedLaunch  # noqa: PLC0415 - only where it is asked for

        self._watched = WatchedLaunch(ahead.of(request), request.get("cgroup"), request["watch"])
        return self._watched

    def steps(self) -> list[Any]:
        """What a watched start has written down so far."""
        return self._watched.steps() if self._watched else []

    def proceed(self) -> None:
        """Let a stepped start go on after a stage."""
        if self._watched:
            self._watched.proceed()

    @staticmethod
    def _clone(launch: Launch, stdio: list[int]) -> None:
        try:
            launch.clone()
        except OSError:
            close_all(stdio)
            raise

    def _do_outside(self, launch: Launch, *, fresh: bool) -> None:
        """Limits, and the outer ends of interfaces."""
        if not fresh:
            launch.adopt(self._request.get("cgroup"))
        # Taking down a mount namespace makes the last process in it wait: kept, that is done once the end was told.
        self._mount_namespace = os.open(f"/proc/{launch.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        launch.connect(self._request, self._connect)

    def _connect(self, messages: list[bytes]) -> None:
        """Make an interface; after a restart once the kernel has taken down the one of the last run."""
        outer = self._request.pop("outer_network", "")
        if outer:
            namespaces.enter_network(outer)
            self._moved = True
        for attempt in range(_LINK_PATIENCE):
            try:
                netlink.transact(messages)
                return
            except OSError as error:
                if error.errno != EEXIST or not self._again or attempt == _LINK_PATIENCE - 1:
                    raise
                sleep(0.02)

    def begin_again(self) -> None:
        """The next start joins the network namespace that the engine has connected: the engine may be gone."""
        self.leave_pid_namespace()
        self._again = True
        self._request.pop("watch", None)
        if self.network_kept:
            path = f"/proc/{os.getpid()}/fd/{self._network}"
            self._request["interfaces"] = []  # it has them
            linux = self._request["spec"]["linux"]
            linux["namespaces"] = [
                {**each, "path": path} if each["type"] == "network" else each for each in linux["namespaces"]
            ]
            self.namespaces = plan.validate(self._request["spec"])

    def _make_mountpoint(self) -> bytes:
        path = self._request["spec"].get("root", {}).get("path", "")
        if path:
            return os.fsencode(path)
        made = f"{self._run_dir}/rootfs"
        os.makedirs(made, 0o700, exist_ok=True)
        return os.fsencode(made)

    def note_own_pid_namespace(self) -> None:
        """Children are going to be born in another one; :meth:`leave_pid_namespace` takes that back."""
        if self._own_pid_namespace < 0:
            self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def leave_pid_namespace(self) -> None:
        """Have children in this process's own pid namespace again: in that of a container that ended none can be."""
        if self._own_pid_namespace >= 0:
            syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)

    def _give_to_mapped_root(self, stdio: list[int]) -> None:
        """Pipes belong to somebody the container knows, so that it can open /dev/stdout again."""
        if not self.namespaces.creates("user") or self._request.get("direct"):
            return
        linux = self._request["spec"].get("linux", {})
        ids = [
            next((each["hostID"] for each in linux.get(field, []) if each["containerID"] == 0), -1)
            for field in ("uidMappings", "gidMappings")
        ]
        for descriptor in stdio:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.fchown(descriptor, ids[0], ids[1])

    # -- its end -------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """End a process that was made, or waited, and that no job knows of. Its cgroups may stay for later."""
        launch, self._waiting = self._waiting or self._launch, None
        if launch is not None:
            try:
                launch.discard()
            except OSError:  # the kernel has not let go of them yet: they are removed with all others
                return

    def take_back(self) -> bool:
        """A run has ended: have another runtime take back what it made for it; whether there is one."""
        if self._external is None:
            return False
        self.leave_pid_namespace()
        self._external.delete()
        return True

    def cgroups(self) -> list[CgroupPlan]:
        """Those of the container, and those its process waited in where they could not become them."""
        plans = [self._request.get("cgroup"), self._launch.cgroup if self._launch else None]
        return [plan for number, plan in enumerate(plans) if plan and plan not in plans[:number]]

    def let_mounts_go(self) -> None:
        """Let the kernel take down the container's mount namespace."""
        if self._mount_namespace >= 0:
            os.close(self._mount_namespace)
            self._mount_namespace = -1

    def close(self) -> None:
        """Leave nothing behind in the run directory."""
        if self._external is not None:
            self._external.close()
        if self._run_dir and not self._request["spec"].get("root", {}).get("path"):
            try:
                os.rmdir(self.mountpoint)
            except FileNotFoundError:
                return
