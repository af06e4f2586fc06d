"""Making the layers of the steps: COPY, ADD and WORKDIR as computed archives, RUN in a sandbox."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_containers.build import archive
from jupyter_containers.build.context import LocalTree
from jupyter_containers.build.interfaces import Layer, OnOutput, RunOutcome, RunRequest
from jupyter_containers.build.layout import Layout
from jupyter_containers.build.selection import Choice, SourceTree, choose, describe
from jupyter_containers.build.views import ImageTree, find_owner, unpack_stack
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.oci.image_spec import OCI_LAYER, Descriptor
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from jupyter_containers.build.cache import CacheStore
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.graph import CopyFiles, MakeDirectory, Run
    from jupyter_containers.build.interfaces import Sandbox, Stack
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.layers.base import Item, Trees
    from jupyter_containers.snapshots.base import Snapshotter

EARLIEST_EPOCH = 315_532_800
"""1980: zip archives know no earlier time, and tools that follow SOURCE_DATE_EPOCH fail to write them."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The files a COPY or ADD reads: ``files`` is what of them enters the key; ``choices`` None: not looked up yet."""

    files: Mapping[str, str]
    tree: SourceTree | None
    choices: tuple[Choice, ...] | None


class StepMaker:
    """Makes the layers of one build. Thread-safe.

    Parameters
    ----------
    context
        The build context, None when there is none.
    """

    def __init__(  # noqa: PLR0917 - the parts of the engine that it joins
        self,
        store: ContentStore,
        snapshotter: Snapshotter,
        trees: Trees,
        sandbox: Sandbox,
        cache: CacheStore,
        context: LocalTree | None,
        cancel: CancelToken,
    ) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._trees = trees
        self._sandbox = sandbox
        self._cache = cache
        self._context = context
        self._cancel = cancel

    # -- RUN ---------------------------------------------------------------------------------------------------------

    def run(self, operation: Run, stack: Stack, *, text: str, on_output: OnOutput) -> RunOutcome:
        """Run a command; see :class:`~.interfaces.Sandbox`.

        The command sees SOURCE_DATE_EPOCH, the time its files get: tools that follow it (Python's byte code, archivers,
        compilers) then write the same bytes every time.
        """
        unpack_stack(stack, self._store, self._snapshotter, self._cancel)
        env = dict(operation.proxy) | dict(operation.env)
        if operation.timestamp >= EARLIEST_EPOCH:
            env.setdefault("SOURCE_DATE_EPOCH", str(operation.timestamp))
        request = RunRequest(
            layers=stack,
            argv=operation.argv,
            env=tuple(f"{name}={value}" for name, value in env.items()),
            cwd=operation.cwd,
            user=operation.user,
            network=operation.network,
            extra_hosts=operation.extra_hosts,
            scripts=operation.scripts,
            timestamp=operation.timestamp,
            text=text,
        )
        return self._sandbox.run(request, on_output=on_output, cancel=self._cancel)

    # -- COPY and ADD ------------------------------------------------------------------------------------------------

    def select(self, operation: CopyFiles, origin: Stack | None) -> Selection:
        """Find the files that are copied, from the context or from ``origin``, and what they hold.

        Raises
        ------
        NotFound
            when one is not there.
        """
        inline = {f"<<{file.name}": f"file sha256:{hashlib.sha256(file.data).hexdigest()}" for file in operation.inline}
        if origin is not None:
            return self._select_from_image(operation, origin)
        if not operation.sources:
            return Selection(inline, None, ())
        assert self._context is not None, "checked when the build was planned"
        choices = self._choose(operation, self._context)
        nodes = [node for choice in choices for node in choice.nodes]
        files = describe(choices, self._context.digests(nodes))
        return Selection({**files, **inline}, self._context, choices)

    def _select_from_image(self, operation: CopyFiles, origin: Stack) -> Selection:
        """The files of an image never change: their digests are computed once for all builds."""
        question = json.dumps([[layer.diff_id for layer in origin], operation.sources])
        key = hashlib.sha256(question.encode()).hexdigest()
        files = self._cache.selection(key)
        if files is not None:
            return Selection(files, None, None)
        if not origin:
            raise _not_found(operation, NotFound(f"file not found in {operation.from_image}: {operation.sources[0]}"))
        tree = self._image_tree(origin, operation.from_image, hashes=True)
        choices = self._choose(operation, tree)
        files = describe(choices, tree.digests([node for choice in choices for node in choice.nodes]))
        self._cache.keep_selection(key, files)
        return Selection(files, tree, choices)

    def _choose(self, operation: CopyFiles, tree: SourceTree) -> tuple[Choice, ...]:
        choices: list[Choice] = []
        for source in operation.sources:
            try:
                choices += choose(tree, source)
            except NotFound as error:
                left_out = isinstance(tree, LocalTree) and tree.excluded(source.strip("/"))
                hint = f"{source} is left out by .dockerignore" if left_out else None
                raise _not_found(operation, error, hint=hint) from error
        return tuple(choices)

    def _image_tree(self, stack: Stack, name: str, *, hashes: bool = False) -> ImageTree:
        chains = unpack_stack(stack, self._store, self._snapshotter, self._cancel)
        dirs = self._snapshotter.layer_dirs(chains) if chains else []
        return ImageTree(self._trees, dirs, name=name, hashes=hashes)

    def copy(self, operation: CopyFiles, stack: Stack, selection: Selection, origin: Stack | None) -> Layer | None:
        """Make the layer of a COPY or ADD; None when it copies nothing.

        Raises
        ------
        InvalidInput
            when the files cannot go where they should.
        Conflict
            when the build context changes meanwhile.
        """
        tree, choices = selection.tree, selection.choices
        if choices is None:
            tree = self._image_tree(origin or (), operation.from_image)
            choices = self._choose(operation, tree)
        parent = self._image_tree(stack, "image")
        owner = find_owner(operation.chown, parent) if operation.chown else None
        mode = int(operation.chmod, 8) if operation.chmod else None
        layout = Layout(parent, timestamp=operation.timestamp, owner=owner, mode=mode)
        destination = operation.destination
        if len(choices) > 1 and not destination.endswith("/") and not layout.is_directory(destination):
            raise InvalidInput(
                f"{len(choices)} files match, so the destination must be a directory and end with a /",
                hint=f"write {destination}/",
            )
        with self._spool() as spool:
            for number, choice in enumerate(choices):
                assert tree is not None
                self._cancel.check()
                if operation.unpack and self._extract(choice, tree, layout, destination, spool / str(number)):
                    continue
                layout.copy(choice, tree, destination)
            for file in operation.inline:
                layout.inline(file.name, file.data, destination)
            layer = self._write(layout.items(), stack) if layout.changed else None
        if isinstance(tree, LocalTree):
            tree.check_unchanged([node for choice in choices for node in choice.nodes])
        return layer

    @contextmanager
    def _spool(self) -> Iterator[Path]:
        """A directory for large files of archives; a killed process leaves it to the snapshotter's sweep."""
        with self._snapshotter.prepare(()) as scratch:
            yield scratch.directory

    @staticmethod
    def _extract(choice: Choice, tree: SourceTree, layout: Layout, destination: str, spool: Path) -> bool:
        node = choice.nodes[0]
        path = tree.content(node) if node.kind == "file" else None
        if not isinstance(tree, LocalTree) or path is None or not archive.is_archive(tree.root / node.path):
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
        parent = self._image_tree(stack, "image")
        owner = find_owner(operation.user, parent) if operation.user else None
        layout = Layout(parent, timestamp=operation.timestamp, owner=owner)
        layout.directory(operation.path)
        return self._write(layout.items(), stack) if layout.changed else None

    # -- layers ------------------------------------------------------------------------------------------------------

    def _write(self, items: Sequence[Item], stack: Stack) -> Layer:
        """Write a layer, and extract it on top of ``stack``."""
        with self._store.ingest() as ingest:
            written = self._trees.pack(items, ingest, progress=lambda _done: self._cancel.check())
            digest = ingest.commit()
        assert digest == written.digest, "a plain archive is its own diff id"
        layer = Layer(Descriptor(OCI_LAYER, digest, written.size), Digest(written.digest))
        unpack_stack((*stack, layer), self._store, self._snapshotter, self._cancel)
        return layer


def _not_found(operation: CopyFiles, error: NotFound, *, hint: str | None = None) -> NotFound:
    return NotFound(f"{'ADD' if operation.unpack else 'COPY'} failed: {error.message}", hint=hint)
