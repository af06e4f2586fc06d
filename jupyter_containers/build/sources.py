"""Where COPY and ADD read from: build contexts, stages and images, what is fetched."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from jupyter_containers.build import remote
from jupyter_containers.build.context import LocalTree, load_ignore
from jupyter_containers.build.dockerfile.ignore import IgnoreMatcher
from jupyter_containers.build.selection import Choice, SourceTree, choose, describe
from jupyter_containers.build.views import ImageTree, unpack_stack
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.build.cache import CacheStore
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.graph import CopyFiles
    from jupyter_containers.build.interfaces import Stack
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.build.remote import Downloads
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.layers.base import Trees
    from jupyter_containers.snapshots.base import Snapshotter


@dataclass(frozen=True, slots=True)
class Picked:
    """Files of one source, the tree they are in, and whether a tar archive among them is extracted."""

    choice: Choice
    tree: SourceTree
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The files a COPY or ADD reads: ``files`` is what of them enters the key; ``picked`` None: not looked up yet."""

    files: Mapping[str, str]
    picked: tuple[Picked, ...] | None


class Sources:
    """Finds files for one build. Thread-safe."""

    def __init__(  # noqa: PLR0917 - the parts of the engine that it joins
        self,
        store: ContentStore,
        snapshotter: Snapshotter,
        trees: Trees,
        cache: CacheStore,
        options: BuildOptions,
        downloads: Downloads,
        cancel: CancelToken,
    ) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._trees = trees
        self._cache = cache
        self._downloads = downloads
        self._cancel = cancel
        self._contexts: dict[str, LocalTree] = {}
        if options.context is not None:
            self._contexts[""] = LocalTree(
                options.context, load_ignore(options.context, options.name, options.ignore_file), cache
            )
        for name, context in options.contexts.items():
            if not isinstance(context, str):
                tree = LocalTree(context, load_ignore(context, "Dockerfile"), cache)
                tree.name = f"context {name}"
                self._contexts[name] = tree

    def select(self, operation: CopyFiles, origin: Stack | None) -> Selection:
        """Find the files that are copied, from a context or from ``origin``, and what they hold.

        Raises
        ------
        NotFound
            when one is not there.
        """
        if origin is not None:
            return self._select_from_image(operation, origin)
        files = {f"<<{file.name}": f"file sha256:{hashlib.sha256(file.data).hexdigest()}" for file in operation.inline}
        picked: list[Picked] = []
        for source in operation.sources:
            found = self._pick_remote(operation, source) if self._is_remote(operation, source) else None
            if found is None:
                unpack = operation.unpack != "never"
                context = self._contexts[operation.context]
                found = [Picked(choice, context, unpack) for choice in self._choose(operation, context, source)]
                files |= self._describe(found)
            else:
                files |= {f"{source} {name}".rstrip(" ."): value for name, value in self._describe(found).items()}
            picked += found
        return Selection(files, tuple(picked))

    @staticmethod
    def _is_remote(operation: CopyFiles, source: str) -> bool:
        return operation.keyword == "ADD" and remote.is_remote(source)

    @staticmethod
    def _describe(picked: list[Picked]) -> dict[str, str]:
        files: dict[str, str] = {}
        trees = {id(pick.tree): pick.tree for pick in picked}
        for key, tree in trees.items():
            choices = [pick.choice for pick in picked if id(pick.tree) == key]
            tree.hash(node for choice in choices for node in choice.nodes)
            files |= describe(choices)
        return files

    def _pick_remote(self, operation: CopyFiles, source: str) -> list[Picked]:
        if remote.is_git(source):
            git = remote.GitSource.parse(source)
            keep = operation.keep_git_dir or git.keep_git_dir
            git = remote.GitSource(git.url, git.ref, git.subdir, operation.checksum or git.commit, keep, git.submodules)
            directory, unpack, wanted = self._downloads.repository(git), False, "."
        else:
            if remote.file_name(source) is None and operation.destination.endswith("/"):
                raise InvalidInput(
                    f"no file name in {source}", hint="write the destination as a file, without the last /"
                )
            directory = self._downloads.file(source, operation.checksum)
            unpack, wanted = operation.unpack == "always", os.listdir(directory)[0]
        tree = LocalTree(directory, IgnoreMatcher(), self._cache, remember=False)
        tree.name = source
        return [Picked(choice, tree, unpack) for choice in choose(tree, _literal(wanted), exclude=operation.exclude)]

    def _select_from_image(self, operation: CopyFiles, origin: Stack) -> Selection:
        """The files of an image never change: their digests are computed once for all builds."""
        question = json.dumps(
            [[layer.diff_id for layer in origin], operation.sources, operation.parents, operation.exclude]
        )
        key = hashlib.sha256(question.encode()).hexdigest()
        files = self._cache.selection(key)
        if files is not None:
            return Selection(files, None)
        if not origin:
            raise not_found(operation, NotFound(f"file not found in {operation.from_image}: {operation.sources[0]}"))
        tree = self.image_tree(origin, operation.from_image, hashes=True)
        picked = self._pick(operation, tree)
        files = self._describe(list(picked))
        self._cache.keep_selection(key, files)
        return Selection(files, picked)

    def pick_from_image(self, operation: CopyFiles, origin: Stack) -> tuple[Picked, ...]:
        """The files of a selection that was known already."""
        return self._pick(operation, self.image_tree(origin, operation.from_image))

    def _pick(self, operation: CopyFiles, tree: ImageTree) -> tuple[Picked, ...]:
        return tuple(
            Picked(choice, tree) for source in operation.sources for choice in self._choose(operation, tree, source)
        )

    def _choose(self, operation: CopyFiles, tree: SourceTree, source: str) -> list[Choice]:
        try:
            return choose(tree, source, parents=operation.parents, exclude=operation.exclude)
        except NotFound as error:
            left_out = isinstance(tree, LocalTree) and tree.excluded(source.strip("/"))
            hint = f"{source} is left out by .dockerignore" if left_out else None
            raise not_found(operation, error, hint=hint) from error

    def image_tree(self, stack: Stack, name: str, *, hashes: bool = False) -> ImageTree:
        """The files of a stack of layers, which is unpacked."""
        chains = unpack_stack(stack, self._store, self._snapshotter, self._cancel)
        dirs = self._snapshotter.layer_dirs(chains) if chains else []
        return ImageTree(self._trees, dirs, name=name, hashes=hashes)


def not_found(operation: CopyFiles, error: NotFound, *, hint: str | None = None) -> NotFound:
    """The error with the instruction it stands in."""
    return NotFound(f"{operation.keyword} failed: {error.message}", hint=hint)


def _literal(name: str) -> str:
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in name)
