"""``ps``: containers, filtered and in the form that is asked for."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

from jupyter_containers.commands import humane
from jupyter_containers.commands.containers import matcher
from jupyter_containers.commands.formats import FORMAT, Format, labels, moment
from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import ContainerListing, Result
from jupyter_containers.commands.tables import written
from jupyter_containers.errors import InvalidInput, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.views import ContainerSummary

    Test = Callable[[ContainerSummary], bool]

_TITLES: Final = {
    "ID": "CONTAINER ID",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "LocalVolumes": "LOCAL VOLUMES",
    "HealthStatus": "HEALTH STATUS",
}
_HEALTH: Final = ("starting", "healthy", "unhealthy", "none")
_COMMAND_WIDTH, _MOUNT_WIDTH = 20, 15
_HIGHEST: Final = 65535


def _ps(context: Context, arguments: Arguments) -> Result:
    form = Format(arguments.text("format"))
    filters = arguments.texts("filter")
    keep = matcher(filters, lambda text: _filter(context, text))
    last = 1 if arguments.flag("latest") else arguments.integer("last")
    by_state = any(text.startswith(("status=", "exited=")) for text in filters)
    everything = arguments.flag("all") or (last is not None and last != -1) or by_state
    size = arguments.flag("size") or "Size" in form.fields()
    found = context.engine().containers.list(all=everything or last is not None, size=size)
    rows = [row for row in sorted(found, key=lambda row: row.created, reverse=True) if keep(row)]
    if last is not None and last >= 0:
        rows = rows[:last]
    full = arguments.flag("no-trunc")
    if form.plain or arguments.flag("quiet"):
        return ContainerListing(tuple(rows), arguments.flag("quiet"), full)
    return form.lines([_fields(row, full=full) for row in rows], _TITLES)


# -- filters ---------------------------------------------------------------------------------------------------------


def _filter(context: Context, text: str) -> Test:
    """The test that one ``--filter`` stands for."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"invalid filter {text!r}", hint="write it as --filter status=exited")
    make = _FILTERS.get(key)
    if make is None:
        raise InvalidInput(f"unknown filter {key!r}", hint=f"filters are {', '.join(_FILTERS)}")
    return make(context, value)


def _exited(_context: Context, value: str) -> Test:
    code = _number(value, "exited")
    return lambda row: row.state == "exited" and row.exit_code == code


def _label(_context: Context, value: str) -> Test:
    label, given, wanted = value.partition("=")
    return lambda row: label in row.labels and (not given or row.labels[label] == wanted)


def _volume(_context: Context, value: str) -> Test:
    return lambda row: value.rstrip("/") in row.mounts or value in row.mounts.values()


def _network(_context: Context, value: str) -> Test:
    def test(row: ContainerSummary) -> bool:
        return any(value == name or (value and identity.startswith(value)) for name, identity in row.networks.items())

    return test


def _port(of: Callable[[ContainerSummary], Iterable[str]]) -> Callable[[Context, str], Test]:
    def make(_context: Context, value: str) -> Test:
        ports = _ports(value)
        return lambda row: not ports.isdisjoint(of(row))

    return make


def _named(_context: Context, value: str) -> Test:
    try:
        pattern = re.compile(value.removeprefix("/") if not value.startswith("^/") else f"^{value[2:]}")
    except re.error:
        return lambda row: value in row.name
    return lambda row: pattern.search(row.name) is not None


def _health(_context: Context, value: str) -> Test:
    _known("health", value, _HEALTH)
    return lambda row: (row.health or "none") == value


def _status(_context: Context, value: str) -> Test:
    from jupyter_containers.engine.views import ContainerState  # noqa: PLC0415 - the engine is slow to import

    _known("status", value, (*get_args(ContainerState), "removing"))
    return lambda row: row.state == value


def _known(key: str, value: str, values: Sequence[str]) -> None:
    if value not in values:
        raise InvalidInput(f"invalid filter '{key}={value}'", hint=f"it is one of {', '.join(values)}")


def _number(text: str, key: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"invalid filter '{key}={text}': it is no whole number") from None


def _descends(context: Context, value: str) -> Test:
    """Made from an image, by its name or id, or from one that has all of its layers below its own."""
    names = {value, f"{value}:latest"}
    images = context.engine().images
    identity, top = "", None
    with suppress(NotFound, InvalidInput):
        identity = str(images.get(value).id)
        layers = images.layers(value)
        top = str(layers[-1].chain_id) if layers else None
    return lambda row: row.image in names or (bool(identity) and row.image_id == identity) or top in row.layers


def _relative(context: Context, value: str, *, before: bool) -> Test:
    """Created before or since another container."""
    rows = context.engine().containers.list(all=True)
    found = [row for row in rows if row.name == value] or [row for row in rows if row.id.startswith(value)]
    if not found:
        raise NotFound(f"no such container: {value}", hint="'ps -a' lists what there is")
    moment = found[0].created
    return lambda row: row.created < moment if before else row.created > moment


def _ports(text: str) -> frozenset[str]:
    """``80``, ``80/udp``, ``8000-8010/tcp``."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    low = _number(first, "publish")
    high = _number(last, "publish") if last else low
    if not 0 < low <= high <= _HIGHEST:
        raise InvalidInput(f"invalid port {text!r} of a filter", hint="write it as 80, 80/udp or 8000-8010/tcp")
    return frozenset(f"{port}/{protocol or 'tcp'}" for port in range(low, high + 1))


_FILTERS: Final[dict[str, Callable[[Context, str], Test]]] = {
    "ancestor": _descends,
    "before": partial(_relative, before=True),
    "exited": _exited,
    "expose": _port(lambda row: row.exposed),
    "health": _health,
    "id": lambda _context, value: lambda row: row.id.startswith(value),
    "is-task": lambda _context, value: lambda _row: value not in {"1", "true"},  # there are no services here
    "label": _label,
    "name": _named,
    "network": _network,
    "publish": _port(lambda row: row.published),
    "since": partial(_relative, before=False),
    "status": _status,
    "volume": _volume,
}


# -- forms -----------------------------------------------------------------------------------------------------------


def _fields(row: ContainerSummary, *, full: bool) -> dict[str, Any]:
    """The fields that a template may name, as Docker has them."""
    command = row.command if full else humane.shorten(row.command, _COMMAND_WIDTH)
    return {
        "ID": row.id if full else humane.short_id(row.id),
        "Image": row.image,
        "Command": json.dumps(command, ensure_ascii=False),
        "CreatedAt": moment(row.created),
        "RunningFor": humane.ago(row.created),
        "Ports": row.ports,
        "State": row.state,
        "Status": row.status,
        "HealthStatus": row.health,
        "Size": "0B" if row.size is None else written(row),
        "Names": row.name,
        **labels(row.labels),
        "Mounts": ",".join(_mounts(row, full=full)),
        "Networks": ",".join(row.networks),
        "LocalVolumes": str(len(row.volumes)),
    }


def _mounts(row: ContainerSummary, *, full: bool) -> Iterable[str]:
    return (source if full else humane.shorten(source, _MOUNT_WIDTH) for source in row.mounts.values())


COMMANDS = (
    Command(
        ("ps", "container ls", "container list", "container ps"),
        "container",
        "List containers",
        _ps,
        (
            Option("all", "Show all containers, not only the running ones", "a", kind="bool"),
            Option(
                "filter",
                f"Keep those that match: {', '.join(_FILTERS)}",
                "f",
                "KEY=VALUE",
                repeatable=True,
                offers=(
                    *(f"status={state}" for state in ("running", "exited", "created", "paused")),
                    *(f"{key}=" for key in _FILTERS),
                ),
            ),
            FORMAT,
            Option("last", "Show the N newest containers, whatever their state", "n", "N", kind="integer"),
            Option("latest", "Show the newest container", "l", kind="bool"),
            Option("no-trunc", "Show ids and commands in full", kind="bool"),
            Option("quiet", "Show ids only", "q", kind="bool"),
            Option("size", "Measure what each has written", "s", kind="bool"),
        ),
        examples=("ps -a", "ps -a --filter status=exited", "ps --format 'table {{.Names}}\\t{{.Status}}'"),
        python=("containers.list",),
    ),
)
