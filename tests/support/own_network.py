"""A network namespace of the test's own, so that bridges, rules and forwarding of the host are not touched.

Only the thread that runs the tests moves there; what it starts is born there. An ordinary user cannot do that and need
not: its networks are in namespaces of its own anyway.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jupyter_containers.linux import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator


def run(*lines: str) -> None:
    """Commands without quotes."""
    for line in lines:
        subprocess.run(line.split(), check=True, capture_output=True)


@contextmanager
def entered() -> Iterator[None]:
    """In network and mount namespaces of this thread's own while it lasts; loopback is up, /sys shows them."""
    if os.geteuid() != 0:
        yield
        return
    before = [(kind, os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)) for kind in ("net", "mnt")]
    directory = os.getcwd()
    syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
    try:
        with tempfile.TemporaryDirectory() as kept:
            run(
                "mount --make-rprivate /",
                f"mount --rbind /sys/fs/cgroup {kept}",
                "mount -t sysfs sysfs /sys",
                f"mount --rbind {kept} /sys/fs/cgroup",
                f"umount --lazy {kept}",
                "ip link set lo up",
            )
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("0")  # a new namespace begins with what the host has
        yield
    finally:
        for kind, descriptor in before:
            syscalls.setns(descriptor, syscalls.CLONE_NEWNET if kind == "net" else syscalls.CLONE_NEWNS)
            os.close(descriptor)
        os.chdir(directory)
