"""The graph of a build: its stages and steps, what each works on, its verdict, its time, and why it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.commands import humane
from jupyter_containers.notebook.drawing import svg
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.build.ledger import BuildRecord
    from jupyter_containers.build.options import BuildResult

MARKS: Final = {"hit": "✓", "miss": "●", "skipped": "-", "failed": "✗", "running": "▸", "canceled": "■"}
"""What stands before each verdict; the word stands beside it."""
_COLOURS: Final = {
    "hit": svg.GREEN,
    "miss": svg.ORANGE,
    "skipped": "none",
    "failed": svg.RED,
    "running": svg.BLUE,
    "canceled": svg.GREY,
}
_ROW, _LANE, _LEFT = 24, 22, 14
_TEXT, _VERDICT, _BAR = 56, 66, 60
_WHY: Final = 60
_LONGEST: Final = 400
"""So many steps are drawn at most."""


@dataclass(frozen=True, slots=True)
class GraphStep:
    """One step: where it stands, what became of it in ``seconds``, and the steps it works on by stage and index."""

    stage: str
    index: int
    line: int
    text: str
    status: str
    reason: str
    seconds: float
    needs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BuildGraph:
    """The steps of a build by line."""

    name: str
    steps: tuple[GraphStep, ...]
    seconds: float

    @classmethod
    def of_result(cls, result: BuildResult) -> BuildGraph:
        """That of a build that was made just now."""
        steps = [
            GraphStep(
                each.stage,
                each.index,
                each.source.first,
                each.text,
                each.verdict.status,
                each.verdict.reason,
                each.seconds,
                each.needs,
            )
            for each in (*result.steps, *result.skipped)
        ]
        return cls(result.image_id.short, _sorted(steps), result.seconds)

    @classmethod
    def of_record(cls, record: BuildRecord) -> BuildGraph:
        """That of one that is remembered."""
        steps = [
            GraphStep(
                each.stage, each.index, each.line, each.text, each.status, each.reason, each.seconds, tuple(each.needs)
            )
            for each in record.steps
        ]
        return cls(", ".join(record.tags) or record.id, _sorted(steps), record.seconds)

    def summary(self) -> str:
        """``8 steps: 4 hit, 3 miss, 1 skipped, in 0.9s``."""
        counts = [(status, sum(step.status == status for step in self.steps)) for status in MARKS]
        told = ", ".join(f"{count} {status}" for status, count in counts if count)
        return f"{len(self.steps)} steps: {told}, in {humane.seconds(self.seconds)}"

    def before(self, stage: str) -> list[str]:
        """The stages whose steps a stage works on, in the order of the Dockerfile."""
        wanted = {needed for step in self.steps if step.stage == stage for needed, _index in step.needs} - {stage}
        return [name for name in self.stages() if name in wanted]

    def stages(self) -> list[str]:
        """The stages in the order of the Dockerfile."""
        return list(dict.fromkeys(step.stage for step in self.steps))


def _sorted(steps: Sequence[GraphStep]) -> tuple[GraphStep, ...]:
    return tuple(sorted(steps, key=lambda step: (step.line, step.stage, step.index)))


def stage_title(name: str) -> str:
    """``stage build``; one without a name goes by its number."""
    return f"stage {name}"


def text(graph: BuildGraph) -> str:
    """The graph as lines: a heading for each stage, then its steps with verdict, time, line, instruction and reason."""
    lines = [f"Build of {graph.name}: {graph.summary()}"]
    stage = None
    for step in graph.steps:
        if step.stage != stage:
            stage = step.stage
            lines.append(heading(graph, stage))
        taken = humane.seconds(step.seconds) if step.status != "skipped" else ""
        shown = humane.shorten(humane.visible(step.text), _TEXT)
        why = f"  {step.reason}" if step.reason else ""
        lines.append(
            f"  {MARKS[step.status]} {step.status:<8}{taken:>7}  {step.line:>3}  {shown:<{_TEXT}}{why}".rstrip()
        )
    return "\n".join(map(humane.visible, lines))


def heading(graph: BuildGraph, stage: str) -> str:
    """``stage build, works on stage base``."""
    before = graph.before(stage)
    told = f", works on {', '.join(map(stage_title, before))}" if before else ""
    return f"{stage_title(stage)}{told}"


def picture(graph: BuildGraph) -> str:
    """The graph as SVG: a lane for each stage, a row for each step, lines from a step to those it works on."""
    drawing = svg.Picture(f"Build of {graph.name}", graph.summary() + ". The same is in the table.")
    stages = graph.stages()
    lanes = {name: _LEFT + at * _LANE for at, name in enumerate(stages)}
    start = _LEFT + len(stages) * _LANE
    longest = max((step.seconds for step in graph.steps), default=0) or 1
    places: dict[tuple[str, int], tuple[float, float]] = {}
    stage, y = None, 0.0
    shown = graph.steps[:_LONGEST]
    for step, y in zip(shown, rows(graph), strict=True):
        if step.stage != stage:
            stage = step.stage
            drawing.text(start, y - _ROW + 12, heading(graph, stage), bold=True)
        places[step.stage, step.index] = (lanes[step.stage], y + 8)
        _step(drawing, step, start, y, longest)
    if len(shown) < len(graph.steps):
        drawing.text(start, y + _ROW + 12, f"… {len(graph.steps) - len(shown)} more steps")
    _edges(drawing, graph, places)
    for step in shown:
        _node(drawing, step, *places[step.stage, step.index])
    return drawing.svg()


def rows(graph: BuildGraph) -> list[float]:
    """Where the row of each step that is drawn begins, from above."""
    found, y, stage = [], 6.0, None
    for step in graph.steps[:_LONGEST]:
        if step.stage != stage:
            stage = step.stage
            y += _ROW
        found.append(y)
        y += _ROW
    return found


def _step(drawing: svg.Picture, step: GraphStep, x: float, y: float, longest: float) -> None:
    size = 12
    drawing.text(x + 22, y + 12, str(step.line), size=size, anchor="end", fixed=True, faint=True)
    drawing.text(x + 34, y + 12, humane.shorten(humane.visible(step.text), _TEXT), size=size, fixed=True)
    x += 34 + svg.measure("m" * _TEXT, size) + 12
    drawing.text(x, y + 12, step.status, bold=step.status in {"miss", "failed"})
    x += _VERDICT
    if step.status != "skipped":
        width = max(1.0, _BAR * step.seconds / longest)
        drawing.box(x, y + 3, width, 10, fill=_COLOURS[step.status], opacity=0.5, line=0.5)
        drawing.text(x + _BAR + 6, y + 12, humane.seconds(step.seconds))
    if step.reason:
        drawing.text(x + _BAR + 56, y + 12, humane.shorten(step.reason, _WHY), faint=True)


def _node(drawing: svg.Picture, step: GraphStep, x: float, y: float) -> None:
    tip = f"{step.text}: {step.status}{f', {step.reason}' if step.reason else ''}"
    drawing.circle(x, y, 8, fill=_COLOURS[step.status], dashed=step.status == "skipped", tip=tip)
    drawing.text(x, y + 4, MARKS[step.status], size=11, anchor="middle", bold=True)


def _edges(drawing: svg.Picture, graph: BuildGraph, places: dict[tuple[str, int], tuple[float, float]]) -> None:
    """Solid within a stage, bent and with an arrow's head from another stage's step."""
    for step in graph.steps:
        here = places.get((step.stage, step.index))
        for needed in step.needs:
            there = places.get(needed)
            if here is None or there is None:
                continue
            (x1, y1), (x2, y2) = there, here
            if needed[0] == step.stage:
                drawing.path(f"M{x1:g} {y1 + 8:g}V{y2 - 8:g}")
                continue
            drawing.path(f"M{x1:g} {y1 + 8:g}C{x1:g} {y2:g} {x1:g} {y2:g} {x2 - 12:g} {y2:g}", dashed=True)
            drawing.path(f"M{x2 - 13:g} {y2 - 3:g}L{x2 - 8:g} {y2:g}L{x2 - 13:g} {y2 + 3:g}")
