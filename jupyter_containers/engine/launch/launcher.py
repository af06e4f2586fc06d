"""From a container's record, or a build step, to a running process: specification, filter, cgroup, network, launch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from jupyter_containers.engine.launch import runtimes
from jupyter_containers.engine.launch.filters import Filters
from jupyter_containers.engine.launch.spec import SpecInput, make_spec
from jupyter_containers.engine.small_files import write_file
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.config import Paths
    from jupyter_containers.engine.host import Host
    from jupyter_containers.engine.launch.devices import HostDevice
    from jupyter_containers.engine.launch.isolation import Sandboxing
    from jupyter_containers.engine.launch.namespaces import NamespaceSetup
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.oci.runtime_spec import Mount
    from jupyter_containers.runtime.protocol import Interface, LaunchRequest


@dataclass(frozen=True, slots=True)
class Plan:
    """What a container needs to be started, decided; ``rootfs`` are the mounts on the directory ``root``."""

    id: str
    args: Sequence[str]
    env: Sequence[str]
    cwd: str
    user: str
    hostname: str
    network: str
    options: RunOptions
    sandboxing: Sandboxing
    root: str
    rootfs: Sequence[Mount]
    extra_mounts: Sequence[Mount] = ()
    interfaces: Sequence[Interface] = ()
    devices: Sequence[HostDevice] = ()
    setup: NamespaceSetup | None = None


class Planner:
    """Makes launch requests. Thread-safe."""

    def __init__(self, host: Host, paths: Paths) -> None:
        self._host = host
        self._paths = paths
        self._filters = Filters(paths.run / "filters", host.kernel, host.machine)

    def request(self, plan: Plan) -> LaunchRequest:
        """The request for the spawner, without what only a supervised container has (log, directories).

        Raises
        ------
        Unsupported
            for a limit that this host cannot enforce.
        """
        spec = make_spec(
            SpecInput(
                args=plan.args,
                env=plan.env,
                cwd=plan.cwd,
                hostname=plan.hostname,
                network=plan.network,
                sandboxing=plan.sandboxing,
                options=plan.options,
                rootless=self._host.rootless,
                cgroups_path=self._host.cgroup_path(plan.id, plan.options.cgroup_parent),
                root=plan.root,
                extra_mounts=plan.extra_mounts,
                devices=plan.devices,
                setup=plan.setup,
            )
        )
        runtime = runtimes.find(plan.options, rootless=self._host.rootless)
        if runtime and plan.sandboxing.seccomp:
            spec["linux"]["seccomp"] = self._filters.rules(plan.sandboxing.capabilities, plan.sandboxing.profile)
        resources = spec["linux"]["resources"]
        options = plan.options
        cgroup, watch = self._host.plan_cgroup(
            plan.id, resources, parent=options.cgroup_parent, drop=options.limits == "drop"
        )
        return {
            "id": plan.id,
            "spec": spec,
            "rootfs": list(plan.rootfs),
            "interfaces": list(plan.interfaces),
            "user": plan.user or (plan.setup.user if plan.setup else "") or None,
            "groups": list(plan.options.group_add),
            "init": plan.options.init,
            "seccomp": self.filter(plan.sandboxing),
            "seccomp_flags": self.filter_flags(plan.sandboxing),
            "cgroup": cgroup,
            "memory_watch": watch,
            "runtime": runtime,
        }

    def filter(self, sandboxing: Sandboxing) -> bytes:
        """The compiled system call filter for a set of capabilities; empty for none."""
        if not sandboxing.seccomp:
            return b""
        return self._filters.get(sandboxing.capabilities, sandboxing.profile)

    def filter_flags(self, sandboxing: Sandboxing) -> int:
        """What the filter is loaded with, as its profile says."""
        return self._filters.flags(sandboxing.profile) if sandboxing.seccomp else 0

    def shared_file(self, name: str, data: bytes, *, mode: int = 0o644) -> str:
        """A small file of this content, for read-only binding; the same content is the same file."""
        directory = self._paths.run / "files"
        directory.mkdir(mode=0o711, exist_ok=True)
        path = directory / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}-{mode:o}"
        if not path.exists():
            write_file(path, data, mode=mode)
        return str(path)
