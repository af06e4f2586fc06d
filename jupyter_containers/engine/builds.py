"""``engine.builds``: images from Dockerfiles."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from jupyter_containers.build.advice import advice
from jupyter_containers.build.checks import Settings, check, refuse
from jupyter_containers.build.comparison import first_difference
from jupyter_containers.build.context import load_ignore
from jupyter_containers.build.dockerfile import parse
from jupyter_containers.build.plan import images_named, places, read_stages
from jupyter_containers.engine import supervision
from jupyter_containers.engine.build import cache_transfer, debugging
from jupyter_containers.engine.build import keywords as build_keywords
from jupyter_containers.engine.build.keywords import BuildKeywords, carried, references_of
from jupyter_containers.engine.build.outputs import Output
from jupyter_containers.engine.build.outputs import write as write_output
from jupyter_containers.engine.build.storage import BuildStorage, matcher, unused
from jupyter_containers.engine.images import image_of
from jupyter_containers.engine.small_files import opened
from jupyter_containers.errors import Conflict, EngineError
from jupyter_containers.events import BuildFinished, Notice, ignore
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO, Unpack

    from jupyter_containers.build.checks import Finding
    from jupyter_containers.build.graph import Place
    from jupyter_containers.build.ledger import BuildRecord, StepState
    from jupyter_containers.build.options import BuildOptions, BuildResult
    from jupyter_containers.engine.build.cache_mounts import CacheMount
    from jupyter_containers.engine.build.inputs import ContextSource
    from jupyter_containers.engine.build.storage import CacheItem
    from jupyter_containers.engine.container.sessions import Console
    from jupyter_containers.engine.images import Image
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.views import Container, PruneReport, RunResult
    from jupyter_containers.events import EventSink
    from jupyter_containers.oci.names import Platform, Reference

CHECK_ARG = "BUILDKIT_DOCKERFILE_CHECK"
INLINE_ARG = "BUILDKIT_INLINE_CACHE"


@dataclass(frozen=True, slots=True)
class Outline:
    """What a build is made of: the names of the images it begins with, the steps its target needs, and the others."""

    images: tuple[str, ...]
    needed: list[Place]
    unneeded: list[Place]


class Builds:
    """Builds of an engine. All methods block and are thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def build(self, path: ContextSource | None = None, **given: Unpack[BuildKeywords]) -> Image:
        """Build an image.

        Parameters
        ----------
        path
            What COPY and ADD read, and where the Dockerfile is looked for: a folder, a URL of an archive, a git
            repository, or an open archive.
        dockerfile
            The text of the Dockerfile; without it ``file``, else ``Dockerfile`` or ``Containerfile`` in ``path``.
        tag
            Names for the image.
        secret
            Contents by id, or texts as ``--secret`` takes them.
        output
            Where else the result goes; see :class:`.build_outputs.Output`.
        cache_to, cache_from
            Where the cache goes to and where steps are taken from: ``type=local,dest=DIR`` (``src=DIR``) or
            ``type=registry,ref=NAME``; with ``mode=max`` the steps of all stages go there. ``type=inline`` puts the
            records into the image, which is then what steps are taken from.
        timestamps
            ``source``: one time for all that is made; ``keep``: those of the files and of the clock, as Docker does.
        verify
            Build twice from scratch; Conflict names the first file that differs, and how.
        cancel
            Stops the build from another thread, which then raises Cancelled.

        Raises
        ------
        DockerfileError, StepFailed, ImageNotFound
            saying which line of the Dockerfile.
        """
        sink = given.get("sink", ignore)
        texts = given.get("output") or ()
        outputs = [Output.parse(text) for text in ([texts] if isinstance(texts, str) else texts)]
        tags = given.get("tag") or ()
        names = [tags] if isinstance(tags, str) else list(tags)
        references = references_of([*names, *(name for output in outputs for name in output.names)])
        targets, origins = carried(given.get("cache_to"), "to"), carried(given.get("cache_from"), "from")
        with ExitStack() as temporary:
            try:
                with self._parts.store.lock(exclusive=False):
                    options = self._options(path, given, references, temporary)
                    if "error" in options.build_args.get(CHECK_ARG, options.dockerfile):  # the word is quickly seen
                        self._findings(options)
                    imports = cache_transfer.open_caches(self._parts, origins, sink)
                    result = self._parts.build(options, sink, imports, given.get("cancel"))
                    if given.get("verify"):
                        self._verify(options, result, sink)
                    inline = options.build_args.get(INLINE_ARG) in {"1", "true"}
                    if inline or any(target.type == "inline" for target in targets):
                        result = cache_transfer.put_inline(self._parts, result, sink)
                    for output in outputs:
                        write_output(self._parts, output, result, references)
                    row = self._parts.library.record(result.manifest, references)
                    for target in [target for target in targets if target.type != "inline"]:
                        cache_transfer.export(self._parts, target, result, sink)
                    dockerfile = parse(options.dockerfile, name=options.name)
                    told = list(advice(dockerfile, self._findings(options), options.build_args))
            except EngineError as error:
                if error.build_id:
                    self._parts.library.collect()  # what an earlier failed step left may be kept no more
                    self._bound(sink)
                raise
        if not all(step.cached for step in result.steps):
            self._bound(sink)
        for text in told:
            sink(Notice(text, "warning"))
        sink(BuildFinished(row.image_id, tuple(reference.familiar for reference in references), result.seconds))
        return image_of(row, self._parts.library.read(row), result)

    def _bound(self, sink: EventSink) -> None:
        """Keep the cache within its limit; that it could not be is no failure of the build."""
        try:
            report = BuildStorage(self._parts).bound()
        except EngineError as error:
            sink(Notice(f"the build cache was not tidied up: {error.message}", "warning"))
        else:
            if report.removed:
                sink(
                    Notice(f"the build cache was full: {len(report.removed)} things not used for longest went", "info")
                )

    def check(self, path: ContextSource | None = None, **given: Unpack[BuildKeywords]) -> list[Finding]:
        """What a Dockerfile does that works and is probably not meant; nothing is built or fetched but the context.

        Variables of base images are known where the image is in the store.

        Raises
        ------
        DockerfileError
            when something is found and the file says ``# check=error=true``; then a build is refused, too.
        """
        with ExitStack() as temporary:
            return self._findings(self._options(path, given, (), temporary))

    def outline(self, path: ContextSource | None = None, **given: Unpack[BuildKeywords]) -> Outline:
        """The steps of a build and the images it begins with; nothing is built or fetched but the context.

        Raises
        ------
        DockerfileError, UsageError
            for what cannot be understood or done.
        """
        with ExitStack() as temporary:
            options = self._options(path, given, (), temporary)
            platform = options.platform or self._parts.library.platform
            stages = read_stages(parse(options.dockerfile, name=options.name), options, platform)
            images = dict.fromkeys(name for name, _by, _stage in images_named(stages, options))
            needed = [place for stage in stages.order for place in places(stage)]
            return Outline(tuple(images), needed, [place for stage in stages.unused for place in places(stage)])

    def _findings(self, options: BuildOptions) -> list[Finding]:
        dockerfile = parse(options.dockerfile, name=options.name)
        chosen = Settings.parse(options.build_args.get(CHECK_ARG, dockerfile.directive("check")))
        ignored = None
        if options.context is not None:
            ignored = load_ignore(options.context, options.name, options.ignore_file)
        findings = check(
            dockerfile,
            platform=options.platform or self._parts.library.platform,
            build_args=options.build_args,
            ignore=ignored,
            base=self._base,
            settings=chosen,
        )
        if chosen.error:
            refuse(findings, dockerfile)
        return findings

    def _base(self, name: str) -> tuple[dict[str, str], Platform] | None:
        library = self._parts.library
        try:
            model = library.read_or_none(library.find(name))
        except EngineError:
            return None  # not here, or no name at all
        if model is None:
            return None
        return dict(text.partition("=")[::2] for text in model.settings.env or []), model.platform

    def _verify(self, options: BuildOptions, first: BuildResult, sink: EventSink) -> None:
        second = self._parts.build(replace(options, no_cache=True), sink)
        found = first_difference(self._parts.trees, self._parts.snapshotter.layer_dirs, first, second)
        if found is not None:
            raise Conflict(
                f"the image is not reproducible: {found}",
                hint="make the step write the same each time, or leave the file out",
            )
        sink(Notice("two builds from scratch made the same image", "info"))

    def history(self) -> list[BuildRecord]:
        """The latest builds, the last one first: what they were called, why they failed, what their steps came to."""
        return self._parts.cache.ledger.all()

    def steps(self, build: str | Image = "") -> BuildRecord:
        """A build and its steps, by its id, the beginning of it, or a name of its image; without it the latest.

        Raises
        ------
        NotFound
            when it is not remembered.
        """
        return self._parts.cache.ledger.find(_build_id(build))

    def step(self, build: str | Image = "", number: int | None = None) -> StepState:
        """A step of a build by its number in it, from 1; default: the one that failed, else the last.

        Raises
        ------
        NotFound, InvalidInput
            when the build or the step is not remembered.
        """
        return debugging.choose(self.steps(build), number)

    def debug(
        self,
        command: Sequence[str] = (),
        *,
        build: str | Image = "",
        step: int | None = None,
        console: Console | None = None,
        terminal: bool = False,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
    ) -> RunResult | Container:
        """Run a command in the file system that a step of a build left, with its variables and mounts.

        What the command changes is gone at its end.

        Parameters
        ----------
        command
            Program and arguments; without them the shell of the step.
        build
            Which one, as :meth:`steps` takes it.
        step
            Its number in that build, from 1; default: the one that failed, else the last.
        console, terminal, stdin
            As those of :meth:`.containers.Containers.run`; a console with a terminal makes a shell of it.

        Raises
        ------
        NotFound, InvalidInput
            when the build or the step is not remembered, or its layers were removed.
        """
        opened = debugging.Opened(self._parts, self.step(build, step))
        return opened.run(command, console=console, terminal=terminal, stdin=stdin, sink=sink)

    def left(self, build: str | Image = "", *, step: int | None = None) -> list[str]:
        """What a step wrote and deleted: ``W /path``, ``D /path``. Parameters and errors as those of :meth:`debug`."""
        return debugging.left(self._parts, self.step(build, step))

    def cache_mounts(self) -> list[CacheMount]:
        """The directories of ``RUN --mount=type=cache``, the one used last first."""
        return self._parts.cache_mounts.list()

    def export_cache_mount(self, name: str, output: BinaryIO | str | os.PathLike[str]) -> None:
        """Write a cache mount, by its id or key, as a tar archive to a file, which appears whole, or to an open one.

        Raises
        ------
        NotFound, Conflict
            when there is none, or a step has it for itself.
        """
        self._parts.cache_mounts.find(name)
        with opened(output, "wb") as stream:
            self._parts.cache_mounts.write_archive(name, stream)

    def load_cache_mount(self, name: str, archive: BinaryIO | str | os.PathLike[str]) -> None:
        """Give the cache mount of an id the content of a tar archive, instead of its own; make it if there is none.

        Raises
        ------
        LayerCorrupt, Conflict
            when the archive is damaged, or a step uses it; it is then as it was.
        """
        with opened(archive, "rb") as stream:
            self._parts.cache_mounts.read_archive(name, stream)

    def remove_cache_mount(self, name: str) -> None:
        """Delete a cache mount, by its id or key.

        Raises
        ------
        NotFound, Conflict
            when there is none, or a step uses it.
        """
        self._parts.cache_mounts.remove(self._parts.cache_mounts.find(name).key)

    def disk_usage(self, filters: Sequence[str] = ()) -> list[CacheItem]:
        """What builds keep: cached steps, cache mounts, what failed steps left; what was used last comes first."""
        return [item for item in reversed(BuildStorage(self._parts).items()) if matcher(filters)(item)]

    def prune(
        self,
        *,
        keep_storage: str | int | None = None,
        max_used_space: str | int | None = None,
        min_free_space: str | int | None = None,
        all: bool = False,  # noqa: A002 - docker's flag
        filters: Sequence[str] = (),
    ) -> PruneReport:
        """Forget cached steps and what failed steps left, those not used for longest first.

        Parameters
        ----------
        keep_storage
            Bytes that may stay in any case (Docker's ``--reserved-space`` too).
        max_used_space, min_free_space
            Bytes that may stay at most; bytes of the disk that should be free. Without any of the three all goes.
        all
            Also remove the directories of cache mounts that no step uses now.
        filters
            Only what matches all: ``until=24h`` (not used since), ``type=exec.cachemount``, ``id=…``, ``shared=true``.

        Layers that images need stay with them, and their bytes do not count.
        """
        storage = BuildStorage(self._parts)
        keep = storage.to_keep(reserved=keep_storage, most=max_used_space, least_free=min_free_space)
        report = storage.prune(unused(all=all, filters=filters), keep)
        if keep is None and not filters:
            self._parts.cache.ledger.clear()
        supervision.tell_pruned(self._parts, "builder", report.size)
        return report

    def _options(
        self,
        path: ContextSource | None,
        given: BuildKeywords,
        references: Sequence[Reference],
        temporary: ExitStack,
    ) -> BuildOptions:
        def directory() -> Path:
            return temporary.enter_context(self._parts.snapshotter.prepare(())).directory

        return build_keywords.read(path, given, references, directory, self._parts.store)


def _build_id(build: str | Image) -> str:
    if isinstance(build, str):
        return build
    return build.build.id if build.build is not None else build.name
