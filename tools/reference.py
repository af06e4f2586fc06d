"""``./dev reference``: docs/guide/reference.md, made from the table that ``--help`` is made from."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from jupyter_containers.cli import PROGRAM
from jupyter_containers.commands import asked, dry_run
from jupyter_containers.commands.help import BODIES
from jupyter_containers.commands.table import NOUNS, every
from jupyter_containers.engine import Containers, Engine, Images, Volumes
from jupyter_containers.engine.builds import Builds
from jupyter_containers.engine.networks import Networks
from jupyter_containers.errors import UsageError
from jupyter_containers.notebook.attendance import OPTIONS as DATA
from jupyter_containers.notebook.attendance import extended
from jupyter_containers.notebook.grammar import CELL, LINE, NOTEBOOK
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jupyter_containers.commands.model import Argument, Command, Option

PLACE: Final = ROOT / "docs/guide/reference.md"
_OWNERS: Final[dict[str, type]] = {
    "": Engine,
    "containers": Containers,
    "images": Images,
    "networks": Networks,
    "volumes": Volumes,
    "builds": Builds,
}
_KINDS: Final = {
    "bool": "switch",
    "text": "text",
    "integer": "whole number",
    "decimal": "number",
    "size": "size, as 64m",
}
_NAMED: Final = {
    "image": "an image: name, id, digest",
    "container": "a container: name or id",
    "network": "a network: name or id",
    "volume": "a volume",
    "name": "a container, image, network or volume",
    "path": "a path of this machine",
}
_SHARED: Final = 30
"""As many options in common with a verb before are told by a link."""
_HEAD: Final = f"""\
# Reference

Every verb, made from the table of commands by `./dev reference`: `--help` tells the same. A verb is written
`{PROGRAM} VERB …` on the command line and `{LINE} VERB …` in a notebook. In Python it is a method of an engine:

```python
from jupyter_containers import Engine

with Engine() as engine:
    engine.containers.run("starter", ["echo", "hello"])
```

Options are read as Docker reads them: `-it` is `-i -t`; `-e A=b`, `-eA=b` and `--env=A=b` mean the same;
`--rm=false` turns a switch off; `--` ends the options. Those of `run` and `exec` stand before the image or the
container."""


def text() -> str:
    """The whole page."""
    parts = [_HEAD, _contents(), *_before()]
    told: list[Command] = []
    for noun, title in NOUNS.items():
        parts.append(f"## {title}")
        for command in every():
            if command.noun == noun:
                parts += _verb(command, told)
                told.append(command)
    return "\n\n".join(parts) + "\n"


def method_of(name: str) -> Callable[..., object]:
    """The method of an engine that is named ``containers.list``; KeyError or AttributeError where there is none."""
    noun, _, method = name.rpartition(".")
    found: Callable[..., object] = getattr(_OWNERS[noun], method)
    return found


def _contents() -> str:
    rows = []
    for noun, title in NOUNS.items():
        links = ", ".join(f"[{each.name}](#{_anchor(each)})" for each in every() if each.noun == noun)
        rows.append(f"| {title} | {links} |")
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _anchor(command: Command) -> str:
    return command.name.replace(" ", "-")


def _before() -> Iterable[str]:
    yield "## Before the verb"
    yield f"On the command line (`{PROGRAM} --dry-run rm web`) and in a notebook:"
    yield _options(asked.OPTIONS)
    yield "`--dry-run` goes with " + ", ".join(f"`{each.name}`" for each in every() if _can_be_tried(each)) + "."
    yield f"In [a notebook](notebook.md) (`{LINE} -o NAME VERB …`):"
    yield _options(option for option in NOTEBOOK.options if option not in {*asked.OPTIONS, *DATA})


def _can_be_tried(command: Command) -> bool:
    try:
        dry_run.check(command)
    except UsageError:
        return False
    return True


def _verb(command: Command, before: Sequence[Command]) -> Iterable[str]:
    yield f"### {command.name}"
    yield f"{command.summary}."
    yield "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in _spellings(command))])
    if command.arguments:
        rows = [
            f"| `{_cell(each.name)}` | {_count(each)} | {_NAMED.get(each.completes, '')} |"
            for each in command.arguments
        ]
        yield "\n".join(["| argument | how many | what |", "| --- | --- | --- |", *rows])
    options = command.options
    for other in before:
        common = [option for option in options if option in other.options]
        if len(common) >= _SHARED:
            missing = ", ".join(f"`--{option.long}`" for option in other.options if option not in options)
            without = f", without {missing}" if missing else ""
            yield f"The options of [{other.name}](#{_anchor(other)}){without}."
            options = tuple(option for option in options if option not in common)
    if options:
        yield _options(options)
    if more := extended(command).options[len(command.options) :]:
        yield "In a notebook also ([data in and out](data.md)):"
        yield _options(more)


def _spellings(command: Command) -> Iterable[tuple[str, str]]:
    usage = _cell(command.usage)
    yield "command line", f"`{PROGRAM} {usage}`"
    yield "notebook", f"`{LINE} {usage}`"
    if command.body != "none":
        yield "cell", f"`{CELL} {usage}` {BODIES[command.body]}"
    for name in command.python:
        yield "Python", f"`engine.{name}{_cell(_signature(name))}`"
    if command.names[1:]:
        yield "also spelled", ", ".join(f"`{name}`" for name in command.names[1:])
    for example in command.examples:
        yield "example", f"`{_cell(example)}`"


def _signature(name: str) -> str:
    """The positional parameters of a method, and ``…`` for those by keyword."""
    parameters = list(inspect.signature(method_of(name)).parameters.values())
    plain = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"]
    shown = [each.name if each.default is each.empty else f"{each.name}={each.default!r}" for each in plain]
    shown += [f"*{each.name}" for each in parameters if each.kind is each.VAR_POSITIONAL]
    if any(each.kind in {each.KEYWORD_ONLY, each.VAR_KEYWORD} for each in parameters):
        shown.append("…")
    return f"({', '.join(shown)})"


def _count(argument: Argument) -> str:
    if argument.maximum is None:
        return "one or more" if argument.minimum else "any number"
    return "one" if argument.minimum else "one or none"


def _options(options: Iterable[Option]) -> str:
    rows = ["| option | type | default | meaning |", "| --- | --- | --- | --- |"]
    for option in options:
        short = f"`-{option.short}`, " if option.short else ""
        metavar = f" {_cell(option.metavar)}" if option.metavar else ""
        kind = ", ".join(f"`{each}`" for each in option.choices) or _KINDS[option.kind]
        kind += "; repeatable" if option.repeatable else ""
        default = f"`{_cell(option.default)}`" if option.default else ""
        rows.append(f"| {short}`--{option.long}{metavar}` | {kind} | {default} | {_cell(option.help)} |")
    return "\n".join(rows)


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
