"""The verbs on the system, and ``inspect``, which looks for containers, images, networks and volumes, in this order."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from jupyter_containers.commands import formats
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Info, Lines, Report, Result
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.views import ContainerSummary, EngineInfo


def _inspect(context: Context, arguments: Arguments) -> Result:
    kind, size = arguments.text("type"), arguments.flag("size")
    return formats.inspected(
        arguments.positionals, lambda name: _inspect_one(context, name, kind, size=size), arguments.text("format")
    )


def _inspect_one(context: Context, name: str, kind: str | None, *, size: bool) -> Mapping[str, Any]:
    engine = context.engine()
    places: dict[str, _Inspects] = {
        "container": _Measured(engine.containers.inspect) if size else engine.containers,
        "image": engine.images,
        "network": engine.networks,
        "volume": engine.volumes,
    }
    if kind is not None:
        return places[kind].inspect(name)
    for place in places.values():
        with suppress(NotFound, InvalidInput):
            return place.inspect(name)
    raise NotFound(
        f"no container, image, network or volume is named {name!r}", hint="'ps -a' and 'images' list what there is"
    )


class _Measured:
    """Containers with the size of what they have written."""

    def __init__(self, inspect: Callable[..., Mapping[str, Any]]) -> None:
        self._inspect = inspect

    def inspect(self, name: str) -> Mapping[str, Any]:
        """Everything known of one."""
        return self._inspect(name, size=True)


class _Inspects(Protocol):
    """A part of the engine that shows what it has."""

    def inspect(self, name: str) -> Mapping[str, Any]:
        """Everything known of one."""


def _doctor(context: Context, _arguments: Arguments) -> Result:
    return Report(context.engine().doctor())


def _info(context: Context, arguments: Arguments) -> Result:
    found = context.engine().info()
    form = formats.Format(arguments.text("format"))
    if form.plain:
        return Info(found)
    rows = context.engine().containers.list(all=True)
    return form.lines([_info_fields(found, rows)], {})


def _info_fields(found: EngineInfo, rows: Sequence[ContainerSummary]) -> dict[str, Any]:
    """The fields that a template may name, as Docker has them; figures are numbers."""
    states = Counter(row.state for row in rows)
    return {
        "ServerVersion": found.version,
        "Containers": len(rows),
        "ContainersRunning": states["running"] + states["restarting"],
        "ContainersPaused": states["paused"],
        "ContainersStopped": states["created"] + states["exited"] + states["dead"],
        "Images": found.images,
        "Driver": found.snapshotter,
        "DockerRootDir": found.root,
        "KernelVersion": found.kernel,
        "Architecture": found.architecture,
        "OSType": "linux",
        "CgroupVersion": found.cgroup,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "Name": os.uname().nodename,
        "Rootless": found.rootless,
    }


def _version(_context: Context, arguments: Arguments) -> Result:
    form = formats.Format(arguments.text("format"))
    if form.plain:
        return Lines((f"jupyter-containers {__version__}",))
    uname = os.uname()
    one = {"Version": __version__, "Os": "linux", "Arch": uname.machine, "KernelVersion": uname.release}
    return form.lines([{"Client": one, "Server": one}], {})


COMMANDS = (
    Command(
        ("inspect",),
        "system",
        "Show everything known of containers, images, networks or volumes, as JSON",
        _inspect,
        (
            formats.TEMPLATE,
            formats.SIZE,
            Option("type", "Look only for these", None, "TYPE", choices=("container", "image", "network", "volume")),
        ),
        (Argument("NAME", maximum=None, completes="name"),),
    ),
    Command(
        ("doctor", "system doctor"),
        "system",
        "Say what this host allows, and what would allow more",
        _doctor,
        python=("doctor",),
    ),
    Command(
        ("info", "system info"),
        "system",
        "Show where things are and how many there are",
        _info,
        (formats.FORMAT,),
        python=("info",),
    ),
    Command(("version",), "system", "Show the version", _version, (formats.FORMAT,)),
)
