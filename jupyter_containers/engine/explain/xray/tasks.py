"""The processes of a container, seen from outside and from inside: proc_pid_status(5), pid_namespaces(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.engine.explain.xray import facts
from jupyter_containers.engine.explain.xray.text import visible
from jupyter_containers.engine.explain.xray.views import Task
from jupyter_containers.linux import process_look
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.explain.xray.views import IdRange

_MONITOR = "(waits for the container's end, outside)"
_OWN_LEVEL = 2  # pids in NSpid: as this process sees it, as the container does


def rows(monitor: int, init: int, pids: Sequence[int], ids: Sequence[IdRange], *, own: bool) -> list[Task]:
    """A row for the monitor, which is outside, and for each process; ``own``: the pid namespace is the container's."""
    found: dict[int, Task] = {}
    for pid in (monitor, *pids):
        look = process_look.take(f"/proc/{pid}", network=False)
        texts = look["texts"]
        fields = facts.status(texts.get("status", ""))
        if "Pid" not in fields:
            continue  # it has ended meanwhile
        numbers = fields.get("NSpid", str(pid)).split()
        inside = int(numbers[_OWN_LEVEL - 1]) if len(numbers) >= _OWN_LEVEL else None if own else pid
        user = int(fields["Uid"].split()[0])
        outer = pid == monitor
        found[pid] = Task(
            pid=pid,
            inside=None if outer else inside,
            parent=int(fields["PPid"]),
            depth=0,
            role="monitor" if outer else "init" if pid == init else "",
            command=_MONITOR if outer else _command(texts.get("cmdline", ""), fields["Name"]),
            state=fields["State"],
            user=user,
            user_inside=None if outer else facts.inside(ids, "user", user),
            threads=int(fields["Threads"]),
            descriptors=look["descriptors"],
            started=facts.started(texts.get("stat", "")),
        )
    return _tree(found, monitor)


def _command(cmdline: str, name: str) -> str:
    words = cmdline.rstrip("\0").split("\0")
    return visible(" ".join(words)) if cmdline else f"[{visible(name)}]"


def _tree(found: dict[int, Task], root: int) -> list[Task]:
    """Children below their parents; one whose parent is not among them is below the root."""
    children: dict[int, list[int]] = {}
    for pid, task in found.items():
        if pid != root:
            children.setdefault(task.parent if task.parent in found else root, []).append(pid)
    ordered = []
    waiting = [(root, 0)] if root in found else [(pid, 1) for pid in children.get(root, ())]
    while waiting:
        pid, depth = waiting.pop(0)
        task = found[pid]
        role = task.role or ("exec" if depth == 1 else "")
        ordered.append(replace(task, depth=depth, role=role))
        waiting[:0] = [(child, depth + 1) for child in sorted(children.get(pid, ()))]
    return ordered
