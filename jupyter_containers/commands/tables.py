"""Listings as text, in the columns of Docker's command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.commands.results import ContainerListing, HistoryListing, ImageListing, LayerListing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from jupyter_containers.commands.results import HostReport
    from jupyter_containers.engine.views import EngineInfo

_MINIMUM, _PADDING = 10, 3
_COMMAND_WIDTH, _CREATED_BY_WIDTH = 20, 45
NONE = "<none>"


def align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of at least ten characters with three blanks between them; the last one is not padded."""
    table = [header, *rows]
    widths = [max(_MINIMUM, max(len(row[column]) for row in table) + _PADDING) for column in range(len(header) - 1)]
    return ["".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)) + row[-1] for row in table]


def listing(result: ContainerListing | ImageListing | HistoryListing | LayerListing, now: datetime) -> list[str]:
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
    return align(("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"), rows)


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
            row.created_by if result.full else humane.shorten(row.created_by, _CREATED_BY_WIDTH),
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
            row.created_by if result.full else humane.shorten(row.created_by, _CREATED_BY_WIDTH),
        )
        for row in result.rows
    ]
    return align(("LAYER", "DIGEST", "SIZE", "IMAGES", "CREATED BY"), rows)


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
