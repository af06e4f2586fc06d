"""The engine: the one object that front ends and programs use."""

from __future__ import annotations

import os
import platform
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Self

from jupyter_containers.config import find_paths
from jupyter_containers.engine import recovery
from jupyter_containers.engine.containers import Containers
from jupyter_containers.engine.images import Images
from jupyter_containers.engine.parts import Parts
from jupyter_containers.engine.views import EngineInfo
from jupyter_containers.errors import Unsupported
from jupyter_containers.events import Notice, ignore
from jupyter_containers.version import __version__

if TYPE_CHECKING:
    from types import TracebackType

    from jupyter_containers.events import EventSink
    from jupyter_containers.linux.probe import HostReport


class Engine:
    """Images and containers of one store, without a daemon.

    Parameters
    ----------
    root
        The store's directory; default: ``JUPYTER_CONTAINERS_ROOT``, else the user's own.
    on_event
        Told what was repaired after a crash.

    Several engines, in several processes, can work on one store. Thread-safe. A fork of the process must not use it.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, on_event: EventSink = ignore) -> None:
        if os.name != "posix" or os.uname().sysname != "Linux":
            raise Unsupported(
                "containers need a Linux kernel", hint="run this on Linux, for instance in a virtual machine"
            )
        self._paths = find_paths(root)
        self._on_event = on_event
        self._lock = threading.Lock()
        self._closed = False

    @cached_property
    def _parts(self) -> Parts:
        with self._lock:
            parts = Parts(self._paths)
            for line in recovery.sweep(parts):
                self._on_event(Notice(line, "info"))
            return parts

    @cached_property
    def images(self) -> Images:
        """Everything about images."""
        return Images(self._parts)

    @cached_property
    def containers(self) -> Containers:
        """Everything about containers."""
        return Containers(self._parts)

    def doctor(self) -> HostReport:
        """What this host and this user can do, why not more, and what would lift it."""
        from jupyter_containers.linux.probe import probe_host  # noqa: PLC0415 - only for a report

        return probe_host(str(self._paths.root))

    def info(self) -> EngineInfo:
        """What this engine is and has."""
        parts = self._parts
        system = os.uname()
        containers = self.containers.list(all=True)
        return EngineInfo(
            version=__version__,
            root=str(self._paths.root),
            run=str(self._paths.run),
            rootless=parts.host.rootless,
            rung=self.doctor().rung,
            kernel=system.release,
            architecture=str(parts.library.platform),
            python=platform.python_version(),
            cgroup=parts.host.cgroups.version,
            snapshotter=type(parts.snapshotter).__name__.removesuffix("Snapshotter").lower(),
            images=len(parts.state.images()),
            containers=len(containers),
            running=sum(1 for container in containers if container.state == "running"),
        )

    def close(self) -> None:
        """End the small processes this engine started; detached containers go on. Idempotent."""
        with self._lock:
            if "_parts" in self.__dict__ and not self._closed:
                self._closed = True
                self._parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
