"""Scheduling, input and output priority, execution domain and memory policy of a process, by the kernel's names.

Sources: sched_setattr(2), sched(7), ioprio_set(2), personality(2), set_mempolicy(2), cpuset(7) "List format".
"""

from __future__ import annotations

import os

from jupyter_containers.linux.syscalls import call

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
DOMAINS = {"LINUX": 0, "LINUX32": 8}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_NUMA_BALANCING": 1 << 13}

_ATTRIBUTE_SIZE = 48  # struct sched_attr of Linux 3.14, which later kernels take
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_SHIFT = 13
_MOST_NUMBERS = 8192  # of CPUs or nodes: what the largest kernels are built for
_WORD = 64


def set_scheduler(
    policy: int, flags: int = 0, *, nice: int = 0, priority: int = 0, deadline: tuple[int, int, int] = (0, 0, 0)
) -> None:
    """Set this process's scheduling; ``deadline`` is runtime, deadline and period in nanoseconds."""
    attribute = b"".join(
        value.to_bytes(size, "little", signed=value < 0)
        for value, size in (
            (_ATTRIBUTE_SIZE, 4),
            (policy, 4),
            (flags, 8),
            (nice, 4),
            (priority, 4),
            *((nanoseconds, 8) for nanoseconds in deadline),
        )
    )
    call("sched_setattr", 0, attribute, 0)


def set_io_priority(io_class: int, priority: int) -> None:
    """Set this process's class and priority of input and output."""
    call("ioprio_set", _IOPRIO_WHO_PROCESS, 0, io_class << _IOPRIO_CLASS_SHIFT | priority)


def set_personality(domain: int) -> None:
    """Set this process's execution domain, which its programs keep."""
    call("personality", domain)


def set_memory_policy(mode: int, nodes: set[int]) -> None:
    """Set on which NUMA nodes this process's memory is allocated; ``mode`` with its flags."""
    if not nodes:
        call("set_mempolicy", mode, None, 0)
        return
    words = max(nodes) // _WORD + 1
    mask = sum(1 << node for node in nodes).to_bytes(words * 8, "little")
    call("set_mempolicy", mode, mask, words * _WORD + 1)  # the kernel looks at one bit less than it is told


def set_affinity(cpus: set[int]) -> None:
    """Set on which CPUs this process runs."""
    os.sched_setaffinity(0, cpus)


def parse_list(text: str) -> set[int]:
    """The numbers of a list such as ``0-3,7``; spaces around a part do not matter.

    Raises
    ------
    ValueError
        It is no such list.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = int(first)
        high = int(last) if dash else low
        if not 0 <= low <= high < _MOST_NUMBERS:
            raise ValueError(f"not a range: {part.strip()}")
        numbers.update(range(low, high + 1))
    return numbers
