"""``create`` and ``run``: from a bundle to a container whose init waits to be started.

Source: OCI runtime specification 1.3, runtime.md "Create" and steps 1 to 5 of "Lifecycle".
"""

from __future__ import annotations

import fcntl
import os
from _signal import SIGHUP, SIGINT, SIGTERM, signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
from time import gmtime, strftime

from jupyter_containers.linux import namespaces
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.monitor.record import text
from jupyter_containers.oci_runtime import lifecycle, spawning, store, terminal
from jupyter_containers.oci_runtime.bundle import Bundle
from jupyter_containers.oci_runtime.container_init import ContainerInit
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.runtime import ahead, hooks, wire
from jupyter_containers.runtime.launch import Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci_runtime.main import Context

_TERMINALS = (("c", 136), ("c", 5))  # pseudo-terminals of any number; /dev/tty, /dev/console, /dev/ptmx


class Creation:
    """A container being made. What went wrong halfway is undone by :meth:`undo`.

    Parameters
    ----------
    context
        Of the command.
    bundle
        What to make it from.
    detached
        Whether the container is to outlive this command: its standard descriptors are then given to its user.
    """

    def __init__(self, context: Context, bundle: Bundle, *, detached: bool) -> None:
        self._context = context
        self._bundle = bundle
        self._detached = detached
        self.container = store.Container.make(context.root, context.name)
        self.master = -1
        self._launch: Launch | None = None
        self._hooked = False
        self._conversation: spawning.Conversation | None = None

    # -- steps ---------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Do it all. Raises :exc:`CommandError` or :exc:`OSError`."""
        container, bundle, spec = self.container, self._bundle, self._bundle.spec
        filter_program, filter_options = _compile_filter(spec)
        cgroup = _plan_cgroup(container.name, spec)
        container.record = {
            "ociVersion": spec["ociVersion"],
            "id": container.name,
            "pid": 0,
            "startTime": 0,
            "bootId": store.boot_id(),
            "bundle": bundle.path,
            "rootfs": spec["root"]["path"],
            "created": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()),
            "owner": os.geteuid(),
            "annotations": spec.get("annotations", {}),
            "cgroup": spawning.recorded(cgroup),
            "startable": bundle.startable,
            "ownPids": bundle.namespaces.creates("pid"),
        }
        container.save()
        container.write(store.CONFIG, bundle.text)
        if filter_program:
            container.write(store.FILTER, filter_program)
        self._spawn(filter_program, filter_options, cgroup)

    def _spawn(self, filter_program: bytes, filter_options: dict[str, Any], cgroup: CgroupPlan | None) -> None:
        container, spec = self.container, self._bundle.spec
        os.mkfifo(container.file(store.MAKING), 0o600)
        fifo = os.open(container.file(store.MAKING), os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(fifo, fcntl.LOCK_EX)
        failure = os.open(container.file(store.FAILURE), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        preserve = spawning.preserved(self._context.options, spec["process"])
        request: Any = {
            "id": container.name,
            "spec": spec,
            "rootfs": [],
            "seccomp": filter_program,
            **filter_options,
            "cgroup": cgroup,
            "direct": not self._detached,
            "hooks": self._bundle.hooks,
            "state": container.state("creating", 0),
            "startable": self._bundle.startable,
        }
        self._launch = launch = Launch(
            ahead.of(request), cgroup, lambda *given: ContainerInit(*given, preserve=preserve)
        )
        self._conversation = spawning.Conversation(launch.sync)
        stdio = spawning.standard_descriptors(preserve)
        try:
            launch.clone()
            container.record.update(pid=launch.pid, startTime=namespaces.start_time(launch.pid))
            container.save()
            launch.equip()
            launch.connect(request)
            launch.release(request, [*stdio, fifo, failure], os.fsencode(spec["root"]["path"]))
        except OSError as error:
            raise CommandError(_explain(launch.step, error)) from None
        finally:
            wire.close_all([*stdio, fifo, failure])
        if "seccomp_agent" in request:
            from jupyter_containers.runtime.agent import introduce  # noqa: PLC0415 - few containers have one

            state = container.state("creating", launch.pid)
            self._conversation.introduce = lambda listener: introduce(
                request["seccomp_agent"], state, launch.pid, listener
            )
        self._follow(self._conversation, launch.pid)

    def _follow(self, conversation: spawning.Conversation, pid: int) -> None:
        """Answer what init asks for, until it waits."""
        container = self.container
        while conversation.expect()["kind"] == "hooks":
            state = text(container.state("creating")).encode("utf-8", "surrogateescape")
            self._hooked = True
            for kind in ("prestart", "createRuntime"):
                hooks.run(kind, self._bundle.hooks.get(kind, []), state, self.pidfd)
            conversation.go()
        self.master = conversation.master
        options = self._context.options
        if self.master >= 0 and options.value("console-socket"):
            terminal.give(options.value("console-socket"), self.master)
            os.close(self.master)
            self.master = -1
        os.rename(container.file(store.MAKING), container.file(store.FIFO))
        spawning.write_pid_file(options.value("pid-file"), pid)
        conversation.go()
        conversation.next()  # until it has let go of this command, whose end it would not survive before
        conversation.close()

    @property
    def pidfd(self) -> int:
        """Of the container's process."""
        assert self._launch is not None
        return self._launch.pidfd

    # -- when it fails -------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """End what there is of the process, and take back the rest (steps 12 and 13 of "Lifecycle")."""
        if self._launch is not None and self._launch.pid:
            try:
                self._launch.give_back()
            except OSError as error:
                problem = f"an interface could not be given back: {error.strerror}"
                self._context.log.warning(problem)
            self._launch.discard()
        hooked = self._hooked or (self._conversation is not None and self._conversation.failed_step == "create hooks")
        for problem in lifecycle.destroy(self.container, self._bundle.hooks if hooked else {}):
            self._context.log.warning(problem)


def _explain(step: str, error: OSError) -> str:
    name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    reason = error.strerror or ""
    return f"unable to start container process: {step}: {reason[:1].lower()}{reason[1:]}{name}"


def _compile_filter(spec: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The filter, and what the loading of it needs."""
    profile = spec.get("linux", {}).get("seccomp")
    if not profile:
        return b"", {}
    from jupyter_containers.errors import EngineError  # noqa: PLC0415 - for those that have a filter
    from jupyter_containers.linux.seccomp import compile_filter  # noqa: PLC0415 - the same
    from jupyter_containers.linux.seccomp_load import load_options  # noqa: PLC0415 - the same

    try:
        options = load_options(profile)
        return compile_filter(profile, arch=os.uname().machine, agent="seccomp_agent" in options), options
    except EngineError as error:
        raise CommandError(f"linux.seccomp: {error}") from None


def _plan_cgroup(name: str, spec: dict[str, Any]) -> CgroupPlan | None:
    """The cgroups, with the devices every container has allowed on top of the rules given; all others are denied."""
    linux = spec.get("linux", {})
    resources = dict(linux.get("resources", {}))
    host = CgroupHost.detect()
    if host.can_limit("devices"):
        resources["devices"] = [{"allow": False, "access": "rwm"}, *resources.get("devices", []), *_default_rules()]
    return spawning.plan_cgroup(host, name, resources, linux.get("cgroupsPath", ""))


def _default_rules() -> list[dict[str, Any]]:
    from jupyter_containers.runtime.plan import DEVICES  # noqa: PLC0415 - beside its use

    rules: list[dict[str, Any]] = [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    numbers = [("c", major, minor) for _path, major, minor in DEVICES] + [("c", 5, 1), ("c", 5, 2), ("c", 136, -1)]
    rules += [
        {"allow": True, "type": k, "major": major, "minor": minor, "access": "rwm"} for k, major, minor in numbers
    ]
    return rules


class _Interrupted(KeyboardInterrupt):
    """A signal asked this command to end."""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise _Interrupted


def _create(context: Context, *, detached: bool) -> Creation:
    bundle = Bundle(context.options.value("bundle"), context.log.warning)
    spawning.check_console(context.options, bundle.spec["process"], detached=detached)
    creation = Creation(context, bundle, detached=detached)
    for number in (SIGTERM, SIGINT, SIGHUP):
        signal(number, _interrupt)
    try:
        os.chdir(bundle.path)  # where hooks are run
        creation.make()
    except BaseException as error:
        creation.undo()
        if isinstance(error, hooks.HookError):
            raise CommandError(str(error)) from None
        raise
    return creation


def create(context: Context) -> int:
    """Make a container and leave it waiting."""
    _create(context, detached=True)
    return 0


def run(context: Context) -> int:
    """Make a container, start it, and unless it is detached wait for its end and remove it."""
    switches = context.options.switches
    detached = "detach" in switches
    creation = _create(context, detached=detached)
    container = creation.container
    if not detached:
        spawning.pass_on_signals(creation.pidfd)  # the program may run, and be heard of, before begin() is back
    try:
        lifecycle.begin(context, container)
    except BaseException:
        if os.path.isdir(container.path):
            creation.undo()
        raise
    container.unlock()
    if detached:
        return 0
    status = spawning.attend(creation.pidfd, container.pid, creation.master)
    if "keep" not in switches:
        lifecycle.remove(context, store.Container.open(context.root, container.name, lock=True))
    return status
