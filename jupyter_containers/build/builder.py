"""One build, from the text of a Dockerfile to an image in the content store."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import msgspec

from jupyter_containers.build.bases import Bases
from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.dockerfile import parse
from jupyter_containers.build.execution import Execution
from jupyter_containers.build.options import BuildResult, StepReport
from jupyter_containers.build.plan import BuildPlan, images_named, places, plan_build, read_stages
from jupyter_containers.build.recording import Recorder
from jupyter_containers.build.remote import Downloads
from jupyter_containers.build.solver import solve
from jupyter_containers.build.sources import Sources
from jupyter_containers.build.steps import StepMaker
from jupyter_containers.build.verdicts import Verdict
from jupyter_containers.errors import EngineError, UsageError
from jupyter_containers.events import ignore
from jupyter_containers.images import mutate
from jupyter_containers.oci.image_spec import History, ImageConfig, encode
from jupyter_containers.oci.names import Digest, Platform
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_containers.build.cache import CacheStore
    from jupyter_containers.build.dockerfile.stages import StagePlan
    from jupyter_containers.build.interfaces import ImageSource, Sandbox, Stack, StepSource
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink
    from jupyter_containers.layers.base import Trees
    from jupyter_containers.snapshots.base import Snapshotter

EPOCH_ARG: Final = "SOURCE_DATE_EPOCH"
OPEN: Final = "'builder debug' opens a shell in what it left, 'builder debug COMMAND' runs a command there"


class Builder:
    """Builds images. Thread-safe: several builds may run at once.

    Parameters
    ----------
    store, snapshotter, trees
        Where blobs and layers are, and what works on files of images.
    sandbox, images
        Run commands and find images; see :mod:`.interfaces`.
    cache
        What was built before.
    """

    def __init__(
        self,
        store: ContentStore,
        snapshotter: Snapshotter,
        trees: Trees,
        sandbox: Sandbox,
        images: ImageSource,
        cache: CacheStore,
    ) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._trees = trees
        self._sandbox = sandbox
        self._images = images
        self._cache = cache

    def build(
        self,
        options: BuildOptions,
        sink: EventSink = ignore,
        *,
        cancel: CancelToken | None = None,
        imports: Sequence[StepSource] = (),
    ) -> BuildResult:
        """Build an image; independent stages are built at the same time, what was made before is not made again.

        Steps are taken from the cache, else from ``imports``, in their order, which brings them into the cache.
        Steps that ended well stay there whatever happens later. The image has no name yet; until it gets one
        the caller holds ``store.lock(exclusive=False)`` against garbage collection.

        Raises
        ------
        DockerfileError
            for what cannot be understood or carried out, with its line; COPY of what is not there among it.
        StepFailed
            when a RUN step ends with another status than 0.
        UsageError, NotFound
            for a target, a time or a context that is none.
        Cancelled
            when ``cancel`` was set. After it, as after KeyboardInterrupt, nothing runs any more.
        """
        started = time.monotonic()
        token = cancel or CancelToken()
        platform = options.platform or Platform.of_machine(os.uname().machine)
        epoch = _epoch(options)
        stages = read_stages(parse(options.dockerfile, name=options.name), options, platform)
        with self._store.lock(exclusive=False), ExitStack() as temporary:
            downloads = Downloads(
                lambda: temporary.enter_context(self._snapshotter.prepare(())).directory, options.secrets, token
            )
            sources = Sources(self._store, self._snapshotter, self._trees, self._cache, options, downloads, token)
            bases = Bases(self._images, options, platform, sink, token)
            bases.prefetch(images_named(stages, options))
            plan = plan_build(stages, options, platform=platform, resolve=bases.resolve, epoch=epoch)
            maker = StepMaker(self._store, self._snapshotter, self._trees, self._sandbox, sources, options, token)
            execution = Execution(self._store, self._cache, maker, sources, options, str(platform), sink, imports)
            recorder = Recorder(self._cache.ledger, plan, execution, options)
            skipped = _skipped(stages)
            try:
                stacks = solve(plan.graph, execution.work, cancel=token, jobs=options.jobs)
            except EngineError as error:
                if execution.failures:
                    error.build_id = recorder.failed([*bases.reports, *execution.reports.values()], skipped)
                    error.hint = f"{error.hint}; {OPEN}" if error.hint else OPEN
                raise
            config = _image_config(plan, stacks, options.labels)
            layers = stacks[plan.target]
            manifest = mutate.write_image(self._store, config, [layer.blob for layer in layers])
            self._cache.touch(execution.used)
            made = (
                replace(execution.reports[key], needs=plan.graph.steps_before(key))
                for key in plan.graph.needs()
                if key in execution.reports
            )
            steps = (*bases.reports, *made)
            recorded = recorder.succeeded(steps, skipped)
        image_id = Digest.of(encode(config))
        seconds = time.monotonic() - started
        return BuildResult(manifest, image_id, config, layers, steps, seconds, skipped, recorded)


def _skipped(stages: StagePlan) -> tuple[StepReport, ...]:
    """The steps of the stages that the target does not need."""
    verdict = Verdict("skipped", reason=f"stage {stages.target.title} does not need it")
    return tuple(
        StepReport("", place.stage, place.index, place.total, place.text, place.source, 0.0, verdict)
        for stage in stages.unused
        for place in places(stage)
    )


def _epoch(options: BuildOptions) -> int | None:
    text = options.build_args.get(EPOCH_ARG, os.environ.get(EPOCH_ARG, ""))
    if not text:
        return None
    if not text.isdigit():
        raise UsageError(f"{EPOCH_ARG} is {text!r}", hint="give whole seconds since 1970")
    return int(text)


def _image_config(plan: BuildPlan, stacks: Mapping[str, Stack], labels: Mapping[str, str]) -> ImageConfig:
    """The configuration of the image: that of the base with what each instruction added."""
    state = plan.state
    config = state.base
    if not config.history and config.rootfs.diff_ids:
        entries = [History(created=config.created) for _layer in config.rootfs.diff_ids]
        config = msgspec.structs.replace(config, history=entries)
    created = mutate.timestamp(int(time.time()) if state.timestamp is None else state.timestamp)
    for event in state.events:
        entry = History(created=created, created_by=event.created_by)
        below = len(config.diff_ids)
        if event.vertex is None or len(stacks[event.vertex]) == below:
            config = mutate.append_history(config, entry)
        else:
            config = mutate.append_layer(config, stacks[event.vertex][below].diff_id, entry)
    config = msgspec.structs.replace(config, config=state.settings, author=state.author)
    if labels:
        config = mutate.add_labels(config, labels)
    return mutate.canonical(config)
