"""What containers used over time: four plots as SVG, and the same as a table and as a line of blocks for a terminal.

Each line is told apart by its dashes as well as by its colour. A picture has at most :data:`POINTS` points of each
container, each the highest value of its stretch of time, so that no peak is lost.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands import humane
from jupyter_containers.notebook import markup
from jupyter_containers.notebook.drawing import svg
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from jupyter_containers.engine.views import ContainerStats

POINTS: Final = 240
MOST: Final = 20
"""So many containers are drawn."""
_COLOURS: Final = ("#1976d2", "#d84315", "#2e7d32", "#7b1fa2", "#f9a825", "#00838f", "#5d4037", "#c2185b")
_DASHES: Final = ("", "6 3", "2 3", "8 3 2 3")
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 380.0, 110.0, 420.0, 160.0
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_WIDE: Final = 32

Value = float | None


@dataclass(frozen=True, slots=True)
class _Plot:
    title: str
    least: float
    words: Callable[[float], str]
    values: Callable[[list[ContainerStats]], list[Value]]


def _percent(value: float) -> str:
    return f"{value:.1f} %"


def _rate(value: float) -> str:
    return f"{humane.size(value)}/s"


def _rates(*names: str) -> Callable[[list[ContainerStats]], list[Value]]:
    """How fast a sum of counters grows, in bytes a second."""

    def values(rows: list[ContainerStats]) -> list[Value]:
        found: list[Value] = [None]
        for before, now in pairwise(rows):
            counts = [(getattr(before, name), getattr(now, name)) for name in names]
            seconds = (now.time - before.time).total_seconds()
            known = seconds > 0 and not any(count is None for pair in counts for count in pair)
            found.append(max(0.0, sum(after - first for first, after in counts) / seconds) if known else None)
        return found

    return values


PLOTS: Final = (
    _Plot("CPU", 1.0, _percent, lambda rows: [row.cpu_percent for row in rows]),
    _Plot("Memory", 1.0, humane.size, lambda rows: [row.memory for row in rows]),
    _Plot("Network", 1.0, _rate, _rates("network_received", "network_sent")),
    _Plot("Disk", 1.0, _rate, _rates("disk_read", "disk_written")),
)


def by_name(rows: Sequence[ContainerStats]) -> dict[str, list[ContainerStats]]:
    """The rows of each container, in the order in which they first appear."""
    found: dict[str, list[ContainerStats]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return found


def picture(rows: Sequence[ContainerStats]) -> str:
    """The four plots; empty where there are fewer than two moments."""
    times = [row.time for row in rows]
    if not times or times[0] == times[-1]:
        return ""
    named = dict(list(by_name(rows).items())[:MOST])
    left_out = len(by_name(rows)) - len(named)
    more = f" {left_out} more containers are not drawn." if left_out else ""
    span = f"{times[0]:%H:%M:%S} to {times[-1]:%H:%M:%S} UTC"
    drawing = svg.Picture("What containers used", f"{span}. {' '.join(map(_sentence, PLOTS, [named] * 4))}{more}")
    for at, plot in enumerate(PLOTS):
        _plot(drawing, plot, named, ((at % 2) * _ACROSS, (at // 2) * _DOWN), (times[0], times[-1]))
    _legend(drawing, list(named), 2 * _DOWN + 4)
    return drawing.svg()


def _sentence(plot: _Plot, named: dict[str, list[ContainerStats]]) -> str:
    told = []
    for name, rows in named.items():
        known = [value for value in plot.values(rows) if value is not None]
        if known:
            told.append(f"{name} {plot.words(known[-1])}, at most {plot.words(max(known))}")
    return f"{plot.title}: {'; '.join(told) or 'unknown'}."


def _plot(
    drawing: svg.Picture,
    plot: _Plot,
    named: dict[str, list[ContainerStats]],
    place: tuple[float, float],
    span: tuple[datetime, datetime],
) -> None:
    x, y = place
    lines = {name: plot.values(rows) for name, rows in named.items()}
    highest = max([plot.least, *(value for values in lines.values() for value in values if value is not None)])
    drawing.text(x, y + 12, plot.title, bold=True)
    drawing.text(x + _WIDTH, y + 12, f"to {plot.words(highest)}", size=11, anchor="end", faint=True)
    drawing.box(x, y + 18, _WIDTH, _HEIGHT, line=0.5)
    drawing.text(x, y + 18 + _HEIGHT + 13, f"{span[0]:%H:%M:%S}", size=10, faint=True)
    drawing.text(x + _WIDTH, y + 18 + _HEIGHT + 13, f"{span[1]:%H:%M:%S}", size=10, anchor="end", faint=True)
    whole = (span[1] - span[0]).total_seconds()
    for number, (name, values) in enumerate(lines.items()):
        moments = [(row.time - span[0]).total_seconds() / whole for row in named[name]]
        for commands in _paths(moments, values, highest, (x, y + 18)):
            drawing.path(
                commands, colour=_COLOURS[number % len(_COLOURS)], line=1.5, pattern=_pattern(number), tip=name
            )


def _pattern(number: int) -> str:
    return _DASHES[number % len(_DASHES)]


def _paths(moments: list[float], values: list[Value], highest: float, place: tuple[float, float]) -> list[str]:
    """The path commands of one line, broken where nothing is known."""
    paths, current = [], ""
    for moment, value in _thinned(moments, values):
        if value is None:
            paths.append(current)
            current = ""
            continue
        px, py = place[0] + moment * _WIDTH, place[1] + _HEIGHT - 3 - value / highest * (_HEIGHT - 6)
        current += f"{'L' if current else 'M'}{px:.1f} {py:.1f}"
    return [path for path in (*paths, current) if "L" in path]


def _thinned(moments: list[float], values: list[Value]) -> list[tuple[float, Value]]:
    """So many points at most: the highest of each stretch."""
    size = -(-len(values) // POINTS)
    found: list[tuple[float, Value]] = []
    for at in range(0, len(values), size):
        known = [value for value in values[at : at + size] if value is not None]
        found.append((moments[at], max(known) if known else None))
    return found


def _legend(drawing: svg.Picture, names: list[str], top: float) -> None:
    x, y = 0.0, top
    for number, name in enumerate(names):
        wide = 40 + svg.measure(humane.shorten(name, _WIDE), 12)
        if x and x + wide > _ACROSS + _WIDTH:
            x, y = 0.0, y + 18
        drawing.path(
            f"M{x:g} {y + 8:g}H{x + 26:g}", colour=_COLOURS[number % len(_COLOURS)], line=2, pattern=_pattern(number)
        )
        drawing.text(x + 32, y + 12, humane.shorten(humane.visible(name), _WIDE))
        x += wide + 12


# -- the same in words -------------------------------------------------------------------------------------------------


def _cells(plot: _Plot, rows: list[ContainerStats]) -> tuple[str, str, str]:
    """The last, the mean and the highest value."""
    known = [value for value in plot.values(rows) if value is not None]
    if not known:
        return "", "", ""
    return plot.words(known[-1]), plot.words(sum(known) / len(known)), plot.words(max(known))


def html(rows: Sequence[ContainerStats]) -> str:
    """The plots, and for each container the last, the mean and the highest values."""
    header = ["Name", *(f"{plot.title} {what}" for plot in PLOTS for what in ("last", "mean", "highest"))]
    lines = [
        [markup.words(name), *(markup.words(cell) for plot in PLOTS for cell in _cells(plot, own))]
        for name, own in by_name(rows).items()
    ]
    return picture(rows) + markup.folded("The same as a table", markup.table("What containers used", header, lines))


def text(rows: Sequence[ContainerStats]) -> str:
    """A line for each container and plot: ``web  CPU  ▁▂▇  3.1 %, at most 80.2 %``."""
    named = by_name(rows)
    width = max(map(len, named), default=0)
    lines = [
        f"{name:<{width}}  {plot.title:<8}{sparkline(plot.values(own)):<{_WIDE}}  {last}, at most {highest}"
        for name, own in named.items()
        for plot in PLOTS
        for last, _mean, highest in [_cells(plot, own)]
        if highest
    ]
    return "\n".join(map(humane.visible, lines)) or "no samples yet"


def sparkline(values: list[Any]) -> str:
    """Values as blocks of growing height, the latest last; a blank where nothing is known."""
    shown = values[-_WIDE:]
    highest = max((value for value in values if value is not None), default=0) or 1
    return "".join(
        " " if value is None else _BLOCKS[min(len(_BLOCKS) - 1, int(value / highest * len(_BLOCKS)))] for value in shown
    )
