"""The engine: the one object that front ends and programs use."""

from __future__ import annotations

import os
import platform
import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Self

from jupyter_containers.config import find_paths
from jupyter_containers.engine.containers import Containers
from jupyter_containers.engine.parts import Parts
from jupyter_containers.engine.repair import recovery
from jupyter_containers.engine.views import EngineInfo
from jupyter_containers.engine.volumes import Volumes
from jupyter_containers.errors import Corrupt, Unsupported
from jupyter_containers.events import ignore
from jupyter_containers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from jupyter_containers.engine.builds import Builds
    from jupyter_containers.engine.disk_usage import DiskUsage
    from jupyter_containers.engine.explain.dry_run import DryRun
    from jupyter_containers.engine.explain.explaining import Story
    from jupyter_containers.engine.images import Images
    from jupyter_containers.engine.journal import Happening
    from jupyter_containers.engine.networks import Networks
    from jupyter_containers.events import EventSink
    from jupyter_containers.linux.probe import HostReport


class Engine:
    """Images, containers, networks and volumes of one store, without a daemon.

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
            parts = Parts(self._paths, self._on_event)
            try:
                recovery.sweep(parts)
            except Corrupt:  # the state file, further down than where it is opened: now it is looked after
                parts.close()
                parts = Parts(self._paths, self._on_event)
                recovery.sweep(parts)
            except BaseException:
                parts.close()
                raise
            return parts

    @cached_property
    def images(self) -> Images:
        """Everything about images."""
        from jupyter_containers.engine.images import Images  # noqa: PLC0415 - running a container needs none of it

        return Images(self._parts)

    @cached_property
    def builds(self) -> Builds:
        """Builds of images, and what they keep."""
        from jupyter_containers.engine.builds import Builds  # noqa: PLC0415 - the builder is not always needed

        return Builds(self._parts)

    @cached_property
    def containers(self) -> Containers:
        """Everything about containers."""
        return Containers(self._parts)

    @cached_property
    def networks(self) -> Networks:
        """Everything about networks."""
        from jupyter_containers.engine.networks import Networks  # noqa: PLC0415 - the same

        return Networks(self._parts)

    def events(
        self,
        *,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        filters: Sequence[str] = (),
        stop: Callable[[], bool] = bool,
    ) -> Iterator[Happening]:
        """What happens in the store, whatever process does it: from now on for ever, or in a span of time.

        Parameters
        ----------
        since, until
            A datetime, or a text as Docker takes it: ``10m`` (ago), ``2026-01-02T15:04:05Z``.
        filters
            ``event=die``, ``container=web`` ...: one of those with the same key, for every key.
        stop
            Asked often; they end when it answers yes.

        Raises
        ------
        InvalidInput
            for a moment or a filter that is none.
        """
        from jupyter_containers.engine import journal  # noqa: PLC0415 - seldom used
        from jupyter_containers.engine.moments import moment  # noqa: PLC0415 - the same
        from jupyter_containers.monitor.journal import NAME  # noqa: PLC0415 - the same

        journal.matcher(filters)
        path = self._parts.paths.root / NAME
        return journal.read(path, since=moment(since), until=moment(until), filters=filters, stop=stop)

    @cached_property
    def dry_run(self) -> DryRun:
        """What would be done, told and not done."""
        from jupyter_containers.engine.explain.dry_run import DryRun  # noqa: PLC0415 - seldom used

        return DryRun(self._parts)

    @contextmanager
    def explaining(self) -> Iterator[Story]:
        """What is done in a block, step by step: starts of containers with their system calls and times.

        Give the story as ``sink`` to what takes one, and it tells of builds and pulls too::

            with engine.explaining() as story:
                engine.containers.run("starter", ["true"], sink=story)
            pandas.DataFrame(story.calls())
        """
        from jupyter_containers.engine.explain import explaining  # noqa: PLC0415 - seldom used
        from jupyter_containers.engine.launch import watching  # noqa: PLC0415 - seldom used

        story = explaining.Story(ignore)
        with watching.by(story):
            yield story

    @cached_property
    def volumes(self) -> Volumes:
        """Everything about volumes."""
        return Volumes(self._parts)

    def disk_usage(self) -> DiskUsage:
        """What images, containers, volumes and builds take of the disk, and what of it nothing needs."""
        from jupyter_containers.engine import disk_usage  # noqa: PLC0415 - seldom used

        return disk_usage.measure(self._parts)

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
