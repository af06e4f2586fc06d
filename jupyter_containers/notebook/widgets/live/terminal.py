"""A terminal in the page, connected to a command in a container.

The command is started when a page is there to show it. Without a page for a while it is detached, as by the keys: a
container goes on. What was printed last is kept, so a page that is loaded anew shows it again.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.lines import LineProgress
from jupyter_containers.commands.results import Ran, Result, Started
from jupyter_containers.commands.terminal import DETACH_KEYS, Copying, key_sequence
from jupyter_containers.errors import EngineError
from jupyter_containers.events import Event, Output
from jupyter_containers.notebook.widgets.live.base import Live, module, text
from jupyter_containers.notebook.widgets.static import Static

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine, Session

AHEAD = 256 * 1024
"""Bytes that may be on their way to the page; then the command waits until the page has drawn some."""
KEPT = 128 * 1024
LONELY = 60.0
"""Seconds without a page, after which the terminal lets go of the command."""
INTERVAL = 0.015
_INPUT = 1 << 20
_SMALLEST, _LARGEST = 2, 1000


class Terminal(Live):
    """See the module. ``work`` is a verb that takes the console of the context it is given; ``title`` says which.

    ``result`` is what it returned: a ``RunResult``, or a ``Container`` that goes on.
    """

    _esm = module("terminal")
    _css = text("style.css") + text("xterm/xterm.css")

    def __init__(
        self, engine: Callable[[], Engine], title: str, work: Callable[[Callable[[Event], None], WidgetConsole], Result]
    ) -> None:
        self.title = title
        super().__init__(engine, self._as_it_is)
        self._work = work
        self._console = WidgetConsole()
        self._room = threading.Condition(self._guard)
        self._started = False
        self._pending = bytearray()
        self._kept = bytearray()
        self._ahead = 0
        self._ending: dict[str, Any] | None = None
        self.result: Any = None

    def _as_it_is(self) -> Static:
        said = self._ending["text"] if self._ending else "a terminal, which needs a running kernel"
        return Static.of_text(f"{self.title}: {said}")

    # -- the page -----------------------------------------------------------------------------------------------------

    def greet(self, view: str) -> None:
        """The last of what was printed, and how it ended."""
        with self._guard:
            self.tell("replay", view=view, title=self.title, buffers=[bytes(self._kept)])
            if self._ending is not None:
                self.tell("ended", view=view, **self._ending)

    def heard(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Keys, in the order in which they come; sizes; how much the page has drawn."""
        if kind == "input":
            if not self._console.type(buffers[0]):
                self.tell("problem", text="the command does not read what is typed")
        elif kind == "ack":
            with self._room:
                self._ahead = max(0, self._ahead - int(content["bytes"]))
                self._room.notify_all()
        elif kind in {"start", "resize"}:
            self._console.resize(_within(content.get("rows")), _within(content.get("columns")))
            with self._guard:
                first, self._started = not self._started, True
            if first:
                self.begin(self._run)
        elif kind == "detach":
            self._console.detach()
        elif kind == "library":
            self.tell("library", view=content.get("view"), text=text("xterm/xterm.mjs"))

    # -- the command --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        sender = self.begin(self._pass_on)
        try:
            self.result, said, failed = _outcome(self._work(self._take, self._console))
        except EngineError as error:
            said = f"{error.message}{f' ({error.hint})' if error.hint else ''}"
            failed = True
        finally:
            self._console.close()
        with self._room:
            self._ending = {"text": said, "failed": failed}
            self._room.notify_all()
        sender.join()
        self.tell("ended", **self._ending)

    def _take(self, event: Event) -> None:
        if isinstance(event, Output):
            self._print(event.data)
        else:
            LineProgress(lambda line: self._print(line.replace("\n", "\r\n").encode()))(event)

    def _print(self, data: bytes) -> None:
        """Take output, and wait while the page is too far behind."""
        with self._room:
            self._room.wait_for(lambda: len(self._pending) + self._ahead < AHEAD or not self.watched, timeout=LONELY)
            self._pending += data

    def _pass_on(self) -> None:
        alone = time.monotonic()
        while True:
            with self._room:
                data = bytes(self._pending)
                self._pending.clear()
                self._kept += data
                del self._kept[:-KEPT]
                over = self._ending is not None
                if self.watched:
                    alone = time.monotonic()
                    self._ahead += len(data)
                    if data:
                        self.tell("output", buffers=[data])
                else:
                    self._ahead = 0
                    self._room.notify_all()
            if over:
                return
            if time.monotonic() - alone > LONELY:
                self._console.detach()
                alone = time.monotonic()
            time.sleep(INTERVAL)


def _within(number: object) -> int:
    return min(max(int(number), _SMALLEST), _LARGEST) if isinstance(number, int | float) else _SMALLEST


def _outcome(result: Result) -> tuple[Any, str, bool]:
    """The value, how it ended in words, and whether that is a failure."""
    match result:
        case Ran():
            return result.result, result.result.cause or "exit status 0", result.result.exit_code != 0
        case Started():
            return result.container, f"detached: {result.container.name} goes on", False
        case _:
            return None, "detached: the command goes on", False


class WidgetConsole:
    """Input by a pipe, a size told by the page. Implements ``engine.Console``."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):  # the user has no more pipe buffers: the usual 64 KiB stay
            fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, _INPUT)
        self._guard = threading.Lock()
        self._size = (24, 80)
        self._session: Session | None = None
        self._keys = key_sequence(DETACH_KEYS)

    def with_keys(self, detach_keys: str | None) -> WidgetConsole:
        """The same with other keys that detach; without any the page's button does."""
        self._keys = key_sequence(detach_keys) if detach_keys else self._keys
        return self

    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._size

    def check(self, *, stdin: bool, terminal: bool) -> None:
        """It is fit for everything."""

    def attend(self, session: Session) -> bool:
        """Carry input and output until the process has ended; False when it was detached before."""
        with self._guard:
            self._session = session
        session.resize(*self._size)
        try:
            return Copying(session, self._reading, self._keys).run()
        finally:
            with self._guard:
                self._session = None

    def type(self, data: bytes) -> bool:
        """Hand over what was typed; False when nobody reads it."""
        with self._guard:
            if self._writing < 0:
                return True
            try:
                return os.write(self._writing, data) == len(data)
            except BlockingIOError:
                return False

    def resize(self, rows: int, columns: int) -> None:
        """The page has another size."""
        with self._guard:
            self._size = (rows, columns)
            if self._session is not None:
                with suppress(EngineError, OSError):  # it has just ended
                    self._session.resize(rows, columns)

    def detach(self) -> None:
        """As by the keys."""
        self.type(self._keys)

    def close(self) -> None:
        """Nothing is typed any more. Idempotent."""
        with self._guard:
            for descriptor in (self._reading, self._writing):
                if descriptor >= 0:
                    os.close(descriptor)
            self._reading = self._writing = -1
