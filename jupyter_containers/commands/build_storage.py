"""The verbs on what builds keep in the store: the cache, and cache mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.commands.builder import moment
from jupyter_containers.commands.context import read_from, written_to
from jupyter_containers.commands.lifecycle import each
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Column, Grid, Lines, Result
from jupyter_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.build.storage import CacheItem

TYPES = ("regular", "exec.cachemount", "debug")
_FILTER = Option("filter", "Only what matches: until=24h, type=exec.cachemount", None, "KEY=VALUE", repeatable=True)


def cache_grid(items: Sequence[CacheItem], *, quiet: bool = False, full: bool = False) -> Grid:
    """What builds keep, as ``builder du`` and ``system df -v`` show it."""
    return Grid(
        "Build cache usage",
        (
            Column("CACHE ID", "id", "text", tuple(item.id for item in items), short=True),
            Column("CACHE TYPE", "type", "choice", tuple(item.type for item in items), TYPES),
            Column("SIZE", "size", "size", tuple(item.size for item in items)),
            Column("CREATED", "created", "time", tuple(item.created for item in items)),
            Column("LAST USED", "used", "time", tuple(item.used for item in items)),
            Column("USAGE", "uses", "count", tuple(item.uses for item in items)),
            Column("SHARED", "shared", "flag", tuple(item.shared for item in items)),
            Column("DESCRIPTION", "description", "text", tuple(item.description for item in items)),
        ),
        quiet=quiet,
        full=full,
    )


def _du(context: Context, arguments: Arguments) -> Result:
    items = context.engine().builds.disk_usage(arguments.texts("filter"))
    return cache_grid(items, quiet=arguments.flag("quiet"), full=arguments.flag("no-trunc"))


def _prune(context: Context, arguments: Arguments) -> Result:
    report = context.engine().builds.prune(
        keep_storage=arguments.text("reserved-space") or arguments.text("keep-storage"),
        max_used_space=arguments.text("max-used-space"),
        min_free_space=arguments.text("min-free-space"),
        all=arguments.flag("all"),
        filters=arguments.texts("filter"),
    )
    removed = ("Deleted build cache objects:", *map(humane.short_id, report.removed), "") if report.removed else ()
    return Lines((*removed, f"Total reclaimed space: {humane.size(report.size)}"))


def _cache_ls(context: Context, arguments: Arguments) -> Result:
    mounts = context.engine().builds.cache_mounts()
    return Grid(
        "Cache mounts",
        (
            Column("ID", "id", "text", tuple(mount.id for mount in mounts)),
            Column("KEY", "key", "text", tuple(mount.key for mount in mounts), short=True),
            Column("SIZE", "size", "size", tuple(mount.bytes for mount in mounts)),
            Column("LAST USED", "used", "time", tuple(moment(mount.used) for mount in mounts)),
            Column("IN USE", "in_use", "flag", tuple(mount.busy for mount in mounts)),
        ),
        quiet=arguments.flag("quiet"),
        full=True,
    )


def _cache_rm(context: Context, arguments: Arguments) -> Result:
    builds = context.engine().builds

    def act(name: str) -> list[str]:
        builds.remove_cache_mount(name)
        return [name]

    return each(arguments.positionals, act)


def _cache_export(context: Context, arguments: Arguments) -> Result:
    output = arguments.text("output")
    if output is None:
        raise UsageError("cache export needs the file to write", hint="add -o FILE.tar, or -o - for standard output")
    context.engine().builds.export_cache_mount(arguments.positionals[0], written_to(context, output))
    return Lines(())


def _cache_import(context: Context, arguments: Arguments) -> Result:
    name, source = arguments.positionals
    context.engine().builds.load_cache_mount(name, read_from(source))
    return Lines((name,))


COMMANDS = (
    Command(
        ("cache ls", "cache list"),
        "builder",
        "List the directories of RUN --mount=type=cache",
        _cache_ls,
        (Option("quiet", "Show ids only", "q", kind="bool"),),
        python=("builds.cache_mounts",),
    ),
    Command(
        ("cache rm", "cache remove"),
        "builder",
        "Remove cache mounts with their content",
        _cache_rm,
        arguments=(Argument("ID", maximum=None),),
        examples=("cache rm /var/cache/pip",),
        python=("builds.remove_cache_mount",),
    ),
    Command(
        ("cache export",),
        "builder",
        "Write the content of a cache mount as a tar archive",
        _cache_export,
        (Option("output", "The file to write, '-' for standard output", "o", "FILE", completes="path"),),
        (Argument("ID"),),
        examples=("cache export /var/cache/pip -o pip.tar",),
        python=("builds.export_cache_mount",),
    ),
    Command(
        ("cache import",),
        "builder",
        "Give a cache mount the content of a tar archive; make it if there is none",
        _cache_import,
        arguments=(Argument("ID"), Argument("FILE", completes="path")),
        examples=("cache import /var/cache/pip pip.tar",),
        python=("builds.load_cache_mount",),
    ),
    Command(
        ("builder du",),
        "builder",
        "Show what builds keep: cached steps, cache mounts, what failed steps left",
        _du,
        (
            _FILTER,
            Option("no-trunc", "Show ids and texts in full", kind="bool"),
            Option("quiet", "Show ids only", "q", kind="bool"),
        ),
        examples=("builder du --filter until=24h",),
        python=("builds.disk_usage",),
    ),
    Command(
        ("builder prune",),
        "builder",
        "Forget cached build steps, those not used for longest first",
        _prune,
        (
            Option("all", "Remove the directories of cache mounts too", "a", kind="bool"),
            _FILTER,
            Option("force", "Accepted for Docker's sake: there is no question", "f", kind="bool"),
            Option("keep-storage", "The same as --reserved-space", None, "BYTES"),
            Option("max-used-space", "Bytes that may stay at most", None, "BYTES"),
            Option("min-free-space", "Bytes of the disk that should be free", None, "BYTES"),
            Option("reserved-space", "Bytes that may stay in any case", None, "BYTES"),
        ),
        examples=("builder prune --filter until=48h", "builder prune --max-used-space 10g"),
        python=("builds.prune",),
    ),
)
