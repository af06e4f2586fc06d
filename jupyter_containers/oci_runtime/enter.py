"""``exec``: another process in a container that is created or runs."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair

from jupyter_containers.linux import cgroups, namespaces, syscalls
from jupyter_containers.oci_runtime import bundle, document, spawning, store
from jupyter_containers.oci_runtime.container_init import ContainerEntry
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.runtime.wire import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jupyter_containers.oci_runtime.main import Context
    from jupyter_containers.oci_runtime.options import Options
    from jupyter_containers.oci_runtime.store import Container

#: The exit status of runc when the process could not be started.
FAILED = 255


def execute(context: Context) -> int:
    """Start a process in a container, and unless it is detached wait for its end."""
    try:
        return _execute(context)
    except CommandError as error:
        raise CommandError(f"exec failed: {error}", status=FAILED) from None
    except OSError as error:
        raise CommandError(f"exec failed: {(error.strerror or '').lower()}", status=FAILED) from None


def _execute(context: Context) -> int:
    options = context.options
    container = store.Container.open(context.root, context.name)
    status = container.status()
    if status == "paused" and "ignore-paused" not in options.switches:
        raise CommandError("cannot exec in a paused container (use --ignore-paused to override)")
    if status not in {"created", "running", "paused"}:
        raise CommandError(f"cannot exec in a {status} container")
    detached = "detach" in options.switches
    process = _process(container, options, context.log.warning)
    spawning.check_console(options, process, detached=detached)
    pid, pidfd, master = _start(container, options, process, detached=detached)
    if detached:
        return 0
    return spawning.attend(pidfd, pid, master)


# -- which process ---------------------------------------------------------------------------------------------------


def _process(container: Container, options: Options, warn: Callable[[str], None]) -> dict[str, Any]:
    """The process: that of a file, or the container's own with what the options change."""
    if options.value("process"):
        process = document.read(options.value("process"), "process")
    else:
        process = container.config().get("process", {})
        process["args"] = options.arguments[1:]
        process["terminal"] = "tty" in options.switches
        process.pop("oomScoreAdj", None)
        _adapt(process, options)
    return bundle.process(process, warn)


def _adapt(process: dict[str, Any], options: Options) -> None:
    for name in ("cwd",):
        if options.value(name):
            process[name] = options.value(name)
    process["env"] = [*process.get("env", []), *options.values.get("env", [])]
    if "no-new-privs" in options.switches:
        process["noNewPrivileges"] = True
    if options.value("apparmor"):
        process["apparmorProfile"] = options.value("apparmor")
    if options.value("process-label"):
        process["selinuxLabel"] = options.value("process-label")
    user = dict(process.get("user", {}))
    if options.value("user"):
        uid, _, gid = options.value("user").partition(":")
        user["uid"] = _id(uid, "user")
        if gid:
            user["gid"] = _id(gid, "user")
    groups = [_id(text, "additional-gids") for text in options.values.get("additional-gids", [])]
    if groups:
        user["additionalGids"] = [*user.get("additionalGids", []), *groups]
    process["user"] = {"uid": 0, "gid": 0, **user}
    for name in options.values.get("cap", []):
        sets = process.setdefault("capabilities", {})
        for kind in ("bounding", "effective", "permitted", "ambient"):
            if kind != "ambient" or process["user"]["uid"]:
                sets[kind] = [*sets.get(kind, []), *([name] if name not in sets.get(kind, []) else [])]
        if process["user"]["uid"]:  # an ambient capability must be inheritable
            sets["inheritable"] = [*sets.get("inheritable", []), name]


def _id(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise CommandError(f"--{option} {text}: not a number (names are not looked up)")
    return int(text)


# -- starting it -----------------------------------------------------------------------------------------------------


def _start(container: Container, options: Options, process: dict[str, Any], *, detached: bool) -> tuple[int, int, int]:
    """Have the process started: its pid, its pidfd, and its terminal where this command has to attend to it."""
    preserve = spawning.preserved(options, process)
    request = {"process": process, **_filter(container), "direct": not detached, "preserve": preserve}
    pidfd = os.pidfd_open(container.pid)
    if not container.alive():
        raise CommandError("cannot exec in a stopped container")
    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    stdio = spawning.standard_descriptors(preserve)
    cgroup = container.cgroup
    unified, tasks = (cgroups.open_unified(cgroup), cgroups.open_tasks(cgroup)) if cgroup else (-1, [])
    _enter_user_namespace(container.pid, pidfd)
    syscalls.setns(pidfd, syscalls.CLONE_NEWPID)
    if "execCPUAffinity" in process:
        from jupyter_containers.runtime.attributes import apply_affinity  # noqa: PLC0415 - a rare field

        apply_affinity(process["execCPUAffinity"], "initial")  # what the clone inherits
    child, child_pidfd = syscalls.clone(0, cgroup=unified)
    if child == 0:
        entry = ContainerEntry(request, pidfd, container.pid, stdio, far)
        entry.tasks = tasks
        entry.start()
    close_all([*stdio, pidfd, unified, *tasks])
    far.close()
    conversation = spawning.Conversation(near)
    if "seccomp_agent" in request:
        from jupyter_containers.runtime.agent import introduce  # noqa: PLC0415 - few containers have one

        state = container.state()
        conversation.introduce = lambda listener: introduce(request["seccomp_agent"], state, child, listener)
    try:
        conversation.go()
        conversation.expect()
        master = _give_terminal(options, conversation.master)
        spawning.write_pid_file(options.value("pid-file"), child)
        if not detached:
            spawning.pass_on_signals(child_pidfd)
        conversation.go()
        conversation.next()  # ends when the program runs
    except BaseException:
        syscalls.pidfd_send_signal(child_pidfd, 9)
        os.waitpid(child, 0)
        raise
    conversation.close()
    return child, child_pidfd, master


def _enter_user_namespace(init: int, pidfd: int) -> None:
    """Without privileges here, those over the container's namespaces are had in its user namespace."""
    if os.geteuid() == 0:
        return
    name = namespaces.FILES["user"]
    if os.readlink(f"/proc/self/ns/{name}") != os.readlink(f"/proc/{init}/ns/{name}"):
        syscalls.setns(pidfd, syscalls.CLONE_NEWUSER)


def _give_terminal(options: Options, master: int) -> int:
    path = options.value("console-socket")
    if master < 0 or not path:
        return master
    from jupyter_containers.oci_runtime import terminal  # noqa: PLC0415 - few have one

    terminal.give(path, master)
    os.close(master)
    return -1


def _filter(container: Container) -> dict[str, Any]:
    """The container's filter, as a request has it."""
    try:
        with open(container.file(store.FILTER), "rb") as file:
            program = file.read()
    except FileNotFoundError:
        return {}
    from jupyter_containers.linux.seccomp_load import load_options  # noqa: PLC0415 - for those that have a filter

    return {"seccomp": program, **load_options(container.config()["linux"]["seccomp"])}
