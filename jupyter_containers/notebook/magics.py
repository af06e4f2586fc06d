"""``%container`` and ``%%container``: one dispatcher for both.

The line is read by :mod:`~jupyter_containers.notebook.words`, the verb by the table of commands; what the handler
returns becomes a value of the notebook here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import help as help_text
from jupyter_containers.commands import results
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.parser import HelpRequested, parse
from jupyter_containers.commands.table import find
from jupyter_containers.errors import Cancelled, ContainerFailed, EngineError, UsageError
from jupyter_containers.notebook import words
from jupyter_containers.notebook.sink import CellSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.engine.views import RunResult
    from jupyter_containers.notebook.progress import CellProgress
    from jupyter_containers.notebook.session import Session

LINE, CELL = "%container", "%%container"
_TAIL = 20


def _no_handler(_context: Context, _arguments: Arguments) -> results.Result:
    return results.Lines(())


_NOTEBOOK = Command(
    ("",),
    "system",
    "What the notebook does with the result of a verb",
    _no_handler,
    (
        Option("out", "Keep the result under this name and do not show it", "o", "NAME"),
        Option("no-raise", "Return the result of a failed run instead of raising", kind="bool"),
        Option("quiet", "Show no output and no progress", kind="bool"),
    ),
    (Argument("COMMAND", minimum=0, maximum=None, completes="command"),),
    interspersed=False,
)
_NOTEBOOK_HELP = """Notebook options, before the verb:
  -o, --out NAME     Keep the result under this name and do not show it
      --no-raise     Return the result of a failed run instead of raising ContainerFailed
      --quiet        Show no output and no progress

{expression} as a whole word is replaced by its value in the notebook; a ';' at the end hides the result.
As %%container the body is the Dockerfile of build, or the standard input of run and exec."""


_STARTING = frozenset({"run", "exec", "build", "pull"})


class Interrupted(KeyboardInterrupt):
    """The user interrupted a verb; the engine has cleaned up. Shown in one line, and stops a "run all" as any does."""

    def __init__(self, verb: str = "run") -> None:
        what = "what the command had started was stopped and removed"
        super().__init__(what if verb in _STARTING else f"{verb} was given up; containers go on as they are")

    def _render_traceback_(self, *_args: object) -> list[str]:
        return [f"Interrupted: {self}"]


class Dispatcher:
    """Runs the magics of one shell."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self._shell = shell
        self._session = session

    def dispatch(self, line: str, cell: str | None) -> Any:
        """Run one line or cell and return its value, None where there is nothing to show."""
        line, cell = words.join_continued(line, cell)
        split, silenced = words.split(line)
        arguments_text = words.expand(split, self._shell.ev)
        program = LINE if cell is None else CELL
        try:
            notebook = parse(_NOTEBOOK, arguments_text, program=program)
            asked = list(notebook.positionals)
            if asked[:1] in ([], ["help"]):
                # "help run" is "run --help", as on the command line.
                raise HelpRequested(find(asked[1:], program=program)[0] if asked[1:] else _NOTEBOOK)  # noqa: TRY301
            command, rest = find(asked, program=program)
            arguments = _parse(command, rest, program)
        except HelpRequested as request:
            print(_help(request.command, program))  # noqa: T201 - help belongs into the cell's output
            return None
        value = self._run(command, arguments, notebook, cell)
        return None if silenced or notebook.text("out") else value

    def _run(self, command: Command, arguments: Arguments, notebook: Arguments, cell: str | None) -> Any:
        if cell is not None and command.body == "none":
            raise UsageError(
                f"{command.name} has no use for the body of a cell", hint=f"write it as a line: {LINE} {command.name}"
            )
        quiet = notebook.flag("quiet") or (command.name in {"build", "pull"} and arguments.flag("quiet"))
        sink = CellSink(self._display_factory(), quiet=quiet)
        try:
            try:
                result = command.handler(self._context(command, sink, cell), arguments)
                return self._deliver(result, notebook, sink, quiet=quiet)
            finally:
                sink.close()
        except (KeyboardInterrupt, Cancelled) as error:
            raise Interrupted(command.name) from error

    def _context(self, command: Command, sink: CellSink, cell: str | None) -> Context:
        return Context(
            self._session.engine,
            sink,
            stdin=cell.encode() if cell is not None and command.body == "stdin" else None,
            script=cell is not None and command.body == "stdin",
            dockerfile=cell if command.body == "dockerfile" else None,
            lookup=words.variable_lookup(self._shell.user_ns, os.environ),
        )

    def _display_factory(self) -> Any:
        """How progress is drawn: in the cell where a kernel publishes displays, as lines in a terminal."""
        if getattr(self._shell, "kernel", None) is None:
            return None

        def make() -> CellProgress:
            from jupyter_containers.notebook.progress import CellProgress, shell_publisher  # noqa: PLC0415 - on use

            return CellProgress(shell_publisher(self._shell))

        return make

    def _deliver(self, result: results.Result, notebook: Arguments, sink: CellSink, *, quiet: bool) -> Any:
        """Make the value, keep it where the user asked, and raise what the verb reported."""
        errors: Sequence[EngineError] = ()
        match result:
            case results.Log():
                value: Any = _follow(result, sink)
                if not notebook.text("out"):
                    value = None
            case results.Lines(lines, errors):
                value = list(lines) or None
            case results.Documents(documents, errors):
                value = documents[0] if len(documents) == 1 else list(documents)
            case _:
                value = _value(result)
        self._keep(notebook.text("out"), value)
        if errors:
            raise _first_of(errors)
        if isinstance(result, results.Ran) and result.result.exit_code and not notebook.flag("no-raise"):
            sink.close()
            raise failure(result.result, verb=result.verb, with_output=quiet)
        return value

    def _keep(self, name: str | None, value: Any) -> None:
        if name is None:
            return
        if not name.isidentifier():
            raise UsageError(f"-o {name}: it is not a name in Python")
        self._shell.user_ns[name] = value


def _parse(command: Command, rest: Sequence[str], program: str) -> Arguments:
    try:
        return parse(command, rest, program=program)
    except UsageError as error:
        text = error.message.rpartition("-")[2]
        if error.message.startswith("unknown") and text in {"o", "out", "raise", "quiet"}:
            hint = f"notebook options stand before the verb: {program} -o NAME {command.name} …"
            raise UsageError(error.message, hint=hint) from None
        raise


def _help(command: Command, program: str) -> str:
    if command is _NOTEBOOK:
        return help_text.overview(program, before="[-o NAME] [--no-raise] [--quiet]", extra=_NOTEBOOK_HELP)
    return help_text.detail(command, program)


def _value(result: results.Result) -> Any:
    """What a verb that lists, runs or makes something returns in a notebook."""
    match result:
        case results.Ran():
            return result.result
        case results.Started():
            return result.container
        case results.Fetched() | results.Built():
            return result.image
        case results.Report():
            return result.report
        case results.Info():
            return result.info
        case _:
            return _listing(result)


def _listing(result: results.Result) -> Any:
    match result:
        case results.ContainerListing() | results.ImageListing() | results.HistoryListing() | results.LayerListing():
            if result.quiet:
                return _ids(result)
            from jupyter_containers.notebook import frames  # noqa: PLC0415 - pandas is slow to import

            return frames.of(result)
        case _:
            return None


def _ids(
    listing: results.ContainerListing | results.ImageListing | results.HistoryListing | results.LayerListing,
) -> list[str]:
    if isinstance(listing, results.LayerListing):
        return [str(row.digest) for row in listing.rows]
    return list(dict.fromkeys(str(row.id) for row in listing.rows if row.id is not None))


def _follow(log: results.Log, sink: CellSink) -> str:
    """Show a log as it comes, and give it as text."""
    kept: list[bytes] = []
    for output in log.output:
        kept.append(output.data)
        sink(output)
    return b"".join(kept).decode(errors="replace")


def _first_of(errors: Sequence[EngineError]) -> EngineError:
    first, *others = errors
    for error in others:
        first.add_note(error.message)
    return first


def failure(result: RunResult, *, verb: str, with_output: bool) -> ContainerFailed:
    """The error for a command that ended with another exit status than 0.

    What it printed stands above in the cell already, unless that was kept quiet.
    """
    subject = " ".join(result.command) or result.image or result.container_id[:12]
    what = "the command" if verb == "exec" else "the container"
    said = result.stderr or result.stdout
    hint = None
    if result.oom_killed:
        hint = "give it more memory with --memory, or use less"
    return ContainerFailed(
        f"{what} ({subject[:80]}) ended with exit status {result.exit_code}",
        status=result.exit_code,
        cause=result.cause if result.cause != f"exit status {result.exit_code}" else "",
        log_tail="\n".join(said.splitlines()[-_TAIL:]) if with_output else "",
        hint=hint or "--no-raise before the verb returns the result instead",
    )
