"""``prune`` of containers, of images, and of all that nothing needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.commands.model import Arguments, Command, Option
from jupyter_containers.commands.results import Lines, Result
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.views import PruneReport

_FILTER = Option(
    "filter", "Only what matches: until=24h, label=KEY, label!=KEY=VALUE", None, "KEY=VALUE", repeatable=True
)
_FORCE = Option("force", "Needed, since nothing is asked", "f", kind="bool")


def _lines(*sections: tuple[str, PruneReport]) -> Lines:
    lines: list[str] = []
    for title, report in sections:
        lines += [title, *report.removed, ""] if report.removed else []
    total = sum(report.size for _title, report in sections)
    return Lines((*lines, f"Total reclaimed space: {humane.size(total)}"))


def _containers(context: Context, arguments: Arguments) -> Result:
    if not arguments.flag("force"):
        raise UsageError(
            "container prune deletes every container that does not run, with the files it has written",
            hint="add --force if that is meant; 'ps -a --filter status=exited' lists them",
        )
    report = context.engine().containers.prune(filters=arguments.texts("filter"))
    return _lines(("Deleted Containers:", report))


def _images(context: Context, arguments: Arguments) -> Result:
    if arguments.flag("all") and not arguments.flag("force"):
        raise UsageError(
            "image prune --all deletes every image that no container was made from",
            hint="add --force if that is meant; 'images' lists them",
        )
    report = context.engine().images.prune(all=arguments.flag("all"), filters=arguments.texts("filter"))
    return _lines(("Deleted Images:", report))


def _system(context: Context, arguments: Arguments) -> Result:
    if not arguments.flag("force"):
        what = "every image" if arguments.flag("all") else "images without a name"
        volumes = ", anonymous volumes" if arguments.flag("volumes") else ""
        raise UsageError(
            f"system prune deletes containers that do not run, networks and {what} no container uses, and the build "
            f"cache{volumes}",
            hint="add --force if that is meant; 'system df' shows what there is",
        )
    filters = arguments.texts("filter")
    if filters and arguments.flag("volumes"):
        raise UsageError("--volumes and --filter cannot be used together", hint="use 'volume prune' with a filter")
    engine = context.engine()
    sections = [("Deleted Containers:", engine.containers.prune(filters=filters))]
    networks = engine.networks.prune(filters=filters)
    if arguments.flag("volumes"):
        sections.append(("Deleted Volumes:", engine.volumes.prune()))
    sections.append(("Deleted Images:", engine.images.prune(all=arguments.flag("all"), filters=filters)))
    if not any(text.startswith("label") for text in filters):
        cache = [text for text in filters if text.startswith("until=")]
        sections.append(("Deleted build cache objects:", engine.builds.prune(filters=cache)))
    lines = _lines(*sections).lines
    return Lines((*(("Deleted Networks:", *networks, "") if networks else ()), *lines))


COMMANDS = (
    Command(
        ("container prune",),
        "container",
        "Remove the containers that do not run",
        _containers,
        (_FILTER, _FORCE),
        examples=("container prune -f --filter until=24h",),
        python=("containers.prune",),
    ),
    Command(
        ("image prune",),
        "image",
        "Remove the images without a name that no container was made from",
        _images,
        (
            Option("all", "Those with a name as well", "a", kind="bool"),
            _FILTER,
            Option("force", "Needed with --all", "f", kind="bool"),
        ),
        python=("images.prune",),
    ),
    Command(
        ("system prune",),
        "system",
        "Remove what nothing needs: containers that do not run, networks, images, the build cache",
        _system,
        (
            Option("all", "Every image that no container was made from", "a", kind="bool"),
            Option("volumes", "Anonymous volumes as well", kind="bool"),
            _FILTER,
            _FORCE,
        ),
    ),
)
