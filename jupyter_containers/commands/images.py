"""The verbs on images."""

from __future__ import annotations

import fnmatch
from functools import partial
from typing import TYPE_CHECKING

from jupyter_containers.commands import formats, humane
from jupyter_containers.commands.containers import matcher
from jupyter_containers.commands.lifecycle import each
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import (
    Column,
    Fetched,
    Grid,
    HistoryListing,
    ImageListing,
    LayerListing,
    Lines,
    Page,
    Result,
)
from jupyter_containers.commands.tables import CREATED_BY_WIDTH, NONE
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.events import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.files.image_files import ImageFiles
    from jupyter_containers.engine.views import HistoryEntry, ImageSummary

_IMAGE = Argument("IMAGE", completes="image")
_IMAGES = Argument("IMAGE", maximum=None, completes="image")
_CHANGES = ("added", "changed", "removed")
_KINDS = ("file", "dir", "symlink", "link", "char", "block", "fifo", "socket")
_FULL = Option("no-trunc", "Show ids and commands in full", kind="bool")
_QUIET = Option("quiet", "Show ids only", "q", kind="bool")


def _pull(context: Context, arguments: Arguments) -> Result:
    from jupyter_containers.oci.names import Reference  # noqa: PLC0415 - fast start of the command line

    name = arguments.positionals[0]
    image = context.engine().images.pull(name, platform=arguments.text("platform"), sink=context.sink)
    return Fetched(image, str(Reference.parse(name)))


def _push(context: Context, arguments: Arguments) -> Result:
    from jupyter_containers.oci.names import Reference  # noqa: PLC0415 - fast start of the command line

    images = context.engine().images
    reference = Reference.parse(arguments.positionals[0])
    names = [reference.familiar]
    if arguments.flag("all-tags"):
        known = sorted(row.tag for row in images.list() if row.repository == reference.familiar_name and row.tag)
        names = [f"{reference.familiar_name}:{tag}" for tag in known] or names
    lines = []
    for name in names:
        pushed = images.push(name, sink=context.sink)
        tag = Reference.parse(name).tag
        lines.append(name if arguments.flag("quiet") else f"{tag}: digest: {pushed.digest} size: {pushed.size}")
    return Lines(tuple(lines))


def _images(context: Context, arguments: Arguments) -> Result:
    keep = matcher(arguments.texts("filter"), partial(_image_filter, context))
    wanted = [_matches(pattern) for pattern in arguments.positionals]
    form = formats.Format(arguments.text("format"))
    found = context.engine().images.list(all=arguments.flag("all"))
    rows = tuple(row for row in found if keep(row) and all(test(row) for test in wanted))
    quiet, full = arguments.flag("quiet"), arguments.flag("no-trunc")
    if form.plain or quiet:
        return ImageListing(rows, quiet, full, arguments.flag("digests"))
    return form.lines([_fields(row, full=full) for row in rows], _TITLES)


_NOT_MEASURED = "N/A"
"""As in Docker's list: ``system df -v`` has them."""
_TITLES = {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}


def _fields(row: ImageSummary, *, full: bool) -> dict[str, str]:
    """The fields that a template may name, as Docker has them."""
    return {
        "ID": str(row.id) if full else humane.short_id(row.id),
        "Repository": row.repository or NONE,
        "Tag": row.tag or NONE,
        "Digest": str(row.digest),
        "CreatedSince": humane.ago(row.created),
        "CreatedAt": formats.moment(row.created),
        "Size": humane.size(row.size),
        "VirtualSize": humane.size(row.size),
        "SharedSize": _NOT_MEASURED,
        "UniqueSize": _NOT_MEASURED,
        "Containers": _NOT_MEASURED,
    }


def _image_filter(context: Context, text: str) -> Callable[[ImageSummary], bool]:
    key, _, value = text.partition("=")
    match key:
        case "dangling":
            return lambda row: (row.repository is None) == (value in {"1", "true"})
        case "reference":
            return _matches(value)
        case "label":
            label, given, wanted = value.partition("=")
            return lambda row: label in row.labels and (not given or row.labels[label] == wanted)
        case "before" | "since":
            other = context.engine().images.get(value)
            return _made(other.created.timestamp() if other.created else 0, before=key == "before")
        case "until":
            from jupyter_containers.engine.moments import SECOND, parse_moment  # noqa: PLC0415 - seldom asked for

            return _made(parse_moment(value) / SECOND, before=True)
        case _:
            raise InvalidInput(
                f"unknown filter {key!r}", hint="filters are before, dangling, label, reference, since and until"
            )


def _made(moment: float, *, before: bool) -> Callable[[ImageSummary], bool]:
    """Made before or after a moment, in seconds since the epoch."""

    def keep(row: ImageSummary) -> bool:
        made = row.created.timestamp() if row.created else 0
        return made < moment if before else made > moment

    return keep


def _matches(pattern: str) -> Callable[[ImageSummary], bool]:
    """``alpine``, ``alpine:3.*``: a pattern without a tag matches all tags."""

    def keep(row: ImageSummary) -> bool:
        if row.repository is None:
            return False
        named = f"{row.repository}:{row.tag}"
        return fnmatch.fnmatchcase(named, pattern) or fnmatch.fnmatchcase(row.repository, pattern)

    return keep


def _history(context: Context, arguments: Arguments) -> Result:
    image = arguments.positionals[0]
    form = formats.Format(arguments.text("format"))
    rows = tuple(context.engine().images.history(image))
    quiet, full = arguments.flag("quiet"), arguments.flag("no-trunc")
    human = arguments.options.get("human", True) is True
    if quiet or (form.plain and human):
        return HistoryListing(image, rows, quiet, full)
    if form.plain:
        form = formats.Format("table {{.ID}}\\t{{.CreatedAt}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}")
    return form.lines([_step_fields(row, full=full, human=human) for row in rows], _STEP_TITLES)


_STEP_TITLES = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}


def _step_fields(row: HistoryEntry, *, full: bool, human: bool) -> dict[str, str]:
    return {
        "ID": "<missing>" if row.id is None else str(row.id) if full else humane.short_id(row.id),
        "CreatedSince": humane.ago(row.created),
        "CreatedAt": row.created.isoformat(timespec="seconds").replace("+00:00", "Z") if row.created else "N/A",
        "CreatedBy": row.created_by if full else humane.shorten(row.created_by, CREATED_BY_WIDTH),
        "Size": humane.size(row.size) if human else str(row.size),
        "Comment": row.comment,
    }


def _layers(context: Context, arguments: Arguments) -> Result:
    image = arguments.positionals[0]
    if arguments.flag("files"):
        return files_page(context.engine().images.files(image), full=arguments.flag("no-trunc"))
    rows = tuple(context.engine().images.layers(image))
    return LayerListing(image, rows, arguments.flag("quiet"), arguments.flag("no-trunc"))


def files_page(found: ImageFiles, *, full: bool) -> Page:
    """The files of an image: its layers in numbers, and what each does with which path."""
    layers, files = found.layers, found.files
    wasted = f"{humane.size(found.wasted)} of {humane.size(found.size)} are wasted: later layers hide those files"
    return Page(
        f"Files of {found.image}",
        (f"{len(layers)} layers with {humane.size(found.size)}", *([wasted] if found.wasted else [])),
        (
            Grid(
                "Layers",
                (
                    Column("LAYER", "layer", "count", tuple(each.index for each in layers)),
                    Column("LINE", "line", "count", tuple(each.line for each in layers)),
                    Column("SIZE", "size", "size", tuple(each.size for each in layers)),
                    Column("WASTED", "wasted", "size", tuple(each.wasted for each in layers)),
                    Column("ADDED", "added", "count", tuple(each.added for each in layers)),
                    Column("CHANGED", "changed", "count", tuple(each.changed for each in layers)),
                    Column("REMOVED", "removed", "count", tuple(each.removed for each in layers)),
                    Column("DIGEST", "digest", "text", tuple(each.digest for each in layers), short=True),
                    Column("CHAIN ID", "chain_id", "text", tuple(each.chain_id for each in layers), short=True),
                    Column("CREATED BY", "created_by", "text", tuple(each.created_by for each in layers)),
                ),
                full=full,
            ),
            Grid(
                "Files",
                (
                    Column("LAYER", "layer", "count", tuple(each.layer for each in files)),
                    Column("CHANGE", "change", "choice", tuple(each.change for each in files), _CHANGES),
                    Column("KIND", "kind", "choice", tuple(each.kind for each in files), _KINDS),
                    Column("SIZE", "size", "size", tuple(each.size for each in files)),
                    Column("HIDDEN BY", "hidden_by", "count", tuple(each.hidden_by for each in files)),
                    Column("PATH", "path", "text", tuple(each.path for each in files)),
                ),
                full=full,
            ),
        ),
        found,
        full=full,
    )


def _rmi(context: Context, arguments: Arguments) -> Result:
    images, force = context.engine().images, arguments.flag("force")

    def act(name: str) -> Sequence[str]:
        try:
            return images.remove(name, force=force)
        except NotFound as error:
            if not force:
                raise
            context.sink(Notice(str(error)))  # it is gone, which is what was wanted
            return ()

    return each(arguments.positionals, act)


def _tag(context: Context, arguments: Arguments) -> Result:
    context.engine().images.tag(*arguments.positionals)
    return Lines(())


def _inspect_image(context: Context, arguments: Arguments) -> Result:
    look = context.engine().images.inspect
    return formats.inspected(arguments.positionals, look, arguments.text("format"))


_FILTERS = ("before=", "dangling=true", "label=", "reference=", "since=", "until=")
COMMANDS = (
    Command(
        ("pull", "image pull"),
        "image",
        "Fetch an image from a registry",
        _pull,
        (
            Option("platform", "Platform, where the image has several", None, "OS/ARCH"),
            Option("quiet", "Show no progress", "q", kind="bool"),
        ),
        (Argument("NAME[:TAG|@DIGEST]"),),
        examples=("pull alpine:3.20",),
        python=("images.pull",),
    ),
    Command(
        ("push", "image push"),
        "image",
        "Bring an image to a registry",
        _push,
        (
            Option("all-tags", "All tags of the repository that are here", "a", kind="bool"),
            Option("quiet", "Show no progress, and the name alone", "q", kind="bool"),
        ),
        (Argument("NAME[:TAG]", completes="image"),),
        examples=("push registry.example/team/tool:1",),
        python=("images.push",),
    ),
    Command(
        ("images", "image ls", "image list"),
        "image",
        "List images",
        _images,
        (
            Option("all", "Show images without a name as well", "a", kind="bool"),
            Option("digests", "Show digests", kind="bool"),
            Option("filter", "Keep those that match", "f", "KEY=VALUE", repeatable=True, offers=_FILTERS),
            formats.FORMAT,
            _FULL,
            _QUIET,
        ),
        (Argument("REPOSITORY[:TAG]", minimum=0, completes="image"),),
        python=("images.list",),
    ),
    Command(
        ("history", "image history"),
        "image",
        "Show how an image came about, newest first",
        _history,
        (
            formats.FORMAT,
            Option("human", "Sizes and times for people; --human=false: bytes and dates", "H", kind="bool"),
            _FULL,
            _QUIET,
        ),
        (_IMAGE,),
        python=("images.history",),
    ),
    Command(
        ("layers", "image layers"),
        "image",
        "Show the layers of an image, bottom first, and what made them",
        _layers,
        (
            Option("files", "What each layer adds, changes and removes, and what is carried in vain", kind="bool"),
            _FULL,
            _QUIET,
        ),
        (_IMAGE,),
        examples=("layers alpine", "layers --files alpine"),
        python=("images.layers",),
    ),
    Command(
        ("rmi", "image rm", "image remove"),
        "image",
        "Remove images",
        _rmi,
        (Option("force", "Remove it even when a container uses it", "f", kind="bool"),),
        (_IMAGES,),
        python=("images.remove",),
    ),
    Command(
        ("tag", "image tag"),
        "image",
        "Give an image another name",
        _tag,
        arguments=(Argument("SOURCE", completes="image"), Argument("TARGET", completes="image")),
        python=("images.tag",),
    ),
    Command(
        ("image inspect",),
        "image",
        "Show everything known of images, as JSON",
        _inspect_image,
        (formats.TEMPLATE,),
        arguments=(_IMAGES,),
        python=("images.inspect",),
    ),
)
