"""From a container's record, or a build step, to a running process: specification, filter, cgroup, network, launch."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jupyter_containers.engine.spec import Sandboxing, SpecInput, make_spec
from jupyter_containers.linux import seccomp, seccomp_default

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_containers.config import Paths
    from jupyter_containers.engine.host import Host
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
    files: dict[str, str] = field(default_factory=dict)
    extra_mounts: Sequence[Mount] = ()
    interfaces: Sequence[Interface] = ()


class Planner:
    """Makes launch requests. Thread-safe; compiled filters are kept."""

    def __init__(self, host: Host, paths: Paths) -> None:
        self._host = host
        self._paths = paths
        self._lock = threading.Lock()
        self._filters: dict[tuple[str, ...], bytes] = {}

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
                cgroups_path=plan.id,
                root=plan.root,
                files=plan.files,
                extra_mounts=plan.extra_mounts,
            )
        )
        resources = spec["linux"]["resources"]
        cgroup, watch = self._host.plan_cgroup(plan.id, resources)
        return {
            "id": plan.id,
            "spec": spec,
            "rootfs": list(plan.rootfs),
            "interfaces": list(plan.interfaces),
            "user": plan.user or None,
            "seccomp": self.filter(plan.sandboxing),
            "cgroup": cgroup,
            "memory_watch": watch,
        }

    def filter(self, sandboxing: Sandboxing) -> bytes:
        """The compiled system call filter for a set of capabilities; empty for none."""
        if not sandboxing.seccomp:
            return b""
        key = tuple(sorted(sandboxing.capabilities))
        with self._lock:
            if key not in self._filters:
                profile = seccomp_default.docker_profile(key, self._host.kernel, arch=self._host.machine)
                self._filters[key] = seccomp.compile_filter(profile, arch=self._host.machine)
            return self._filters[key]

    def shared_file(self, name: str, data: bytes, *, mode: int = 0o644) -> str:
        """A small file of this content, for read-only binding; the same content is the same file."""
        directory = self._paths.run / "files"
        directory.mkdir(mode=0o711, exist_ok=True)
        path = directory / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}-{mode:o}"
        if not path.exists():
            write_file(path, data, mode=mode)
        return str(path)


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a small file by a temporary name, so that nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(fd, data)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    os.replace(temporary, path)
