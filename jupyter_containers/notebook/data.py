"""``--in`` and ``--out``: values of the notebook in a container's files, and its files as values.

They go straight into and out of the container's file system: nothing lies on the host meanwhile. What a variable is
decides how it is written, the suffix of the path how it is read; see :mod:`~jupyter_containers.notebook.formats`.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import EngineError, NotFound, UsageError
from jupyter_containers.notebook import formats
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping, Sequence

    from jupyter_containers.engine import Container, RunResult
    from jupyter_containers.engine.files.held_files import HeldFiles

_LISTED = 8


@dataclass(frozen=True, slots=True)
class Place:
    """``NAME=/path`` of one option."""

    option: str
    name: str
    path: str

    def __str__(self) -> str:
        """As the user wrote it."""
        return f"--{self.option} {self.name}={self.path}"


def read_places(option: str, texts: Iterable[str]) -> list[Place]:
    """The values of ``--in`` or ``--out``.

    Raises
    ------
    UsageError
        for what is not of the form ``NAME=/path``.
    """
    places = []
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            hint = f"write {name}=/path/in/the/container"
            if option == "out":
                hint += "; -o NAME keeps the result of the verb"
            raise UsageError(f"--{option} {text}: there is no path", hint=hint)
        if not name.isidentifier():
            raise UsageError(f"--{option} {text}: {name!r} is not a name in Python", hint="write NAME=/path")
        if not path.startswith("/"):
            raise UsageError(f"--{option} {text}: the path is not absolute", hint=f"write {name}=/{path}")
        places.append(Place(option, name, path))
    return places


class Transport:
    """Takes variables into a container before it starts and fetches results when it has ended.

    All that can be refused is refused when this is made, before there is a container. :meth:`settle` gives the results
    to the notebook, or raises what was wrong with them.
    """

    def __init__(self, ins: Sequence[Place], outs: Sequence[Place], namespace: MutableMapping[str, Any]) -> None:
        self._ins = [(place, _encoded(place, namespace)) for place in ins]
        self._outs = outs
        self._namespace = namespace
        self._problem: EngineError | None = None
        self._made: dict[str, Any] = {}
        self._targets = {place: _target(place, namespace) for place in outs}

    def created(self, _container: Container, files: HeldFiles) -> None:
        """Write what goes in, and make the directories of what is to come out."""
        for place, content in self._ins:
            if isinstance(content, str):
                files.copy_in(content, place.path)
            else:
                files.write(place.path, content)
        for place in self._outs:
            # For everybody to write to: the image's user need not be root. "/out/" is a directory that is to be there.
            files.make_directory(posixpath.dirname(place.path), 0o777)

    def ended(self, _container: Container, result: RunResult, files: HeldFiles) -> None:
        """Read what came out. After a failure nothing is missed."""
        for place in self._outs:
            try:
                self._made[place.name] = self._fetch(place, files)
            except EngineError as error:
                if result.exit_code == 0 and self._problem is None:
                    self._problem = error

    def settle(self) -> None:
        """Set the variables; raise what could not be read."""
        self._namespace.update(self._made)
        if self._problem is not None:
            raise self._problem

    def _fetch(self, place: Place, files: HeldFiles) -> Any:
        kind = files.is_directory(place.path)
        if kind is None:
            raise _not_written(place, files)
        target = self._targets[place]
        if target is not None:
            files.copy_out(place.path, target)
            return self._namespace[place.name]
        if kind:
            raise UsageError(
                f"{place}: it is a directory",
                hint=f"set {place.name} = Path('where') first, and it is copied there; or name a file",
            )
        return formats.decode(str(place), files.read(place.path), place.path)


def _encoded(place: Place, namespace: Mapping[str, Any]) -> bytes | str:
    """The bytes that go in, or the path on the host that is copied."""
    if place.name not in namespace:
        raise UsageError(f"{place}: the notebook has no variable {place.name}", hint="run the cell that sets it")
    value = namespace[place.name]
    if formats.kind_of(value) == "path":
        path = os.path.expanduser(os.fspath(value))
        if not os.path.exists(path):
            raise NotFound(f"{place}: {path} does not exist")
        return os.fsdecode(path)
    if formats.kind_of(value) not in {"bytes", "text"}:
        formats.check(str(place), place.path)
    return formats.encode(str(place), value, place.path)


def _target(place: Place, namespace: Mapping[str, Any]) -> str | None:
    """Where on the host a result goes to: the path that the variable is; None where it becomes a value."""
    value = namespace.get(place.name)
    if value is not None and formats.kind_of(value) == "path":
        return os.fsdecode(os.path.expanduser(os.fspath(value)))
    formats.check(str(place), place.path)
    return None


def _not_written(place: Place, files: HeldFiles) -> NotFound:
    above = posixpath.dirname(place.path.rstrip("/")) or "/"
    names = files.names(above)
    shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    return NotFound(
        f"{place}: the container did not write it", hint=f"{above} holds {shown}" if names else f"{above} is empty"
    )
