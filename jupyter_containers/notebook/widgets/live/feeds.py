"""What several widgets follow: the lines of a log, the figures of containers."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jupyter_containers.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.views import ContainerStats

INTERVAL = 0.2
"""Seconds between two messages: at most five a second, whatever a container prints."""
MOST_LINES = 500
"""Lines in one message; of more than that in an interval the older ones are left out, and counted."""
KEPT_LINES = 5000
_LONGEST = 4000

Line = tuple[str, str]


class LineFeed:
    """Takes output as it comes and hands it over as lines, in bounded pieces.

    ``deliver`` is given lines (stream, text) and how many before them were left out; ``wanted`` says whether anybody
    looks. The last lines are kept for a page that comes later. Thread-safe.
    """

    def __init__(self, deliver: Callable[[list[Line], int], None], wanted: Callable[[], bool]) -> None:
        self._deliver = deliver
        self._wanted = wanted
        self._guard = threading.Lock()
        self._waiting: deque[Line] = deque(maxlen=MOST_LINES)
        self._came = 0
        self._rest: dict[str, str] = {}
        self._ended = threading.Event()
        self.kept: deque[Line] = deque(maxlen=KEPT_LINES)

    def take(self, stream: str, text: str) -> None:
        """Some output: lines, the end of a line, or a part of one."""
        with self._guard:
            *lines, rest = (self._rest.pop(stream, "") + text).split("\n")
            for line in lines:
                self._keep((stream, line.rstrip("\r")[:_LONGEST]))
            if len(rest) > _LONGEST:
                self._keep((stream, rest[:_LONGEST]))
            elif rest:
                self._rest[stream] = rest

    def _keep(self, line: Line) -> None:
        self._waiting.append(line)
        self.kept.append(line)
        self._came += 1

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Hand over what comes meanwhile, and at the end what is left."""
        sender = threading.Thread(target=contextvars.copy_context().run, args=(self._send,), daemon=True)
        sender.start()
        try:
            yield
        finally:
            with self._guard:
                for item in self._rest.items():
                    self._keep(item)
                self._rest.clear()
            self._ended.set()
            sender.join()

    def _send(self) -> None:
        while True:
            ended = self._ended.wait(INTERVAL)
            with self._guard:
                lines, lost = list(self._waiting), self._came - len(self._waiting)
                self._waiting.clear()
                self._came = 0
            if lines and self._wanted():
                self._deliver(lines, lost)
            if ended:
                return


def follow_log(
    engine: Engine,
    name: str,
    feed: LineFeed,
    *,
    tail: int | None,
    wanted: Callable[[], bool],
    since: str | None = None,
    until: str | None = None,
) -> None:
    """Feed the log of a container until it ends or nobody looks; raises EngineError for one there is not."""
    entries = engine.containers.logs(name, follow=wanted, tail=tail, since=since, until=until)
    with feed.sending():
        for entry in entries:
            feed.take(entry.stream, entry.data.decode(errors="replace"))
            if not wanted():
                return


def follow_figures(
    engine: Engine,
    names: tuple[str, ...],
    deliver: Callable[[list[ContainerStats]], None],
    *,
    interval: float,
    wanted: Callable[[], bool],
) -> None:
    """Hand over what containers use, every ``interval`` seconds, until nobody looks."""
    for rows in engine.containers.stats(*names, interval=interval):
        if not wanted():
            return
        deliver(rows)


def quietly(work: Callable[[], None], wanted: Callable[[], bool], pause: float = 2.0) -> None:
    """Do something that ends with an error when the store is in the way, again and again while somebody looks."""
    while wanted():
        try:
            work()
        except EngineError:
            time.sleep(pause)  # the widget's own thread tells what is wrong: it asks for the same
