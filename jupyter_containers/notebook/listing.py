"""The DataFrame that listings are: real types inside, words for people outside. Importing it imports pandas."""

from __future__ import annotations

import shutil
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pandas as pd

from jupyter_containers.commands import humane
from jupyter_containers.notebook import markup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNITS: Final = "units"
"""Under this name ``.attrs`` has the unit of each column that has one: ``{"size": "bytes"}``."""
BYTES: Final = "bytes"
_CELL_WIDTH: Final = 60
_PAGE_WIDTH: Final = 160
_COLUMNS: Final = 30
_IDS: Final = frozenset({"id", "digest", "layer"})


class Listing(pd.DataFrame):
    """A DataFrame that shows sizes, times and ids for people and keeps them as they are.

    ``noun`` is the caption. Columns without any value are not shown, nor those named in ``hidden``: they are there to
    be joined by. ``drawing`` is HTML that stands above the table. What is derived is one too, without a drawing.
    """

    _metadata: ClassVar[list[str]] = ["noun", "hidden"]
    noun: str = "Rows"
    hidden: tuple[str, ...] = ()
    drawing: str = ""

    @property
    def _constructor(self) -> Callable[..., Listing]:
        return type(self)

    def __repr__(self) -> str:
        if self.empty:
            return f"{self.noun}: none"
        header, columns, hidden = self._cells()
        more = [f"… {hidden} more"] if hidden else []
        return "\n".join([*_lines(header, columns), *more])

    def _repr_html_(self) -> str:
        if self.empty:
            return f"<p>{escape(self.noun)}: none</p>"
        header, columns, hidden = self._cells()
        numbers = frozenset(str(name) for name, dtype in self.dtypes.items() if dtype.kind in "iufm")
        caption = f"{self.noun}: {len(self)}" + (f", the first {len(columns[0])} shown" if hidden else "")
        rows = zip(*([escape(cell) for cell in column] for column in columns), strict=True)
        return self.drawing + markup.table(caption, header, rows, numbers=numbers)

    def _cells(self) -> tuple[list[str], list[list[str]], int]:
        """Titles and columns of text, the first those of the index, and how many rows were left out."""
        limit = pd.get_option("display.max_rows") or len(self)
        part = self.iloc[:limit]
        units = self.attrs.get(UNITS, {})
        unseen = set(self.hidden or ())
        header = ["" if self.index.name is None else str(self.index.name)]
        columns = [_texts(header[0], part.index, "")]
        for place in range(len(part.columns)):
            name = str(part.columns[place])
            if name in unseen:
                continue
            cells = _texts(name, part.iloc[:, place], units.get(name, ""))
            if any(cells):
                header.append(name)
                columns.append(cells)
        return header[: _COLUMNS + 1], columns[: _COLUMNS + 1], len(self) - len(part)


def _texts(name: str, values: pd.Series[Any] | pd.Index[Any], unit: str) -> list[str]:
    """The cells of one column."""
    write = _text
    if unit == BYTES or name.endswith("size"):
        write = _size
    elif name in _IDS or name.endswith("_id"):
        write = _identity
    return ["" if _missing(value) else write(value) for value in values.tolist()]


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)  # noqa: PLR0124 - NaN


def _size(value: Any) -> str:
    return humane.size(value) if isinstance(value, int | float) else _text(value)


def _identity(value: Any) -> str:
    return humane.short_id(value) if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    match value:
        case str():
            text = value
        case bool():
            text = "yes" if value else "no"
        case float():
            text = f"{value:.2f}"
        case pd.Timestamp():
            text = value.strftime("%Y-%m-%d %H:%M:%S")
        case pd.Timedelta():
            text = span(value.total_seconds())
        case dict():
            text = ", ".join(f"{key}={content}" for key, content in value.items())
        case list() | tuple():
            text = ", ".join(map(str, value))
        case _:
            text = str(value)
    return humane.shorten(humane.visible(text), _CELL_WIDTH)


def span(seconds: float) -> str:
    """A length of time: ``310 ms``, ``4.2 s``, ``17 minutes``."""
    return humane.milliseconds(seconds) if seconds < 60 else humane.duration(seconds)  # noqa: PLR2004 - a minute


def _lines(header: Sequence[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """A table of text as wide as the terminal at most; columns that do not fit are named below it."""
    limit = shutil.get_terminal_size((_PAGE_WIDTH, 0)).columns
    widths = [max(len(name), *map(len, cells)) for name, cells in zip(header, columns, strict=True)]
    fitting, used = 0, -2
    for width in widths:
        used += width + 2
        if used > limit and fitting:
            break
        fitting += 1
    shown = [
        [cell.ljust(width) for cell in (name, *cells)]
        for name, cells, width in zip(header[:fitting], columns, widths, strict=False)
    ]
    lines = ["  ".join(row).rstrip() for row in zip(*shown, strict=True)]
    left_out = header[fitting:]
    return [*lines, f"… and the columns {', '.join(left_out)}"] if left_out else lines


def text_series(values: Sequence[Any]) -> pd.Series[Any]:
    """A column of strings. Digests are a subclass of str, and bytes that are no UTF-8 no text, for string arrays."""
    return pd.Series([None if value is None else humane.encodable(str(value)) for value in values], dtype="string")
