"""What completion offers for a value: names of the store, paths, variables of the notebook."""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.errors import EngineError
from jupyter_containers.notebook.words import scalar_text
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jupyter_containers.commands.model import Completes, Option
    from jupyter_containers.notebook.session import Session

_MOST_ENTRIES: Final = 5000
"""Of a directory; a larger one is not read to its end while somebody types."""
_SPECIAL = re.compile(r"""([\s'"\\;{}])""")
_MOUNT_KEYS: Final = ("type=", "source=", "target=", "readonly", "volume-subpath=", "tmpfs-size=", "bind-propagation=")
_MOUNT_TYPES: Final = ("bind", "volume", "tmpfs", "image")
_NO_DATA: Final = frozenset({"module", "function", "type", "builtin_function_or_method", "method", "ABCMeta"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where names come from: the engine, once it is in use, and the variables of the notebook."""

    session: Session
    namespace: Mapping[str, Any]


def of_value(option: Option, last: str, around: Surroundings, *, python: bool) -> Iterable[str]:
    """The values of an option; with ``python`` those of ``--in`` and ``--out`` are names alone."""
    if option.choices:
        return option.choices
    if option.offers:
        return option.offers
    match option.completes:
        case "data":
            return _carried(last, around, python=python)
        case "mount":
            return _mounts(last, around)
        case "source" if ":" in last:
            source, _, rest = last.partition(":")
            target, colon, _mode = rest.partition(":")
            return [f"{source}:{target}:ro"] if colon else []
    return of_argument(option.completes, last, around)


def of_argument(kind: Completes, last: str, around: Surroundings) -> list[str]:
    """What an argument of some kind may be."""
    match kind:
        case "path":
            return paths(last)
        case "source":
            return [*_names("volume", around.session), *paths(last)]
        case "place":
            return [*(f"{name}:" for name in _names("container", around.session)), *paths(last)]
        case "variable":
            return [name for name, value in _variables(around) if scalar_text(value) is not None]
        case _:
            return _names(kind, around.session)


def paths(typed: str, below: str = ".") -> list[str]:
    """The paths that begin as typed, directories with a slash at their end; hidden ones when a dot was typed."""
    plain = re.sub(r"\\(.)", r"\1", typed)
    directory, _, begin = plain.rpartition("/")
    head = typed[: len(typed) - len(typed.rpartition("/")[2])]
    place = os.path.join(below, os.path.expanduser(f"{directory}/" if "/" in plain else ""))
    hidden = begin.startswith(".")
    try:
        with os.scandir(place or ".") as entries:
            found = [
                head + _SPECIAL.sub(r"\\\1", entry.name) + ("/" if entry.is_dir() else "")
                for entry in islice(entries, _MOST_ENTRIES)
                if entry.name.startswith(begin) and (hidden or not entry.name.startswith("."))
            ]
    except (OSError, ValueError):
        return []
    return sorted(found)


def _names(kind: Completes, session: Session) -> list[str]:
    """Names in the store; none before the engine was used, for completion must be quick and change nothing."""
    if not session.started or kind not in {"image", "container", "network", "volume", "name"}:
        return []
    engine = session.engine()
    names: list[str] = []
    try:
        if kind in {"container", "name"}:
            names += [row.name for row in engine.containers.list(all=True)]
        if kind in {"volume", "name"}:
            names += [row.name for row in engine.volumes.list()]
        if kind in {"network", "name"}:
            names += [row.name for row in engine.networks.list()]
        if kind in {"image", "name"}:
            names += [f"{row.repository}:{row.tag}" for row in engine.images.list() if row.repository is not None]
    except (EngineError, OSError):
        # A store that cannot be read says so when a verb is run, not while somebody types.
        return []
    return sorted(set(names))


def _variables(around: Surroundings) -> list[tuple[str, Any]]:
    """The variables of the notebook that hold data, not those of IPython."""
    return sorted(
        (name, value)
        for name, value in around.namespace.items()
        if not name.startswith("_")
        and name not in {"In", "Out", "exit", "quit", "get_ipython", "open"}
        and type(value).__name__ not in _NO_DATA
    )


def _carried(last: str, around: Surroundings, *, python: bool) -> list[str]:
    """``NAME=/``, or with ``--python`` also the names alone, several with commas."""
    if "=" in last:
        return []
    names = [name for name, _value in _variables(around)]
    if not python:
        return [f"{name}=/" for name in names]
    before = last[: len(last) - len(last.rpartition(",")[2])]
    return [before + name for name in names if name not in before.split(",")]


def _mounts(last: str, around: Surroundings) -> list[str]:
    """The keys of ``--mount``, its types and its sources."""
    *ready, text = last.split(",")
    given = dict(each.partition("=")[::2] for each in ready)
    key, equals, value = text.partition("=")
    if not equals:
        found = [each for each in _MOUNT_KEYS if each.rstrip("=") not in given]
    elif key == "type":
        found = list(_MOUNT_TYPES)
    elif key in {"source", "src"}:
        kind = given.get("type", "volume")
        found = paths(value) if kind == "bind" else of_argument("image" if kind == "image" else "volume", value, around)
    else:
        found = []
    before = last[: len(last) - len(value if equals else text)]
    return [before + each for each in found]
