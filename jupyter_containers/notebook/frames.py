"""Listings as DataFrames with real types: integer sizes, times in UTC, categories of states, units in ``.attrs``.

What belongs together is joined by id: ``stats.join(ps[["image"]], on="id")``, or where both have columns of one name
``ps.merge(images, left_on="image_id", right_index=True, suffixes=("", "_image"))``. Importing it imports pandas.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import pandas as pd

from jupyter_containers.commands.results import (
    ChangeListing,
    Column,
    ContainerListing,
    Grid,
    HistoryListing,
    ImageListing,
    LayerListing,
    NetworkListing,
    Table,
    VolumeListing,
)
from jupyter_containers.notebook.listing import BYTES, UNITS, Listing, text_series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from jupyter_containers.commands import results
    from jupyter_containers.engine.journal import Happening
    from jupyter_containers.engine.views import ContainerStats, ContainerSummary

STATES: Final = ("created", "running", "paused", "restarting", "exited", "dead")
CHANGES: Final = ("added", "changed", "deleted")
_TIME: Final = "datetime64[ns, UTC]"
_SPAN: Final = "timedelta64[ns]"
_DTYPES: Final = {"size": "Int64", "count": "Int64", "number": "Float64", "percent": "Float64", "flag": "boolean"}
_UNITS: Final = {"size": BYTES, "percent": "%"}

Kind: TypeAlias = Literal["text", "size", "count", "number", "percent", "flag", "time", "span", "mapping", "names"]
Columns: TypeAlias = "Mapping[str, Kind | tuple[str, ...]]"
"""What is in each column; a tuple are the choices of a category."""

_CONTAINERS: Final[Columns] = {
    "name": "text",
    "image": "text",
    "command": "text",
    "created": "time",
    "state": STATES,
    "status": "text",
    "exit_code": "count",
    "started": "time",
    "finished": "time",
    "ran": "span",
    "pid": "count",
    "ports": "text",
    "address": "text",
    "memory_limit": "size",
    "health": "text",
    "size": "size",
    "virtual_size": "size",
    "labels": "mapping",
    "image_id": "text",
    "layers": "names",
    "networks": "names",
    "volumes": "names",
    "mounts": "mapping",
}
_IMAGES: Final[Columns] = {
    "repository": "text",
    "tag": "text",
    "digest": "text",
    "created": "time",
    "size": "size",
    "labels": "mapping",
    "layers": "names",
}
_HISTORY: Final[Columns] = {
    "id": "text",
    "created": "time",
    "created_by": "text",
    "size": "size",
    "comment": "text",
    "empty_layer": "flag",
}
_LAYERS: Final[Columns] = {
    "digest": "text",
    "size": "size",
    "blob_size": "size",
    "created_by": "text",
    "shared_by": "count",
    "diff_id": "text",
    "chain_id": "text",
    "media_type": "text",
}
_NETWORKS: Final[Columns] = {
    "name": "text",
    "driver": "text",
    "subnet": "text",
    "gateway": "text",
    "subnet6": "text",
    "internal": "flag",
    "containers": "count",
    "created": "time",
    "labels": "mapping",
}
_VOLUMES: Final[Columns] = {
    "driver": "text",
    "created": "time",
    "size": "size",
    "containers": "names",
    "anonymous": "flag",
    "mountpoint": "text",
    "options": "mapping",
    "labels": "mapping",
}
_STATISTICS: Final[Columns] = {
    "name": "text",
    "id": "text",
    "cpu_percent": "percent",
    "memory_percent": "percent",
    "memory": "size",
    "memory_limit": "size",
    "network_received": "size",
    "network_sent": "size",
    "disk_read": "size",
    "disk_written": "size",
    "pids": "count",
    "source": "text",
}


def of(listing: results.Listing) -> Listing:  # noqa: PLR0911 - one per listing
    """The DataFrame of a listing.

    Containers, images and networks are indexed by id, volumes by name, layers by their place from the bottom, the
    steps of a history by theirs from the top; an image with two names has two rows.
    """
    match listing:
        case ContainerListing(rows):
            return _containers(rows)
        case ImageListing(rows):
            return _frame(rows, _IMAGES, "Images", _ids(rows), hidden=("layers",))
        case HistoryListing():
            return _frame(listing.rows, _HISTORY, f"History of {listing.image}", _places(listing.rows, "step"))
        case LayerListing():
            places = pd.Index([row.index for row in listing.rows], name="layer", dtype="int64")
            return _frame(listing.rows, _LAYERS, f"Layers of {listing.image}", places)
        case NetworkListing(rows):
            return _frame(rows, _NETWORKS, "Networks", _ids(rows))
        case VolumeListing(rows):
            return _frame(rows, _VOLUMES, "Volumes", _ids(rows, "name"))
        case ChangeListing():
            columns: Columns = {"kind": CHANGES, "path": "text"}
            return _frame(listing.rows, columns, f"Changes of {listing.container}", _places(listing.rows, "change"))


def _containers(rows: Sequence[ContainerSummary]) -> Listing:
    now = datetime.now(UTC)
    more: dict[str, Sequence[Any]] = {
        "ran": [_ran(row, now) for row in rows],
        # A network without an id is another container's, or gone.
        "networks": [[identity for identity in row.networks.values() if identity] for row in rows],
    }
    hidden = ("image_id", "layers", "networks", "volumes", "mounts", "started", "finished")
    return _frame(rows, _CONTAINERS, "Containers", _ids(rows), more, hidden)


def _ran(row: ContainerSummary, now: datetime) -> timedelta | None:
    """How long it has run since its last start."""
    if row.started is None:
        return None
    until = now if row.state in {"running", "paused"} else row.finished
    return None if until is None else until - row.started


def table(rows: Table) -> Listing:
    """Rows of text, as ``top`` gives them."""
    return Listing({title: text_series([row[at] for row in rows.rows]) for at, title in enumerate(rows.titles)})


def grid(rows: Grid) -> Listing:
    """A table with typed columns, indexed by the first one."""
    first, *others = rows.columns
    frame = Listing({column.name: _column(_kind(column), column.cells) for column in others})
    frame.index = pd.Index(list(first.cells), name=first.name, dtype="int64" if first.kind == "count" else "string")
    frame.noun = rows.noun
    return frame


def _kind(column: Column) -> Kind | tuple[str, ...]:
    if column.kind == "choice":
        return column.choices
    return "span" if column.kind == "seconds" else column.kind


def statistics(rows: Sequence[ContainerStats]) -> Listing:
    """``stats``: a row for each container and moment, indexed by time; percents of CPU are of one CPU.

    ``frame.pivot(columns="name", values="cpu_percent").plot()`` draws a history.
    """
    index = pd.DatetimeIndex([row.time for row in rows], dtype=_TIME, name="time")
    return _frame(rows, _STATISTICS, "Statistics", index)


def happenings(found: Sequence[Happening]) -> Listing:
    """``events`` of a span of time, oldest first: numbered."""
    columns: Columns = {"time": "time", "type": "text", "action": "text", "id": "text", "name": "text"}
    more: dict[str, Sequence[Any]] = {
        "time": [pd.Timestamp(each.nanoseconds, unit="ns", tz="UTC") for each in found],
        "name": [each.attributes.get("name", "") for each in found],
        "attributes": [dict(each.attributes) for each in found],
    }
    frame = _frame(found, {**columns, "attributes": "mapping"}, "Events", _places(found, "event"), more)
    frame["type"] = frame["type"].astype("category")
    return frame


def _ids(rows: Sequence[object], name: str = "id") -> pd.Index[Any]:
    index: pd.Index[Any] = pd.Index(text_series([getattr(row, name) for row in rows]), name=name)
    return index


def _places(rows: Sequence[object], name: str) -> pd.Index[Any]:
    return pd.RangeIndex(len(rows), name=name)


def _frame(
    rows: Sequence[object],
    columns: Columns,
    noun: str,
    index: pd.Index[Any],
    more: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    hidden: tuple[str, ...] = (),
) -> Listing:
    """A frame of the attributes of the rows; columns in ``more`` are given as they are."""
    data = {
        name: _column(kind, more[name] if name in more else [getattr(row, name) for row in rows])
        for name, kind in columns.items()
    }
    frame = Listing(data)
    frame.index = index
    frame.noun, frame.hidden = noun, hidden
    frame.attrs[UNITS] = {name: _UNITS[kind] for name, kind in columns.items() if kind in _UNITS}
    return frame


def _column(kind: Kind | tuple[str, ...], values: Sequence[Any]) -> pd.Series[Any]:  # noqa: PLR0911 - one per kind
    match kind:
        case tuple():
            return pd.Series(pd.Categorical(list(values), categories=list(kind)))
        case "text":
            return text_series(values)
        case "time":
            return pd.Series(list(values), dtype=_TIME)
        case "span":
            return pd.Series(pd.to_timedelta(list(values), unit="s").astype(_SPAN))
        case "mapping":
            return pd.Series([dict(value) for value in values], dtype="object")
        case "names":
            return pd.Series([[str(each) for each in value] for value in values], dtype="object")
        case _:
            return pd.Series(list(values), dtype=_DTYPES[kind])
