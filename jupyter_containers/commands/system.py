"""The verbs on the system, and ``inspect``, which looks for a container first and then for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Documents, Info, Lines, Report, Result
from jupyter_containers.errors import EngineError, NotFound
from jupyter_containers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jupyter_containers.commands.context import Context


def _inspect(context: Context, arguments: Arguments) -> Result:
    documents: list[Mapping[str, Any]] = []
    errors: list[EngineError] = []
    for name in arguments.positionals:
        try:
            documents.append(_inspect_one(context, name, arguments.text("type")))
        except EngineError as error:
            errors.append(error)
    return Documents(tuple(documents), tuple(errors))


def _inspect_one(context: Context, name: str, kind: str | None) -> Mapping[str, Any]:
    engine = context.engine()
    if kind == "container":
        return engine.containers.inspect(name)
    if kind == "image":
        return engine.images.inspect(name)
    try:
        return engine.containers.inspect(name)
    except NotFound:
        try:
            return engine.images.inspect(name)
        except EngineError as error:
            raise NotFound(
                f"no container and no image is named {name!r}", hint="'ps -a' and 'images' list what there is"
            ) from error


def _doctor(context: Context, _arguments: Arguments) -> Result:
    return Report(context.engine().doctor())


def _info(context: Context, _arguments: Arguments) -> Result:
    return Info(context.engine().info())


def _version(_context: Context, _arguments: Arguments) -> Result:
    return Lines((f"jupyter-containers {__version__}",))


COMMANDS = (
    Command(
        ("inspect",),
        "system",
        "Show everything known of containers or images, as JSON",
        _inspect,
        (Option("type", "Look only for these", None, "TYPE", choices=("container", "image")),),
        (Argument("NAME", maximum=None, completes="name"),),
    ),
    Command(("doctor", "system doctor"), "system", "Say what this host allows, and what would allow more", _doctor),
    Command(("info", "system info"), "system", "Show where things are and how many there are", _info),
    Command(("version",), "system", "Show the version", _version),
)
