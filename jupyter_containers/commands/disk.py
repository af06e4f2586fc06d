"""``system df``: what the store takes of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands import formats, humane
from jupyter_containers.commands.build_storage import cache_grid
from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import Column, Grid, Grids, Result
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.disk_usage import DiskUsage, UsageTotal

_NONE = "<none>"


def _df(context: Context, arguments: Arguments) -> Result:
    form = formats.Format(arguments.text("format"))
    if not form.plain and arguments.flag("verbose"):
        raise UsageError("--format and --verbose contradict each other", hint="leave one of them out")
    usage = context.engine().disk_usage()
    if not form.plain:
        return form.lines([_fields(row) for row in usage.totals], {"TotalCount": "TOTAL"})
    if not arguments.flag("verbose"):
        return _totals(usage)
    return Grids((_images(usage), _containers(usage), _volumes(usage), cache_grid(usage.cache)))


def _fields(row: UsageTotal) -> dict[str, str]:
    """The fields that a template may name, as Docker has them."""
    return {
        "Type": row.type,
        "TotalCount": str(row.total),
        "Active": str(row.active),
        "Size": humane.size(row.size),
        "Reclaimable": _reclaimable(row),
    }


def _totals(usage: DiskUsage) -> Grid:
    rows = usage.totals
    return Grid(
        "Disk usage",
        (
            Column("TYPE", "type", "text", tuple(row.type for row in rows)),
            Column("TOTAL", "total", "count", tuple(row.total for row in rows)),
            Column("ACTIVE", "active", "count", tuple(row.active for row in rows)),
            Column("SIZE", "size", "size", tuple(row.size for row in rows)),
            Column(
                "RECLAIMABLE",
                "reclaimable_size",
                "size",
                tuple(row.reclaimable for row in rows),
                shown=tuple(map(_reclaimable, rows)),
            ),
        ),
    )


def _reclaimable(row: UsageTotal) -> str:
    share = f" ({100 * row.reclaimable // row.size}%)" if row.size else ""
    return f"{humane.size(row.reclaimable)}{share}"


def _images(usage: DiskUsage) -> Grid:
    rows = usage.images
    return Grid(
        "Images space usage",
        (
            Column("REPOSITORY", "repository", "text", tuple(row.repository or _NONE for row in rows)),
            Column("TAG", "tag", "text", tuple(row.tag or _NONE for row in rows)),
            Column("IMAGE ID", "id", "text", tuple(str(row.id) for row in rows), short=True),
            Column("CREATED", "created", "time", tuple(row.created for row in rows)),
            Column("SIZE", "size", "size", tuple(row.size for row in rows)),
            Column("SHARED SIZE", "shared_size", "size", tuple(row.shared_size for row in rows)),
            Column("UNIQUE SIZE", "unique_size", "size", tuple(row.unique_size for row in rows)),
            Column("CONTAINERS", "containers", "count", tuple(row.containers for row in rows)),
        ),
    )


def _containers(usage: DiskUsage) -> Grid:
    rows = usage.containers
    return Grid(
        "Containers space usage",
        (
            Column("CONTAINER ID", "id", "text", tuple(row.summary.id for row in rows), short=True),
            Column("IMAGE", "image", "text", tuple(row.summary.image for row in rows)),
            Column("COMMAND", "command", "text", tuple(row.summary.command for row in rows)),
            Column("LOCAL VOLUMES", "volumes", "count", tuple(row.volumes for row in rows)),
            Column("SIZE", "size", "size", tuple(row.size for row in rows)),
            Column("CREATED", "created", "time", tuple(row.summary.created for row in rows)),
            Column("STATUS", "status", "text", tuple(row.summary.status for row in rows)),
            Column("NAMES", "name", "text", tuple(row.summary.name for row in rows)),
        ),
    )


def _volumes(usage: DiskUsage) -> Grid:
    rows = usage.volumes
    return Grid(
        "Local Volumes space usage",
        (
            Column("VOLUME NAME", "name", "text", tuple(row.name for row in rows)),
            Column("LINKS", "links", "count", tuple(len(row.containers) for row in rows)),
            Column("SIZE", "size", "size", tuple(row.size for row in rows)),
        ),
    )


COMMANDS = (
    Command(
        ("system df",),
        "system",
        "Show what images, containers, volumes and the build cache take of the disk",
        _df,
        (
            Option("verbose", "A table for each, with every image, container, volume and step", "v", kind="bool"),
            formats.FORMAT,
        ),
        python=("disk_usage",),
    ),
)
