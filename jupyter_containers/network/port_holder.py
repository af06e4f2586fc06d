"""Which program has a port of this host, as far as this user may see: proc_pid_net(5), proc_pid_fd(5)."""

from __future__ import annotations

import os
from contextlib import suppress

_LISTENING, _UNCONNECTED = "0A", "07"


def find(protocol: str, port: int) -> str:
    """``nginx (pid 123)``; empty where nobody has it, or where that cannot be seen."""
    inodes = _inodes(protocol, port)
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and wanted & _links(f"/proc/{entry}/fd"):
            return f"{_name(entry)} (pid {entry})"
    return ""


def _inodes(protocol: str, port: int) -> set[str]:
    state = _LISTENING if protocol == "tcp" else _UNCONNECTED
    found = set()
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in list(file)[1:]]
        except OSError:
            continue
        found |= {row[9] for row in rows if row[3] == state and int(row[1].rpartition(":")[2], 16) == port}
    return found


def _links(directory: str) -> set[str]:
    found = set()
    with suppress(OSError):  # it ended, or belongs to somebody else
        for name in os.listdir(directory):
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(os.readlink(f"{directory}/{name}"))
    return found


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a program"
