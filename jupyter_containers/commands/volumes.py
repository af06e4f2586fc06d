"""The verbs on volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import formats, humane
from jupyter_containers.commands.containers import matcher
from jupyter_containers.commands.context import read_from, written_to
from jupyter_containers.commands.lifecycle import each
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import ChangeListing, Lines, Result, VolumeListing
from jupyter_containers.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.views import VolumeSummary

_VOLUME = Argument("VOLUME", completes="volume")
_SINCE = Argument("SNAPSHOT", completes="volume")
_VOLUMES = Argument("VOLUME", maximum=None, completes="volume")
_LABEL = Option("label", "Set a label", None, "KEY=VALUE", repeatable=True)


def _create(context: Context, arguments: Arguments) -> Result:
    made = context.engine().volumes.create(
        arguments.positionals[0] if arguments.positionals else None,
        driver=arguments.text("driver"),
        opt=arguments.texts("opt"),
        label=arguments.texts("label"),
    )
    return Lines((made.name,))


def _ls(context: Context, arguments: Arguments) -> Result:
    keep = matcher(arguments.texts("filter"), _filter)
    form = formats.Format(arguments.text("format"))
    measured = arguments.flag("size") or "Size" in form.fields()
    rows = tuple(row for row in context.engine().volumes.list(size=measured) if keep(row))
    if form.plain or arguments.flag("quiet"):
        return VolumeListing(rows, arguments.flag("quiet"))
    return form.lines([_fields(row) for row in rows], {"Name": "VOLUME NAME"})


def _fields(row: VolumeSummary) -> dict[str, Any]:
    """The fields that a template may name, as Docker has them."""
    return {
        "Name": row.name,
        "Driver": row.driver,
        "Scope": "local",
        "Mountpoint": row.mountpoint,
        "Links": str(len(row.containers)),
        "Size": "N/A" if row.size is None else humane.size(row.size),
        **formats.labels(row.labels),
    }


def _labelled(labels: Mapping[str, str], text: str) -> bool:
    name, given, wanted = text.partition("=")
    return name in labels and (not given or labels[name] == wanted)


def _filter(text: str) -> Callable[[VolumeSummary], bool]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"invalid filter {text!r}", hint="write it as --filter dangling=true")
    match key:
        case "dangling":
            return lambda row: (not row.containers) == (value in {"1", "true"})
        case "driver":
            return lambda row: row.driver == value
        case "label":
            return lambda row: _labelled(row.labels, value)
        case "name":
            return lambda row: value in row.name
        case _:
            raise InvalidInput(f"unknown filter {key!r}", hint="filters are dangling, driver, label and name")


def _inspect(context: Context, arguments: Arguments) -> Result:
    look = context.engine().volumes.inspect
    return formats.inspected(arguments.positionals, look, arguments.text("format"))


def _rm(context: Context, arguments: Arguments) -> Result:
    volumes = context.engine().volumes

    def act(name: str) -> list[str]:
        volumes.remove(name, force=arguments.flag("force"))
        return [name]

    return each(arguments.positionals, act)


def spared(texts: Sequence[str]) -> Callable[[VolumeSummary], bool]:
    """Whether the filters of ``volume prune`` keep a volume from it."""
    tests = []
    for text in texts:
        key, _, value = text.partition("=")
        if key not in {"label", "label!"} or not value:
            raise InvalidInput(
                f"unknown filter {text!r}", hint="the filters are label=KEY[=VALUE] and label!=KEY[=VALUE]"
            )
        tests.append((value, key == "label"))
    return lambda row: any(_labelled(row.labels, value) != wanted for value, wanted in tests)


def _prune(context: Context, arguments: Arguments) -> Result:
    if arguments.flag("all") and not arguments.flag("force"):
        raise UsageError(
            "volume prune --all deletes the data of every volume that no container uses",
            hint="add --force if that is meant; 'volume ls --filter dangling=true' lists them",
        )
    keep = spared(arguments.texts("filter"))
    report = context.engine().volumes.prune(all=arguments.flag("all"), keep=keep)
    removed = ("Deleted Volumes:", *report.removed, "") if report.removed else ()
    return Lines((*removed, f"Total reclaimed space: {humane.size(report.size)}"))


def _rename(context: Context, arguments: Arguments) -> Result:
    context.engine().volumes.rename(*arguments.positionals)
    return Lines(())


def _clone(context: Context, arguments: Arguments) -> Result:
    source, target = arguments.positionals
    made = context.engine().volumes.clone(source, target, label=arguments.texts("label") or None)
    return Lines((made.name,))


def _export(context: Context, arguments: Arguments) -> Result:
    output = arguments.text("output")
    if output is None:
        raise UsageError("volume export needs the file to write", hint="add -o FILE.tar, or -o - for standard output")
    context.engine().volumes.export(arguments.positionals[0], written_to(context, output))
    return Lines(())


def _import(context: Context, arguments: Arguments) -> Result:
    name, source = arguments.positionals
    made = context.engine().volumes.load(name, read_from(source), label=arguments.texts("label"))
    return Lines((made.name,))


def _snapshot(context: Context, arguments: Arguments) -> Result:
    return Lines((context.engine().volumes.snapshot(*arguments.positionals).name,))


def _diff(context: Context, arguments: Arguments) -> Result:
    name, since = arguments.positionals
    return ChangeListing(name, tuple(context.engine().volumes.diff(name, since)))


_FILTERS = ("dangling=true", "driver=", "label=", "name=")
COMMANDS = (
    Command(
        ("volume create",),
        "volume",
        "Make a volume",
        _create,
        (
            Option("driver", "Driver of the volume", "d", "NAME", default="local"),
            _LABEL,
            Option("opt", "Option of the driver: type, device, o", "o", "NAME=VALUE", repeatable=True),
        ),
        (Argument("VOLUME", minimum=0),),
        examples=("volume create data", "volume create -o type=none -o o=bind -o device=/srv/data data"),
        python=("volumes.create",),
    ),
    Command(
        ("volume ls", "volume list"),
        "volume",
        "List volumes",
        _ls,
        (
            Option("filter", "Keep those that match", "f", "KEY=VALUE", repeatable=True, offers=_FILTERS),
            formats.FORMAT,
            Option("quiet", "Show names only", "q", kind="bool"),
            Option("size", "Measure them too", "s", kind="bool"),
        ),
        examples=("volume ls --filter dangling=true",),
        python=("volumes.list",),
    ),
    Command(
        ("volume inspect",),
        "volume",
        "Show everything known of volumes, as JSON",
        _inspect,
        (formats.TEMPLATE,),
        arguments=(_VOLUMES,),
        python=("volumes.inspect",),
    ),
    Command(
        ("volume rm", "volume remove"),
        "volume",
        "Remove volumes with their content",
        _rm,
        (Option("force", "Say nothing of volumes there are not", "f", kind="bool"),),
        (_VOLUMES,),
        python=("volumes.remove",),
    ),
    Command(
        ("volume prune",),
        "volume",
        "Remove the anonymous volumes that no container uses",
        _prune,
        (
            Option("all", "Those with a name as well", "a", kind="bool"),
            Option("filter", "Only those that match", None, "label=KEY[=VALUE]", repeatable=True),
            Option("force", "Needed with --all", "f", kind="bool"),
        ),
        python=("volumes.prune",),
    ),
    Command(
        ("volume rename",),
        "volume",
        "Give a volume another name",
        _rename,
        arguments=(_VOLUME, Argument("NAME")),
        python=("volumes.rename",),
    ),
    Command(
        ("volume clone",),
        "volume",
        "Make a volume with the content of another one",
        _clone,
        (_LABEL,),
        (_VOLUME, Argument("NAME")),
        python=("volumes.clone",),
    ),
    Command(
        ("volume snapshot",),
        "volume",
        "Keep what a volume holds now as another volume; containers that write to it stand still meanwhile",
        _snapshot,
        arguments=(_VOLUME, Argument("NAME", minimum=0)),
        examples=("volume snapshot data", "volume snapshot data before-the-update"),
        python=("volumes.snapshot",),
    ),
    Command(
        ("volume diff",),
        "volume",
        "List what is different in a volume from another one, such as its snapshot",
        _diff,
        arguments=(_VOLUME, _SINCE),
        examples=("volume diff data before-the-update",),
        python=("volumes.diff",),
    ),
    Command(
        ("volume export",),
        "volume",
        "Write the content of a volume as a tar archive",
        _export,
        (Option("output", "The file to write, '-' for standard output", "o", "FILE", completes="path"),),
        (_VOLUME,),
        examples=("volume export data -o data.tar",),
        python=("volumes.export",),
    ),
    Command(
        ("volume import",),
        "volume",
        "Give a volume the content of a tar archive; make it if there is none",
        _import,
        (_LABEL,),
        (_VOLUME, Argument("FILE", completes="path")),
        examples=("volume import data data.tar",),
        python=("volumes.load",),
    ),
)
