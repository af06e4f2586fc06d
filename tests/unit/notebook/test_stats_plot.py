"""The plots of what containers used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jupyter_containers.engine.views import ContainerStats
from jupyter_containers.notebook.drawing import stats_plot
from tests.support.pages import SVG, Page, drawings, well_formed, words

BEGIN = datetime(2026, 5, 1, 12, tzinfo=UTC)


def row(name: str, at: float, **values: float | None) -> ContainerStats:
    return ContainerStats(name * 3, name, BEGIN + timedelta(seconds=at), **values)  # type: ignore[arg-type]


def test_each_container_has_a_line_in_each_plot_with_its_own_dashes() -> None:
    rows = [
        row(name, at, cpu_percent=at * factor, memory=1000 * factor, network_received=100 * at, network_sent=0)
        for at in range(4)
        for name, factor in (("a", 1), ("b", 10))
    ]
    html = well_formed(stats_plot.html(rows))
    (drawing,) = drawings(html)
    lines = [path for path in drawing.iter(f"{SVG}path") if "L" in (path.get("d") or "")]
    assert [path.get("stroke-dasharray") for path in lines] == [None, "6 3"] * 3
    assert {"CPU", "to 30.0 %", "Network", "to 100B/s", "12:00:00", "12:00:03", "a", "b"} <= set(words(drawing))
    description = drawing.findtext(f"{SVG}desc") or ""
    assert "CPU: a 3.0 %, at most 3.0 %; b 30.0 %, at most 30.0 %." in description
    assert "Disk: unknown." in description
    assert Page.of(html).texts("caption") == ["What containers used"]


def test_a_line_is_broken_where_nothing_is_known() -> None:
    values = [1.0, 2.0, None, 3.0, 4.0]
    rows = [row("a", at, cpu_percent=value) for at, value in enumerate(values)]
    (drawing,) = drawings(stats_plot.picture(rows))
    assert len([path for path in drawing.iter(f"{SVG}path") if "L" in (path.get("d") or "")]) == 2


def test_a_long_history_is_thinned_and_keeps_its_peak() -> None:
    rows = [row("a", at, cpu_percent=90.0 if at == 7777 else 1.0) for at in range(10_000)]
    picture = stats_plot.picture(rows)
    assert len(picture) < 20_000
    (drawing,) = drawings(picture)
    (line,) = (path.get("d") or "" for path in drawing.iter(f"{SVG}path") if "L" in (path.get("d") or ""))
    heights = [float(point.split()[1]) for point in line[1:].split("L")]
    assert len(heights) <= stats_plot.POINTS
    assert min(heights) < 25 < heights[0]


def test_one_moment_has_no_plot_and_none_is_no_error() -> None:
    assert stats_plot.picture([]) == ""
    assert stats_plot.picture([row("a", 0, cpu_percent=1.0)]) == ""
    assert stats_plot.text([]) == "no samples yet"


def test_in_a_terminal_it_is_a_line_of_blocks() -> None:
    rows = [row("a", at, cpu_percent=value) for at, value in enumerate((0.0, 40.0, None, 80.0))]
    assert stats_plot.text(rows).split() == ["a", "CPU", "▁▅", "█", "80.0", "%,", "at", "most", "80.0", "%"]


def test_names_are_no_markup() -> None:
    rows = [row("<script>", at, cpu_percent=1.0) for at in range(3)]
    assert "<script" not in stats_plot.html(rows)
