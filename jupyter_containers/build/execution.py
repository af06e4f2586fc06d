"""Carrying out one build's graph: each step from the cache or made, timed, reported, its errors put in their place."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jupyter_containers.build import keys
from jupyter_containers.build.cache import CacheRecord
from jupyter_containers.build.graph import CopyFiles, MakeDirectory, Run, Source, Vertex
from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.build.options import StepReport
from jupyter_containers.build.plan import SCRATCH
from jupyter_containers.errors import (
    BlobNotFound,
    CommandNotExecutable,
    CommandNotFound,
    DockerfileError,
    EngineError,
    ImageNotFound,
    InvalidInput,
    NotFound,
    StepFailed,
)
from jupyter_containers.events import StepError, StepFinished, StepOutput, StepStarted
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from jupyter_containers.build.cache import CacheStore
    from jupyter_containers.build.interfaces import Layer, Stack
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.build.steps import Selection, StepMaker
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink, Stream

TAIL_LINES: Final = 20
TAIL_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class _Step:
    """What a step depends on, and what it takes to make it."""

    material: keys.Material
    selection: Selection | None = None


class Execution:
    """Carries out the vertices of one build."""

    def __init__(
        self,
        store: ContentStore,
        cache: CacheStore,
        maker: StepMaker,
        options: BuildOptions,
        platform: str,
        sink: EventSink,
    ) -> None:
        self._store = store
        self._cache = cache
        self._maker = maker
        self._options = options
        self._platform = platform
        self._sink = sink
        family = f"{options.context and os.path.realpath(options.context)}\n{options.name}\n{options.tags[:1]}"
        self._family = hashlib.sha256(os.fsencode(family)).hexdigest()
        self.reports: dict[str, StepReport] = {}
        self.used: list[str] = []

    def work(self, vertex: Vertex, inputs: tuple[Stack, ...]) -> Stack:
        """Make what a vertex stands for, or take it from the cache."""
        place, operation = vertex.place, vertex.operation
        if isinstance(operation, Source) and operation.name != SCRATCH:
            return operation.layers
        started = time.monotonic()
        if place.index:
            self._sink(StepStarted(vertex.id, place.index, place.total, place.stage, place.text, place.source.first))
        try:
            stack, verdict = self._make(vertex, inputs)
        except BaseException as error:
            self._sink(StepError(vertex.id, str(error), time.monotonic() - started))
            raise
        seconds = time.monotonic() - started
        if place.index:
            self._sink(StepFinished(vertex.id, verdict.cached, seconds, verdict.reason))
        self.reports[vertex.id] = StepReport(
            vertex.id,
            place.stage,
            place.index,
            place.total,
            place.text,
            place.source,
            verdict.cached,
            seconds,
            verdict,
        )
        return stack

    def _make(self, vertex: Vertex, inputs: tuple[Stack, ...]) -> tuple[Stack, keys.Verdict]:
        if isinstance(vertex.operation, Source):
            return vertex.operation.layers, keys.Verdict(cached=True)
        try:
            step = self._describe(vertex, inputs)
            key = step.material.key()
            record = None if self._options.no_cache else self._cache.get(key)
            if record is not None and self._is_there(record.layer):
                self.used.append(key)
                return _grown(inputs[0], record.layer), keys.Verdict(cached=True, key=key)
            verdict = self._explain(vertex, step.material, key)
            started = time.monotonic()
            layer = self._execute(vertex, inputs, step.selection)
        except (InvalidInput, NotFound) as error:
            raise self._placed(error, vertex) from error
        place = f"{vertex.place.stage}/{vertex.place.index}"
        self._cache.put(
            CacheRecord(
                key, step.material, layer, _digest(vertex.place.text), self._family, place, time.monotonic() - started
            )
        )
        return _grown(inputs[0], layer), verdict

    def _is_there(self, layer: Layer | None) -> bool:
        return layer is None or self._store.has(Digest(layer.blob.digest))

    def _describe(self, vertex: Vertex, inputs: tuple[Stack, ...]) -> _Step:
        parent = chain_ids(inputs[0])[-1] if inputs[0] else None
        match vertex.operation:
            case Run() as run:
                return _Step(keys.run_material(run, parent=parent, platform=self._platform))
            case CopyFiles() as copy:
                selection = self._maker.select(copy, inputs[1] if copy.from_image else None)
                return _Step(keys.copy_material(copy, parent=parent, files=selection.files), selection)
            case MakeDirectory() as directory:
                return _Step(keys.directory_material(directory, parent=parent))
            case Source():
                raise AssertionError("a source is no step")

    def _execute(self, vertex: Vertex, inputs: tuple[Stack, ...], selection: Selection | None) -> Layer | None:
        match vertex.operation:
            case Run() as run:
                return self._run(vertex, run, inputs[0])
            case CopyFiles() as copy:
                assert selection is not None
                return self._maker.copy(copy, inputs[0], selection, inputs[1] if copy.from_image else None)
            case MakeDirectory() as directory:
                return self._maker.directory(directory, inputs[0])
            case Source():
                raise AssertionError("a source is no step")

    def _run(self, vertex: Vertex, operation: Run, stack: Stack) -> Layer | None:
        tail: deque[bytes] = deque()

        def on_output(stream: Stream, data: bytes) -> None:
            self._sink(StepOutput(vertex.id, stream, data))
            tail.append(data)
            while sum(map(len, tail)) - len(tail[0]) > TAIL_BYTES:
                tail.popleft()

        try:
            outcome = self._maker.run(operation, stack, text=vertex.place.text, on_output=on_output)
        except (CommandNotFound, CommandNotExecutable) as error:
            raise self._failed(vertex, error.exit_code, error.message, tail) from error
        if outcome.status or outcome.layer is None:
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
        """The error with the line of the step; a missing blob or image is not the Dockerfile's fault."""
        if isinstance(error, (DockerfileError, BlobNotFound, ImageNotFound)):
            return error
        return DockerfileError(error.message, source=vertex.place.source, text=self._lines(vertex), hint=error.hint)

    def _explain(self, vertex: Vertex, material: keys.Material, key: str) -> keys.Verdict:
        if self._options.no_cache:
            return keys.Verdict(cached=False, key=key, reason="the cache is not used")
        command = _digest(vertex.place.text)
        before = self._cache.similar(self._family, f"{vertex.place.stage}/{vertex.place.index}", command)
        if before is None:
            return keys.Verdict(cached=False, key=key, reason="never built")
        changes = keys.compare(before.material, material)
        if before.command != command:
            reason = "instruction changed"
        else:
            reason = keys.describe(changes) or "its layer was removed"
        return keys.Verdict(cached=False, key=key, reason=reason, changes=changes, compared_with=before.key)


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _grown(stack: Stack, layer: Layer | None) -> Stack:
    return stack if layer is None else (*stack, layer)
