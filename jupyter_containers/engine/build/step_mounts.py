"""What ``RUN --mount`` mounts, for as long as one command runs."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from jupyter_containers.build.graph import MOUNTED
from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.engine.build.agent_relay import AgentRelay
from jupyter_containers.errors import Unsupported
from jupyter_containers.layers.base import ApplyOptions, Item
from jupyter_containers.oci.runtime_spec import Mount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.graph import RunMount
    from jupyter_containers.build.interfaces import StepMount
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.layers.base import Trees
    from jupyter_containers.snapshots.base import Scratch

_SOCKET_MODE: Final = 0o600
"""Of an agent's socket (Dockerfile reference, "RUN --mount=type=ssh")."""


class StepMounts:
    """Makes them in the step's scratch directory; a killed process leaves that to the snapshotter's sweep."""

    def __init__(self, parts: Parts, scratch: Scratch, wanted: Sequence[StepMount], cancel: CancelToken) -> None:
        self._parts = parts
        self._scratch = scratch
        self._wanted = wanted
        self._cancel = cancel
        self._kept = ExitStack()
        self._secrets: list[Path] = []
        self.mounts: list[Mount] = []

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            cleanup.callback(self._close)
            # Outer ones first, so that no mount hides another.
            for number, step in sorted(enumerate(self._wanted), key=lambda pair: pair[1].mount.target.count("/")):
                self.mounts.append(self._make(step, self._scratch.directory / f"mount-{number}"))
            cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self.started()
        self._kept.close()

    def started(self) -> None:
        """The command has its mounts: the names of secrets are taken away, the files live on in the mounts alone."""
        while self._secrets:
            self._parts.trees.remove(self._secrets.pop())

    def _make(self, step: StepMount, place: Path) -> Mount:
        match step.mount.kind:
            case "bind":
                return self._bind(step, place)
            case "cache":
                return self._cache(step)
            case "tmpfs":
                size = [f"size={step.mount.size}"] if step.mount.size else []
                return Mount(
                    destination=step.mount.target, type="tmpfs", source="tmpfs", options=["nosuid", "nodev", *size]
                )
            case "secret":
                self._secrets.append(place)
                file = _file(step.mount, step.data)
                place_items(self._parts.trees, [Item("", "dir", 0o711), file], place)
                return _bound(place / file.name, step.mount.target, readonly=True)
            case "ssh":
                assert step.socket is not None
                if not step.socket.is_socket():
                    raise Unsupported(
                        f"{step.socket} is no socket of an SSH agent", hint="start ssh-agent and add the key to it"
                    )
                mount = step.mount
                mode = _SOCKET_MODE if mount.mode is None else mount.mode
                relay = AgentRelay(step.socket, place, mode=mode, uid=mount.uid, gid=mount.gid)
                return _bound(self._kept.enter_context(relay).path, mount.target, readonly=False)

    def _bind(self, step: StepMount, place: Path) -> Mount:
        snapshotter, trees = self._parts.snapshotter, self._parts.trees
        chains = chain_ids(step.layers)
        if not chains:
            trees.make(place)
            return _bound(place, step.mount.target, readonly=step.mount.readonly)
        if step.mount.whole:
            scratch = None
            if not step.mount.readonly or len(chains) > 1:
                scratch = self._kept.enter_context(snapshotter.prepare(chains))
            (shown,) = snapshotter.mounts(chains, scratch, volatile=True)
            options = [*shown["options"], *(["ro"] if step.mount.readonly else [])]
            return Mount(destination=step.mount.target, type=shown["type"], source=shown["source"], options=options)
        (directory,) = snapshotter.layer_dirs(chains)
        if not step.mount.readonly:
            trees.copy([directory], place)
            directory = place
        return _bound(directory / MOUNTED, step.mount.target, readonly=step.mount.readonly)

    def _cache(self, step: StepMount) -> Mount:
        mount, trees = step.mount, self._parts.trees

        def fill(target: Path) -> None:
            if not step.layers:
                place_items(trees, [Item("", "dir", mount.mode or 0, mount.uid, mount.gid)], target)
                return
            dirs = self._parts.snapshotter.layer_dirs(chain_ids(step.layers))
            if mount.whole:
                trees.copy(dirs, target)
                return
            whole = self._scratch.directory / f"{target.parent.name}-first"
            trees.copy(dirs, whole)
            os.rename(whole / MOUNTED, target)

        data, fd = self._parts.cache_mounts.acquire(mount.id, mount.sharing, fill, self._cancel)
        self._kept.callback(os.close, fd)
        return _bound(data, mount.target, readonly=mount.readonly)


def _file(mount: RunMount, data: bytes) -> Item:
    mode = 0o400 if mount.mode is None else mount.mode
    return Item("secret", "file", mode, mount.uid, mount.gid, source=data)


def _bound(source: Path, target: str, *, readonly: bool) -> Mount:
    options = ["rbind", "rprivate", "ro" if readonly else "rw"]
    return Mount(destination=target, type="none", source=str(source), options=options)


def place_items(trees: Trees, items: Sequence[Item], target: Path) -> None:
    """Make a directory of a list, with the owners it says, by way of memory alone."""
    fd = os.memfd_create("items", os.MFD_CLOEXEC)
    with open(fd, "w+b") as archive:
        trees.pack(items, archive)
        archive.seek(0)
        trees.apply(archive, target, ApplyOptions())
