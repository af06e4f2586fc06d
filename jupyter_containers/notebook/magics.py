"""``%container`` and ``%%container``: one dispatcher for both.

The line is read by :mod:`~jupyter_containers.notebook.grammar`; what the verb's handler returns becomes a value of
the notebook in :mod:`~jupyter_containers.notebook.values`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import asked, results
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import HelpRequested
from jupyter_containers.errors import Cancelled, EngineError, SystemFailure, UsageError
from jupyter_containers.events import ignore
from jupyter_containers.notebook import attendance, grammar, values, words
from jupyter_containers.notebook.failures import Interrupted, container_failed, first_of
from jupyter_containers.notebook.sink import CellSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.events import EventSink
    from jupyter_containers.notebook.attendance import Attendance
    from jupyter_containers.notebook.background import Background
    from jupyter_containers.notebook.grammar import Request
    from jupyter_containers.notebook.progress import CellProgress, Publish
    from jupyter_containers.notebook.session import Session
    from jupyter_containers.notebook.settings import ContainerMagics


class Dispatcher:
    """Runs the magics of one shell."""

    def __init__(self, shell: InteractiveShell, session: Session, settings: ContainerMagics) -> None:
        self._shell = shell
        self._session = session
        self._settings = settings

    def dispatch(self, line: str, cell: str | None) -> Any:
        """Run one line or cell and return its value, None where there is nothing to show."""
        try:
            request = grammar.read(line, cell, self._shell.ev)
        except HelpRequested as wanted:
            print(grammar.help_of(wanted.command, grammar.LINE if cell is None else grammar.CELL))  # noqa: T201 - into the cell
            return None
        if (make := self._widget(request)) is not None or request.notebook.flag("bg"):
            value = make() if make is not None else self._in_background(request)
            if request.name:
                self._shell.user_ns[request.name] = value
        else:
            value = self._run(request)
        return None if request.silenced or request.name else value

    def _run(self, request: Request) -> Any:
        arguments = request.arguments
        quiet = self._flag(request, "quiet")
        if request.command.name in {"build", "pull", "push"}:
            quiet = quiet or arguments.flag("quiet")
        how = arguments.text("progress") or self._settings.progress
        quiet = quiet or how == "quiet"
        publish = self._publisher()
        make = None if publish is None or how in {"plain", "rawjson"} else partial(_progress, publish)
        limit = 1024 * self._settings.output_limit
        sink = CellSink(make, publish=publish, limit=limit, quiet=quiet, raw=how == "rawjson")
        try:
            try:
                value = self._prepare(request, sink, quiet=quiet)()
            finally:
                sink.close()
        except (KeyboardInterrupt, Cancelled) as error:
            rm = request.command.name == "run" and arguments.flag("rm")
            raise Interrupted("run --rm" if rm else request.command.name) from error
        except OSError as error:
            raise SystemFailure(f"{request.command.name}: the system refused: {error}") from error
        return value

    def _prepare(
        self, request: Request, sink: EventSink, *, quiet: bool, handle: Background | None = None
    ) -> Callable[[], Any]:
        """All that can be refused is refused now; what is returned does it, and gives the value."""
        told = handle.started if handle is not None else None
        arguments, around = attendance.arrange(
            request.command.name, request.arguments, request.body, self._shell.user_ns, told
        )
        context = self._context(request, sink, handle)
        command = request.command
        if around is not None:
            command = replace(command, handler=partial(around.call, command.handler))

        def work() -> Any:
            result = asked.do(request.asked, command, context, arguments)
            done = None if asked.DRY_RUN.long in request.asked else around
            return self._deliver(result, request, sink, done, quiet=quiet)

        return work

    def _widget(self, request: Request) -> Callable[[], Any] | None:
        """What makes the widget that was asked for, or that a terminal needs; None for anything else."""
        terminal = all(map(request.arguments.flag, ("interactive", "tty"))) and not request.arguments.flag("detach")
        kernel = getattr(self._shell, "kernel", None) is not None
        if not request.notebook.flag("widget") and not (kernel and terminal and request.body is None):
            return None
        from jupyter_containers.notebook.widgets import verbs  # noqa: PLC0415 - seldom used

        context = self._context(request, ignore, None)
        return verbs.maker(request, context, asked=request.notebook.flag("widget"))

    def _in_background(self, request: Request) -> Background:
        from jupyter_containers.notebook.background import Background  # noqa: PLC0415 - imported on first use

        if request.arguments.flag("detach"):
            raise UsageError("--bg and -d contradict each other", hint="-d goes on when the kernel ends, --bg does not")
        handle = Background(request.title, self._session.engine, self._publisher())
        handle.begin(self._prepare(request, handle, quiet=True, handle=handle))
        return handle

    def _flag(self, request: Request, name: str) -> bool:
        """A switch of the notebook: what the line says, else what the user has set."""
        given = request.notebook.options.get(name)
        return bool(getattr(self._settings, name.replace("-", "_")) if given is None else given)

    def _context(self, request: Request, sink: EventSink, handle: Background | None) -> Context:
        body, kind = request.body, request.command.body
        if request.arguments.flag("python"):
            body = None  # it is no input
        return Context(
            self._session.engine,
            sink,
            stdin=body.encode() if body is not None and kind == "stdin" else None,
            script=body is not None and kind == "stdin",
            dockerfile=body if kind == "dockerfile" else None,
            on_stop=handle.on_stop if handle is not None else None,
            lookup=words.variable_lookup(self._shell.user_ns, os.environ),
        )

    def _publisher(self) -> Publish | None:
        """What publishes displays in a cell; None in a terminal, where things are printed as lines."""
        if getattr(self._shell, "kernel", None) is None:
            return None
        from jupyter_containers.notebook.progress import shell_publisher  # noqa: PLC0415 - on use

        return shell_publisher(self._shell)

    def _deliver(
        self, result: results.Result, request: Request, sink: EventSink, around: Attendance | None, *, quiet: bool
    ) -> Any:
        """Make the value, keep it where the user asked, and raise what the verb reported."""
        if isinstance(result, results.Explained):
            return self._explained(result, request, sink, around, quiet=quiet)
        if isinstance(sink, CellSink):
            sink.say_where(_where(result, request))
        match result:
            case results.Samples():
                value: Any = self._watch(result, shown=isinstance(sink, CellSink))
            case results.Log() if not (isinstance(result, results.Happenings) and result.past is not None):
                text = values.follow(result, sink)
                value = text if request.name else None
            case _:
                value = values.value_of(result)
        if request.name and isinstance(sink, CellSink):
            self._shell.user_ns[request.name] = value
        if around is not None:
            around.settle(raising=not self._flag(request, "no-raise"))
        if isinstance(result, results.Lines | results.Documents) and result.errors:
            raise first_of(result.errors)
        if isinstance(result, results.Ran) and result.result.exit_code and not self._flag(request, "no-raise"):
            if isinstance(sink, CellSink):
                sink.close()
            raise container_failed(result.result, verb=result.verb, with_output=quiet)
        return value

    def _explained(
        self, told: results.Explained, request: Request, sink: EventSink, around: Attendance | None, *, quiet: bool
    ) -> Any:
        """What is told of a verb, as its value; before an error of the verb it is shown."""
        from jupyter_containers.notebook.pages import Page  # noqa: PLC0415 - seldom asked for

        page = Page(told.page)
        if told.error is not None:
            page.show()
            raise told.error
        try:
            if told.result is not None:
                page.result = self._deliver(told.result, request, sink, around, quiet=quiet)
        except EngineError:
            page.show()
            raise
        if request.name and isinstance(sink, CellSink):
            self._shell.user_ns[request.name] = page
        return page

    def _watch(self, result: results.Samples, *, shown: bool) -> Any:
        from jupyter_containers.notebook.watching import watch  # noqa: PLC0415 - pandas is slow to import

        return watch(result, self._publisher() if shown else None)


def _progress(publish: Publish) -> CellProgress:
    from jupyter_containers.notebook.progress import CellProgress  # noqa: PLC0415 - on use

    return CellProgress(publish)


def _where(result: results.Result, request: Request) -> str:
    """Where all the output of a verb can be read, when a cell shows a part."""
    if isinstance(result, results.Log):
        return "-n LINES shows the last ones, -o NAME before the verb keeps all of it"
    if not isinstance(result, results.Ran):
        return ""
    arguments = request.arguments
    if result.verb == "run" and not arguments.flag("rm"):
        name = arguments.text("name") or result.result.container_id[:12]
        return f"{grammar.LINE} logs {name} shows all of it"
    if request.name:
        return f"{request.name}.stdout has all of it"
    if result.result.exit_code:
        return "-o NAME before the verb keeps the result, with all of it in NAME.stdout"
    return "the result (_ in the next cell) has all of it in _.stdout"
