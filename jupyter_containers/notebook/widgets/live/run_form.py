"""A form that runs a container, made from the table of commands: what it shows is the line that does the same."""

from __future__ import annotations

import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import HelpRequested, parse
from jupyter_containers.commands.results import Ran, Started
from jupyter_containers.commands.table import find
from jupyter_containers.errors import EngineError, NotFound, UsageError
from jupyter_containers.events import Event, Output
from jupyter_containers.notebook import attendance
from jupyter_containers.notebook.widgets.live.base import Live, module
from jupyter_containers.notebook.widgets.live.feeds import LineFeed
from jupyter_containers.notebook.widgets.static import Static

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.engine import Container, Engine

# What needs a person at a terminal, or a file beside the notebook.
_LEFT_OUT = {"interactive", "tty", "detach-keys", "attach", "sig-proxy"}
_PAUSE = 0.1


class RunForm(Live):
    """See the module. ``words`` are what stands after ``run`` at first; ``result`` is that of the last run."""

    _esm = module("log_pane", "run_form")

    def __init__(self, engine: Callable[[], Engine], words: Sequence[str] = ()) -> None:
        self._command: Command = find(["run"], program="%container")[0]
        self._words = tuple(words)
        self._filled()  # what cannot be read is refused at once
        super().__init__(engine, lambda: Static.of_text(f"A form for: {_line(self._words)}"))
        self._running: Container | None = None
        self._busy = threading.Lock()
        self.result: Any = None

    def greet(self, view: str) -> None:
        """What can be chosen, and the images there are."""
        images = self.engine().images.list()
        self.tell(
            "form",
            view=view,
            images=sorted({f"{each.repository}:{each.tag}" for each in images if each.repository}),
            options=[
                {
                    "name": option.long,
                    "help": option.help,
                    "metavar": option.metavar,
                    "switch": option.kind == "bool",
                    "choices": option.choices,
                }
                for option in self._command.options
                if option.long not in _LEFT_OUT
            ],
            **self._filled(),
        )

    def _filled(self) -> dict[str, Any]:
        """The fields as the words have them."""
        if not self._words:
            return {"image": "", "command": "", "chosen": [["rm", ""]]}
        arguments = parse(self._command, self._words, program="%container")
        image, *command = arguments.positionals
        chosen = []
        for name, value in arguments.options.items():
            values = value if isinstance(value, tuple) else ["" if value is True else str(value)]
            chosen += [[name, each] for each in values if value is not False]
        return {"image": image, "command": shlex.join(command), "chosen": chosen}

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:  # noqa: ARG002 - the base's
        """The line for what the form holds; a run of it; its end."""
        if kind == "stop":
            self._stop()
            return
        try:
            words = _words(content)
            arguments = self._parse(words)
        except UsageError as error:
            self.tell("line", view=content.get("view"), line="", problem=error.message)
            if kind == "run":
                raise
            return
        self.tell("line", view=content.get("view"), line=_line(words), problem="")
        if kind == "run":
            self._run(arguments)

    def _stop(self) -> None:
        """Stop what runs; where it is only about to, wait until it does."""
        while self._busy.locked():
            try:
                if (running := self._running) is not None:
                    containers = self.engine().containers
                    if any(each.id == running.id for each in containers.list()):
                        containers.stop(running.id, time=2)
                        return
            except NotFound:
                return  # it has ended by itself
            time.sleep(_PAUSE)

    def _parse(self, words: Sequence[str]) -> Arguments:
        try:
            return parse(self._command, words, program="%container")
        except HelpRequested as error:
            raise UsageError("help is no option of a run") from error

    def _run(self, arguments: Arguments) -> None:
        if not self._busy.acquire(blocking=False):
            raise UsageError("the container of this form still runs", hint="stop it first")
        try:
            self.tell("began")
            feed = LineFeed(lambda lines, lost: self.tell("log", lines=lines, lost=lost), lambda: self.watched)

            def sink(event: Event) -> None:
                if isinstance(event, Output):
                    feed.take(event.stream, event.data.decode(errors="replace"))

            with feed.sending():
                said, failed = self._outcome(arguments, sink)
        finally:
            self._running = None
            self._busy.release()
        self.tell("ended", text=said, failed=failed)

    def _outcome(self, arguments: Arguments, sink: Callable[[Event], None]) -> tuple[str, bool]:
        def told(container: Container) -> None:
            self._running = container

        given, around = attendance.arrange("run", arguments, None, {}, told)
        try:
            context, handler = Context(self.engine, sink), self._command.handler
            result = handler(context, given) if around is None else around.call(handler, context, given)
        except EngineError as error:
            return f"{error.message}{f': {error.hint}' if error.hint else ''}", True
        if isinstance(result, Started):
            self.result = result.container
            return f"{result.container.name} runs in the background", False
        assert isinstance(result, Ran)
        self.result = result.result
        return f"Ended: {result.result.cause or 'exit status 0'}", result.result.exit_code != 0


def _words(content: dict[str, Any]) -> list[str]:
    """What the form holds as the words of a command line."""
    image = str(content.get("image") or "").strip()
    if not image:
        raise UsageError("there is no image yet")
    words = []
    for name, value, switch in content.get("chosen") or ():
        words += [f"--{name}"] if switch else [f"--{name}={value}"]
    try:
        return [*words, image, *shlex.split(str(content.get("command") or ""))]
    except ValueError as error:
        raise UsageError(f"the command cannot be read: {error}") from None


def _line(words: Sequence[str]) -> str:
    return f"%container run {shlex.join(words)}".rstrip()
