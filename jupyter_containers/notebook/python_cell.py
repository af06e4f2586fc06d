"""``%%container run --python IMAGE``: the cell's Python in the image, with variables in and out.

The image needs a python3. What runs there is :mod:`~jupyter_containers.notebook.carried`, alone; it is put into the
container together with the cell and the variables, in a directory of its own, and what the cell made is read there.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.results import Ran
from jupyter_containers.errors import (
    CellFailed,
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    StartFailed,
    Unsupported,
    UsageError,
)
from jupyter_containers.notebook import carried, formats

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

    from jupyter_containers.commands.model import Arguments
    from jupyter_containers.commands.results import Result
    from jupyter_containers.engine import Container, RunResult
    from jupyter_containers.engine.files.held_files import HeldFiles

_PROGRAM = "python3"


def read_names(option: str, texts: Iterable[str]) -> list[str]:
    """The names in ``--in x,y --in z``.

    Raises
    ------
    UsageError
        for what is no name.
    """
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"--{option} {name}: it is not a name in Python")
    return list(dict.fromkeys(names))


class PythonCell:
    """A cell that goes into a container; :meth:`settle` gives what it made to the notebook, or raises what it raised.

    ``image`` is for messages.
    """

    def __init__(
        self, source: str, ins: Sequence[str], outs: Sequence[str], namespace: MutableMapping[str, Any], image: str
    ) -> None:
        self._source = source
        self._outs = outs
        self._namespace = namespace
        self._image = image
        self._packed = {name: _packed(name, namespace) for name in ins}
        self._directory = f"/.cell-{secrets.token_hex(6)}"
        self._made: dict[str, Any] = {}
        self._problem: EngineError | None = None
        self._arguments: Sequence[str] = ()

    def rewrite(self, verb: str, arguments: Arguments) -> Arguments:
        """The arguments of ``run`` or ``exec`` that start the cell; what followed the image is its ``sys.argv``."""
        first, *self._arguments = arguments.positionals
        command = (first, _PROGRAM, "-u", f"{self._directory}/run.py", self._directory)
        options = {**arguments.options, **({"entrypoint": ""} if verb == "run" else {})}
        return dataclasses.replace(arguments, options=options, positionals=command)

    def created(self, _container: Container, files: HeldFiles) -> None:
        """Put the cell and its variables into the container."""
        with open(carried.__file__, "rb") as stream:
            program = stream.read()
        files.make_directory(f"{self._directory}/out", 0o777)
        files.write(f"{self._directory}/run.py", program)
        order: dict[str, Any] = {
            "source": self._source,
            "arguments": list(self._arguments),
            "in": {},
            "out": list(self._outs),
        }
        for number, (name, (kind, data)) in enumerate(self._packed.items()):
            place = f"in{number}"
            files.write(f"{self._directory}/{place}", data)
            order["in"][name] = [kind, place]
        files.write(f"{self._directory}/cell.json", json.dumps(order).encode())

    def ended(self, _container: Container, result: RunResult, files: HeldFiles) -> None:
        """Read what the cell made, or what went wrong."""
        try:
            if files.is_directory(f"{self._directory}/out/error.json") is not None:
                report = json.loads(files.read(f"{self._directory}/out/error.json"))
                self._problem = self._failure(report, result)
            elif result.exit_code == 0:
                made = json.loads(files.read(f"{self._directory}/out/made.json"))
                for name, (kind, place) in made.items():
                    self._made[name] = self._unpacked(name, kind, files.read(f"{self._directory}/{place}"))
        except EngineError as error:
            self._problem = error

    def settle(self) -> None:
        """Set the variables; raise what the cell raised."""
        self._namespace.update(self._made)
        if self._problem is not None:
            raise self._problem

    def explain(self, error: StartFailed) -> StartFailed:
        """Add what to do where the image has no Python."""
        if isinstance(error, CommandNotFound | CommandNotExecutable):
            error.hint = f"--python needs a {_PROGRAM} in {self._image}; the image starter-python has one"
        return error

    def renamed(self, result: Result) -> Result:
        """The result with the command that the user has in mind."""
        if not isinstance(result, Ran):
            return result
        command = (_PROGRAM, "the cell", *self._arguments)
        return dataclasses.replace(result, result=dataclasses.replace(result.result, command=command))

    def _unpacked(self, name: str, kind: str, data: bytes) -> Any:
        try:
            return carried.unpack(kind, data)
        except carried.CannotCarry as error:
            raise Unsupported(f"--out {name}: it needs {error.lacks}, and this notebook {error}") from error

    def _failure(self, report: dict[str, Any], result: RunResult) -> EngineError:
        if "carry" not in report:
            return CellFailed(
                report["type"],
                report["message"],
                status=result.exit_code,
                lines=tuple((number, text, name) for number, text, name in report["lines"]),
                inside=report["inside"],
                traceback_text=report["traceback"],
            )
        name, lacks = report["carry"], report["lacks"]
        option = f"--{report['way']} {name}"
        if lacks:
            return Unsupported(
                f"{option}: it needs {lacks}, and the image {self._image} {report['message'].partition(chr(10))[0]}",
                hint=f"add it to the image (RUN pip install {lacks}), or carry plain values: lists, texts, numbers",
            )
        return UsageError(f"{option}: it {report['message']}")


def _packed(name: str, namespace: MutableMapping[str, Any]) -> tuple[str, bytes]:
    if name not in namespace:
        raise UsageError(f"--in {name}: the notebook has no variable {name}", hint="run the cell that sets it")
    value = namespace[name]
    if formats.kind_of(value) == "path":
        raise UsageError(
            f"--in {name}: it is a path, and the image does not see it",
            hint=f"--in {name}=/path takes the file in; str({name}) is a plain value",
        )
    try:
        return carried.pack(value)
    except carried.CannotCarry as error:
        raise UsageError(f"--in {name}: it {error}") from error
