"""Namespaces by name, id maps, and processes as /proc and pidfds show them.

Sources: namespaces(7), user_namespaces(7), subuid(5), proc(5).
"""

from __future__ import annotations

import os
import stat

from jupyter_containers.linux import syscalls

#: Namespace types of the OCI runtime specification -> clone(2) flags.
FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
    "time": syscalls.CLONE_NEWTIME,
}

#: Namespace types -> file names in /proc/<pid>/ns.
FILES = {
    "mount": "mnt",
    "cgroup": "cgroup",
    "uts": "uts",
    "ipc": "ipc",
    "user": "user",
    "pid": "pid",
    "network": "net",
    "time": "time",
}

_STARTTIME_AFTER_NAME = 19  # field 22 of /proc/<pid>/stat; the name, field 2, may hold spaces and parentheses

_FLAGS_AFTER_NAME = 6  # field 9
_PF_EXITING = 0x4


def parse_start_time(stat: bytes) -> int:
    """Field 22 of /proc/<pid>/stat: clock ticks after boot at which the process started."""
    return int(stat.rpartition(b")")[2].split()[_STARTTIME_AFTER_NAME])


def parse_state(stat: bytes) -> str:
    """Field 3 of /proc/<pid>/stat: ``R``, ``S``, ``Z`` for a zombie ..."""
    return stat.rpartition(b")")[2].split()[0].decode()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks after boot; 0 when there is no such process or it is a zombie.

    Together with the pid it names a process for ever: pids are used again, this pair is not.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if parse_state(stat) in {"Z", "X"} else parse_start_time(stat)


def exiting(pid: int) -> bool:
    """Whether a process ends, or has ended: the first of a pid namespace may wait long for the last one in it."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(fields[_FLAGS_AFTER_NAME]) & _PF_EXITING)


def parent(pid: int) -> int:
    """The parent of a process, proc_pid_stat(5); 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read(4096).rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def enter_network(path: str) -> None:
    """Move this thread, the only one, into a network namespace; it cannot always come back."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def write_maps(pid: int, uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> None:
    """Write the id maps of a process in a new user namespace: ``(inside, outside, count)``.

    Needs CAP_SETUID and CAP_SETGID in this process's user namespace, or a single map of its own id, for which
    setgroups(2) must be given up first.
    """
    single = len(gids) == 1 and gids[0][2] == 1 and os.geteuid() != 0
    if single:
        write_file(f"/proc/{pid}/setgroups", b"deny")
    write_file(f"/proc/{pid}/gid_map", format_map(gids))
    write_file(f"/proc/{pid}/uid_map", format_map(uids))


def format_map(ranges: list[tuple[int, int, int]]) -> bytes:
    """The text of uid_map and gid_map."""
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges).encode()


def write_file(path: str, data: bytes) -> None:
    """Write a file of /proc or /sys in one call, as these need."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def outer_ids() -> int:
    """How many ids there are in the user namespace this process is in; 0 in the first one, which has all of them.

    0 also where procfs cannot be read. Source: user_namespaces(7).
    """
    try:
        with open("/proc/self/uid_map", "rb", buffering=0) as file:
            rows = [[int(number) for number in line.split()] for line in file.read(65536).splitlines()]
    except OSError:
        return 0
    return 0 if rows == [[0, 0, 0xFFFF_FFFF]] else sum(count for _inside, _outside, count in rows)


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than the first one: its root is not the machine's."""
    return outer_ids() > 0


def why_no_gain(program: str) -> str:
    """Why a program that works by set-user-id cannot, one line; empty where it can."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        if "NoNewPrivs:\t1" in file.read():
            return f"this process may gain no privileges (no_new_privs), as {program} has to"
    if os.stat(program).st_mode & stat.S_ISUID:
        return ""
    try:
        os.getxattr(program, "security.capability")
    except OSError:
        return f"{program} is neither set-user-id root nor has it capabilities"
    return ""


def parse_subids(text: str, *, name: str, number: int) -> list[tuple[int, int]]:
    """The ranges ``(first, count)`` that /etc/subuid or /etc/subgid gives to a user, by name or number."""
    ranges = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) != 3 or fields[0] not in {name, str(number)}:  # noqa: PLR2004 - owner:first:count
            continue
        if fields[1].isdigit() and fields[2].isdigit() and int(fields[2]) > 0:
            ranges.append((int(fields[1]), int(fields[2])))
    return ranges


def id_map(own: int, ranges: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """``own`` as id 0, the subordinate ranges from 1 on: what Docker and Podman map."""
    mapped = [(0, own, 1)]
    inside = 1
    for first, count in ranges:
        mapped.append((inside, first, count))
        inside += count
    return mapped
