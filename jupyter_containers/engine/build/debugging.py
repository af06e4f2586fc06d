"""Opening the file system after a step of a build: a command in it, with the variables and mounts the step had."""

from __future__ import annotations

import csv
import io
import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.graph import MOUNTED
from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.engine.containers import Containers
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import ImageInUse, InvalidInput, NotFound
from jupyter_containers.events import Notice
from jupyter_containers.images import mutate
from jupyter_containers.layers.tar.reader import TarReader
from jupyter_containers.oci.image_spec import ContainerConfig, History, RootFS
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from jupyter_containers.build.graph import RunMount
    from jupyter_containers.build.interfaces import Stack
    from jupyter_containers.build.ledger import BuildRecord, StepState
    from jupyter_containers.engine.container.sessions import Console
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.views import Container, RunResult
    from jupyter_containers.events import EventSink

LISTED: Final = 200
LABEL: Final = "jupyter-containers.debug"
ABANDONED: Final = 3600 * 10**9
"""An image that was made for a shell and is older than this (ns) belongs to a process that was killed."""
_WHITEOUT = ".wh."


def choose(record: BuildRecord, number: int | None) -> StepState:
    """A step of a build by its number in it, from 1; None: the one that failed, else the last.

    Raises
    ------
    InvalidInput
        when there is no such step, or it was skipped.
    """
    if number is None:
        made = [step for step in record.steps if step.status != "skipped"]
        found = next((step for step in made if step.status == "failed"), made[-1] if made else None)
        if found is None:
            raise InvalidInput(f"the build {record.id} made no step")
        return found
    if not 1 <= number <= len(record.steps):
        raise InvalidInput(f"the build {record.id} has no step {number}", hint=f"it has 1 to {len(record.steps)}")
    step = record.steps[number - 1]
    if step.status == "skipped":
        raise InvalidInput(f"step {number} was not built: {step.reason}", hint="'builder steps' says which were")
    return step


class Opened:
    """A step's file system, made an image without a name for as long as commands run in it."""

    def __init__(self, parts: Parts, step: StepState) -> None:
        self._parts = parts
        self._step = step
        self._kept = ExitStack()

    def run(
        self,
        command: Sequence[str],
        *,
        console: Console | None,
        terminal: bool,
        stdin: bytes | BinaryIO | None,
        sink: EventSink,
    ) -> RunResult | Container:
        """Run a command, or the step's shell, in a container on top of it that is removed at its end."""
        step = self._step
        sweep(self._parts)
        with self._kept:
            image = self._image(step.stack)
            mounts = [text for mount in step.mounts if (text := self._mount(mount, sink))]
            options = RunOptions(
                remove=True,
                network="none" if step.network == "none" else "host",
                interactive=console is not None or stdin is not None,
                tty=terminal,
                mount=tuple(mounts),
            )
            argv = list(command) or step.shell[:1]
            return Containers(self._parts).run(image, argv, options=options, stdin=stdin, sink=sink, console=console)

    def _image(self, stack: Stack) -> str:
        parts, step = self._parts, self._step
        for layer in stack:
            if not parts.store.has(Digest(layer.blob.digest)):
                raise NotFound("the files after that step were removed from the store", hint="build again")
        settings = ContainerConfig(
            env=[f"{name}={value}" for name, value in step.env],
            working_dir=step.cwd,
            user=step.user or None,
            labels={LABEL: step.text},
        )
        config = msgspec.structs.replace(
            mutate.empty_config(parts.library.platform),
            rootfs=RootFS(diff_ids=[str(layer.diff_id) for layer in stack]),
            history=[History(created_by=step.text) for _layer in stack],
            config=settings,
        )
        with parts.store.lock(exclusive=False):
            manifest = mutate.write_image(parts.store, config, [layer.blob for layer in stack])
            known = parts.state.image(manifest.digest) is not None
            row = parts.library.record(manifest, [])
        if not known:
            self._kept.callback(self._forget, row.digest)
        return row.image_id

    def _forget(self, digest: str) -> None:
        row = self._parts.state.image(digest)
        if row is not None and not row.names:
            with suppress(ImageInUse):  # the user has detached from it: a later sweep takes it
                self._parts.library.remove(row)

    def _mount(self, mount: RunMount, sink: EventSink) -> str:
        """A mount as ``--mount`` has it; empty where it cannot be had again."""
        if mount.kind == "tmpfs":
            size = [f"tmpfs-size={mount.size}"] if mount.size else []
            return _words("type=tmpfs", f"target={mount.target}", *size)
        readonly = ["readonly"] if mount.readonly else []
        if mount.kind == "cache":
            return _words("type=bind", f"source={self._cache(mount)}", f"target={mount.target}", *readonly)
        stack = tuple(layer.layer() for layer in self._step.mounted.get(mount.target, ()))
        if mount.kind == "bind" and mount.whole:
            return _words("type=image", f"source={self._image(stack)}", f"target={mount.target}")
        if mount.kind == "bind" and stack:
            (directory,) = self._parts.snapshotter.layer_dirs(chain_ids(stack))
            return _words("type=bind", f"source={directory / MOUNTED}", f"target={mount.target}", "readonly")
        sink(Notice(f"{mount.target} is not mounted: a {mount.kind} is not kept", "warning"))
        return ""

    def _cache(self, mount: RunMount) -> Path:
        def fill(target: Path) -> None:
            self._parts.trees.make(target)

        data, fd = self._parts.cache_mounts.acquire(mount.id, mount.sharing, fill, CancelToken())
        self._kept.callback(os.close, fd)
        return data


def _words(*fields: str) -> str:
    """Fields with commas between them, quoted where they hold one."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def sweep(parts: Parts, *, age: int = ABANDONED) -> None:
    """Remove the images that processes which were killed had made for a shell."""
    for row in parts.state.images():
        if row.names or time.time_ns() - row.added < age:
            continue
        model = parts.library.read_or_none(row)
        if model is not None and LABEL in model.labels:
            with suppress(ImageInUse):
                parts.library.remove(row)


def left(parts: Parts, step: StepState) -> list[str]:
    """What a step wrote and deleted, as ``W /path`` and ``D /path``, :data:`LISTED` lines at most."""
    if not step.made:
        return []
    digest = Digest(step.layers[-1].blob.digest)
    if not parts.store.has(digest):
        return []
    lines = []
    with open(parts.store.path(digest), "rb") as blob:
        for entry in TarReader(blob):
            directory, _, name = entry.name.decode(errors="backslashreplace").rpartition("/")
            removed = name.startswith(_WHITEOUT)
            path = "/".join(filter(None, (directory, name.removeprefix(_WHITEOUT) if removed else name)))
            if entry.kind != "dir" or removed:
                lines.append(f"{'D' if removed else 'W'} /{path}")
    more = [f"… {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return [*lines[:LISTED], *more]
