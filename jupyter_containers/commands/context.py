"""What a handler is given besides its arguments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, cast

from jupyter_containers.events import EventSink, Output, ignore
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Console, Engine
    from jupyter_containers.engine.files.held_files import Attendant

STREAM = "-"
"""A file's name on the command line that stands for standard input or output."""


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one command.

    ``engine`` is made on first use, so that ``version`` and a usage error cost nothing. ``lookup`` finds the value of
    a bare ``-e NAME``. ``console`` makes the front end's terminal, given the keys that detach and whether signals are
    handed on. ``stdin`` is what the front end has for the container, a ``script`` when it is the body of a cell, which
    is always handed on; ``dockerfile`` is the text of a cell. ``attendant`` is asked before a container of ``run``
    starts and after its end; ``on_stop`` is told how to stop a verb from another thread.
    """

    engine: Callable[[], Engine]
    sink: EventSink = ignore
    stdin: bytes | BinaryIO | None = None
    script: bool = False
    dockerfile: str | None = None
    console: Callable[[str | None, bool], Console] | None = None
    attendant: Attendant | None = None
    on_stop: Callable[[Callable[[], None]], None] | None = None
    lookup: Callable[[str], str | None] = field(default=os.environ.get)

    def resolve_pairs(self, entries: tuple[str, ...]) -> list[str]:
        """``NAME=value`` for every entry; a bare ``NAME`` that has no value anywhere is left out, as with Docker."""
        found = []
        for entry in entries:
            name, equals, _value = entry.partition("=")
            if equals:
                found.append(entry)
            elif (value := self.lookup(name)) is not None:
                found.append(f"{name}={value}")
        return found


class StandardOutput:
    """The front end's standard output, as a file to write to."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        """Show bytes."""
        self._sink(Output("stdout", bytes(data)))
        return len(data)


def written_to(context: Context, path: str) -> str | BinaryIO:
    """The file a verb writes to: its path, or standard output for ``-``."""
    return cast("BinaryIO", StandardOutput(context.sink)) if path == STREAM else path


def read_from(path: str) -> str:
    """The file a verb reads: its path, or that of standard input for ``-``."""
    return "/dev/stdin" if path == STREAM else path
