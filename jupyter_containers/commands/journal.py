"""``events``: what happens in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import Happenings, Log, Result
from jupyter_containers.events import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.journal import Happening

_NAMES = {"Status": "status", "ID": "id", "From": "from", "Scope": "scope", "Time": "time", "TimeNano": "timeNano"}


def _events(context: Context, arguments: Arguments) -> Result:
    form = arguments.text("format")
    write = _form(form)
    found = context.engine().events(
        since=arguments.text("since"), until=arguments.text("until"), filters=arguments.texts("filter")
    )
    if arguments.text("until") is None or form is not None or context.console is not None:
        return Log(_lines(found, write))
    past = tuple(found)
    return Happenings(_lines(past, write), past)


def _form(text: str | None) -> Callable[[Happening], str]:
    """How an event is written: Docker's line, JSON, or by a template of Go's."""
    if text is None:
        return line
    if text == "json":
        text = "{{json .}}"
    from jupyter_containers.commands.go_functions import Loose  # noqa: PLC0415 - seldom asked for
    from jupyter_containers.commands.go_template import Template  # noqa: PLC0415 - seldom asked for

    template = Template(text.replace("\\t", "\t").replace("\\n", "\n"))

    def written(happening: Happening) -> str:
        fields = _Fields(happening.document)
        fields["Actor"] = {"ID": happening.id, "Attributes": Loose(happening.attributes)}
        return template.render(fields)

    return written


class _Fields(dict[str, Any]):
    """An event as a template sees it: by Docker's names for the fields, which are others than those in JSON."""

    def __contains__(self, name: object) -> bool:
        return name in _NAMES or super().__contains__(name)

    def __missing__(self, name: str) -> Any:
        return self.get(_NAMES[name], "")


def _lines(found: Iterable[Happening], write: Callable[[Happening], str]) -> Iterator[Output]:
    for each in found:
        yield Output("stdout", f"{write(each)}\n".encode(errors="surrogateescape"))


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
            Option("format", "json, or a template of Go's: '{{.Type}} {{.Action}} {{.Actor.ID}}'", None, "FORMAT"),
        ),
        examples=("events --since 1h --until 0s -f event=die",),
        python=("events",),
    ),
)
