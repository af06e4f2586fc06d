"""What procfs shows of one process, taken down as text in one go and understood later.

It needs no privilege but to read, changes nothing, and imports next to nothing: a container's init takes itself down
with it between the stages of its start.
"""

from __future__ import annotations

import os

from jupyter_containers.linux.namespaces import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Look(TypedDict):
        """A process at one moment.

        Attributes
        ----------
        namespaces
            Kind -> inode, of those that could be read.
        texts
            File below ``/proc/<pid>`` -> its content.
        descriptors
            How many are open; None where they may not be counted.
        refused
            What could not be read -> why.
        """

        namespaces: dict[str, int]
        texts: dict[str, str]
        descriptors: int | None
        refused: dict[str, str]


_LARGEST = 1 << 20
_TEXTS = (
    "status",
    "stat",
    "cmdline",
    "uid_map",
    "gid_map",
    "setgroups",
    "mountinfo",
    "cgroup",
    "attr/current",
    "oom_score_adj",
    "net/dev",
    "net/route",
    "net/fib_trie",
    "net/if_inet6",
    "net/ipv6_route",
)


def take(directory: str, *, network: bool = True) -> Look:
    """Look at the process of a directory of procfs (``/proc/self``). What cannot be read is in ``refused``."""
    look: Look = {"namespaces": {}, "texts": {}, "descriptors": None, "refused": {}}
    for kind, file in FILES.items():
        try:
            look["namespaces"][kind] = os.stat(f"{directory}/ns/{file}").st_ino
        except OSError as error:
            look["refused"][f"ns/{file}"] = error.strerror or "refused"
    for name in _TEXTS:
        if not network and name.startswith("net/"):
            continue
        try:
            look["texts"][name] = _read(f"{directory}/{name}")
        except OSError as error:
            look["refused"][name] = error.strerror or "refused"
    try:
        look["descriptors"] = len(os.listdir(f"{directory}/fd"))
    except OSError as error:
        look["refused"]["fd"] = error.strerror or "refused"
    return look


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        size = 0
        while size < _LARGEST and (part := os.read(descriptor, 65536)):
            parts.append(part)
            size += len(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "surrogateescape")
