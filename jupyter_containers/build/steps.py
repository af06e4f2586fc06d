"""Making the layers of the steps: COPY, ADD and WORKDIR as computed archives, RUN in a sandbox."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jupyter_containers.build import archive
from jupyter_containers.build.context import LocalTree
from jupyter_containers.build.interfaces import Layer, OnOutput, RunOutcome, RunRequest, StepMount
from jupyter_containers.build.layout import Layout
from jupyter_containers.build.modes import parse_mode
from jupyter_containers.build.views import find_owner, unpack_stack
from jupyter_containers.errors import InvalidInput, LayerCorrupt
from jupyter_containers.oci.image_spec import OCI_LAYER, Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.graph import CopyFiles, MakeDirectory, Run, RunMount
    from jupyter_containers.build.interfaces import Sandbox, Stack
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.build.sources import Picked, Selection, Sources
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.layers.base import Item, Trees
    from jupyter_containers.oci.names import Digest
    from jupyter_containers.snapshots.base import Snapshotter

EARLIEST_EPOCH = 315_532_800
"""1980: zip archives know no earlier time, and tools that follow SOURCE_DATE_EPOCH fail to write them."""


LARGE: Final = 2_000
"""Entries from which on a layer is extracted while it is written; a smaller one may be there already."""


class StepMaker:
    """Makes the layers of one build. Thread-safe."""

    def __init__(  # noqa: PLR0917 - the parts of the engine that it joins
        self,
        store: ContentStore,
        snapshotter: Snapshotter,
        trees: Trees,
        sandbox: Sandbox,
        sources: Sources,
        options: BuildOptions,
        cancel: CancelToken,
    ) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._trees = trees
        self._sandbox = sandbox
        self._sources = sources
        self._options = options
        self._cancel = cancel

    # -- RUN ---------------------------------------------------------------------------------------------------------

    def run(self, operation: Run, inputs: Sequence[Stack], *, text: str, on_output: OnOutput) -> RunOutcome:
        """Run a command; see :class:`~.interfaces.Sandbox`.

        The command sees SOURCE_DATE_EPOCH, the time its files get: tools that follow it (Python's byte code, archivers,
        compilers) then write the same bytes every time.
        """
        for stack in inputs:
            unpack_stack(stack, self._store, self._snapshotter, self._cancel)
        env = dict(operation.proxy) | dict(operation.env)
        if operation.timestamp is not None and operation.timestamp >= EARLIEST_EPOCH:
            env.setdefault("SOURCE_DATE_EPOCH", str(operation.timestamp))
        mounts = []
        for mount in operation.mounts:
            step = self._mount(mount, inputs)
            if step is None:
                continue
            if mount.kind == "secret" and mount.env:
                env[mount.env] = step.data.decode("utf-8", "surrogateescape")
            if mount.kind == "ssh":
                env.setdefault("SSH_AUTH_SOCK", mount.target)
            if mount.target:
                mounts.append(step)
        request = RunRequest(
            layers=inputs[0],
            argv=operation.argv,
            env=tuple(f"{name}={value}" for name, value in env.items()),
            cwd=operation.cwd,
            user=operation.user,
            network=operation.network,
            extra_hosts=operation.extra_hosts,
            scripts=operation.scripts,
            timestamp=operation.timestamp,
            text=text,
            mounts=tuple(mounts),
            privileged=operation.privileged,
            shm_size=self._options.shm_size,
            ulimits=self._options.ulimits,
        )
        return self._sandbox.run(request, on_output=on_output, cancel=self._cancel)

    def _mount(self, mount: RunMount, inputs: Sequence[Stack]) -> StepMount | None:
        """What a mount is made of; None for a secret or an agent that was not given and need not be."""
        if mount.kind == "secret":
            data = self._options.secrets.get(mount.id)
            if data is None and mount.required:
                raise InvalidInput(
                    f"the secret {mount.id} was not given", hint=f"give it: --secret id={mount.id},src=FILE"
                )
            return None if data is None else StepMount(mount, data=data)
        if mount.kind == "ssh":
            socket = self._options.ssh.get(mount.id)
            if socket is None and mount.required:
                raise InvalidInput(f"no SSH agent {mount.id} was given", hint=f"give one: --ssh {mount.id}")
            return None if socket is None else StepMount(mount, socket=socket)
        return StepMount(mount, layers=inputs[mount.input] if mount.input else ())

    # -- COPY and ADD ------------------------------------------------------------------------------------------------

    def owner(self, text: str, stack: Stack) -> tuple[int, int]:
        """The ids of ``--chown`` in the image that a stack is."""
        return find_owner(text, self._sources.image_tree(stack, "image"))

    def copy(
        self,
        operation: CopyFiles,
        stack: Stack,
        selection: Selection,
        origin: Stack | None,
        earlier: tuple[Digest, Path] | None = None,
    ) -> Layer | None:
        """Make the layer of a COPY or ADD; None when it copies nothing.

        ``earlier`` is a layer, by chain id and archive, that it may have much in common with.

        Raises
        ------
        InvalidInput
            when the files cannot go where they should.
        Conflict
            when the build context changes meanwhile.
        """
        picked = selection.picked
        if picked is None:
            picked = self._sources.pick_from_image(operation, origin or ())
        parent = self._sources.image_tree(stack, "image")
        owner = find_owner(operation.chown, parent) if operation.chown else None
        mode = parse_mode(operation.chmod) if operation.chmod else None
        below = self._sources.image_tree((), "image") if operation.link else parent
        layout = Layout(below, timestamp=operation.timestamp, owner=owner, mode=mode)
        destination = operation.destination
        if (
            len(picked) > 1
            and not operation.parents
            and not destination.endswith("/")
            and not layout.is_directory(destination)
        ):
            raise InvalidInput(
                f"{len(picked)} files match, so the destination must be a directory and end with a /",
                hint=f"write {destination}/",
            )
        with self._spool() as spool:
            for number, pick in enumerate(picked):
                self._cancel.check()
                if pick.unpack and self._extract(pick, layout, destination, spool / str(number)):
                    continue
                layout.copy(pick.choice, pick.tree, destination, parents=operation.parents)
            for file in operation.inline:
                layout.inline(file.name, file.data, destination)
            layer = self._write(layout.items(), () if operation.link else stack, earlier) if layout.changed else None
        for pick in picked:
            if isinstance(pick.tree, LocalTree):
                pick.tree.check_unchanged(pick.choice.nodes)
        return layer

    @contextmanager
    def _spool(self) -> Iterator[Path]:
        """A directory for large files of archives; a killed process leaves it to the snapshotter's sweep."""
        with self._snapshotter.prepare(()) as scratch:
            yield scratch.directory

    @staticmethod
    def _extract(pick: Picked, layout: Layout, destination: str, spool: Path) -> bool:
        node, tree = pick.choice.nodes[0], pick.tree
        if node.kind != "file" or not isinstance(tree, LocalTree) or not archive.is_archive(tree.root / node.path):
            return False
        spool.mkdir(mode=0o700)
        target = layout.directory(destination)
        for item in archive.read_items(tree.root / node.path, target, spool):
            layout.extracted(item)
        return True

    # -- WORKDIR -----------------------------------------------------------------------------------------------------

    def directory(self, operation: MakeDirectory, stack: Stack) -> Layer | None:
        """Make the layer of a WORKDIR; None when the directory is there."""
        if operation.path == "/":
            return None
        parent = self._sources.image_tree(stack, "image")
        owner = find_owner(operation.user, parent) if operation.user else None
        layout = Layout(parent, timestamp=operation.timestamp, owner=owner)
        layout.directory(operation.path)
        return self._write(layout.items(), stack) if layout.changed else None

    # -- layers ------------------------------------------------------------------------------------------------------

    def _write(self, items: Sequence[Item], stack: Stack, earlier: tuple[Digest, Path] | None = None) -> Layer:
        """Write a layer, and extract it on top of ``stack``."""

        def progress(_done: int) -> None:
            self._cancel.check()

        chains = unpack_stack(stack, self._store, self._snapshotter, self._cancel)
        layer: Layer | None = None
        try:
            with self._store.ingest() as ingest:
                if len(items) > LARGE:
                    written = self._snapshotter.make(
                        chains, items, ingest, ingest.commit, earlier=earlier, progress=progress
                    )
                else:
                    written = self._trees.pack(items, ingest, progress=progress)
                    ingest.commit()
            layer = Layer(Descriptor(OCI_LAYER, written.digest, written.size), written.digest)
            unpack_stack((*stack, layer), self._store, self._snapshotter, self._cancel)
        except LayerCorrupt as error:
            # What an archive holds was copied as it is; that it cannot be made shows here.
            if layer is not None:
                self._store.remove(layer.diff_id)
            raise InvalidInput(f"what is copied cannot be made: {error.message}") from error
        return layer
