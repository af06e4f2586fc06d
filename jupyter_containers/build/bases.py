"""The images a build begins with."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.history import from_text
from jupyter_containers.build.options import StepReport
from jupyter_containers.build.plan import count_steps
from jupyter_containers.build.verdicts import Verdict
from jupyter_containers.errors import DockerfileError, InvalidReference, NotFound, PermissionDenied, Unavailable
from jupyter_containers.events import StepError, StepFinished, StepStarted, Transfer
from jupyter_containers.interrupts import ATTENTION
from jupyter_containers.oci.names import Reference

if TYPE_CHECKING:
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.dockerfile import Instruction
    from jupyter_containers.build.dockerfile.stages import Stage
    from jupyter_containers.build.interfaces import ImageSource, ResolvedImage
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.events import Event, EventSink
    from jupyter_containers.oci.names import Platform

PULLS: Final = 3


def image_vertex(name: str) -> str:
    """What events call the step that finds an image."""
    return f"image:{name}"


class Bases:
    """The images a build begins with, each found once, at the same time."""

    def __init__(
        self, images: ImageSource, options: BuildOptions, platform: Platform, sink: EventSink, cancel: CancelToken
    ) -> None:
        self._images = images
        self._options = options
        self._platform = platform
        self._sink = sink
        self._cancel = cancel
        self._found: dict[str, ResolvedImage] = {}
        self.reports: list[StepReport] = []

    def prefetch(self, named: list[tuple[str, Instruction, Stage | None]]) -> None:
        """Find all images that the file names; those named by COPY alone are no steps."""
        wanted: dict[str, tuple[str, Instruction, Stage | None]] = {}
        for entry in sorted(named, key=lambda entry: entry[2] is None):
            wanted.setdefault(entry[0], entry)
        if len(wanted) == 1:
            self._fetch(*next(iter(wanted.values())))
            return
        with ThreadPoolExecutor(PULLS, thread_name_prefix="build-pull") as pool:
            futures = {pool.submit(self._fetch, *entry) for entry in wanted.values()}
            try:
                while futures:
                    finished, futures = wait(futures, ATTENTION, FIRST_EXCEPTION)
                    for future in finished:
                        future.result()
            except BaseException:
                self._cancel.cancel()
                raise

    def resolve(self, name: str, instruction: Instruction) -> ResolvedImage:
        """An image that was fetched, or, for one that only an ONBUILD trigger names, is fetched now."""
        if name not in self._found:
            self._fetch(name, instruction, None)
        return self._found[name]

    def _fetch(self, name: str, instruction: Instruction, stage: Stage | None) -> None:
        if stage is None:
            self._found[name] = self._ask(name, instruction, self._sink)
            return
        pulled = threading.Event()

        def watch(event: Event) -> None:
            if isinstance(event, Transfer) and event.status != "exists":
                pulled.set()
            self._sink(event)

        vertex, total, text = image_vertex(name), count_steps(stage), from_text(stage.start)
        started = time.monotonic()
        self._sink(StepStarted(vertex, 1, total, stage.title, text, stage.start.source.first))
        try:
            self._found[name] = self._ask(name, instruction, watch)
        except BaseException as error:
            self._sink(StepError(vertex, str(error), time.monotonic() - started))
            raise
        seconds = time.monotonic() - started
        verdict = Verdict("miss", reason="pulled") if pulled.is_set() else Verdict("hit")
        self._sink(StepFinished(vertex, verdict.cached, seconds, verdict.reason))
        self.reports.append(StepReport(vertex, stage.title, 1, total, text, stage.start.source, seconds, verdict))

    def _ask(self, name: str, instruction: Instruction, sink: EventSink) -> ResolvedImage:
        if name in self._options.images:
            return self._options.images[name]
        try:
            reference = Reference.parse(name)
        except InvalidReference as error:
            raise DockerfileError(
                error.message, source=instruction.source, text=instruction.text, hint=error.hint
            ) from error
        try:
            return self._images.resolve(
                reference, platform=self._platform, pull=self._options.pull, sink=sink, cancel=self._cancel
            )
        except (NotFound, PermissionDenied, Unavailable) as error:
            # The kind stays, for who branches on it; the text says which line asked for the image.
            hint = error.hint
            if instruction.keyword != "FROM":
                no_stage = f"no stage before this line is named {name}, so it is looked for as an image"
                hint = f"{no_stage}; {hint}" if hint else no_stage
            raise type(error)(f"{instruction.source}: {error.message}", hint=hint) from error
