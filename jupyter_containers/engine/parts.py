"""The composition root: every part of an engine, put together here and nowhere else."""

from __future__ import annotations

import os
import socket
import threading
from functools import cached_property, partial
from typing import TYPE_CHECKING

from jupyter_containers.config import find_paths
from jupyter_containers.content.store import ContentStore
from jupyter_containers.engine import early, supervision
from jupyter_containers.engine.container.removal import Remover
from jupyter_containers.engine.host import Host
from jupyter_containers.engine.launch.launcher import Planner
from jupyter_containers.engine.library import Library
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.repair import recovery, state_file
from jupyter_containers.engine.small_files import write_file
from jupyter_containers.errors import StartFailed, Unsupported
from jupyter_containers.events import Notice, ignore
from jupyter_containers.layers.trees import LocalTrees, WorkerTrees, worker_argv
from jupyter_containers.network import bridge
from jupyter_containers.network.bridge import Bridge
from jupyter_containers.network.namespace import OwnNamespace, SharedNamespace
from jupyter_containers.runtime import lifecycle
from jupyter_containers.runtime.user_namespace import UserNamespace
from jupyter_containers.volumes import VolumeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jupyter_containers.build.cache import SqliteCache
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.interfaces import StepSource
    from jupyter_containers.build.options import BuildOptions, BuildResult
    from jupyter_containers.config import Paths
    from jupyter_containers.engine.build.cache_mounts import CacheMounts
    from jupyter_containers.engine.status import Status
    from jupyter_containers.events import EventSink
    from jupyter_containers.layers.base import Trees
    from jupyter_containers.network.base import BridgeSettings
    from jupyter_containers.network.service import Service
    from jupyter_containers.runtime.spawner import Spawner
    from jupyter_containers.snapshots.base import Snapshotter


AGENT_PATIENCE = 20.0
"""Seconds within which the network agent must have started."""


class Parts:
    """What an engine is made of. Parts that take time to make are made when they are first used."""

    def __init__(self, paths: Paths, on_event: EventSink = ignore) -> None:
        paths.ensure()
        self._on_event = on_event
        self.paths = paths
        self.host = Host(paths.root)
        self.store = ContentStore(paths.content)
        self.store.ensure()
        self.state, self._in_use = state_file.open_state(paths, self.store, self.tell)
        self.planner = Planner(self.host, paths)
        self.bridges: dict[str, Bridge] = {}
        self.closing: list[Callable[[], object]] = []  # what has to end before the rest
        self._lock = threading.RLock()
        for directory in (paths.containers, paths.running, paths.mountpoint):
            directory.mkdir(mode=0o711, exist_ok=True)

    @cached_property
    def cache(self) -> SqliteCache:
        """The build cache."""
        from jupyter_containers.build.cache import SqliteCache  # noqa: PLC0415 - only for builds and new images

        return SqliteCache(self.paths.build_cache)

    @cached_property
    def cache_mounts(self) -> CacheMounts:
        """The directories of ``RUN --mount=type=cache``."""
        from jupyter_containers.engine.build.cache_mounts import CacheMounts  # noqa: PLC0415 - only for builds

        return CacheMounts(self.paths.root / "cache-mounts", self.trees)

    @cached_property
    def spawner(self) -> Spawner:
        """What starts containers: a small process, begun at its first use."""
        spawner = early.take()
        if self.host.rootless:
            spawner.share(UserNamespace(str(self.paths.run / "spawners"), self._of_user_namespace))
        return spawner

    def _of_user_namespace(self) -> list[int]:
        """The monitors of this store, and the holder of its network: they may outlive the spawners."""
        found = list(lifecycle.monitors(str(self.paths.running), str(self.paths.containers)))
        answer = self.network_service.ask_running({"kind": "list"})
        return [*found, answer["holder"]] if answer else found

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

    @cached_property
    def remover(self) -> Remover:
        """Who removes what nobody waits for."""
        return Remover(self.trees)

    def _start_worker(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            self.spawner.start_worker(worker_argv(3), {3: theirs.fileno()}).close()
        return ours

    @cached_property
    def snapshotter(self) -> Snapshotter:
        """How layers are stacked: by the kernel where it can, else by copying. Decided once for a store."""
        if self._snapshotter_kind() == "overlay":
            from jupyter_containers.snapshots.overlay import OverlaySnapshotter  # noqa: PLC0415 - one of the two

            return OverlaySnapshotter(self.paths.root, self.trees, userxattr=self.host.rootless)
        from jupyter_containers.snapshots.copy import CopySnapshotter  # noqa: PLC0415 - one of the two

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
        return Library(self.state, self.store, self.snapshotter, lambda: self.cache, partial(supervision.tell_of, self))

    @cached_property
    def volumes(self) -> VolumeStore:
        """The data of volumes."""
        return VolumeStore(self.paths.root, self.trees)

    @cached_property
    def bridge(self) -> Bridge:
        """The bridge network of this store."""
        return self.make_bridge(self._bridge_name())

    def make_bridge(self, settings: BridgeSettings | str) -> Bridge:
        """A bridge where those of this store are."""
        return Bridge(
            settings,
            lock=self.network_lock,
            namespace=self.network_namespace,
            reserved=lambda: network_setup.subnets(self),
            store=str(self.paths.root),
        )

    @cached_property
    def network_namespace(self) -> OwnNamespace:
        """Where the networks of this store are."""
        return SharedNamespace(self.network_service) if self.host.rootless else OwnNamespace()

    def _bridge_name(self) -> str:
        return bridge.name_for(str(self.paths.root), str(find_paths(environment={"HOME": "/"}).root))

    def has_own_bridge(self) -> bool:
        """Whether the bridges of this store are its own, and not those of the user's usual store."""
        return self._bridge_name() != bridge.DEFAULT_NAME

    @property
    def network_lock(self) -> str:
        """A file that is locked while subnets are chosen."""
        return str(self.paths.run / "network.lock") if self.host.rootless else bridge.LOCK

    @cached_property
    def network_service(self) -> Service:
        """The network agent of this store."""
        from jupyter_containers.network.service import Service  # noqa: PLC0415 - few containers need it

        def start(argv: Sequence[str]) -> int | None:
            worker = self.spawner.start_worker(argv, {})
            try:
                return worker.wait(AGENT_PATIENCE)
            finally:
                worker.close()

        return Service(
            str(self.paths.run / "network"),
            start,
            rootless=self.host.rootless,
            namespace=lambda: network_setup.namespace_in_use(self),
        )

    def build(
        self,
        options: BuildOptions,
        sink: EventSink,
        imports: Sequence[StepSource] = (),
        cancel: CancelToken | None = None,
    ) -> BuildResult:
        """Run one build; the caller holds the store until the image is recorded."""
        from jupyter_containers.build.builder import Builder  # noqa: PLC0415 - only when something is built
        from jupyter_containers.engine.build.sandbox import BuildSandbox  # noqa: PLC0415 - the same

        builder = Builder(self.store, self.snapshotter, self.trees, BuildSandbox(self), self.library, self.cache)
        return builder.build(options, sink, imports=imports, cancel=cancel)

    def recover(self) -> dict[str, Status]:
        """See :func:`jupyter_containers.engine.repair.recovery.recover`."""
        with self._lock:
            return recovery.recover(self)

    def tell(self, repaired: Iterable[str]) -> None:
        """Let the user know what was repaired, a line each."""
        for line in repaired:
            self._on_event(Notice(line, "info"))

    def busy(self) -> bool:
        """See :func:`jupyter_containers.engine.repair.recovery.busy`."""
        return recovery.busy(self)

    def close(self) -> None:
        """End the small processes and close the files. Idempotent."""
        while self.closing:
            self.closing.pop()()
        networking.release(self)
        made = self.__dict__
        if "network_namespace" in made:
            self.network_namespace.close()
        if "remover" in made:
            self.remover.close()
        if "trees" in made and isinstance(self.trees, WorkerTrees):
            self.trees.close()
        if "spawner" in made:
            self.spawner.close()
        if "cache" in made:
            self.cache.close()
        state_file.copy(self.paths, self.state)
        self.state.close()
        if self._in_use >= 0:
            os.close(self._in_use)
            self._in_use = -1
