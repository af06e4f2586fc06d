"""``--dry-run``: what a verb would do, as a table; nothing is done. Verbs for which that has no meaning refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from jupyter_containers.commands import humane
from jupyter_containers.commands.builds import build_keywords
from jupyter_containers.commands.lifecycle import grace
from jupyter_containers.commands.networks import network_keywords
from jupyter_containers.commands.results import Column, Explained, Grid, Page
from jupyter_containers.commands.run_options import run_keywords
from jupyter_containers.commands.volumes import spared
from jupyter_containers.errors import EngineError, UsageError
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.engine.explain.dry_run import Deed

    Teller: TypeAlias = Callable[[Context, Arguments], Iterable[Deed]]


@dataclass(frozen=True, slots=True)
class Intention:
    """What a verb would do, one after the other."""

    verb: str
    deeds: tuple[Deed, ...]


def check(command: Command) -> None:
    """Raises UsageError for a verb that does not tell beforehand what it does."""
    if command.name in _TELLERS:
        return
    if command.name in CHANGES:
        raise UsageError(
            f"--dry-run: what {command.name} does shows only while it is done",
            hint=f"--explain {command.name} does it, and tells of it",
        )
    raise UsageError(f"--dry-run has no meaning for {command.name}: it changes nothing", hint="leave it out")


def tell(command: Command, context: Context, arguments: Arguments) -> Page | Explained:
    """What a verb would do; where it would fail, what it would do up to there, with the error."""
    deeds: list[Deed] = []
    failed: EngineError | None = None
    try:
        for deed in _TELLERS[command.name](context, arguments):
            deeds.append(deed)  # noqa: PERF402 - what was told before an error counts
    except EngineError as error:
        failed = error
    page = _page(Intention(command.name, tuple(deeds)))
    return page if failed is None else Explained(page, None, failed)


def _page(told: Intention) -> Page:
    deeds = told.deeds
    words = "Nothing was done. This would be:" if deeds else "Nothing was done, and nothing would be."
    frees = sum(deed.frees or 0 for deed in deeds)
    grid = Grid(
        "Would do",
        (
            Column("DO", "does", "text", tuple(deed.does for deed in deeds)),
            Column("KIND", "kind", "text", tuple(deed.kind for deed in deeds)),
            Column("NAME", "name", "text", tuple(deed.name for deed in deeds)),
            Column("DETAIL", "detail", "text", tuple(deed.detail for deed in deeds)),
            Column("FREES", "frees", "size", tuple(deed.frees for deed in deeds)),
        ),
    )
    freed = f"It would free {humane.size(frees)}." if any(deed.frees is not None for deed in deeds) else ""
    return Page(f"Dry run: {told.verb}", tuple(filter(None, (words, freed))), (grid,) if deeds else (), told)


def _each(names: Sequence[str], tell_one: Callable[[str], Iterable[Deed]]) -> Iterable[Deed]:
    """What is done with every name; the first error is raised after the others, which are done in any case."""
    failed: EngineError | None = None
    for name in names:
        try:
            yield from tell_one(name)
        except EngineError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _run(context: Context, arguments: Arguments) -> Iterable[Deed]:
    return _made(context, arguments, detach=arguments.flag("detach"), start=True)


def _create(context: Context, arguments: Arguments) -> Iterable[Deed]:
    return _made(context, arguments, detach=True, start=False)


def _made(context: Context, arguments: Arguments, *, detach: bool, start: bool) -> Iterable[Deed]:
    from jupyter_containers.engine import RunOptions  # noqa: PLC0415 - the engine is slow to import

    image, *command = arguments.positionals
    keywords = {**run_keywords(context, arguments), "detach": detach}
    if context.script and not command and "entrypoint" not in keywords:
        keywords["entrypoint"], command = "", ["/bin/sh", "-s"]
    plan = context.engine().dry_run
    return (plan.run if start else plan.create)(image, command or None, options=RunOptions.of(keywords))


def _start(context: Context, arguments: Arguments) -> Iterable[Deed]:
    return _each(arguments.positionals, context.engine().dry_run.start)


def _stop(context: Context, arguments: Arguments) -> Iterable[Deed]:
    plan, signal, time = context.engine().dry_run, arguments.text("signal"), grace(arguments)
    return _each(arguments.positionals, lambda name: plan.stop(name, signal=signal, time=time))


def _restart(context: Context, arguments: Arguments) -> Iterable[Deed]:
    plan, signal, time = context.engine().dry_run, arguments.text("signal"), grace(arguments)
    return _each(arguments.positionals, lambda name: plan.restart(name, signal=signal, time=time))


def _rm(context: Context, arguments: Arguments) -> Iterable[Deed]:
    plan, force, volumes = context.engine().dry_run, arguments.flag("force"), arguments.flag("volumes")
    return _each(arguments.positionals, lambda name: plan.remove_container(name, force=force, volumes=volumes))


def _rmi(context: Context, arguments: Arguments) -> Iterable[Deed]:
    return context.engine().dry_run.remove_images(arguments.positionals, force=arguments.flag("force"))


def _build(context: Context, arguments: Arguments) -> Iterable[Deed]:
    source, given = build_keywords(context, arguments)
    return context.engine().dry_run.build(source, **given)


def _builder_prune(context: Context, arguments: Arguments) -> Iterable[Deed]:
    keep = {
        "reserved": arguments.text("reserved-space") or arguments.text("keep-storage"),
        "most": arguments.text("max-used-space"),
        "least_free": arguments.text("min-free-space"),
    }
    return context.engine().dry_run.prune_builds(keep, mounts=arguments.flag("all"), filters=arguments.texts("filter"))


def _volume_create(context: Context, arguments: Arguments) -> Iterable[Deed]:
    name = arguments.positionals[0] if arguments.positionals else None
    return context.engine().dry_run.create_volume(name, driver=arguments.text("driver"), opt=arguments.texts("opt"))


def _volume_rm(context: Context, arguments: Arguments) -> Iterable[Deed]:
    plan, force = context.engine().dry_run, arguments.flag("force")
    return _each(arguments.positionals, lambda name: plan.remove_volume(name, force=force))


def _volume_prune(context: Context, arguments: Arguments) -> Iterable[Deed]:
    keep = spared(arguments.texts("filter"))
    return context.engine().dry_run.prune_volumes(everything=arguments.flag("all"), keep=keep)


def _system_prune(context: Context, arguments: Arguments) -> Iterable[Deed]:
    flags = {"everything": arguments.flag("all"), "volumes": arguments.flag("volumes")}
    return context.engine().dry_run.prune_everything(arguments.texts("filter"), **flags)


_TELLERS: Final[dict[str, Teller]] = {
    "run": _run,
    "create": _create,
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "rm": _rm,
    "container prune": lambda context, given: context.engine().dry_run.prune_containers(given.texts("filter")),
    "pull": lambda context, given: context.engine().dry_run.pull(given.positionals[0]),
    "tag": lambda context, given: context.engine().dry_run.tag(*given.positionals),
    "rmi": _rmi,
    "image prune": lambda context, given: context.engine().dry_run.prune_images(
        given.texts("filter"), everything=given.flag("all")
    ),
    "build": _build,
    "builder prune": _builder_prune,
    "network create": lambda context, given: context.engine().dry_run.create_network(
        given.positionals[0], **network_keywords(given)
    ),
    "network rm": lambda context, given: _each(given.positionals, context.engine().dry_run.remove_network),
    "network prune": lambda context, given: context.engine().dry_run.prune_networks(given.texts("filter")),
    "volume create": _volume_create,
    "volume rm": _volume_rm,
    "volume prune": _volume_prune,
    "system prune": _system_prune,
}
"""The verbs that tell beforehand what they do, and how."""

TELLING: Final = frozenset(_TELLERS)
CHANGES: Final = frozenset(
    {
        *("exec", "attach", "kill", "pause", "unpause", "rename", "update", "cp", "commit", "import", "export"),
        *("container move", "container receive", "network connect", "network disconnect"),
        *("volume rename", "volume clone", "volume snapshot", "volume import", "volume export"),
        *("builder debug", "cache rm", "cache import", "cache export"),
    }
)
"""The verbs that do something, and do not tell it beforehand."""
