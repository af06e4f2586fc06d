"""What a notebook does with a container of ``run`` or ``exec`` before it starts and after it has ended."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.model import Option
from jupyter_containers.commands.results import Ran
from jupyter_containers.errors import EngineError, StartFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments, Command
    from jupyter_containers.commands.results import Result
    from jupyter_containers.engine import Container, RunResult
    from jupyter_containers.engine.files.held_files import Attendant, OpenFiles
    from jupyter_containers.notebook.python_cell import PythonCell

OPTIONS = (
    Option(
        "in",
        "Take a variable of the notebook in as a file: df=/data/df.csv; with --python as a variable: x,y",
        None,
        "NAME=/PATH",
        repeatable=True,
        completes="data",
    ),
    Option(
        "out",
        "Make a file of the container a variable: result=/out/r.csv; with --python a variable of the cell: z",
        None,
        "NAME=/PATH",
        repeatable=True,
        completes="data",
    ),
    Option(
        "python", "The cell is Python for the python3 of the image, with the variables of --in and --out", kind="bool"
    ),
)
"""Options of ``run`` and ``exec`` that only a notebook has; before the verb or after it."""
_VERBS = frozenset({"run", "exec"})
NAMES = frozenset(option.long for option in OPTIONS)


def extended(command: Command) -> Command:
    """The verb with the options that it has in notebooks."""
    if command.name not in _VERBS:
        return command
    return dataclasses.replace(command, options=(*command.options, *OPTIONS))


class Attendance:
    """All that is to be done around one container; ``attendants`` in this order before, and after."""

    def __init__(
        self,
        verb: str,
        attendants: Sequence[Any] = (),
        cell: PythonCell | None = None,
        told: Callable[[Container], None] | None = None,
    ) -> None:
        self._verb = verb
        self._attendants = attendants
        self._cell = cell
        self._told = told

    def created(self, container: Container, files: OpenFiles) -> None:
        """It exists and was not started yet."""
        if self._told is not None:
            self._told(container)
        if self._attendants:
            with files() as held:
                for each in self._attendants:
                    each.created(container, held)

    def ended(self, container: Container, result: RunResult, files: OpenFiles) -> None:
        """It has ended and is still there."""
        if self._attendants:
            with files() as held:
                for each in self._attendants:
                    each.ended(container, result, held)

    def settle(self, *, raising: bool = True) -> None:
        """Set the variables of the notebook; raise what was wrong, first what the cell raised."""
        for each in reversed(self._attendants):
            try:
                each.settle()
            except EngineError:
                if raising:
                    raise

    def call(self, handler: Callable[[Context, Arguments], Result], context: Context, arguments: Arguments) -> Result:
        """Run the verb's handler with all this around it."""
        attendant: Attendant = self
        try:
            if self._verb == "run":
                result = handler(dataclasses.replace(context, attendant=attendant), arguments)
            else:
                result = self._around_exec(handler, context, arguments)
        except StartFailed as error:
            raise (self._cell.explain(error) if self._cell is not None else error) from None
        return self._cell.renamed(result) if self._cell is not None else result

    def _around_exec(
        self, handler: Callable[[Context, Arguments], Result], context: Context, arguments: Arguments
    ) -> Result:
        containers, name = context.engine().containers, arguments.positionals[0]
        container = containers.get(name)
        files = partial(containers.files, name)
        self.created(container, files)
        result = handler(context, arguments)
        if isinstance(result, Ran):
            self.ended(container, result.result, files)
        return result


def arrange(
    verb: str,
    given: Arguments,
    body: str | None,
    namespace: MutableMapping[str, Any],
    told: Callable[[Container], None] | None = None,
) -> tuple[Arguments, Attendance | None]:
    """What ``--in``, ``--out`` and ``--python`` ask for, and the arguments without them.

    ``told`` gets the container as soon as it exists.

    Raises
    ------
    UsageError, NotFound, Unsupported
        for what can be refused before there is a container.
    """
    arguments = dataclasses.replace(given, options={k: v for k, v in given.options.items() if k not in NAMES})
    ins, outs, python = given.texts("in"), given.texts("out"), given.flag("python")
    if not (ins or outs or python):
        return arguments, Attendance(verb, told=told) if told is not None and verb == "run" else None
    if arguments.flag("detach") and (outs or python):
        option = "--python" if python else "--out"
        raise UsageError(f"{option} needs the end of the container, and -d does not wait for it", hint="leave out -d")
    from jupyter_containers.notebook.data import Transport, read_places  # noqa: PLC0415 - few runs carry data

    cell = None
    if python:
        if body is None:
            raise UsageError("--python runs the body of a cell", hint=f"write it below %%container {verb} --python …")
        from jupyter_containers.notebook.python_cell import PythonCell, read_names  # noqa: PLC0415 - as above

        names = [[text for text in texts if "=" not in text] for texts in (ins, outs)]
        ins, outs = (tuple(text for text in texts if "=" in text) for texts in (ins, outs))
        image = arguments.positionals[0]
        cell = PythonCell(body, read_names("in", names[0]), read_names("out", names[1]), namespace, image)
        arguments = cell.rewrite(verb, arguments)
    places = Transport(read_places("in", ins), read_places("out", outs), namespace)
    return arguments, Attendance(
        verb, [places, *([cell] if cell is not None else [])], cell, told if verb == "run" else None
    )
