"""``jupyter-container``: the verbs on the command line.

Exit statuses are Docker's: the container's own, 125 when this program failed, 126 and 127 when the command could not
be started, 128 + n when signal n ended it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import HelpRequested, parse
from jupyter_containers.commands.table import find
from jupyter_containers.errors import EngineError, SystemFailure
from jupyter_containers.events import Event, EventSink, Notice, Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.commands.lines import LineProgress, LiveProgress
    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.commands.results import (
        ContainerListing,
        HistoryListing,
        ImageListing,
        LayerListing,
        Result,
    )
    from jupyter_containers.engine import Engine

PROGRAM = "jupyter-container"
_INTERRUPTED, _TERMINATED, _PARTLY = 130, 143, 1
_STDERR = 2
_HELP = frozenset({"--help", "-h", "help"})


class _Terminated(KeyboardInterrupt):
    """SIGTERM: everything is cleaned up as after Ctrl-C."""


class _Screen:
    """Where events go: a container's bytes to the standard streams as they come, progress to standard error."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._lock = threading.Lock()
        self._progress: LineProgress | LiveProgress | None = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Output):
            self._settle()
            stream = sys.stdout.buffer if event.stream == "stdout" else sys.stderr.buffer
            with self._lock, _writing():
                stream.write(event.data)
                stream.flush()
        elif self._mode != "quiet" or (isinstance(event, Notice) and event.level == "warning"):
            self._show(event)

    def _show(self, event: Event) -> None:
        from jupyter_containers.commands.lines import LineProgress, LiveProgress  # noqa: PLC0415 - fast start

        with self._lock:
            if self._progress is None:
                if self._mode == "tty" or (self._mode == "auto" and sys.stderr.isatty()):
                    self._progress = LiveProgress(sys.stderr, lambda: shutil.get_terminal_size().columns)
                else:
                    self._progress = LineProgress(_write_error)
        self._progress(event)

    def _settle(self) -> None:
        """End the progress display before a container prints."""
        with self._lock:
            progress, self._progress = self._progress, None
        if progress is not None:
            progress.close()

    close = _settle


def _write_error(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _write(*lines: str) -> None:
    """Print lines at once, so that a closed pipe is found here and not at the interpreter's end."""
    with _writing():
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """What cannot be written is told; Python must not try again at exit."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        raise SystemFailure(f"cannot write the output: {error.strerror}") from error


def _discard_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _open_closed_streams() -> None:
    """Where the caller closed a standard stream its number must not go to some other file."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= _STDERR:
        continue
    os.close(fd)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status is what the process should end with."""
    _open_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _guarded(words)
    except BrokenPipeError:
        # Whoever read our output is gone; Python must not try to flush it again at exit.
        _discard_output()
        return 128 + signal.SIGPIPE


def _guarded(words: list[str]) -> int:
    try:
        return _main(words)
    except EngineError as error:
        show_error(error)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        show_error(SystemFailure(f"the system refused: {error}"))
        return SystemFailure.exit_code
    except _Terminated:
        return _TERMINATED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _main(words: list[str]) -> int:
    if not words or words[0] in _HELP:
        return _help(words[1:] if words and words[0] == "help" else [])
    if words[0] in {"--version", "-v"}:
        words = ["version"]
    command, rest = find(words, program=PROGRAM)
    try:
        arguments = parse(command, rest, program=PROGRAM)
    except HelpRequested as request:
        return _help_of(request.command)
    screen = _Screen("quiet" if arguments.flag("quiet") else arguments.text("progress") or "auto")
    with _sigterm(), _engine(screen) as engine:
        try:
            result = command.handler(_context(command, arguments, engine, screen), arguments)
            screen.close()
            status = _show(result, screen)
        finally:
            screen.close()
        return status


def _help(words: list[str]) -> int:
    if words:
        command, _ = find(words, program=PROGRAM)
        return _help_of(command)
    from jupyter_containers.commands.help import overview  # noqa: PLC0415 - fast start

    _write(overview(PROGRAM))
    return 0


def _help_of(command: Command) -> int:
    from jupyter_containers.commands.help import detail  # noqa: PLC0415 - fast start

    _write(detail(command, PROGRAM))
    return 0


def _context(command: Command, arguments: Arguments, engine: _LazyEngine, sink: EventSink) -> Context:
    stdin: BinaryIO | None = None
    if command.body == "dockerfile" or arguments.flag("interactive"):
        stdin = sys.stdin.buffer
    return Context(engine, sink, stdin=stdin)


class _LazyEngine:
    """The engine, made when a handler asks for it."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self.made: Engine | None = None

    def __call__(self) -> Engine:
        """The engine."""
        if self.made is None:
            from jupyter_containers.engine import Engine  # noqa: PLC0415 - it is slow to import

            self.made = Engine(on_event=self._sink)
        return self.made


@contextlib.contextmanager
def _engine(sink: EventSink) -> Iterator[_LazyEngine]:
    engine = _LazyEngine(sink)
    try:
        yield engine
    finally:
        if engine.made is not None:
            engine.made.close()


@contextlib.contextmanager
def _sigterm() -> Iterator[None]:
    """While the engine works SIGTERM cleans up as Ctrl-C does."""

    def terminate(_number: int, _frame: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_error(error: EngineError) -> None:
    """Print an error: what failed, and what to do."""
    _write_error("".join(f"{line}\n" for line in (f"{PROGRAM}: {error.lines()[0]}", *error.lines()[1:])))


def _show(result: Result, screen: _Screen) -> int:
    """Print what a handler returned; the exit status follows from it."""
    from jupyter_containers.commands import results  # noqa: PLC0415 - fast start
    from jupyter_containers.commands.tables import info, report  # noqa: PLC0415 - fast start

    match result:
        case results.Ran():
            return result.result.exit_code
        case results.Started():
            _write(result.container.id)
        case results.Fetched():
            _write(result.name)
        case results.Built():
            if result.quiet:
                _write(result.image.id)
        case results.Log():
            for output in result.output:
                screen(output)
        case results.Lines():
            return _show_lines(result.lines, result.errors)
        case results.Documents():
            text = json.dumps(list(result.documents), indent=4, ensure_ascii=False, default=str)
            return _show_lines((text,), result.errors)
        case results.Report():
            _write(*report(result.report))
        case results.Info():
            _write(*info(result.info))
        case _:
            return _show_listing(result)
    return 0


def _show_listing(
    result: ContainerListing | ImageListing | HistoryListing | LayerListing,
) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415 - fast start

    from jupyter_containers.commands.tables import listing  # noqa: PLC0415 - fast start

    _write(*listing(result, datetime.now(UTC)))
    return 0


def _show_lines(lines: Sequence[str], errors: Sequence[EngineError]) -> int:
    _write(*lines)
    for error in errors:
        show_error(error)
    return _PARTLY if errors else 0


if __name__ == "__main__":
    sys.exit(main())
