"""Pages in a notebook: sentences and tables, each table a DataFrame by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands import humane, tables
from jupyter_containers.notebook import markup
from jupyter_containers.notebook.drawing.subjects import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.commands import results
    from jupyter_containers.commands.results import Grid
    from jupyter_containers.notebook.listing import Listing

ROWS: Final = 200
"""So many rows of a table are shown at most."""


class Page(Mapping[str, "Listing"]):
    """What a verb tells at length: ``page["mounts"]`` is a DataFrame, ``list(page)`` names them.

    ``value`` is the typed object that it shows, ``result`` what a verb returned that is explained.
    """

    def __init__(self, page: results.Page) -> None:
        self._page = page
        self._grids = {grid.noun.lower(): grid for grid in page.grids}
        self.title = page.title
        self.words = page.words
        self.value = page.value
        self.result: Any = None

    def __getitem__(self, name: str) -> Listing:
        """A table as a DataFrame."""
        return _frame(self._grids[name.lower()])

    def __iter__(self) -> Iterator[str]:
        """The names of the tables."""
        return iter(self._grids)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self._grids)

    def show(self) -> None:
        """Show it now."""
        from IPython.display import display  # noqa: PLC0415 - seldom used

        display(self)  # type: ignore[no-untyped-call]  # IPython's

    def __repr__(self) -> str:
        grids = tuple(_first(grid) for grid in self._page.grids)
        lines = tables.page(replace(self._page, grids=grids), datetime.now(UTC))
        for grid in self._page.grids:
            if more := len(grid.names) - ROWS:
                lines += [f"… {more} more rows are in page[{grid.noun.lower()!r}]"] if more > 0 else []
        return "\n".join(map(humane.visible, lines))

    def _repr_html_(self) -> str:
        """The sentences as a list, the picture of what has one, the tables folded away with their number of rows."""
        words = "".join(f"<li>{markup.words(line)}</li>" for line in self.words)
        parts = [f"<p><strong>{markup.words(self.title)}</strong></p><ul>{words}</ul>", draw(self.value)]
        for grid in self._grids.values():
            if count := len(grid.names):
                shown = f", the first {ROWS} shown" if count > ROWS else ""
                summary = f"{markup.words(grid.noun)} ({count}{shown})"
                parts.append(markup.folded(summary, _table(_first(grid), full=self._page.full)))
        return "".join(parts)


def _frame(grid: Grid) -> Listing:
    from jupyter_containers.notebook import frames  # noqa: PLC0415 - pandas is slow to import

    return frames.grid(grid)


def _table(grid: Grid, *, full: bool) -> str:
    """A table as HTML, as it is on the command line: nothing of pandas is needed to look at it."""
    header, *rows = tables.cells(grid, datetime.now(UTC), full=full)
    return markup.table(grid.noun, header, [[markup.words(cell) for cell in row] for row in rows])


def _first(grid: Grid) -> Grid:
    """As much of a table as is shown: a notebook's file must not grow without bound."""
    columns = tuple(replace(each, cells=each.cells[:ROWS], shown=each.shown[:ROWS]) for each in grid.columns)
    return replace(grid, columns=columns)
