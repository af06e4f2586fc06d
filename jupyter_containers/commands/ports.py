"""The verb ``port``, and the options of ``update`` that are about ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Lines, Result
from jupyter_containers.errors import NotFound, UsageError

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context

PORT_OPTIONS = (
    Option("publish-add", "Publish one more port, also while it runs", None, "[[ADDRESS:]PORT:]PORT", repeatable=True),
    Option("publish-rm", "Give up a published port, also while it runs", None, "[PORT:]PORT", repeatable=True),
)


def _port(context: Context, arguments: Arguments) -> Result:
    name, *wanted = arguments.positionals
    found = context.engine().containers.ports(name)
    if not wanted:
        return Lines(tuple(f"{port.key} -> {port.where}" for port in found))
    number, _, protocol = wanted[0].partition("/")
    key = f"{number}/{protocol or 'tcp'}"
    if not number.isdecimal():
        raise UsageError(f"invalid port {wanted[0]!r}", hint="write it as 80 or 53/udp")
    places = tuple(port.where for port in found if port.key == key)
    if not places:
        raise NotFound(f"no public port {key} published for {name}", hint=f"'update --publish-add {number} {name}'")
    return Lines(places)


COMMANDS = (
    Command(
        ("port", "container port"),
        "container",
        "List the published ports of a container, or where one of them is",
        _port,
        arguments=(
            Argument("CONTAINER", completes="container"),
            Argument("PRIVATE_PORT[/PROTO]", minimum=0),
        ),
        examples=("port web", "port web 80/tcp"),
        python=("containers.ports",),
    ),
)
