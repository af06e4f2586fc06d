"""``events``: what happens in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import Happenings, Log, Result
from jupyter_containers.errors import UsageError
from jupyter_containers.events import Output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.journal import Happening

_JSON = ("json", "{{json .}}")


def _events(context: Context, arguments: Arguments) -> Result:
    form = arguments.text("format")
    if form not in {None, *_JSON}:
        raise UsageError(f"unknown format {form!r}", hint="use json, or leave it out")
    found = context.engine().events(
        since=arguments.text("since"), until=arguments.text("until"), filters=arguments.texts("filter")
    )
    if arguments.text("until") is None or form is not None or context.console is not None:
        return Log(_lines(found, as_json=form is not None))
    past = tuple(found)
    return Happenings(_lines(past, as_json=False), past)


def _lines(found: Iterable[Happening], *, as_json: bool) -> Iterator[Output]:
    for each in found:
        text = json.dumps(each.document, ensure_ascii=False, separators=(",", ":")) if as_json else line(each)
        yield Output("stdout", f"{text}\n".encode(errors="surrogateescape"))


def line(happening: Happening) -> str:
    """As Docker prints it: the local time to the nanosecond, what happened to what, and the attributes."""
    local = happening.time.astimezone()
    moment = f"{local:%Y-%m-%dT%H:%M:%S}.{happening.nanoseconds % 10**9:09}{local:%z}"
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(happening.attributes.items()))
    more = f" ({attributes})" if attributes else ""
    return f"{moment[:-2]}:{moment[-2:]} {happening.type} {happening.action} {happening.id}{more}"


COMMANDS = (
    Command(
        ("events", "system events"),
        "system",
        "Show what happens to containers, images, networks and volumes, as it happens",
        _events,
        (
            Option("since", "Show what has happened since then", None, "TIME|DURATION"),
            Option("until", "Go on until then", None, "TIME|DURATION"),
            Option("filter", "Keep those that match", "f", "KEY=VALUE", repeatable=True),
            Option("format", "json: one JSON object a line", None, "FORMAT"),
        ),
        examples=("events --since 1h --until 0s -f event=die",),
    ),
)
