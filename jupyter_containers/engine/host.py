"""What this machine and this user have: kernel, cgroups, name servers. Found out once for an engine."""

from __future__ import annotations

import hashlib
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING

from jupyter_containers.linux import cgroups
from jupyter_containers.linux.cgroups import CgroupHost

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import Resources

SWEEP_AGE = 10.0
"""Seconds: a cgroup younger than this may belong to a container that is being started."""


class Host:
    """Facts that do not change while the engine lives. ``store`` tells this store's cgroups from another's."""

    def __init__(self, store: Path) -> None:
        system = os.uname()
        self.rootless = os.geteuid() != 0
        self.machine = system.machine
        self.release = system.release
        self.kernel = _version(system.release)
        self._prefix = hashlib.sha256(os.fsencode(store)).hexdigest()[:8]

    @cached_property
    def cgroups(self) -> CgroupHost:
        """Where limits can be set."""
        return CgroupHost.detect()

    @property
    def guards_devices(self) -> bool:
        """Whether a container is kept from devices: by rules, or because the kernel gives none in a user namespace."""
        return self.rootless or self.cgroups.can_limit("devices")

    def plan_cgroup(self, identity: str, resources: Resources) -> tuple[CgroupPlan | None, int]:
        """The cgroup for some limits, and the bytes above which the monitor itself must kill the container.

        Where no memory controller can be used the monitor watches the memory instead; every other limit that cannot
        be set is refused.

        Raises
        ------
        Unsupported
            naming the limit.
        """
        watch = 0
        wanted = resources.copy()
        if not self.cgroups.can_limit("devices"):
            wanted.pop("devices", None)
        if "memory" in wanted and not self.cgroups.can_limit("memory"):
            watch = wanted["memory"].get("limit", 0)
            del wanted["memory"]
        return self.cgroups.plan(self._cgroup_name(identity), wanted), watch

    def _cgroup_name(self, identity: str) -> str:
        return f"{self._prefix}-{identity}"

    def cgroup_of(self, identity: str) -> CgroupPlan | None:
        """What exists of a container's cgroups."""
        return self.cgroups.find(self._cgroup_name(identity)) if self.cgroups.writable else None

    def sweep_cgroups(self, alive: Collection[str]) -> list[str]:
        """Remove the cgroups of this store whose containers are gone; one line for each."""
        repaired = []
        for name in self.cgroups.existing():
            prefix, _, identity = name.partition("-")
            if prefix != self._prefix or identity in alive:
                continue
            plan = self.cgroups.find(name)
            if cgroups.processes(plan) or _age(plan) < SWEEP_AGE:
                continue
            cgroups.remove(plan)
            repaired.append(f"the cgroups of {identity[:12]} were removed")
        return repaired


def _age(plan: CgroupPlan) -> float:
    """Seconds since the youngest of its directories was made."""
    paths = [path for path in (*plan["dirs"].values(), plan["unified"]) if path]
    times = [os.stat(path).st_ctime for path in paths if os.path.exists(path)]
    return time.time() - max(times, default=0.0)


def _version(release: str) -> tuple[int, int]:
    major, minor, *_ = (*release.split("-", maxsplit=1)[0].split("."), "0")
    return int(major), int(minor)
