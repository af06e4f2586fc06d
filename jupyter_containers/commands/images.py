"""The verbs on images."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from jupyter_containers.commands.containers import each, matcher
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import (
    Documents,
    Fetched,
    HistoryListing,
    ImageListing,
    LayerListing,
    Lines,
    Result,
)
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.views import ImageSummary

_IMAGE = Argument("IMAGE", completes="image")
_IMAGES = Argument("IMAGE", maximum=None, completes="image")
_FULL = Option("no-trunc", "Show ids and commands in full", kind="bool")
_QUIET = Option("quiet", "Show ids only", "q", kind="bool")


def _pull(context: Context, arguments: Arguments) -> Result:
    from jupyter_containers.oci.names import Reference  # noqa: PLC0415 - fast start of the command line

    name = arguments.positionals[0]
    image = context.engine().images.pull(name, platform=arguments.text("platform"), sink=context.sink)
    return Fetched(image, str(Reference.parse(name)))


def _images(context: Context, arguments: Arguments) -> Result:
    keep = matcher(arguments.texts("filter"), _image_filter)
    wanted = [_matches(pattern) for pattern in arguments.positionals]
    rows = context.engine().images.list(all=arguments.flag("all"))
    return ImageListing(
        tuple(row for row in rows if keep(row) and all(test(row) for test in wanted)),
        arguments.flag("quiet"),
        arguments.flag("no-trunc"),
        arguments.flag("digests"),
    )


def _image_filter(text: str) -> Callable[[ImageSummary], bool]:
    key, _, value = text.partition("=")
    match key:
        case "dangling":
            return lambda row: (row.repository is None) == (value in {"1", "true"})
        case "reference":
            return _matches(value)
        case "label":
            label, given, wanted = value.partition("=")
            return lambda row: label in row.labels and (not given or row.labels[label] == wanted)
        case _:
            raise UsageError(f"unknown filter {key!r}", hint="filters are dangling, reference and label")


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
    rows = tuple(context.engine().images.history(image))
    return HistoryListing(image, rows, arguments.flag("quiet"), arguments.flag("no-trunc"))


def _layers(context: Context, arguments: Arguments) -> Result:
    image = arguments.positionals[0]
    rows = tuple(context.engine().images.layers(image))
    return LayerListing(image, rows, arguments.flag("quiet"), arguments.flag("no-trunc"))


def _rmi(context: Context, arguments: Arguments) -> Result:
    images = context.engine().images
    return each(arguments.positionals, lambda name: images.remove(name, force=arguments.flag("force")))


def _tag(context: Context, arguments: Arguments) -> Result:
    context.engine().images.tag(*arguments.positionals)
    return Lines(())


def _inspect_image(context: Context, arguments: Arguments) -> Result:
    images = context.engine().images
    return Documents(tuple(images.inspect(name) for name in arguments.positionals))


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
    ),
    Command(
        ("images", "image ls", "image list"),
        "image",
        "List images",
        _images,
        (
            Option("all", "Show images without a name as well", "a", kind="bool"),
            Option("digests", "Show digests", kind="bool"),
            Option("filter", "Keep those that match", "f", "KEY=VALUE", repeatable=True),
            _FULL,
            _QUIET,
        ),
        (Argument("REPOSITORY[:TAG]", minimum=0, completes="image"),),
    ),
    Command(
        ("history", "image history"),
        "image",
        "Show how an image came about, newest first",
        _history,
        (_FULL, _QUIET),
        (_IMAGE,),
    ),
    Command(
        ("layers", "image layers"),
        "image",
        "Show the layers of an image, bottom first, and what made them",
        _layers,
        (_FULL, _QUIET),
        (_IMAGE,),
    ),
    Command(
        ("rmi", "image rm", "image remove"),
        "image",
        "Remove images",
        _rmi,
        (Option("force", "Remove it even when a container uses it", "f", kind="bool"),),
        (_IMAGES,),
    ),
    Command(
        ("tag", "image tag"),
        "image",
        "Give an image another name",
        _tag,
        arguments=(Argument("SOURCE", completes="image"), Argument("TARGET", completes="image")),
    ),
    Command(
        ("image inspect",),
        "image",
        "Show everything known of images, as JSON",
        _inspect_image,
        arguments=(_IMAGES,),
    ),
)
