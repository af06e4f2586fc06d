"""``jupyter-container``: the verbs on the command line.

Exit statuses are Docker's: the container's own, 126 and 127 when the command could not be started, 128 + n when signal
n ended it; 125 when ``run`` failed otherwise or the words are not understood, 1 when another verb failed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

from jupyter_containers.commands import asked
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import HelpRequested, parse
from jupyter_containers.commands.table import find
from jupyter_containers.errors import CommandNotExecutable, EngineError, StartFailed, SystemFailure, UsageError
from jupyter_containers.events import Event, EventSink, Notice, Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.commands.lines import LineProgress, LiveProgress
    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.commands.rawjson import RawProgress
    from jupyter_containers.commands.results import Explained, Grid, Grids, Listing, Page, Printed, Result, Stepped
    from jupyter_containers.engine import Console, Engine
    from jupyter_containers.engine.views import RunResult

PROGRAM = "jupyter-container"
_INTERRUPTED, _TERMINATED, _FAILED = 130, 143, 1
_STDERR = 2
_CLEARED = "\033[2J\033[H"
_HELP = frozenset({"--help", "-h", "help"})


class _Terminated(KeyboardInterrupt):
    """SIGTERM: everything is cleaned up as after Ctrl-C."""


class _Screen:
    """Where events go: a container's bytes to the standard streams as they come, progress to standard error."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._lock = threading.Lock()
        self._progress: LineProgress | LiveProgress | RawProgress | None = None

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
                if self._mode == "rawjson":
                    from jupyter_containers.commands.rawjson import RawProgress  # noqa: PLC0415 - seldom asked for

                    self._progress = RawProgress(_write_error)
                elif self._mode == "tty" or (self._mode == "auto" and sys.stderr.isatty()):
                    import shutil  # noqa: PLC0415 - fast start

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


def _write(*lines: str, end: str = "\n") -> None:
    """Print lines at once, so that a closed pipe is found here and not at the interpreter's end."""
    with _writing():
        sys.stdout.write("".join(f"{line}{end}" for line in lines))
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
    wanted, words = asked.take(words)
    if words[:1] != ["run"] or asked.DRY_RUN.long in wanted:
        return _command(words, wanted)
    from jupyter_containers.engine import early  # noqa: PLC0415 - only where a container is started

    early.begin()
    try:
        return _command(words, wanted)
    finally:
        early.dismiss()


def _command(words: list[str], wanted: frozenset[str]) -> int:
    command, rest = find(words, program=PROGRAM)
    try:
        arguments = parse(command, rest, program=PROGRAM)
    except HelpRequested as request:
        return _help_of(request.command)
    asked.check(wanted, command)
    screen = _Screen("quiet" if arguments.flag("quiet") else arguments.text("progress") or "auto")
    with _sigterm(), _engine(screen) as engine:
        try:
            result = asked.do(wanted, command, _context(command, arguments, engine, screen), arguments)
            screen.close()
            status = _show(result, screen)
        except EngineError as error:
            screen.close()
            show_error(error)
            status = _failed(command, error)
        finally:
            screen.close()
        return status


def _failed(command: Command, error: EngineError) -> int:
    """The exit status of a verb that failed."""
    if command.name == "run" or error.exit_code != EngineError.exit_code or isinstance(error, UsageError):
        return error.exit_code
    if command.name == "exec" and isinstance(error, StartFailed):
        return CommandNotExecutable.exit_code
    return _FAILED


def _help(words: list[str]) -> int:
    if words:
        command, _ = find(words, program=PROGRAM)
        return _help_of(command)
    from jupyter_containers.commands.help import options, overview  # noqa: PLC0415 - fast start

    extra = "\n".join(["Before any command:", *options(asked.OPTIONS)])
    _write(overview(PROGRAM, before="[--explain|--dry-run]", extra=extra))
    return 0


def _help_of(command: Command) -> int:
    from jupyter_containers.commands.help import detail  # noqa: PLC0415 - fast start

    _write(detail(command, PROGRAM))
    return 0


def _context(command: Command, arguments: Arguments, engine: _LazyEngine, sink: EventSink) -> Context:
    stdin: BinaryIO | None = None
    if command.body != "none" and (command.option("interactive") is None or arguments.flag("interactive")):
        stdin = sys.stdin.buffer
    return Context(engine, sink, stdin=stdin, console=_console)


def _console(detach_keys: str | None, sig_proxy: bool) -> Console:
    from jupyter_containers.commands.terminal import TerminalConsole  # noqa: PLC0415 - fast start

    return TerminalConsole(0, 1, detach_keys=detach_keys, sig_proxy=sig_proxy)


class _LazyEngine:
    """The engine, made when a handler asks for it."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self.made: Engine | None = None

    def __call__(self) -> Engine:
        """The engine."""
        if self.made is None:
            gc.disable()  # what is imported stays
            from jupyter_containers.engine import Engine  # noqa: PLC0415 - it is slow to import

            gc.freeze()
            gc.enable()
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


def _show(result: Result, screen: _Screen) -> int:  # noqa: PLR0911 - one per kind of result
    """Print what a handler returned; the exit status follows from it."""
    from jupyter_containers.commands import results  # noqa: PLC0415 - fast start

    match result:
        case results.Ran():
            return _status(result.result)
        case results.Ended():
            return result.exit_code or 0
        case results.Explained():
            return _show_explained(result, screen)
        case results.Stepped():
            return _show_stages(result, screen)
        case results.Lines():
            return _show_lines(result.lines, result.errors)
        case results.Documents():
            import json  # noqa: PLC0415 - fast start

            text = json.dumps(list(result.documents), indent=4, ensure_ascii=False, default=str)
            return _show_lines((text,), result.errors)
        case results.Samples():
            for rows in result.samples:
                if result.live and sys.stdout.isatty():
                    _write(_CLEARED, end="")
                _write(*result.lines(rows))
        case _:
            _show_value(result, screen)
    return 0


def _show_explained(result: Explained, screen: _Screen) -> int:
    """Print what a verb returned and how that came about; the exit status, or the error, is the verb's."""
    status = 0 if result.result is None else _show(result.result, screen)
    _show_grids(result.page)
    if result.error is not None:
        raise result.error
    return status


def _show_stages(result: Stepped, screen: _Screen) -> int:
    """Show one stage after the other, as their reader wants them; then it goes on as any other run."""
    from jupyter_containers.commands import results  # noqa: PLC0415 - fast start
    from jupyter_containers.engine import RunResult  # noqa: PLC0415 - the same

    before = None
    with result.stages as stages:
        for stage in stages:
            _write(*([""] if before else []))
            _show_grids(result.page(stage, before, True))
            before = stage
            if sys.stdin.isatty() and not stage.last:
                _write_error("Enter: the next stage; q: give it up ")
                if sys.stdin.readline().strip().lower().startswith("q"):
                    return _INTERRUPTED
        outcome = stages.finish()
    return _show(results.Ran(outcome) if isinstance(outcome, RunResult) else results.Started(outcome), screen)


def _show_value(result: Printed, screen: _Screen) -> None:
    """Print what can only go well."""
    from jupyter_containers.commands import results  # noqa: PLC0415 - fast start
    from jupyter_containers.commands.tables import align, info, report  # noqa: PLC0415 - fast start

    match result:
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
        case results.Table():
            _write(*align(result.titles, result.rows))
        case results.Grid() | results.Grids() | results.Page():
            _show_grids(result)
        case results.Report():
            _write(*report(result.report))
        case results.Info():
            _write(*info(result.info))
        case _:
            _show_listing(result)


def _show_grids(result: Grid | Grids | Page) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - fast start

    from jupyter_containers.commands import results  # noqa: PLC0415 - fast start
    from jupyter_containers.commands.tables import grid, page  # noqa: PLC0415 - fast start

    now = datetime.now(UTC)
    if isinstance(result, results.Page):
        _write(*page(result, now))
        return
    grids = result.grids if isinstance(result, results.Grids) else (result,)
    headed = len(grids) > 1
    for number, table in enumerate(grids):
        head = [*([""] if number else []), f"{table.noun}:", ""] if headed else []
        _write(*head, *grid(table, now))


def _status(result: RunResult) -> int:
    """A container's exit status; 137 alone would not tell its memory limit from somebody's SIGKILL."""
    if result.oom_killed and result.exit_code:
        _write_error(f"{PROGRAM}: {result.cause}\n")
    return result.exit_code


def _show_listing(
    result: Listing,
) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - fast start

    from jupyter_containers.commands.tables import listing  # noqa: PLC0415 - fast start

    _write(*listing(result, datetime.now(UTC)))


def _show_lines(lines: Sequence[str], errors: Sequence[EngineError]) -> int:
    _write(*lines)
    for error in errors:
        show_error(error)
    return _FAILED if errors else 0


if __name__ == "__main__":
    sys.exit(main())
