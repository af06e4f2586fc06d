"""``%container -w VERB``: which widget shows a verb, and the terminal of ``run -it`` and ``exec -it``."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.results import Built
from jupyter_containers.errors import Cancelled, UsageError
from jupyter_containers.notebook import attendance, widgets
from jupyter_containers.notebook.failures import Interrupted
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments
    from jupyter_containers.commands.results import Result
    from jupyter_containers.engine import Image
    from jupyter_containers.events import EventSink
    from jupyter_containers.notebook.grammar import Request
    from jupyter_containers.notebook.widgets.live.terminal import WidgetConsole

_SHOWN = "ps, logs, stats, diff, volume inspect, build, layers, network graph, run, exec -it"


def maker(request: Request, context: Context, *, asked: bool) -> Callable[[], Any] | None:
    """What makes the widget of a verb; None when it was not ``asked`` for and the verb does without.

    Raises
    ------
    UsageError
        for a verb that no widget shows.
    """
    verb, arguments = request.command.name, request.arguments
    if verb in {"run", "exec"} and arguments.flag("interactive") and arguments.flag("tty"):
        carried = bool(attendance.NAMES & set(arguments.options))
        return None if carried or not (asked or widgets.available()) else partial(_terminal, request, context)
    names, engine = arguments.positionals, context.engine
    makers: dict[str, Callable[[], Any]] = {
        "ps": lambda: widgets.dashboard(engine=engine),
        "logs": partial(_logs, request, context),
        "stats": lambda: widgets.stats(*names, interval=arguments.decimal("interval") or 1.0, engine=engine),
        "diff": lambda: widgets.files(names[0], engine=engine),
        "volume inspect": lambda: widgets.files(names[0], volume=True, engine=engine),
        "build": partial(_build, request, context),
        "layers": lambda: widgets.layers(names[0], engine=engine),
        "network graph": lambda: widgets.networks(*names, engine=engine),
        "run": lambda: widgets.run_form(*_words(arguments), engine=engine),
    }
    if verb not in makers:
        raise UsageError(f"{verb} has no widget", hint=f"-w goes with {_SHOWN}")
    return makers[verb]


def _logs(request: Request, context: Context) -> Any:
    arguments = request.arguments
    for name in ("timestamps", "details"):
        if arguments.flag(name):
            raise UsageError(f"-w logs shows no {name}", hint=f"leave out -w or --{name}")
    since, until = arguments.text("since"), arguments.text("until")
    name, tail = arguments.positionals[0], _tail(arguments)
    return widgets.logs(name, tail=tail, since=since, until=until, engine=context.engine)


def _build(request: Request, context: Context) -> Any:
    """The build itself, as without a widget: it ends with the cell, and its image is what the cell gives."""

    def work(sink: EventSink, on_stop: Callable[[Callable[[], None]], None]) -> Image:
        own = replace(context, sink=sink, on_stop=on_stop)
        result = request.command.handler(own, request.arguments)
        if not isinstance(result, Built):
            raise UsageError("-w goes with a build that makes an image", hint="leave out --check")
        return result.image

    title = " ".join(request.arguments.texts("tag") or request.arguments.positionals or ("an image",))
    try:
        return widgets.show_build(context.engine, title, work)
    except (KeyboardInterrupt, Cancelled) as error:
        raise Interrupted(request.command.name) from error


def _terminal(request: Request, context: Context) -> Any:
    def work(sink: EventSink, console: WidgetConsole) -> Result:
        own = replace(context, sink=sink, stdin=b"", console=lambda keys, _sig_proxy: console.with_keys(keys))
        return request.command.handler(own, request.arguments)

    title = f"{request.command.name} -it {shlex.join(request.arguments.positionals)}"
    return widgets.open_terminal(context.engine, title, work)


def _tail(arguments: Arguments) -> int | None:
    """How many lines ``--tail`` asks for; None for all."""
    text = arguments.text("tail")
    return int(text) if text is not None and text.isdecimal() else None


def _words(arguments: Arguments) -> list[str]:
    """What was given, as the words of a command line again."""
    pairs = [
        (name, each)
        for name, value in arguments.options.items()
        for each in (value if isinstance(value, tuple) else (value,))
    ]
    words = [f"--{name}" if each is True else f"--{name}={'false' if each is False else each}" for name, each in pairs]
    return [*words, *arguments.positionals]
