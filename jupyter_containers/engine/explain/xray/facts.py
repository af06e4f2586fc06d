"""What procfs says of a process, understood: namespaces, ids, capabilities, mounts.

Sources: namespaces(7), user_namespaces(7), capabilities(7), proc_pid_status(5), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from jupyter_containers.engine.explain.xray.meanings import CAPABILITIES, NAMESPACES
from jupyter_containers.engine.explain.xray.views import Capability, IdRange, Namespace
from jupyter_containers.linux import capabilities
from jupyter_containers.linux.namespaces import parse_start_time
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_containers.linux.process_look import Look

ALL_IDS: Final = 0xFFFF_FFFF
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_SETS: Final = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")


def status(text: str) -> dict[str, str]:
    """The fields of ``/proc/<pid>/status``."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def started(stat: str) -> datetime | None:
    """When a process began, from ``/proc/<pid>/stat``."""
    if not stat:
        return None
    seconds = parse_start_time(os.fsencode(stat)) / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(_booted() + seconds, tz=UTC)


def _booted() -> int:
    """When the machine was started, seconds since the epoch, proc_stat(5): the same each time it is asked."""
    with open("/proc/stat", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime"))


def namespaces(look: Look, host: Look, others: Mapping[int, str], since: datetime | None) -> list[Namespace]:
    """Those of a process beside the host's; ``others`` are the inodes of other containers' with whose they are."""
    found = []
    for kind, meaning in NAMESPACES.items():
        inode, beside = look["namespaces"].get(kind), host["namespaces"].get(kind)
        relation: Literal["own", "host", "shared", "unknown"] = "own"
        if inode is None:
            relation = "unknown"
        elif inode == beside:
            relation = "host"
        elif inode in others:
            relation = "shared"
        mine = relation in {"own", "shared"}
        found.append(
            Namespace(kind, inode, beside, relation, others.get(inode or 0, ""), since if mine else None, meaning)
        )
    return found


def ids(look: Look) -> list[IdRange]:
    """The id maps, a line each, in words."""
    found = []
    names: tuple[tuple[Literal["user", "group"], str], ...] = (("user", "uid_map"), ("group", "gid_map"))
    for kind, file in names:
        for line in look["texts"].get(file, "").splitlines():
            inside, outside, count = map(int, line.split())
            found.append(IdRange(kind, inside, outside, count, id_words(kind, inside, outside, count)))
    return found


def id_words(kind: str, inside: int, outside: int, count: int) -> str:
    """A range of ids in words: ``root inside is user 100000 outside``."""
    who = "root" if inside == 0 else f"{kind} {inside}"
    if count == ALL_IDS and inside == outside:
        return f"every {kind} inside is the same outside: root is root"
    if count == 1:
        return f"{who} inside is {kind} {outside} outside"
    last = f"{kind}s {inside} to {inside + count - 1} inside are {outside} to {outside + count - 1} outside"
    return f"{who} inside is {kind} {outside} outside; {last}" if inside == 0 else last


def inside(ranges: Sequence[IdRange], kind: str, number: int) -> int | None:
    """The id inside that an id outside has; None where it has none."""
    for each in ranges:
        if each.kind == kind and each.outside <= number < each.outside + each.count:
            return each.inside + number - each.outside
    return None


def named_sets(look: Look) -> list[Capability]:
    """The capabilities of a process by name, beside Docker's default and those of this process."""
    fields = status(look["texts"].get("status", ""))
    masks = [int(fields.get(name, "0"), 16) for name in _SETS]
    return capability_rows(masks, own())


def own() -> int:
    """The effective capabilities of this process."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return int(status(file.read()).get("CapEff", "0"), 16)


def capability_rows(masks: Sequence[int], host: int) -> list[Capability]:
    """A row for each capability this kernel knows; ``masks``: effective, permitted, inheritable, bounding, ambient."""
    rows = []
    for number, name in enumerate(capabilities.known_here()):
        effective, permitted, inheritable, bounding, ambient = (bool(mask >> number & 1) for mask in masks)
        rows.append(
            Capability(
                name=name,
                effective=effective,
                permitted=permitted,
                inheritable=inheritable,
                bounding=bounding,
                ambient=ambient,
                docker=name in capabilities.DOCKER_DEFAULT,
                host=bool(host >> number & 1),
                meaning=CAPABILITIES.get(name, ""),
            )
        )
    return rows


@dataclass(frozen=True, slots=True)
class MountLine:
    """A line of mountinfo."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    target: str
    options: str
    propagation: str
    type: str
    source: str
    super_options: str


def mount_lines(text: str) -> list[MountLine]:
    """The lines of ``/proc/<pid>/mountinfo``, in their order."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        number, parent, device, root, target, options, *tags = left.split(" ")
        kind, source, *more = right.split(" ")
        found.append(
            MountLine(
                int(number),
                int(parent),
                device,
                _plain(root),
                _plain(target),
                options,
                _propagation(tags),
                kind,
                _plain(source),
                " ".join(more),
            )
        )
    return found


def _plain(text: str) -> str:
    r"""A path of mountinfo, where blanks and the like are written ``\040``."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _propagation(tags: Sequence[str]) -> str:
    """What is mounted elsewhere shows here, and the other way round: in the words of mount_namespaces(7)."""
    shared = any(tag.startswith("shared:") for tag in tags)
    slave = any(tag.startswith("master:") for tag in tags)
    if "unbindable" in tags:
        return "unbindable"
    if shared:
        return "shared and slave" if slave else "shared"
    return "slave" if slave else "private"
