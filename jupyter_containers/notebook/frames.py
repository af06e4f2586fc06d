"""Listings as DataFrames with real types: sizes are integers, times are UTC, states are categories.

Only the display is for people: ``7.83MB``, short ids. Importing this module imports pandas.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from jupyter_containers.commands import humane
from jupyter_containers.commands.results import ContainerListing, HistoryListing, ImageListing, LayerListing
from jupyter_containers.notebook import markup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

STATES = ("created", "running", "paused", "exited", "dead")
_TIME = "datetime64[ns, UTC]"
_CELL_WIDTH = 60


class Listing(pd.DataFrame):
    """A DataFrame that shows sizes, times and ids for people and keeps them as they are.

    ``noun`` is the caption. Columns without any value are not shown.
    """

    _metadata: ClassVar[list[str]] = ["noun"]
    noun: str = "Rows"

    @property
    def _constructor(self) -> type[Listing]:
        return Listing

    def __repr__(self) -> str:
        if self.empty:
            return f"{self.noun}: none"
        header, rows, hidden = self._cells()
        shown = pd.DataFrame([row[1:] for row in rows], columns=header[1:], index=pd.Index([row[0] for row in rows]))
        shown.index.name = header[0]
        more = f"\n… {hidden} more" if hidden else ""
        return shown.to_string(justify="left") + more

    def _repr_html_(self) -> str:
        if self.empty:
            return f"<p>{escape(self.noun)}: none</p>"
        header, rows, hidden = self._cells()
        numbers = frozenset(str(name) for name in self.columns if pd.api.types.is_numeric_dtype(self.dtypes[name]))
        caption = f"{self.noun}: {len(self)}" + (f", the first {len(rows)} shown" if hidden else "")
        return markup.table(caption, header, [[escape(cell) for cell in row] for row in rows], numbers=numbers)

    def _cells(self) -> tuple[list[str], list[list[str]], int]:
        """Header, rows of text beginning with the index, and how many rows were left out."""
        limit = pd.get_option("display.max_rows") or len(self)
        part = self.iloc[:limit]
        places = [place for place in range(len(self.columns)) if not _is_blank(self.iloc[:, place])]
        columns = [_shown(str(self.columns[place]), part.iloc[:, place]) for place in places]
        index = [_text(str(self.index.name), value) for value in part.index]
        header = [
            "" if self.index.name is None else str(self.index.name),
            *(str(self.columns[place]) for place in places),
        ]
        rows = [[first, *cells] for first, *cells in zip(index, *columns, strict=True)]
        return header, rows, len(self) - len(part)


def _is_blank(column: pd.Series[Any]) -> bool:
    return all(value in ("", {}) if isinstance(value, str | dict) else bool(pd.isna(value)) for value in column)


def _shown(name: str, column: pd.Series[Any]) -> list[str]:
    is_size = name.endswith("size") or name == "memory_limit"
    if is_size and pd.api.types.is_integer_dtype(column.dtype):
        return ["" if pd.isna(value) else humane.size(int(value)) for value in column]
    return [_text(name, value) for value in column]


def _text(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return humane.shorten(", ".join(f"{key}={content}" for key, content in value.items()), _CELL_WIDTH)
    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = str(value)
    if name in {"id", "digest", "diff_id", "chain_id"}:
        return humane.short_id(text)
    return humane.shorten(text, _CELL_WIDTH)


def of(listing: ContainerListing | ImageListing | HistoryListing | LayerListing) -> Listing:
    """The DataFrame of a listing."""
    match listing:
        case ContainerListing():
            return containers(listing)
        case ImageListing():
            return images(listing)
        case HistoryListing():
            return history(listing)
        case LayerListing():
            return layers(listing)


def containers(listing: ContainerListing) -> Listing:
    """``ps``: indexed by id."""
    column = _columns(listing.rows)
    data = {
        "name": column("name", "string"),
        "image": column("image", "string"),
        "command": column("command", "string"),
        "created": _times([row.created for row in listing.rows]),
        "state": pd.Series(pd.Categorical([row.state for row in listing.rows], categories=list(STATES))),
        "status": column("status", "string"),
        "exit_code": column("exit_code", "Int64"),
        "started": _times([row.started for row in listing.rows]),
        "finished": _times([row.finished for row in listing.rows]),
        "pid": column("pid", "Int64"),
        "ports": column("ports", "string"),
        "address": column("address", "string"),
        "memory_limit": column("memory_limit", "Int64"),
        "labels": _labels([row.labels for row in listing.rows]),
    }
    return _frame(data, "id", [row.id for row in listing.rows], "Containers")


def images(listing: ImageListing) -> Listing:
    """``images``: indexed by id; an image with two names has two rows."""
    column = _columns(listing.rows)
    data = {
        "repository": column("repository", "string"),
        "tag": column("tag", "string"),
        "digest": column("digest", "string"),
        "created": _times([row.created for row in listing.rows]),
        "size": column("size", "Int64"),
        "labels": _labels([row.labels for row in listing.rows]),
    }
    return _frame(data, "id", [str(row.id) for row in listing.rows], "Images")


def history(listing: HistoryListing) -> Listing:
    """``history``: newest first, indexed by the place from the top."""
    column = _columns(listing.rows)
    data = {
        "id": column("id", "string"),
        "created": _times([row.created for row in listing.rows]),
        "created_by": column("created_by", "string"),
        "size": column("size", "Int64"),
        "comment": column("comment", "string"),
        "empty_layer": column("empty_layer", "boolean"),
    }
    return _frame(data, "step", list(range(len(listing.rows))), f"History of {listing.image}")


def layers(listing: LayerListing) -> Listing:
    """``layers``: bottom first, indexed by the place from the bottom."""
    column = _columns(listing.rows)
    data = {
        "digest": column("digest", "string"),
        "size": column("size", "Int64"),
        "blob_size": column("blob_size", "Int64"),
        "created_by": column("created_by", "string"),
        "shared_by": column("shared_by", "Int64"),
        "diff_id": column("diff_id", "string"),
        "chain_id": column("chain_id", "string"),
        "media_type": column("media_type", "string"),
    }
    return _frame(data, "layer", [row.index for row in listing.rows], f"Layers of {listing.image}")


def _columns(rows: Sequence[object]) -> Callable[[str, str], pd.Series[Any]]:
    def column(name: str, dtype: str) -> pd.Series[Any]:
        values = [getattr(row, name) for row in rows]
        if dtype == "string":
            # Digests are a subclass of str, which not every string array takes.
            values = [None if value is None else str(value) for value in values]
        return pd.Series(values, dtype=dtype)

    return column


def _times(values: Sequence[datetime | None]) -> pd.Series[Any]:
    return pd.Series(list(values), dtype=_TIME)


def _labels(values: Sequence[Any]) -> pd.Series[Any]:
    return pd.Series([dict(value) for value in values], dtype="object")


def _frame(data: dict[str, pd.Series[Any]], index: str, keys: Sequence[object], noun: str) -> Listing:
    frame = Listing(data)
    frame.index = pd.Index(list(keys), name=index, dtype="object" if index == "id" else "int64")
    frame.noun = noun
    return frame
