"""``xray``: what the kernel keeps of a container, beside the host's."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands import formats
from jupyter_containers.commands.lifecycle import CONTAINER
from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import Column, Grid, Page, Result
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.results import ColumnKind
    from jupyter_containers.engine.explain.xray import Xray
    from jupyter_containers.engine.explain.xray.views import Task

_RELATIONS: Final = ("own", "host", "shared", "unknown")


def _xray(context: Context, arguments: Arguments) -> Result:
    chosen = arguments.texts("part")
    if unknown := sorted(set(chosen) - set(PARTS)):
        raise UsageError(f"an x-ray has no part {unknown[0]!r}", hint=f"it has {', '.join(PARTS)}")
    found = context.engine().containers.xray(arguments.positionals[0])
    form = arguments.text("format")
    if form is not None:
        return formats.documents([_document(found)], (), form)
    return page(found, parts=chosen or tuple(PARTS), full=arguments.flag("no-trunc"))


def _document(found: Xray) -> dict[str, Any]:
    """The x-ray as JSON has it; names and values of ``security`` as an object."""
    document = asdict(found)
    return {**document, "security": dict(found.security), "missing": dict(found.missing)}


def page(found: Xray, *, parts: Sequence[str] = (), full: bool = False) -> Page:
    """An x-ray as sentences and tables."""
    grids = tuple(PARTS[part](found, full) for part in parts or PARTS)
    return Page(f"X-ray of {found.name}", found.words, grids, found, full=full)


def _grid(noun: str, rows: Sequence[Any], columns: Sequence[tuple[str, str, ColumnKind]], *, full: bool) -> Grid:
    """A table of the attributes of values: title, attribute, kind."""
    made = [Column(title, name, kind, tuple(getattr(row, name) for row in rows)) for title, name, kind in columns]
    return Grid(noun, tuple(made), full=full)


def _namespaces(found: Xray, full: bool) -> Grid:
    rows = found.namespaces
    return Grid(
        "Namespaces",
        (
            Column("NAMESPACE", "kind", "text", tuple(row.kind for row in rows)),
            Column("CONTAINER", "inode", "count", tuple(row.inode for row in rows)),
            Column("HOST", "host_inode", "count", tuple(row.host_inode for row in rows)),
            Column("WHOSE", "relation", "choice", tuple(row.relation for row in rows), _RELATIONS),
            Column("SHARED WITH", "shared_with", "text", tuple(row.shared_with for row in rows)),
            Column("SINCE", "since", "time", tuple(row.since for row in rows)),
            Column("HOLDS", "meaning", "text", tuple(row.meaning for row in rows)),
        ),
        full=full,
    )


def _ids(found: Xray, full: bool) -> Grid:
    columns: list[tuple[str, str, ColumnKind]] = [
        ("KIND", "kind", "text"),
        ("INSIDE", "inside", "count"),
        ("OUTSIDE", "outside", "count"),
        ("COUNT", "count", "count"),
        ("IN WORDS", "words", "text"),
    ]
    grid = _grid("Ids", found.ids, columns, full=full)
    return Grid(grid.noun, (*grid.columns[:-1], _whole(grid.columns[-1])), full=full)


def _whole(column: Column) -> Column:
    """A column whose texts are shown in full."""
    return Column(column.title, column.name, column.kind, column.cells, shown=tuple(map(str, column.cells)))


def _mounts(found: Xray, full: bool) -> Grid:
    columns: list[tuple[str, str, ColumnKind]] = [
        ("TARGET", "target", "text"),
        ("TYPE", "type", "text"),
        ("READ-ONLY", "read_only", "flag"),
        ("PROPAGATION", "propagation", "text"),
        ("WHAT", "what", "text"),
        ("SOURCE", "source", "text"),
        ("ROOT", "root", "text"),
        ("OPTIONS", "options", "text"),
    ]
    return _grid("Mounts", found.mounts, columns, full=full)


def _layers(found: Xray, full: bool) -> Grid:
    rows = found.layers
    return Grid(
        "Layers",
        (
            Column("LAYER", "layer", "count", tuple(row.place for row in rows)),
            Column("CHAIN ID", "chain_id", "text", tuple(row.chain_id for row in rows), short=True),
            Column("SIZE", "size", "size", tuple(row.size for row in rows)),
            Column("CREATED BY", "created_by", "text", tuple(row.created_by for row in rows)),
            Column("DIRECTORY", "directory", "text", tuple(row.directory for row in rows)),
        ),
        full=full,
    )


def _capabilities(found: Xray, full: bool) -> Grid:
    sets = ("effective", "permitted", "inheritable", "bounding", "ambient", "docker", "host")
    columns: list[tuple[str, str, ColumnKind]] = [
        ("CAPABILITY", "name", "text"),
        *((name.upper(), name, "flag") for name in sets),
        ("TO", "meaning", "text"),
    ]
    return _grid("Capabilities", found.capabilities, columns, full=full)


def _security(found: Xray, full: bool) -> Grid:
    names, values = zip(*found.security, strict=True)
    return Grid(
        "Security", (Column("WHAT", "what", "text", names), Column("STATE", "state", "text", values)), full=full
    )


def _seccomp(found: Xray, full: bool) -> Grid:
    columns: list[tuple[str, str, ColumnKind]] = [
        ("SYSTEM CALL", "call", "text"),
        ("ANSWER", "answer", "text"),
        ("TO", "meaning", "text"),
    ]
    return _grid("Seccomp", found.seccomp, columns, full=full)


def _cgroup(found: Xray, full: bool) -> Grid:
    columns: list[tuple[str, str, ColumnKind]] = [
        ("CONTROLLER", "controller", "text"),
        ("NAME", "name", "text"),
        ("KIND", "kind", "text"),
        ("VALUE", "text", "text"),
        ("NUMBER", "value", "number"),
        ("UNIT", "unit", "text"),
        ("FILE", "file", "text"),
    ]
    rows = [_Numbered(row) for row in found.cgroup]
    return _grid("Cgroup", rows, columns, full=full)


class _Numbered:
    """A figure whose file is shown by its name alone."""

    def __init__(self, figure: Any) -> None:
        self.controller, self.name, self.kind = figure.controller, figure.name, figure.kind
        self.text, self.value, self.unit = figure.text, figure.value, figure.unit
        self.file = figure.file.rpartition("/")[2]


def _processes(found: Xray, full: bool) -> Grid:
    rows = found.processes
    return Grid(
        "Processes",
        (
            Column("PID", "pid", "count", tuple(row.pid for row in rows)),
            Column("INSIDE", "inside", "count", tuple(row.inside for row in rows)),
            Column("PARENT", "parent", "count", tuple(row.parent for row in rows)),
            Column("USER", "user", "count", tuple(row.user for row in rows)),
            Column("USER INSIDE", "user_inside", "count", tuple(row.user_inside for row in rows)),
            Column("ROLE", "role", "text", tuple(row.role for row in rows)),
            Column("STATE", "state", "text", tuple(row.state for row in rows)),
            Column("THREADS", "threads", "count", tuple(row.threads for row in rows)),
            Column("DESCRIPTORS", "descriptors", "count", tuple(row.descriptors for row in rows)),
            Column("STARTED", "started", "time", tuple(row.started for row in rows)),
            Column("COMMAND", "command", "text", tuple(map(_indented, rows))),
        ),
        full=full,
    )


def _indented(row: Task) -> str:
    return f"{'  ' * (row.depth - 1)}└ {row.command}" if row.depth else row.command


def _network(found: Xray, full: bool) -> Grid:
    rows = found.interfaces
    return Grid(
        "Interfaces",
        (
            Column("INTERFACE", "interface", "text", tuple(row.name for row in rows)),
            Column("ADDRESSES", "addresses", "text", tuple(", ".join(row.addresses) for row in rows)),
            Column("RECEIVED", "received_size", "size", tuple(row.received for row in rows)),
            Column("SENT", "sent_size", "size", tuple(row.sent for row in rows)),
        ),
        full=full,
    )


def _routes(found: Xray, full: bool) -> Grid:
    columns: list[tuple[str, str, ColumnKind]] = [
        ("DESTINATION", "destination", "text"),
        ("GATEWAY", "gateway", "text"),
        ("INTERFACE", "interface", "text"),
        ("METRIC", "metric", "count"),
    ]
    return _grid("Routes", found.routes, columns, full=full)


def _paths(found: Xray, full: bool) -> Grid:
    columns: list[tuple[str, str, ColumnKind]] = [
        ("PATH", "path", "text"),
        ("KIND", "kind", "text"),
        ("HOLDS", "holds", "flag"),
        ("HOW", "how", "text"),
    ]
    return _grid("Paths", found.paths, columns, full=full)


PARTS: Final[dict[str, Callable[[Xray, bool], Grid]]] = {
    "namespaces": _namespaces,
    "ids": _ids,
    "processes": _processes,
    "mounts": _mounts,
    "layers": _layers,
    "paths": _paths,
    "capabilities": _capabilities,
    "seccomp": _seccomp,
    "security": _security,
    "cgroup": _cgroup,
    "interfaces": _network,
    "routes": _routes,
}

COMMANDS = (
    Command(
        ("xray", "container xray"),
        "container",
        "Show what the kernel keeps of a container: namespaces, mounts, capabilities, limits",
        _xray,
        (
            Option("part", f"Only this part: {', '.join(PARTS)}", "p", "PART", repeatable=True),
            Option("no-trunc", "Show texts in full", kind="bool"),
            formats.TEMPLATE,
        ),
        (CONTAINER,),
        examples=("xray web", "xray -p namespaces -p capabilities web", "xray -f '{{.pid}}' web"),
        python=("containers.xray",),
    ),
)
