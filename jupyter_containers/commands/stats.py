"""``stats``: what containers use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands import humane
from jupyter_containers.commands.formats import FORMAT, Format
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Result, Samples
from jupyter_containers.commands.tables import align

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.views import ContainerStats

_TITLES: Final = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_COLUMNS: Final = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_NOTHING: Final = "--"


def _stats(context: Context, arguments: Arguments) -> Result:
    form = Format(arguments.text("format"))
    count = arguments.integer("count")
    once = arguments.flag("no-stream")
    samples = context.engine().containers.stats(
        *arguments.positionals,
        all=arguments.flag("all"),
        interval=arguments.decimal("interval") or 1.0,
        count=1 if once else count,
    )
    full = arguments.flag("no-trunc")

    def lines(rows: Sequence[ContainerStats]) -> list[str]:
        fields = [_fields(row, full=full) for row in rows]
        if form.plain:
            table = [[str(row[name]) for name in _COLUMNS] for row in fields]
            return align([_TITLES.get(name, name.upper()) for name in _COLUMNS], table)
        return list(form.lines(fields, _TITLES).lines)

    return Samples(samples, lines, live=not once)


def _fields(row: ContainerStats, *, full: bool) -> dict[str, Any]:
    identity = row.id if full else humane.short_id(row.id)
    limit = _NOTHING if row.memory_limit is None else humane.binary(row.memory_limit)
    return {
        "Container": identity,
        "ID": identity,
        "Name": row.name,
        "CPUPerc": _percent(row.cpu_percent),
        "MemUsage": f"{_NOTHING if row.memory is None else humane.binary(row.memory)} / {limit}",
        "MemPerc": _percent(row.memory_percent),
        "NetIO": _pair(row.network_received, row.network_sent),
        "BlockIO": _pair(row.disk_read, row.disk_written),
        "PIDs": _NOTHING if row.pids is None else str(row.pids),
    }


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}%"


def _pair(first: int | None, second: int | None) -> str:
    return " / ".join(_NOTHING if value is None else humane.size(value) for value in (first, second))


COMMANDS = (
    Command(
        ("stats", "container stats"),
        "container",
        "Show what containers use: CPU, memory, network, disk, processes",
        _stats,
        (
            Option("all", "Show all containers, not only the running ones", "a", kind="bool"),
            FORMAT,
            Option("no-stream", "Show one sample only", kind="bool"),
            Option("no-trunc", "Show ids in full", kind="bool"),
            Option("interval", "Time between two samples", None, "SECONDS", kind="decimal", default="1"),
            Option("count", "End after so many samples", None, "N", kind="integer"),
        ),
        (Argument("CONTAINER", minimum=0, maximum=None, completes="container"),),
        examples=("stats --no-stream", "stats --format '{{.Name}}: {{.CPUPerc}}' web"),
        python=("containers.stats",),
    ),
)
