"""The composition root: every part of an engine, put together here and nowhere else."""

from __future__ import annotations

import os
import socket
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from jupyter_containers.build.cache import SqliteCache
from jupyter_containers.config import find_paths
from jupyter_containers.content.store import ContentStore
from jupyter_containers.engine import networking, recovery
from jupyter_containers.engine.host import Host
from jupyter_containers.engine.launcher import Planner, write_file
from jupyter_containers.engine.library import Library
from jupyter_containers.errors import StartFailed, Unsupported
from jupyter_containers.layers.trees import LocalTrees, WorkerTrees, worker_argv
from jupyter_containers.network import bridge
from jupyter_containers.network.bridge import Bridge
from jupyter_containers.runtime.spawner import Spawner
from jupyter_containers.snapshots.copy import CopySnapshotter
from jupyter_containers.snapshots.overlay import OverlaySnapshotter
from jupyter_containers.state import State

if TYPE_CHECKING:
    from jupyter_containers.build.options import BuildOptions, BuildResult
    from jupyter_containers.config import Paths
    from jupyter_containers.events import EventSink
    from jupyter_containers.layers.base import Trees
    from jupyter_containers.snapshots.base import Snapshotter


class Parts:
    """What an engine is made of. Parts that take time to make are made when they are first used."""

    def __init__(self, paths: Paths) -> None:
        paths.ensure()
        self.paths = paths
        self.host = Host(paths.root)
        self.state = State(paths.database)
        self.store = ContentStore(paths.content)
        self.store.ensure()
        self.planner = Planner(self.host, paths)
        self._lock = threading.RLock()
        for directory in (paths.containers, paths.running):
            directory.mkdir(mode=0o711, exist_ok=True)

    @cached_property
    def cache(self) -> SqliteCache:
        """The build cache."""
        return SqliteCache(self.paths.build_cache)

    @cached_property
    def spawner(self) -> Spawner:
        """What starts containers: a small process, begun at its first use."""
        return Spawner()

    @cached_property
    def trees(self) -> Trees:
        """Who touches the files of images: this process, or one in the user namespace that containers run in."""
        if not self.host.rootless:
            return LocalTrees()
        try:
            self.spawner.start()
        except (StartFailed, Unsupported):
            # Without a user namespace nothing runs; images can still be unpacked and looked at.
            return LocalTrees()
        return WorkerTrees(self._start_worker)

    def _start_worker(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            self.spawner.start_worker(worker_argv(3), {3: theirs.fileno()}).close()
        return ours

    @cached_property
    def snapshotter(self) -> Snapshotter:
        """How layers are stacked: by the kernel where it can, else by copying. Decided once for a store."""
        if self._snapshotter_kind() == "overlay":
            return OverlaySnapshotter(self.paths.root, self.trees, userxattr=self.host.rootless)
        return CopySnapshotter(self.paths.root, self.trees)

    def _snapshotter_kind(self) -> str:
        """Kept in the store, since a store's directories are of one kind; found out by trying."""
        file = self.paths.root / "snapshotter"
        try:
            return file.read_text(encoding="ascii")
        except FileNotFoundError:
            from jupyter_containers.linux import probe  # noqa: PLC0415 - only for a new store

            attempts = probe.gather(str(self.paths.root)).attempts
            failed = attempts["userns_overlay" if self.host.rootless else "overlay"]
            kind = "copy" if failed else "overlay"
            write_file(file, kind.encode())
            return kind

    @cached_property
    def library(self) -> Library:
        """The images."""
        return Library(self.state, self.store, self.snapshotter, self.cache)

    @cached_property
    def bridge(self) -> Bridge:
        """The bridge network of this store."""
        return Bridge(self._bridge_name())

    def _bridge_name(self) -> str:
        return bridge.name_for(str(self.paths.root), str(find_paths(environment={"HOME": "/"}).root))

    def has_own_bridge(self) -> bool:
        """Whether there is a bridge that belongs to this store alone, not to the user's own one."""
        name = self._bridge_name()
        return name != bridge.DEFAULT_NAME and os.path.exists(f"/sys/class/net/{name}")

    def build(self, options: BuildOptions, sink: EventSink) -> BuildResult:
        """Run one build; the caller holds the store until the image is recorded."""
        from jupyter_containers.build.builder import Builder  # noqa: PLC0415 - only when something is built
        from jupyter_containers.engine.sandbox import BuildSandbox  # noqa: PLC0415 - the same

        builder = Builder(self.store, self.snapshotter, self.trees, BuildSandbox(self), self.library, self.cache)
        return builder.build(options, sink)

    def recover(self) -> list[str]:
        """See :func:`jupyter_containers.engine.recovery.recover`."""
        with self._lock:
            return recovery.recover(self)

    def busy(self) -> bool:
        """See :func:`jupyter_containers.engine.recovery.busy`."""
        return recovery.busy(self)

    def close(self) -> None:
        """End the small processes and close the files. Idempotent."""
        networking.release(self)
        made = self.__dict__
        if "trees" in made and isinstance(self.trees, WorkerTrees):
            self.trees.close()
        if "spawner" in made:
            self.spawner.close()
        if "cache" in made:
            self.cache.close()
        self.state.close()
