"""Listings as text, in the columns of Docker's command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import humane
from jupyter_containers.commands.results import (
    ChangeListing,
    ContainerListing,
    HistoryListing,
    ImageListing,
    LayerListing,
    NetworkListing,
    VolumeListing,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from jupyter_containers.commands.results import Column, Grid, HostReport, Listing, Page
    from jupyter_containers.engine.views import ContainerSummary, EngineInfo

_MINIMUM, _PADDING = 10, 3
_COMMAND_WIDTH, _TEXT_WIDTH = 20, 60
CREATED_BY_WIDTH = 45
NONE = "<none>"


def align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of at least ten characters with three blanks between them; the last one is not padded."""
    table = [header, *rows]
    widths = [max(_MINIMUM, max(len(row[column]) for row in table) + _PADDING) for column in range(len(header) - 1)]
    return ["".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)) + row[-1] for row in table]


def listing(result: Listing, now: datetime) -> list[str]:  # noqa: PLR0911 - one per listing
    """The lines of a listing, ids only where it is quiet."""
    match result:
        case ContainerListing():
            return _containers(result, now)
        case ImageListing():
            return _images(result, now)
        case HistoryListing():
            return _history(result, now)
        case LayerListing():
            return _layers(result)
        case NetworkListing():
            return _networks(result)
        case VolumeListing():
            return _volumes(result)
        case ChangeListing():
            return [f"{row.kind[0].upper()} {row.path}" for row in result.rows]


def grid(table: Grid, now: datetime) -> list[str]:
    """A table with typed columns."""
    if table.quiet:
        return [_cell(table.columns[0], name, now, full=table.full) for name in table.names]
    header, *rows = cells(table, now, full=table.full)
    return align(header, rows)


def cells(table: Grid, now: datetime, *, full: bool) -> list[list[str]]:
    """A table as text, its header first."""
    columns = [
        column.shown or [_cell(column, value, now, full=full) for value in column.cells] for column in table.columns
    ]
    return [[column.title for column in table.columns], *map(list, zip(*columns, strict=True))]


def page(found: Page, now: datetime) -> list[str]:
    """A title, sentences, and tables with more than their header."""
    lines = [found.title, *(f"  {line}" for line in found.words)]
    lines += ["", *found.drawn] if found.drawn else []
    for table in found.grids:
        if table.names:
            lines += ["", f"{table.noun}:", *grid(table, now)]
    return lines


def _cell(column: Column, value: Any, now: datetime, *, full: bool) -> str:
    match column.kind:
        case _ if value is None:
            text = ""
        case "size":
            text = humane.size(value)
        case "time":
            text = humane.ago(value, now)
        case "seconds":
            text = humane.seconds(value)
        case "number":
            text = f"{value:g}" if isinstance(value, float) else str(value)
        case "flag":
            text = str(value).lower()
        case _ if full:
            text = str(value)
        case _:
            text = humane.short_id(value) if column.short else humane.shorten(str(value), _TEXT_WIDTH)
    return text


def _containers(result: ContainerListing, now: datetime) -> list[str]:
    if result.quiet:
        return [row.id if result.full else humane.short_id(row.id) for row in result.rows]
    rows = [
        (
            row.id if result.full else humane.short_id(row.id),
            row.image,
            json.dumps(row.command if result.full else humane.shorten(row.command, _COMMAND_WIDTH), ensure_ascii=False),
            humane.ago(row.created, now),
            row.status,
            row.ports,
            row.name,
        )
        for row in result.rows
    ]
    header = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
    if any(row.size is not None for row in result.rows):
        sizes = [written(row) for row in result.rows]
        return align((*header, "SIZE"), [(*row, size) for row, size in zip(rows, sizes, strict=True)])
    return align(header, rows)


def written(row: ContainerSummary) -> str:
    """What a container has written, and that with its image: ``12kB (virtual 7.8MB)``."""
    return f"{humane.size(row.size or 0)} (virtual {humane.size(row.virtual_size or 0)})"


def _images(result: ImageListing, now: datetime) -> list[str]:
    def identity(text: str) -> str:
        return text if result.full else humane.short_id(text)

    if result.quiet:
        return list(dict.fromkeys(identity(row.id) for row in result.rows))
    header = ["REPOSITORY", "TAG", *(["DIGEST"] if result.digests else []), "IMAGE ID", "CREATED", "SIZE"]
    rows = [
        [
            row.repository or NONE,
            row.tag or NONE,
            *([str(row.digest)] if result.digests else []),
            identity(row.id),
            humane.ago(row.created, now),
            humane.size(row.size),
        ]
        for row in result.rows
    ]
    return align(header, rows)


def _history(result: HistoryListing, now: datetime) -> list[str]:
    def identity(text: str | None) -> str:
        if text is None:
            return "<missing>"
        return text if result.full else humane.short_id(text)

    if result.quiet:
        return [identity(row.id) for row in result.rows]
    rows = [
        (
            identity(row.id),
            humane.ago(row.created, now),
            row.created_by if result.full else humane.shorten(row.created_by, CREATED_BY_WIDTH),
            humane.size(row.size),
            row.comment,
        )
        for row in result.rows
    ]
    return align(("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"), rows)


def _layers(result: LayerListing) -> list[str]:
    def identity(text: str) -> str:
        return text if result.full else humane.short_id(text)

    if result.quiet:
        return [identity(row.digest) for row in result.rows]
    rows = [
        (
            str(row.index),
            identity(row.digest),
            humane.size(row.size),
            str(row.shared_by),
            row.created_by if result.full else humane.shorten(row.created_by, CREATED_BY_WIDTH),
        )
        for row in result.rows
    ]
    return align(("LAYER", "DIGEST", "SIZE", "IMAGES", "CREATED BY"), rows)


def _networks(result: NetworkListing) -> list[str]:
    def identity(text: str) -> str:
        return text if result.full else humane.short_id(text)

    if result.quiet:
        return [identity(row.id) for row in result.rows]
    rows = [(identity(row.id), row.name, row.driver, row.scope, row.subnet) for row in result.rows]
    return align(("NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET"), rows)


def _volumes(result: VolumeListing) -> list[str]:
    if result.quiet:
        return [row.name for row in result.rows]
    if all(row.size is None for row in result.rows):
        return align(("DRIVER", "VOLUME NAME"), [(row.driver, row.name) for row in result.rows])
    rows = [
        (row.driver, row.name, str(len(row.containers)), "N/A" if row.size is None else humane.size(row.size))
        for row in result.rows
    ]
    return align(("DRIVER", "VOLUME NAME", "LINKS", "SIZE"), rows)


def report(host: HostReport) -> list[str]:
    """``doctor``: the rung, and a line a finding, with the remedy below what is missing."""
    lines = [f"{host.rung}: {host.summary}", ""]
    width = max((len(finding.feature) for finding in host.findings), default=0)
    for finding in host.findings:
        lines.append(f"  {'ok' if finding.ok else 'MISSING':<8} {finding.feature:<{width}}  {finding.detail}")
        if not finding.ok and finding.remedy:
            lines.append(f"  {'':<8} {'':<{width}}  remedy: {finding.remedy}")
    return lines


def info(values: EngineInfo) -> list[str]:
    """``info``: one ``name: value`` a line."""
    names = values.__dataclass_fields__
    return [f"{name.replace('_', ' ')}: {getattr(values, name)}" for name in names]
