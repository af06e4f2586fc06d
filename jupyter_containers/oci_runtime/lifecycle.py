"""``start``, ``kill`` and ``delete``. Source: OCI runtime specification 1.3, runtime.md."""

from __future__ import annotations

import os
import select

from jupyter_containers.linux import cgroups, syscalls
from jupyter_containers.monitor.record import text
from jupyter_containers.oci_runtime import members, store
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.runtime import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.oci_runtime.main import Context
    from jupyter_containers.oci_runtime.store import Container

_SIGKILL = 9
_PATIENCE_MS = 10_000


# -- start -----------------------------------------------------------------------------------------------------------


def start(context: Context) -> int:
    """Have the waiting init become the program."""
    container = store.Container.open(context.root, context.name, lock=True)
    begin(context, container)
    return 0


def begin(context: Context, container: Container) -> None:
    """Start a created container that this process holds the lock of.

    Raises
    ------
    CommandError
        It is not created, has no process, or cannot become the program. A hook that fails removes it.
    """
    status = container.status()
    if status != "created":
        reason = {
            "running": "cannot start an already running container",
            "paused": "cannot start an already running container",
            "stopped": "cannot start a container that has stopped",
        }
        raise CommandError(reason.get(status, f"cannot start a container that is {status}"))
    if not container.record["startable"]:
        raise CommandError("cannot start a container without a process: config.json has none")
    _release(container)
    failure = _failure(container)
    found: dict[str, list[dict[str, Any]]] = container.config().get("hooks", {})
    if failure:
        from jupyter_containers.oci_runtime.spawning import explain  # noqa: PLC0415 - for failures only

        if failure["step"].endswith("hooks"):
            _give_up(context, container, found)
        raise CommandError(explain(failure))
    try:
        hooks.run("poststart", found.get("poststart", []), _state(container, "running"))
    except hooks.HookError as error:
        _give_up(context, container, found)
        raise CommandError(str(error)) from None


def _release(container: Container) -> None:
    """Write to the pipe, and wait until init has become the program or has ended: it then lets go of the other end."""
    pipe = os.open(container.file(store.FIFO), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(pipe, b"0")
        poll = select.poll()
        poll.register(pipe, 0)
        poll.poll()
    finally:
        os.close(pipe)


def _failure(container: Container) -> dict[str, Any]:
    from jupyter_containers.oci_runtime import document  # noqa: PLC0415 - beside its use

    with open(container.file(store.FAILURE), "rb", buffering=0) as file:
        said = file.read(65536)
    return document.parse_object(said, "failure") if said else {}


def _give_up(context: Context, container: Container, found: dict[str, list[dict[str, Any]]]) -> None:
    """A hook has failed: stop the container, and go on with step 12 of "Lifecycle"."""
    _end(container)
    for problem in destroy(container, found):
        context.log.warning(problem)


def _state(container: Container, status: str, pid: int | None = None) -> bytes:
    return text(container.state(status, pid)).encode("utf-8", "surrogateescape")


# -- kill ------------------------------------------------------------------------------------------------------------


def signal_number(word: str) -> int:
    """A signal by its name, with or without SIG, or its number. Raises :exc:`CommandError` for others."""
    import _signal  # type: ignore[import-not-found]  # noqa: PLC0415 - its names are needed here only

    if word.isdigit():
        if not 0 < int(word) < _signal.NSIG:
            raise CommandError(f"unknown signal {word!r}")
        return int(word)
    name = word.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    number = getattr(_signal, name, None)
    if not isinstance(number, int) or name.startswith("SIG_"):
        raise CommandError(f"unknown signal {word!r}")
    return number


def kill(context: Context) -> int:
    """Send a signal to the container's process, or with ``--all`` to all of them."""
    arguments = context.options.arguments
    number = signal_number(arguments[1] if len(arguments) > 1 else "SIGTERM")
    container = store.Container.open(context.root, context.name)
    if "all" in context.options.switches:
        _signal_all(container, number)
        return 0
    if not send(container, number):
        raise CommandError("container not running")
    if number == _SIGKILL and container.cgroup and container.status() == "paused":
        cgroups.freeze(container.cgroup, frozen=False)  # version 1 keeps the signal until then
    return 0


def send(container: Container, number: int) -> bool:
    """Signal the container's init; false when it is not there."""
    if not container.pid:
        return False
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        return False
    try:
        # only now does the pid stand for the process it stands for: look after opening
        if not container.alive():
            return False
        syscalls.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def _signal_all(container: Container, number: int) -> None:
    """Every process of the container, also those that outlived its init."""
    if container.cgroup is None and not container.record.get("ownPids"):
        raise CommandError("cannot signal all processes: the container has neither a cgroup nor pids of its own")
    if number == _SIGKILL and container.cgroup:
        cgroups.kill(container.cgroup)
        return
    for pid in members.pids(container):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


# -- delete ----------------------------------------------------------------------------------------------------------


def delete(context: Context) -> int:
    """Remove a stopped container; with ``--force`` any, and none is no error."""
    force = "force" in context.options.switches
    try:
        container = store.Container.open(context.root, context.name)
        if force:
            _end(container)  # whoever holds the lock may be waiting for it
        container = store.Container.open(context.root, context.name, lock=True)
    except CommandError:
        store.check_id(context.name)
        if force and not os.path.isdir(f"{context.root}/{context.name}"):
            return 0
        raise
    if force:
        _end(container)
    status = container.status()
    if status != "stopped":
        raise CommandError(f"cannot delete container {context.name} that is not stopped: {status}")
    remove(context, container)
    return 0


def remove(context: Context, container: Container) -> None:
    """Remove a container that has ended."""
    for problem in destroy(container, container.config().get("hooks", {})):
        context.log.warning(problem)


def _end(container: Container) -> None:
    """Kill the container and wait until the kernel has taken it apart."""
    if not container.pid:
        return
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        return
    try:
        if not container.alive():
            return
        syscalls.pidfd_send_signal(pidfd, _SIGKILL)
        if container.cgroup:
            cgroups.kill(container.cgroup)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_PATIENCE_MS):
            raise CommandError(f"container {container.name} does not end, though it was killed")
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def destroy(container: Container, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Take back what ``create`` made of a container that has no process any more; what hooks complained of."""
    state = _state(container, "stopped", 0)
    if container.cgroup:
        if not container.record.get("ownPids"):
            cgroups.kill(container.cgroup)
        cgroups.remove(container.cgroup)
    container.remove()
    return hooks.run_all("poststop", found.get("poststop", []), state)
