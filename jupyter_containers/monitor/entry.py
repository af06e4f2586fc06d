"""The life of a monitor's process: it waits for a container, stays beside it to its end, and waits again.

By a socket from the fork server it is told to make an init ahead (``prepare``: the kind and the name of its cgroups)
or to start a container (``launch``). It says ``free`` when the container has ended and nothing of it is left here. A
process is copied page by page as it writes to what it shares with the fork server: one that has been through a start
has its copies. Only containers that have an owner and want nothing unusual are followed by others, and after some the
process ends, so that what each leaves in its memory does not add up.
"""

from __future__ import annotations

import gc
import os
import select
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from jupyter_containers.linux import namespaces, syscalls
from jupyter_containers.monitor import control
from jupyter_containers.monitor.process import Monitor
from jupyter_containers.runtime import ahead as first_half
from jupyter_containers.runtime import plan
from jupyter_containers.runtime.launch import Launch
from jupyter_containers.runtime.wire import close_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 100
_SAMPLE: dict[str, Any] = {
    "id": "",
    "spec": {
        "process": {"args": ["true"], "env": ["PATH=/bin"]},
        "linux": {"namespaces": [{"type": kind} for kind in namespaces.FLAGS if kind not in {"user", "time"}]},
    },
}


def serve(requests: socket, owner: int, boot_id: str, asked: bool) -> None:
    """Do what comes by ``requests``, until its other end is closed or the process is not fit for more.

    ``owner`` and ``boot_id`` are those of :class:`Monitor`; ``asked`` says that a request comes at once.
    """
    os.setsid()
    os.umask(0o077)
    gc.enable()  # the server turned it off; what it had is frozen
    if not asked:
        _rehearse()
    waiting: Launch | None = None
    count = 0
    while _asked(requests, waiting):
        message, descriptors = receive(requests)
        if message is None:
            break
        if message["kind"] == "prepare":
            _discard(waiting)
            waiting = _wait(message["ahead"], message["name"]) if message["ahead"] else None
            continue
        launch, waiting = waiting, None
        reusable = _run(message, socket(fileno=descriptors.pop(0)), descriptors, owner, boot_id, launch)
        count += 1
        if not reusable or count == _MOST:
            return
        gc.collect()  # sockets of the last container, whose numbers others could get
        syscalls.close_except([requests.fileno(), owner])
        try:
            send(requests, {"kind": "free"})
        except OSError:  # the fork server has ended
            return
    requests.close()  # first, so that nothing more is sent here
    _discard(waiting)


def _rehearse() -> None:
    """Write to the memory a start will write to, which copies it."""
    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    rehearsal = Monitor(_SAMPLE, near, [-1, -1, -1], -1, "")
    close_all(rehearsal.job.connect(_SAMPLE, [-1, -1, -1], terminal=False))
    rehearsal.job.discard()
    far.close()
    near.close()


def _asked(requests: socket, waiting: Launch | None) -> bool:
    """Wait for a message; False when the process that waits has ended."""
    poll = select.poll()
    poll.register(requests.fileno(), select.POLLIN)
    if waiting is not None:
        poll.register(waiting.pidfd, select.POLLIN)
    return any(descriptor == requests.fileno() for descriptor, _events in poll.poll())


def _wait(wanted: first_half.Ahead, name: str) -> Launch | None:
    """Do the first half of a start, in cgroups of this name; None when it cannot be done now.

    Whoever asks for such a container will then find out why.
    """
    launch = Launch(wanted, first_half.waiting_cgroup(wanted, name))
    try:
        launch.clone()
        ready = launch.equip(wait=True)
    except OSError:
        ready = False
    if not ready:
        launch.discard()
        return None
    return launch


def _take(waiting: Launch | None, message: dict[str, Any]) -> Launch | None:
    """The process that waits, if it is of the kind that is wanted; else it is ended."""
    another = message["request"].get("runtime") or message["request"].get("restore")  # that makes a process of its own
    if waiting is not None and not another and waiting.ahead == message["ahead"] and waiting.waits():
        return waiting
    _discard(waiting)
    return None


def _discard(waiting: Launch | None) -> None:
    if waiting is not None:
        waiting.discard()


def _run(
    message: dict[str, Any], channel: socket, descriptors: list[int], owner: int, boot_id: str, waiting: Launch | None
) -> bool:
    """Start a container and stay beside it, by a ``launch`` message; whether the process is fit for another one."""
    clients = control.spread(message["stdio"], descriptors)
    launch = None
    try:
        launch = _take(waiting, message)
        monitor = Monitor(message["request"], channel, clients, owner, boot_id, launch)
    except (plan.SpecError, OSError) as error:
        _discard(launch)
        detail = error.strerror if isinstance(error, OSError) else str(error)
        told = control.failure("configuration", getattr(error, "errno", 0) or 0, detail or str(error))
        control.answer(channel, told)
        return False
    monitor.start()
    while not monitor.finished():
        monitor.loop.turn()
    monitor.close()
    return monitor.reusable()
