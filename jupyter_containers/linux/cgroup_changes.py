"""Other limits for a container that runs: its control groups are changed, and where it lacks one, made."""

from __future__ import annotations

import os

from jupyter_containers.linux import cgroup_files as files
from jupyter_containers.linux import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.linux.cgroups import CgroupPlan


def change(plan: CgroupPlan) -> None:
    """Write limits: all, or when the kernel refuses one (:exc:`OSError` naming the file) none."""
    _complete(plan)
    before = [(path, files.read(path).strip()) for path, _text in plan["writes"] if "|" not in path]
    try:
        cgroups.apply(plan)
    except OSError as refused:
        try:
            cgroups.apply({**plan, "writes": [(path, text) for path, text in before if text and "\n" not in text]})
        except OSError:
            raise refused from None
        raise


def _complete(plan: CgroupPlan) -> None:
    """Make the directories that the container has not, and move its processes there; the first one it has."""
    directories = dict.fromkeys([*plan["dirs"].values(), *([plan["unified"]] if plan["unified"] else [])])
    fresh = [path for path in directories if not os.path.isdir(path)]
    for path in fresh:
        files.make(path)
        files.inherit_cpuset(path)
    moved: set[int] = set()
    while fresh and (new := set(cgroups.processes(plan)) - moved):  # what they fork once they are there is born there
        for pid in new:
            try:
                for path in fresh:
                    files.write(f"{path}/cgroup.procs", str(pid))
            except ProcessLookupError:
                continue
        moved |= new


def merged(plan: CgroupPlan, new: CgroupPlan) -> CgroupPlan:
    """A plan with what another one for the same container has besides, and has otherwise."""
    again = {path for path, _text in new["writes"]}
    writes = [each for each in plan["writes"] if each[0] not in again]
    return {**plan, "dirs": {**plan["dirs"], **new["dirs"]}, "writes": [*writes, *new["writes"]]}
