"""A monitor that has nothing to do gives back the pages of programs and libraries: few are needed to wait.

They are the kernel's copies of files, and are there again when they are used. Sources: madvise(2), proc(5).
"""

from __future__ import annotations

from jupyter_containers.linux import syscalls

AFTER = 1.5
"""Seconds: a container that runs so long is likely to run on, and what is done after one second is done."""

_MADV_DONTNEED = 4


def give_back() -> None:
    """Let go of what this process has in memory of files and has never written to."""
    unwritten = []
    place: list[bytes] = []
    with open("/proc/self/smaps", "rb") as file:
        for line in file:
            fields = line.split()
            if not fields[0].endswith(b":"):
                place = fields
            elif fields[0] == b"Anonymous:" and fields[1] == b"0" and b"w" not in place[1] and place[4] != b"0":
                begin, end = (int(part, 16) for part in place[0].split(b"-"))
                unwritten.append((begin, end - begin))
    for begin, length in unwritten:
        syscalls.call("madvise", begin, length, _MADV_DONTNEED)
