"""``%container --bg``: a verb that runs while the notebook goes on, and the handle that stands for it.

It belongs to the kernel: what it started ends with it, as a cell's does. ``run -d`` is for what shall outlive it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import uuid
from html import escape
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from jupyter_containers.commands import humane
from jupyter_containers.commands.steps import Progress
from jupyter_containers.engine.launch.streams import Capture
from jupyter_containers.errors import Cancelled, Conflict, EngineError, SystemFailure, Timeout
from jupyter_containers.events import Event, Output
from jupyter_containers.interrupts import ATTENTION
from jupyter_containers.notebook import markup

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from jupyter_containers.engine import Container, Engine
    from jupyter_containers.notebook.progress import Publish

State: TypeAlias = Literal["running", "done", "failed", "stopped"]
OUTPUT_LIMIT = 1 << 20
_INTERVAL = 1.0
_SHOWN_LINES, _SHOWN_BYTES = 20, 16 * 1024


class Background:
    """One verb in the background. ``await`` it, :meth:`wait` for it, look at :attr:`output`, :meth:`stop` it.

    Thread-safe. Whoever waits gets the value that the verb has in a cell, and the error that it raises there.
    """

    def __init__(self, title: str, engine: Callable[[], Engine], publish: Publish | None) -> None:
        self.title = title
        self.container: Container | None = None
        self._engine = engine
        self._publish = publish
        self._lock = threading.Lock()
        self._output = Capture(OUTPUT_LIMIT)
        self._progress = Progress()
        self._ended = threading.Event()
        self._callbacks: list[Callable[[], object]] = []
        self._stoppers: list[Callable[[], None]] = []
        self._stopping, self._grace = False, 10.0
        self._value: Any = None
        self._error: BaseException | None = None
        self._began, self._seconds, self._drawn = time.monotonic(), 0.0, 0.0
        self._displays: list[tuple[str, contextvars.Context]] = []

    # -- what runs ---------------------------------------------------------------------------------------------------

    def begin(self, work: Callable[[], Any]) -> None:
        """Run ``work`` in a thread. Once."""
        threading.Thread(target=self._run, args=(work,), name=f"container {self.title}", daemon=True).start()

    def _run(self, work: Callable[[], Any]) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = work()
        except OSError as problem:
            error = SystemFailure(f"{self.title}: the system refused: {problem}")
        except BaseException as problem:  # noqa: BLE001 - whoever waits for it gets it
            error = problem
        with self._lock:
            if error is not None and self._stopping:
                stopped = Cancelled(f"{self.title}: it was stopped")
                stopped.__cause__, error = error, stopped
            self._seconds = time.monotonic() - self._began
            self._value, self._error = value, error
            self._progress.close()
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
        self._draw()
        for callback in callbacks:
            callback()

    def __call__(self, event: Event) -> None:
        """Take in an event of the verb: this is its sink.

        Raises
        ------
        Cancelled
            in the verb's thread, once it is to stop.
        """
        if self._stopping and not isinstance(event, Output):
            raise Cancelled(f"{self.title}: stopped")
        with self._lock:
            if isinstance(event, Output):
                self._output.add(event.data)
            else:
                self._progress.fold(event)
            due = time.monotonic() - self._drawn >= _INTERVAL
        if due:
            self._draw()

    def started(self, container: Container) -> None:
        """The container that it runs exists."""
        self.container = container
        self.on_stop(self._stop_container)

    def on_stop(self, stopper: Callable[[], None]) -> None:
        """Have ``stopper`` called when it is to stop; at once if it already was."""
        with self._lock:
            self._stoppers.append(stopper)
            late = self._stopping
        if late:
            stopper()

    # -- for the user ------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._ended.is_set()

    @property
    def state(self) -> State:
        """In a word."""
        if not self.done:
            return "running"
        if self._error is None:
            return "done"
        return "stopped" if self._stopping else "failed"

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return self._seconds if self.done else time.monotonic() - self._began

    @property
    def output(self) -> str:
        """What it printed so far, both streams in their order; of more than a MiB the end."""
        with self._lock:
            dropped, data = self._output.dropped, self._output.bytes()
        note = f"… {dropped} bytes before this are not kept\n" if dropped else ""
        return note + data.decode(errors="replace")

    @property
    def error(self) -> BaseException | None:
        """What it raised; None while it runs and where it went well."""
        return self._error

    @property
    def result(self) -> Any:
        """Its value.

        Raises
        ------
        Conflict
            when it still runs.
        """
        if not self.done:
            raise Conflict(f"{self.title} still runs", hint=".wait() waits for it, .done tells whether it has ended")
        return self.wait()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for its end, ``timeout`` seconds at most; its value. An interrupt ends the waiting alone.

        Raises
        ------
        Timeout
            when it still runs then.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._ended.wait(max(0.0, min(ATTENTION, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise Timeout(f"{self.title} still runs after {timeout:g} s", hint="it goes on; .stop() ends it")
        if self._error is not None:
            raise self._error
        return self._value

    def stop(self, timeout: float = 10.0) -> None:
        """Ask it to end, and end its container after ``timeout`` seconds by force. One that has ended is left alone.

        Raises
        ------
        Timeout
            when it does not end: a verb that waits for something else goes on until that comes.
        """
        with self._lock:
            if self._ended.is_set():
                return
            self._stopping, stoppers = True, list(self._stoppers)
        self._grace = timeout
        for stopper in stoppers:
            stopper()
        if not self._ended.wait(timeout + 2.0):
            raise Timeout(f"{self.title} does not end", hint="it is given up when the kernel ends")

    def _stop_container(self) -> None:
        assert self.container is not None
        try:
            self._engine().containers.stop(self.container.id, time=self._grace)
        except EngineError:
            if not self.done:  # otherwise it has ended by itself meanwhile
                raise

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for its end while other things of the loop go on; cancelling that leaves it running."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not ended.done():
                ended.set_result(None)

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle)

        with self._lock:
            late = self._ended.is_set()
            if not late:
                self._callbacks.append(tell)
        if not late:
            await ended
        return self.wait()

    # -- how it looks ------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"Background({self._headline()})"

    def _headline(self) -> str:
        where = f" in container {self.container.name}" if self.container is not None else ""
        words = {"running": "running for", "done": "done after", "failed": "failed after", "stopped": "stopped after"}
        line = f"{words[self.state]} {humane.seconds(self.seconds)}: {self.title}{where}"
        with self._lock:
            summary = self._progress.summary()
        line += f" ({summary})" if summary else ""
        if self.state == "failed":
            line += f": {self._error}"
        return line

    def _bundle(self) -> dict[str, str]:
        mark = {"running": "…", "done": "✓", "failed": "✗", "stopped": "■"}[self.state]
        html = f'<div role="status" aria-live="polite"><p>{mark} {escape(self._headline())}</p>'
        with self._lock:
            data = self._output.bytes()[-_SHOWN_BYTES:]
        if lines := data.decode(errors="replace").splitlines()[-_SHOWN_LINES:]:
            html += markup.folded("Its last lines", markup.block("\n".join(lines)), opened=self.state == "failed")
        return {"text/plain": repr(self), "text/html": html + "</div>"}

    def _ipython_display_(self) -> None:
        if self._publish is None:
            print(repr(self))  # noqa: T201 - a terminal
            return
        identity = uuid.uuid4().hex
        self._publish(self._bundle(), identity, False)
        # In a copy of the context: the kernel knows by it which cell the drawing belongs to.
        self._displays.append((identity, contextvars.copy_context()))
        if self.done:  # it ended while it was drawn
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._publish is None:
            return
        for identity, context in self._displays:
            context.copy().run(self._publish, self._bundle(), identity, True)
