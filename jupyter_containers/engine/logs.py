"""Reading a container's log: one JSON document a line, in the form of Docker's json-file driver."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.events import Stream

POLL_SECONDS = 0.05
TAIL_BLOCK = 1 << 16


class _Line(msgspec.Struct):
    log: str
    stream: str
    time: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line, or a part of a long one: ``data`` with its line end, ``time`` in UTC."""

    stream: Stream
    data: bytes
    time: datetime


def read(path: Path, *, tail: int | None = None, follow: Callable[[], bool] | None = None) -> Iterator[LogEntry]:
    """The entries of a log, oldest first.

    Parameters
    ----------
    tail
        Only the last so many.
    follow
        Go on while it answers that the container runs. A file that does not exist has no entries.
    """
    while not path.exists():
        if follow is None or not follow():
            return
        time.sleep(POLL_SECONDS)
    with path.open("rb") as file:
        if tail is not None:
            file.seek(_tail_position(path, tail))
        pending = b""
        while True:
            # Asked before reading: what was printed before it ended is then certainly read.
            going_on = follow is not None and follow()
            while data := file.read(TAIL_BLOCK):
                *lines, pending = (pending + data).split(b"\n")
                yield from (_entry(line) for line in lines if line)
            if not going_on:
                return
            time.sleep(POLL_SECONDS)


def _entry(line: bytes) -> LogEntry:
    parsed = msgspec.json.decode(line, type=_Line)
    # Bytes that are no UTF-8 were written as lone surrogates by the monitor.
    data = parsed.log.encode(errors="surrogateescape")
    return LogEntry("stderr" if parsed.stream == "stderr" else "stdout", data, _moment(parsed.time))


def _moment(text: str) -> datetime:
    whole, _, rest = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return moment.replace(microsecond=int(rest[:6].ljust(6, "0"))) if rest else moment


def _tail_position(path: Path, lines: int) -> int:
    """Where the last ``lines`` lines begin: found from the end, in blocks."""
    with path.open("rb") as file:
        position = file.seek(0, 2)
        found, block = 0, b""
        while position > 0:
            step = min(TAIL_BLOCK, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            # The line end that closes the last line does not begin another one.
            for index in range(len(block) - 1, -1, -1):
                if block[index : index + 1] == b"\n":
                    found += 1
                    if found > lines:
                        return position + index + 1
    return 0
