"""What both sides of a live move know of CRIU, which takes down and sets up running processes.

Sources: criu(8), "External resources" of the CRIU documentation (mount, file, pipe and network namespace).
"""

from __future__ import annotations

import re

NETWORK = "network"
"""The name under which the container's network namespace is left out of the state."""
LOG = "criu.log"
COMMON = ("--manage-cgroups=ignore", "--tcp-close", "--ext-unix-sk", "--file-locks", "--log-file", LOG, "-v1")
"""Cgroups are the engine's, connections to others are closed, locks on files are kept."""
NULL, MOUNT, CGROUP = "null", "mount", "cgroup"
"""What a mount that is left out is: a mask, one of the specification, or a directory of the container's cgroups."""

_ERROR = re.compile(r"^(?:\([\d.]+\) +)?(?:\d+: )?Error \([^)]*\): (.*)$", re.MULTILINE)
_BESIDE_THE_POINT = ("rlimit:", "cg: cgroupd:")


def problem(log: str) -> str:
    """The first error that a log of it names, apart from those that are said of every attempt."""
    told = [line for line in _ERROR.findall(log) if not line.startswith(_BESIDE_THE_POINT)]
    return str(told[0]).strip() if told else "it does not say why"
