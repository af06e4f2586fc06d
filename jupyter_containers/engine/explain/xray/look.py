"""An x-ray of a container: what procfs, its cgroups and its record say, put together.

Nothing is entered and nothing changed: all is read from outside, with the rights of whoever asks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from jupyter_containers.engine import status
from jupyter_containers.engine.container import processes
from jupyter_containers.engine.explain.xray import cgroup, facts, files, network, seccomp, sentences, tasks
from jupyter_containers.engine.explain.xray.meanings import NAMESPACES
from jupyter_containers.engine.explain.xray.views import IdRange, Namespace, Xray
from jupyter_containers.engine.launch import isolation, namespaces
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.linux import capabilities, process_look
from jupyter_containers.linux.namespaces import FILES
from jupyter_containers.runtime import lifecycle

if TYPE_CHECKING:
    from jupyter_containers.engine.explain.xray.views import Relation, Task
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.status import Status
    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.linux.process_look import Look

_HOST: Final = "/proc/self"
_LABEL: Final = "attr/current"  # without a security module there is none to read


def take(parts: Parts, record: ContainerRecord) -> Xray:
    """Look at a container; of one that does not run, or ends meanwhile, at what it is configured to be."""
    now = status.read(parts.paths, record.id)
    if now.pid:
        found = _readable(parts, record, now.pid)
        if found is not None:
            return _living(parts, record, now, *found)
        now = status.read(parts.paths, record.id)
    return _resting(parts, record, now)


def starting(parts: Parts, record: ContainerRecord, pid: int, look: Look, *, filtered: bool, entered: bool) -> Xray:
    """Look at a container that is being made, by what its first process took down of itself.

    ``filtered``: its filter is loaded; ``entered``: its root is its own. Before, the paths to be covered are not there.
    """
    found = _living(parts, record, status.Status("created", pid, 0, None), pid, look)
    if not filtered:
        rest = {name: value for name, value in found.security if name != "seccomp"}
        found = replace(found, seccomp=(), security=(("seccomp", "no filter yet"), *rest.items()))
    return sentences.told(found if entered else replace(found, paths=()))


def _readable(parts: Parts, record: ContainerRecord, init: int) -> tuple[int, Look] | None:
    """The first process of the container that lets itself be looked at, else its init; None when it has ended.

    An init that is not the program itself is closed even to its own user (PR_SET_DUMPABLE): its children are not.
    """
    first: tuple[int, Look] | None = None
    for pid in processes.pids(str(parts.paths.containers / record.id)) or [init]:
        look = process_look.take(f"/proc/{pid}")
        if "status" not in look["texts"]:
            continue
        first = first or (pid, look)
        if look["namespaces"]:
            return pid, look
    return first


def _living(parts: Parts, record: ContainerRecord, now: Status, pid: int, look: Look) -> Xray:
    sandboxing = isolation.sandboxing(record.options, guards_devices=parts.host.guards_devices)
    host = process_look.take(_HOST, network=False)
    init_stat = process_look.take(f"/proc/{now.pid}", network=False)["texts"].get("stat", "")
    started = facts.started(init_stat or look["texts"].get("stat", ""))
    ids = facts.ids(look)
    spaces = facts.namespaces(look, host, _others(parts, record), started)
    lines = facts.mount_lines(look["texts"].get("mountinfo", ""))
    covered = files.covered(sandboxing, lines)
    fields = facts.status(look["texts"].get("status", ""))
    answers, length = seccomp.answers(parts, sandboxing)
    found = Xray(
        id=record.id,
        name=record.name,
        image=record.image,
        state=now.state,
        live=True,
        pid=pid,
        started=started,
        words=(),
        namespaces=tuple(spaces),
        ids=tuple(ids),
        mounts=tuple(files.mounts(lines, record, covered)),
        layers=tuple(files.stack(parts, record)),
        capabilities=tuple(facts.named_sets(look)),
        security=tuple(seccomp.security(fields, look, length)),
        seccomp=tuple(answers),
        cgroup=tuple(cgroup.figures(_plan(parts, record), sentences.shown)),
        processes=tuple(_tasks(parts, record, ids, spaces)),
        interfaces=tuple(network.interfaces(look)),
        routes=tuple(network.routes(look)),
        paths=tuple(covered),
        missing=tuple((name, why) for name, why in look["refused"].items() if name != _LABEL),
    )
    return sentences.told(found)


def _plan(parts: Parts, record: ContainerRecord) -> CgroupPlan | None:
    plan = parts.host.cgroup_of(record.id, record.options.cgroup_parent)
    if plan is None:
        return None
    there = {name: path for name, path in plan["dirs"].items() if os.path.isdir(path)}
    return {**plan, "dirs": there, "unified": plan["unified"] if os.path.isdir(plan["unified"] or "-") else ""}


def _tasks(parts: Parts, record: ContainerRecord, ids: list[IdRange], spaces: list[Namespace]) -> list[Task]:
    directory = str(parts.paths.containers / record.id)
    kept = lifecycle.read_record(directory)
    if kept is None:
        return []
    own = any(space.kind == "pid" and space.relation in {"own", "shared"} for space in spaces)
    return tasks.rows(kept["monitor"]["pid"], kept["init"]["pid"], processes.pids(directory), ids, own=own)


def _others(parts: Parts, record: ContainerRecord) -> dict[int, str]:
    """The namespaces of the other running containers, by inode, with the names of those that have them."""
    found: dict[int, str] = {}
    for row in parts.state.containers(os.listdir(parts.paths.running)):
        other = ContainerRecord.decode(row.record)
        pid = status.read(parts.paths, row.id).pid
        if row.id == record.id or not pid:
            continue
        for file in FILES.values():
            with suppress(OSError):  # it has ended, or is closed
                inode = os.stat(f"/proc/{pid}/ns/{file}").st_ino
                found[inode] = f"{found[inode]}, {other.name}" if inode in found else other.name
    return found


def _resting(parts: Parts, record: ContainerRecord, now: Status) -> Xray:
    """What is known of a container without a process."""
    sandboxing = isolation.sandboxing(record.options, guards_devices=parts.host.guards_devices)
    id_map = parts.spawner.id_map if parts.host.rootless else None
    setup = namespaces.setup(record.options, record.network, id_map=id_map, pid_of=lambda _identity: os.getpid())
    host = process_look.take(_HOST, network=False)
    kinds = {each["type"]: bool(each.get("path")) for each in setup.namespaces}
    spaces = []
    for kind, meaning in NAMESPACES.items():
        relation: Relation = ("shared" if kinds[kind] else "own") if kind in kinds else "host"
        if kind == "user" and parts.host.rootless:
            relation = "own"
        beside = host["namespaces"].get(kind)
        spaces.append(Namespace(kind, None, beside, relation, "", None, meaning))
    mask = sum(1 << number for number in capabilities.numbers_of(sandboxing.capabilities))
    root = record.user.partition(":")[0] in {"", "0", "root"}
    answers, length = seccomp.answers(parts, sandboxing)
    found = Xray(
        id=record.id,
        name=record.name,
        image=record.image,
        state=now.state,
        live=False,
        pid=None,
        started=None,
        words=(),
        namespaces=tuple(spaces),
        ids=tuple(_planned_ids(setup, parts)),
        mounts=tuple(files.planned(record)),
        layers=tuple(files.stack(parts, record)),
        capabilities=tuple(facts.capability_rows([mask if root else 0, mask if root else 0, 0, mask, 0], facts.own())),
        security=tuple(seccomp.planned_security(sandboxing, length)),
        seccomp=tuple(answers),
        cgroup=tuple(cgroup.planned(record.options, sentences.shown)),
        processes=(),
        interfaces=tuple(network.planned(record)),
        routes=(),
        paths=tuple(files.covered(sandboxing, None)),
        missing=(),
    )
    return sentences.told(found)


def _planned_ids(setup: namespaces.NamespaceSetup, parts: Parts) -> list[IdRange]:
    found = []
    for kind, ranges in (("user", setup.uids), ("group", setup.gids)):
        given = [(each["containerID"], each["hostID"], each["size"]) for each in ranges]
        if not given and parts.host.rootless:
            id_map = parts.spawner.id_map
            given = list(id_map.uids if kind == "user" else id_map.gids)
        for inside, outside, count in given or [(0, 0, facts.ALL_IDS)]:
            words = facts.id_words(kind, inside, outside, count)
            found.append(IdRange("user" if kind == "user" else "group", inside, outside, count, words))
    return found
