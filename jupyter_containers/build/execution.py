"""Carrying out one build's graph: each step from the cache or made, timed, reported, its errors put in their place."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from jupyter_containers.build import keys
from jupyter_containers.build.bases import image_vertex
from jupyter_containers.build.cache import CacheRecord
from jupyter_containers.build.graph import CopyFiles, MakeDirectory, Run, Source, Vertex
from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.build.options import StepReport
from jupyter_containers.build.selection import printable
from jupyter_containers.build.step_plans import SCRATCH
from jupyter_containers.build.verdicts import NEVER_BUILT, Verdict, compare, describe
from jupyter_containers.errors import (
    BlobNotFound,
    Cancelled,
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    Corrupt,
    DockerfileError,
    EngineError,
    ImageNotFound,
    InvalidInput,
    NotFound,
    PermissionDenied,
    StartFailed,
    StepFailed,
    SystemFailure,
    Unavailable,
    Unsupported,
)
from jupyter_containers.events import StepError, StepFinished, StepOutput, StepStarted
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jupyter_containers.build.cache import CachedStep, CacheStore
    from jupyter_containers.build.interfaces import Layer, Stack, StepSource
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.build.sources import Selection, Sources
    from jupyter_containers.build.steps import StepMaker
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink, Stream

REMOVED: Final = "it was removed from the cache"
TAIL_LINES: Final = 20
TAIL_BYTES: Final = 16 << 10

_FAULTS: Final = (InvalidInput, NotFound, Unsupported, Unavailable)
"""What is wrong with a Dockerfile, or with what it names."""
_TROUBLE: Final = (Conflict, PermissionDenied, Corrupt, SystemFailure)
"""What keeps a step from being done that is right as it stands."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What a step depends on, and what it takes to make it."""

    material: keys.Material
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed: what it worked on, and what it left where that could be kept."""

    vertex: Vertex
    inputs: tuple[Stack, ...]
    left: Layer | None
    message: str
    seconds: float


class Execution:
    """Carries out the vertices of one build.

    Attributes
    ----------
    family
        What is built, to be told from other builds.
    stacks
        What each vertex made, and the inputs of its mounts.
    failures, reports, used
        The steps that failed, those that did not, and the keys of those that were taken from the cache.
    """

    def __init__(  # noqa: PLR0917 - the parts of the builder that it joins
        self,
        store: ContentStore,
        cache: CacheStore,
        maker: StepMaker,
        sources: Sources,
        options: BuildOptions,
        platform: str,
        sink: EventSink,
        imports: Sequence[StepSource] = (),
    ) -> None:
        self._store = store
        self._cache = cache
        self._maker = maker
        self._sources = sources
        self._files: dict[str, Mapping[str, str]] = {}
        self._options = options
        self._platform = platform
        self._sink = sink
        self._imports = imports
        context = options.identity or (options.context and os.path.realpath(options.context))
        family = f"{context}\n{options.name}\n{options.tags[:1]}"
        self.family = hashlib.sha256(os.fsencode(family)).hexdigest()
        self._judged: dict[str, tuple[Vertex, Verdict]] = {}
        self._left: dict[str, Layer | None] = {}
        self._origins: dict[str, str] = {}
        self.stacks: dict[str, tuple[Stack, ...]] = {}
        self.failures: list[Failure] = []
        self.reports: dict[str, StepReport] = {}
        self.used: list[str] = []

    def work(self, vertex: Vertex, inputs: tuple[Stack, ...]) -> Stack:
        """Make what a vertex stands for, or take it from the cache."""
        place, operation = vertex.place, vertex.operation
        if isinstance(operation, Source) and operation.name != SCRATCH:
            self._judged[vertex.id] = vertex, Verdict("hit")
            self.stacks[vertex.id] = (operation.layers,)
            self._origins[vertex.id] = image_vertex(operation.name)
            return operation.layers
        started = time.monotonic()
        if place.index:
            told = tuple(self._origins.get(name, name) for name in vertex.inputs)
            line = place.source.first
            self._sink(StepStarted(vertex.id, place.index, place.total, place.stage, place.text, line, told))
        try:
            stack, verdict = self._make(vertex, inputs)
        except BaseException as error:
            seconds = time.monotonic() - started
            self._sink(StepError(vertex.id, str(error), seconds))
            if place.index and not isinstance(error, Cancelled):
                left = self._left.get(vertex.id)
                self.failures.append(Failure(vertex, inputs, left, str(error), seconds))
            raise
        seconds = time.monotonic() - started
        self._judged[vertex.id] = vertex, verdict
        self.stacks[vertex.id] = (stack, *inputs[1:])
        if not place.index:
            return stack
        self._sink(StepFinished(vertex.id, verdict.cached, seconds, verdict.reason))
        self.reports[vertex.id] = StepReport(
            vertex.id,
            place.stage,
            place.index,
            place.total,
            place.text,
            place.source,
            seconds,
            verdict,
            stack[-1].diff_id if inputs and len(stack) > len(inputs[0]) else None,
        )
        return stack

    def _make(self, vertex: Vertex, inputs: tuple[Stack, ...]) -> tuple[Stack, Verdict]:
        if isinstance(vertex.operation, Source):
            return vertex.operation.layers, Verdict("hit")
        try:
            step = self._describe(vertex, inputs)
            key = step.material.key()
            known, origin = (None, "") if self._anew(vertex) else self._known(vertex, key)
            if known is not None:
                self.used.append(key)
                return _grown(inputs[0], known.layer), Verdict("hit", key, origin and f"from {origin}")
            verdict, earlier = self._explain(vertex, step.material, key)
            started = time.monotonic()
            layer = self._execute(vertex, inputs, step.selection, earlier)
        except (*_FAULTS, *_TROUBLE) as error:
            raise self._placed(error, vertex) from error
        self._keep(vertex, key, step.material, layer, time.monotonic() - started)
        return _grown(inputs[0], layer), verdict

    def _known(self, vertex: Vertex, key: str) -> tuple[CachedStep | CacheRecord | None, str]:
        """The step of a key that was made before: here, or elsewhere, and then where."""
        step = self._cache.step(key)
        if step is not None and self._is_there(step.layer):
            return step, ""
        for source in self._imports:
            record = source.find(key)
            if record is not None:
                self._keep(vertex, key, record.material, record.layer, record.seconds)
                return record, source.name
        return None, ""

    def _keep(self, vertex: Vertex, key: str, material: keys.Material, layer: Layer | None, seconds: float) -> None:
        text = vertex.place.text
        place = f"{vertex.place.stage}/{vertex.place.index}"
        self._cache.put(CacheRecord(key, material, layer, _digest(text), self.family, place, seconds, text=text))

    def _anew(self, vertex: Vertex) -> bool:
        return self._options.no_cache or vertex.place.stage in self._options.no_cache_filter

    def _is_there(self, layer: Layer | None) -> bool:
        return layer is None or self._store.has(Digest(layer.blob.digest))

    def _describe(self, vertex: Vertex, inputs: tuple[Stack, ...]) -> _Step:
        parent = chain_ids(inputs[0])[-1] if inputs[0] else None
        match vertex.operation:
            case Run() as run:
                mounted, files = self._mounted(vertex, run, inputs)
                material = keys.run_material(run, parent=parent, platform=self._platform, mounted=mounted, files=files)
                return _Step(material)
            case CopyFiles() as copy:
                selection = self._sources.select(copy, inputs[1] if copy.from_image else None)
                self._files[vertex.id] = selection.files
                owner = self._maker.owner(copy.chown, inputs[0]) if copy.link and copy.chown else None
                return _Step(keys.copy_material(copy, parent=parent, files=selection.files, owner=owner), selection)
            case MakeDirectory() as directory:
                return _Step(keys.directory_material(directory, parent=parent))
            case Source():
                raise AssertionError("a source is no step")

    def _mounted(
        self, vertex: Vertex, operation: Run, inputs: tuple[Stack, ...]
    ) -> tuple[dict[str, Digest | None], dict[str, str]]:
        """The chain ids of what is bound, by target, and the files that is made of where they were chosen."""
        chains: dict[str, Digest | None] = {}
        files: dict[str, str] = {}
        for mount in operation.mounts:
            if not mount.input or mount.kind != "bind":
                continue
            stack = inputs[mount.input]
            chains[mount.target] = chain_ids(stack)[-1] if stack else None
            chosen = self._files.get(vertex.inputs[mount.input], {})
            files |= {f"{mount.target}: {name}": value for name, value in chosen.items()}
        return chains, files

    def _execute(
        self,
        vertex: Vertex,
        inputs: tuple[Stack, ...],
        selection: Selection | None,
        earlier: tuple[Digest, Path] | None,
    ) -> Layer | None:
        match vertex.operation:
            case Run() as run:
                return self._run(vertex, run, inputs)
            case CopyFiles() as copy:
                assert selection is not None
                return self._maker.copy(copy, inputs[0], selection, inputs[1] if copy.from_image else None, earlier)
            case MakeDirectory() as directory:
                return self._maker.directory(directory, inputs[0])
            case Source():
                raise AssertionError("a source is no step")

    def _run(self, vertex: Vertex, operation: Run, inputs: tuple[Stack, ...]) -> Layer | None:
        tail: deque[bytes] = deque()

        def on_output(stream: Stream, data: bytes) -> None:
            self._sink(StepOutput(vertex.id, stream, data))
            tail.append(data)
            while sum(map(len, tail)) - len(tail[0]) > TAIL_BYTES:
                tail.popleft()

        try:
            outcome = self._maker.run(operation, inputs, text=vertex.place.text, on_output=on_output)
        except (CommandNotFound, CommandNotExecutable) as error:
            raise self._failed(vertex, error.exit_code, error.message, tail) from error
        if outcome.status or outcome.layer is None:
            self._left[vertex.id] = outcome.layer
            raise self._failed(vertex, outcome.status, outcome.cause, tail)
        return outcome.layer

    def _failed(self, vertex: Vertex, status: int, cause: str, tail: deque[bytes]) -> StepFailed:
        lines = b"".join(tail).decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        return StepFailed(
            source=vertex.place.source,
            command=vertex.place.text.partition(" ")[2],
            status=status,
            log_tail="\n".join(lines),
            cause=cause,
            text=self._lines(vertex),
        )

    def _lines(self, vertex: Vertex) -> str:
        """The lines of the Dockerfile that hold the step; those of an ONBUILD trigger are in the image."""
        source = vertex.place.source
        if source.file != self._options.name:
            return vertex.place.text
        return "\n".join(self._options.dockerfile.splitlines()[source.first - 1 : source.last])

    def _placed(self, error: EngineError, vertex: Vertex) -> EngineError:
        """The error with the line of the step; its kind stays where it is not the Dockerfile that is wrong."""
        place = vertex.place.source
        message = printable(error.message)
        if isinstance(error, (DockerfileError, ImageNotFound)):
            return error
        if isinstance(error, _FAULTS) and not isinstance(error, BlobNotFound):
            return DockerfileError(message, source=place, text=self._lines(vertex), hint=error.hint)
        if isinstance(error, StartFailed):
            return StartFailed(f"{place}: {message}", step=error.step, errno=error.errno, hint=error.hint)
        kind = next(kind for kind in _TROUBLE if isinstance(error, kind)) if _of_its_own(error) else type(error)
        return kind(f"{place}: {message}", hint=error.hint)

    def _explain(self, vertex: Vertex, material: keys.Material, key: str) -> tuple[Verdict, tuple[Digest, Path] | None]:
        """Why a step is made, and the layer that the step it is compared with has made: chain id and archive."""
        if self._anew(vertex):
            return Verdict("miss", key, "the cache is not used"), None
        command = _digest(vertex.place.text)
        before = self._cache.similar(self.family, f"{vertex.place.stage}/{vertex.place.index}", command)
        if before is None:
            return Verdict("miss", key, REMOVED if self._cache.was_removed(key) else NEVER_BUILT), None
        changes = compare(before.material, material)
        reason = "instruction changed" if before.command != command else describe(changes) or "its layer was removed"
        verdict = Verdict("miss", key, reason, changes, before.key)
        if self._cache.was_removed(key):
            reason = REMOVED
        elif verdict.inherited:
            reason = f"parent changed: {self._cause(vertex)}"
        return replace(verdict, reason=reason), self._made_by(before)

    def _made_by(self, record: CacheRecord) -> tuple[Digest, Path] | None:
        if record.layer is None:
            return None
        parent, diff_id = record.material.facts.get("parent"), record.layer.diff_id
        chain = Digest.of(f"{parent} {diff_id}".encode()) if parent else diff_id
        return chain, self._store.path(Digest(record.layer.blob.digest))

    def _cause(self, vertex: Vertex) -> str:
        """The step below that is another for a reason of its own, and its line."""
        while True:
            vertex, verdict = self._judged[vertex.inputs[0]]
            if not verdict.inherited:
                return f"{vertex.place.text} (line {vertex.place.source.first})"


def _of_its_own(error: EngineError) -> bool:
    """Whether an error is made of other things than a message."""
    return type(error).__init__ is not EngineError.__init__


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _grown(stack: Stack, layer: Layer | None) -> Stack:
    return stack if layer is None else (*stack, layer)
