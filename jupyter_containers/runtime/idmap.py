"""Which ids an ordinary user's containers can have, and putting them in place.

With ranges in /etc/subuid and /etc/subgid and the set-user-id programs newuidmap and newgidmap there are many; without,
a user namespace has one: the user's own, as root. Sources: user_namespaces(7), subuid(5), newuidmap(1).
"""

from __future__ import annotations

import os

from jupyter_containers.errors import StartFailed
from jupyter_containers.linux import namespaces
from jupyter_containers.records import dataclass

_CAP_SYS_ADMIN = 21


@dataclass(frozen=True, slots=True)
class IdMap:
    """The ids of a user namespace.

    Attributes
    ----------
    kind
        ``host`` for root with its full capabilities, who needs no user namespace; ``subordinate``; ``single``.
    uids, gids
        ``(inside, outside, count)``.
    reason
        Why it is not a better kind, one line; empty for ``host`` and ``subordinate``.
    """

    kind: str
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()
    reason: str = ""


def is_privileged() -> bool:
    """Whether this process may do without a user namespace: uid 0 with CAP_SYS_ADMIN."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def choose(subuid: str = "/etc/subuid", subgid: str = "/etc/subgid") -> IdMap:
    """The best map this user can have."""
    if is_privileged():
        return IdMap("host")
    import pwd  # noqa: PLC0415 - root needs none of these
    import shutil  # noqa: PLC0415 - the same

    uid, gid = os.geteuid(), os.getegid()
    single = ((0, uid, 1),), ((0, gid, 1),)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    missing = [program for program in ("newuidmap", "newgidmap") if shutil.which(program) is None]
    if missing:
        return IdMap("single", *single, reason=f"{missing[0]} is not installed (Debian and Ubuntu: package uidmap)")
    for program in ("newuidmap", "newgidmap"):
        if reason := namespaces.why_no_gain(shutil.which(program) or program):
            return IdMap("single", *single, reason=reason)
    ranges = []
    for path in (subuid, subgid):
        found = namespaces.parse_subids(_read(path), name=name, number=uid)
        if not found:
            return IdMap("single", *single, reason=f"{path} has no range for {name}")
        ranges.append(found)
    return IdMap("subordinate", tuple(namespaces.id_map(uid, ranges[0])), tuple(namespaces.id_map(gid, ranges[1])))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(id_map: IdMap, pid: int) -> None:
    """Give the user namespace of a process its ids.

    Raises
    ------
    StartFailed
        When the kernel or newuidmap refuses; the message has what it said.
    """
    if id_map.kind == "single":
        try:
            namespaces.write_file(f"/proc/{pid}/setgroups", b"deny")
            namespaces.write_file(f"/proc/{pid}/gid_map", namespaces.format_map(list(id_map.gids)))
            namespaces.write_file(f"/proc/{pid}/uid_map", namespaces.format_map(list(id_map.uids)))
        except OSError as error:
            raise StartFailed(
                f"the kernel refused the id map of the user namespace: {error.strerror}",
                step="id maps",
                errno=error.errno or 0,
            ) from None
        return
    import subprocess  # noqa: PLC0415 - root needs no map

    for program, ranges in (("newuidmap", id_map.uids), ("newgidmap", id_map.gids)):
        arguments = [str(number) for each in ranges for number in each]
        try:
            done = subprocess.run(
                [program, str(pid), *arguments], capture_output=True, text=True, errors="replace", check=False
            )
        except OSError as error:
            raise StartFailed(
                f"{program} cannot be run: {error.strerror}", step="id maps", errno=error.errno or 0
            ) from error
        if done.returncode:
            raise StartFailed(
                f"{program} failed: {done.stderr.strip() or f'exit status {done.returncode}'}",
                step="id maps",
                hint=f"Check this user's ranges in /etc/subuid and /etc/subgid; {program} must be set-user-id root.",
            )
