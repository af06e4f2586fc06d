"""The streams of a running process in this one's hands: what a terminal, a widget or a test talks to it by."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, Self

from jupyter_containers.engine.launch.streams import InputFeed, OutputPipes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from jupyter_containers.events import Stream
    from jupyter_containers.runtime.handle import Process
    from jupyter_containers.runtime.protocol import ExitStatus


class Ends:
    """The container's ends of a session's pipes, before there is a process: given to it, then closed here."""

    def __init__(self, source: bytes | BinaryIO | None = None, *, write: bool = False) -> None:
        """``source`` is fed as its input; with ``write`` the session has a descriptor to write to instead."""
        self.pipes = OutputPipes()
        self.feed: InputFeed | None = None
        self.stdin, self.writer = -1, -1
        if write:
            self.stdin, self.writer = os.pipe2(os.O_CLOEXEC)
        elif source is not None:
            self.feed = InputFeed(source)
            self.stdin = self.feed.descriptor

    @property
    def stdio(self) -> tuple[int | None, int | None, int | None]:
        """What the process is given."""
        return (self.stdin if self.stdin >= 0 else None), self.pipes.stdout, self.pipes.stderr

    def given(self) -> None:
        """The process has its copies: only then does the end of its output show."""
        self.pipes.close_writers()
        if self.feed is not None:
            self.feed.close()
        elif self.stdin >= 0:
            os.close(self.stdin)
        self.stdin = -1

    def close(self) -> None:
        """Close what is still open. Idempotent."""
        self.given()
        self.pipes.close()
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


class Session:
    """A process's streams, its signals, its terminal's size and its end. To be closed; that ends nothing but itself.

    Attributes
    ----------
    terminal
        It has a terminal: one output, and what is typed comes back in it.
    on_output
        Called by :meth:`pump` and by consoles with each piece of output.
    on_detach
        Called when the user has detached from it.
    """

    def __init__(self, process: Process, ends: Ends, *, terminal: bool) -> None:
        ends.given()
        self._process = process
        self._ends = ends
        self.terminal = terminal
        self.on_output: Callable[[Stream, bytes], None] = lambda _stream, _data: None
        self.on_detach: Callable[[], None] = lambda: None

    @property
    def stdin(self) -> int:
        """A descriptor to write its input to; -1 where it has none, or after :meth:`close_stdin`."""
        return self._ends.writer

    @property
    def outputs(self) -> dict[int, Stream]:
        """The descriptors to read its output from, until each one ends."""
        return self._ends.pipes.readers

    @property
    def pid(self) -> int:
        """As the host sees it."""
        return self._process.pid

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process has ended."""
        return self._process.fileno()

    def pump(self) -> None:
        """Read its output to the end, giving each piece to ``on_output``."""
        self._ends.pipes.pump(self.on_output)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, in characters."""
        self._process.resize(rows, columns)

    def signal(self, number: int, *, final: bool = False) -> None:
        """Send it a signal; ``final`` when no restart policy is to start it again."""
        self._process.signal(number, final=final)

    def close_stdin(self) -> None:
        """End its input."""
        if self._ends.writer >= 0:
            os.close(self._ends.writer)
            self._ends.writer = -1

    def wait(self, timeout: float | None = None) -> ExitStatus | None:
        """How it ended; None if it still runs after ``timeout`` seconds."""
        return self._process.wait(timeout)

    def detach(self) -> None:
        """Leave it running, also when it would have ended with this process."""
        self._process.leave(untie=True)
        self.on_detach()

    def close(self) -> None:
        """Let go of it, which is not the end of its input. Idempotent."""
        with suppress(OSError):
            self._process.leave()
        self._process.close()
        self._ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class Console(Protocol):
    """A front end's terminal, or what stands for it."""

    def size(self) -> tuple[int, int] | None:
        """Rows and columns, where it is a terminal."""

    def check(self, *, stdin: bool, terminal: bool) -> None:
        """Refuse what it is not fit for, before anything is started."""

    def attend(self, session: Session) -> bool:
        """Carry input and output until the process has ended; False when the user has detached from it before."""
