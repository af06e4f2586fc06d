"""What this machine and this user have: kernel, cgroups, name servers. Found out once for an engine."""

from __future__ import annotations

import hashlib
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING

from jupyter_containers.engine.launch import limits
from jupyter_containers.errors import Unsupported
from jupyter_containers.linux import cgroups, namespaces
from jupyter_containers.linux.cgroup_files import PARENT
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.runtime import idmap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from pathlib import Path

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import Resources

SWEEP_AGE = 10.0
"""Seconds: a cgroup younger than this may belong to a build step that is being started."""


class Host:
    """Facts that do not change while the engine lives. ``store`` tells this store's cgroups from another's.

    ``rootless``: containers are in a user namespace, one made for them or the one this process is in.
    """

    def __init__(self, store: Path) -> None:
        system = os.uname()
        self.rootless = not idmap.is_privileged() or namespaces.in_user_namespace()
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

    def plan_cgroup(
        self, identity: str, resources: Resources, *, parent: str | None = None, drop: bool = False
    ) -> tuple[CgroupPlan | None, int]:
        """The cgroup for some limits, and the bytes above which the monitor itself must kill the container.

        It is in ``parent``, a path below the roots of the hierarchies, where one is given. Where no memory controller
        can be used the monitor watches the memory instead. Every other limit that cannot be set is refused, or left
        out where ``drop`` is set.

        Raises
        ------
        Unsupported
            naming the limit.
        """
        self.check_limits(resources, drop=drop)
        wanted = limits.without(resources, limits.missing(self.cgroups, resources))
        if self.rootless or not self.cgroups.can_limit("devices"):
            wanted.pop("devices", None)
        watch = 0
        if "memory" in wanted and not self.cgroups.can_limit("memory"):
            watch = wanted.pop("memory").get("limit", 0)
        place = self.cgroup_path(identity, parent) if parent else ""
        return self.cgroups.plan(self._cgroup_name(identity), wanted, place), watch

    def check_limits(self, resources: Resources, *, drop: bool) -> list[str]:
        """Refuse the limits this host cannot set, or say with ``drop`` which are left out, one line for each.

        Raises
        ------
        Unsupported
            naming the option.
        """
        missing = limits.missing(self.cgroups, resources)
        lines = [f"{each.option} cannot be set: {each.why}" for each in missing if each.option]
        if lines and not drop:
            remedy = f"{self.cgroups.remedy}, " if self.rootless and self.cgroups.remedy else ""
            raise Unsupported(
                lines[0],
                hint=f"{remedy}leave it out, or use --limits drop to go on without it",
            )
        return [f"{line}; the container runs without it" for line in lines]

    def _cgroup_name(self, identity: str) -> str:
        return f"{self._prefix}-{identity}"

    def cgroup_path(self, identity: str, parent: str | None) -> str:
        """Where the container's cgroup is below the roots of the hierarchies."""
        return f"/{(parent or PARENT).strip('/')}/{self._cgroup_name(identity)}"

    def cgroup_of(self, identity: str, parent: str | None) -> CgroupPlan | None:
        """What exists of a container's cgroups."""
        if not self.cgroups.writable:
            return None
        return self.cgroups.find(self._cgroup_name(identity), self.cgroup_path(identity, parent))

    def sweep_cgroups(self, alive: Collection[str], owning: Callable[[str], AbstractContextManager[bool]]) -> list[str]:
        """Remove the cgroups of this store whose containers are gone; one line for each.

        ``owning`` keeps engines from starting a container, if none is; build steps, which nobody owns, are given some
        time.
        """
        repaired = []
        for name in self.cgroups.existing():
            prefix, _, identity = name.partition("-")
            if prefix != self._prefix or identity in alive:
                continue
            plan = self.cgroups.find(name)
            if identity.startswith("build-") and _age(plan) < SWEEP_AGE:
                continue
            with owning(identity) as own:
                if own and not cgroups.processes(plan):
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
