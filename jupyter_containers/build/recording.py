"""Entering a build in the ledger: the file system after each step, so that it can be opened later."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from jupyter_containers.build.graph import Run, Vertex
from jupyter_containers.build.ledger import BuildRecord, KeptLayer, StepState, StepStatus, new_id
from jupyter_containers.oci.names import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jupyter_containers.build.execution import Execution, Failure
    from jupyter_containers.build.interfaces import Stack
    from jupyter_containers.build.ledger import Ledger
    from jupyter_containers.build.options import BuildOptions, StepReport
    from jupyter_containers.build.plan import BuildPlan
    from jupyter_containers.oci.names import Digest

NOT_REACHED = "a step failed before it"


class Recorder:
    """Enters one build."""

    def __init__(self, ledger: Ledger, plan: BuildPlan, execution: Execution, options: BuildOptions) -> None:
        self._ledger = ledger
        self._plan = plan
        self._execution = execution
        self._options = options
        self._started = time.time_ns()

    def succeeded(self, reports: Sequence[StepReport], skipped: Iterable[StepReport]) -> str:
        """Enter a build that went well, and return its id; one that came to the same as before keeps the id it has."""
        diff_ids = " ".join(layer.diff_id for layer in self._execution.stacks[self._plan.target][0])
        top = hashlib.sha256(diff_ids.encode()).hexdigest()
        known = None
        if all(report.cached for report in reports):
            known = self._ledger.again(self._execution.family, top)
        if known is None:
            known = self._add([*self._steps(reports), *map(_unbuilt, skipped)], top, "", None)
        return known

    def failed(self, reports: Sequence[StepReport], skipped: Iterable[StepReport]) -> str:
        """Enter a build one of whose steps failed, and return its id."""
        failure = self._execution.failures[0]
        steps = [*self._steps(reports), self._failed(failure), *map(_unbuilt, skipped)]
        return self._add(steps, "", failure.message, failure)

    def _add(self, steps: list[StepState], top: str, error: str, failure: Failure | None) -> str:
        options = self._options
        record = BuildRecord(
            id=new_id(),
            created=self._started,
            name=options.name,
            tags=[Reference.parse(tag).familiar for tag in options.tags],
            context=options.identity or str(options.context or ""),
            error=error,
            seconds=(time.time_ns() - self._started) / 1e9,
            steps=sorted(steps, key=lambda step: step.line),
        )
        self._ledger.add(record, self._execution.family, top=top, left=failure.left if failure else None)
        return record.id

    def _steps(self, reports: Sequence[StepReport]) -> list[StepState]:
        known = {(report.stage, report.index): report for report in reports}
        failed = {failure.vertex.id for failure in self._execution.failures}
        steps = []
        for vertex in self._plan.graph:
            place = vertex.place
            stacks = self._execution.stacks.get(vertex.id)
            report = known.get((place.stage, place.index))
            if not place.index or vertex.id in failed:
                continue
            if stacks is None:
                steps.append(self._state(vertex, (), "skipped", NOT_REACHED, 0.0))
                continue
            status: StepStatus = "miss" if report is not None and not report.cached else "hit"
            steps.append(
                self._state(
                    vertex,
                    stacks,
                    status,
                    report.verdict.reason if report else "",
                    report.seconds if report else 0.0,
                    report.made if report else None,
                )
            )
        return steps

    def _failed(self, failure: Failure) -> StepState:
        below, *others = failure.inputs or ((),)
        stack = below if failure.left is None else (*below, failure.left)
        made = failure.left.diff_id if failure.left else None
        return self._state(failure.vertex, (stack, *others), "failed", failure.message, failure.seconds, made)

    def _state(
        self,
        vertex: Vertex,
        stacks: tuple[Stack, ...],
        status: StepStatus,
        reason: str,
        seconds: float,
        made: Digest | None = None,
    ) -> StepState:
        place, around, run = vertex.place, vertex.place.surroundings, vertex.operation
        mounts = [mount for mount in run.mounts if mount.target] if isinstance(run, Run) else []
        return StepState(
            stage=place.stage,
            index=place.index,
            total=place.total,
            text=place.text,
            line=place.source.first,
            status=status,
            reason=reason,
            seconds=seconds,
            layers=_kept(stacks[0]) if stacks else [],
            env=list(around.env),
            cwd=around.cwd,
            user=around.user,
            shell=list(around.shell),
            made=str(made or ""),
            needs=list(self._plan.graph.steps_before(vertex.id)),
            network=run.network if isinstance(run, Run) else "default",
            mounts=mounts,
            mounted={mount.target: _kept(stacks[mount.input]) for mount in mounts if stacks and mount.input},
        )


def _kept(stack: Stack) -> list[KeptLayer]:
    return [KeptLayer.of(layer) for layer in stack]


def _unbuilt(report: StepReport) -> StepState:
    """A step of a stage that the target does not need."""
    return StepState(
        stage=report.stage,
        index=report.index,
        total=report.total,
        text=report.text,
        line=report.source.first,
        status="skipped",
        reason=report.verdict.reason,
        seconds=0.0,
        layers=[],
        env=[],
        cwd="/",
        user="",
        shell=[],
    )
