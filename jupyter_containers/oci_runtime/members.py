"""The processes of a container, as its starter numbers them."""

from __future__ import annotations

import os

from jupyter_containers.linux import cgroup_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci_runtime.store import Container


def pids(container: Container) -> list[int]:
    """All of them, by its cgroup and those below; without one, those in the pid namespace of its init."""
    plan = container.cgroup
    if plan is None:
        return _by_namespace(container.pid) if container.alive() else []
    found: set[int] = set()
    for top in [*plan["dirs"].values(), plan["unified"]]:
        if not top:
            continue
        for directory, _names, _files in os.walk(top):
            found.update(int(line) for line in cgroup_files.read(f"{directory}/cgroup.procs").split())
        break
    return sorted(found)


def _by_namespace(init: int) -> list[int]:
    wanted = os.stat(f"/proc/{init}/ns/pid").st_ino
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}/ns/pid").st_ino == wanted:
                found.append(int(name))
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return sorted(found)
