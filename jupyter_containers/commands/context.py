"""What a handler is given besides its arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from jupyter_containers.events import EventSink, ignore

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one command.

    ``engine`` is made on first use, so that ``version`` and a usage error cost nothing. ``lookup`` finds the value of
    a bare ``-e NAME``. ``stdin`` is what the front end has for the container, a ``script`` when it is the body of a
    cell, which is always handed on; ``dockerfile`` is the text of a cell.
    """

    engine: Callable[[], Engine]
    sink: EventSink = ignore
    stdin: bytes | BinaryIO | None = None
    script: bool = False
    dockerfile: str | None = None
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
