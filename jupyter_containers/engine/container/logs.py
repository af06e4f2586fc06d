"""Reading a container's log: one JSON document a line, in the form of Docker's json-file driver.

The monitor may rotate it meanwhile: ``log.json`` becomes ``log.json.1`` and so on. A reader keeps the file it reads
open and goes on with the next newer one when it has read it to its end.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

import msgspec

from jupyter_containers import documents
from jupyter_containers.engine.moments import stamp
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from jupyter_containers.events import Stream

POLL_SECONDS = 0.05
TAIL_BLOCK = 1 << 16


class _Line(msgspec.Struct):
    log: str
    stream: str
    time: str
    attrs: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line, or a part of a long one: ``data`` with its line end, ``time`` in UTC.

    ``stamp`` is the time as written, to the nanosecond; ``details`` are the labels and variables that ``--log-opt``
    adds to each entry.
    """

    stream: Stream
    data: bytes
    time: datetime
    stamp: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries: the last ``tail`` ones, of those the ones in a span of time (ns since the epoch)."""

    tail: int | None = None
    since: int | None = None
    until: int | None = None


def read(
    path: Path, selection: Selection | None = None, *, follow: Callable[[], bool] | None = None
) -> Iterator[LogEntry]:
    """The entries of a log, oldest first.

    Parameters
    ----------
    follow
        Go on while it answers that the container runs. A file that does not exist has no entries.
    """
    wanted = selection or Selection()
    while not path.exists():  # it is made for the first output
        if not _may_come(path, follow):
            return
        time.sleep(POLL_SECONDS)
    first = stamp(wanted.since) if wanted.since is not None else ""
    last = stamp(wanted.until) if wanted.until is not None else ""
    for line in _lines(path, wanted, follow):
        entry = _entry(line)
        if entry is None or entry.stamp < first:
            continue
        if last and entry.stamp > last:
            return
        yield entry


def _may_come(path: Path, follow: Callable[[], bool] | None) -> bool:
    """Whether a file that was not there may be there later; it may have come just before the container ended."""
    return follow is not None and (follow() or path.exists())


def _lines(path: Path, wanted: Selection, follow: Callable[[], bool] | None) -> Iterator[bytes]:
    """The lines of all files, from the first one asked for."""
    files = _open_all(path)
    if wanted.tail is not None:
        files = _skip(files, wanted.tail)
    try:
        while files:
            file = files[0]
            pending = b""
            while True:
                # Asked before reading: what was printed before is then certainly read.
                going_on = follow is not None and len(files) == 1 and follow() and not _past(wanted.until)
                rotated = len(files) > 1 or not _is_current(path, file)
                while data := file.read(TAIL_BLOCK):
                    *lines, pending = (pending + data).split(b"\n")
                    yield from lines
                if rotated:
                    break
                if not going_on:
                    return
                time.sleep(POLL_SECONDS)
            if len(files) == 1:
                files += _newer(path, file)
            files.pop(0).close()
    finally:
        for file in files:
            file.close()


def _past(until: int | None) -> bool:
    return until is not None and time.time_ns() > until


def _open_all(path: Path) -> list[IO[bytes]]:
    """All files of a log, oldest first. The newest is opened first: a rotation shows one twice, and hides none."""
    files: list[IO[bytes]] = []
    seen: set[int] = set()
    number = 0
    while True:
        name = path if number == 0 else path.with_name(f"{path.name}.{number}")
        try:
            file = name.open("rb")
        except FileNotFoundError:
            if number == 0:  # just being rotated
                number += 1
                continue
            return files[::-1]
        inode = os.fstat(file.fileno()).st_ino
        if inode in seen:
            file.close()
        else:
            seen.add(inode)
            files.append(file)
        number += 1


def _newer(path: Path, file: IO[bytes]) -> list[IO[bytes]]:
    """The files that came after one: all there are, if it is among them no more."""
    inode = os.fstat(file.fileno()).st_ino
    found = _open_all(path)
    at = next((at for at, each in enumerate(found) if os.fstat(each.fileno()).st_ino == inode), -1)
    for old in found[: at + 1]:
        old.close()
    return found[at + 1 :]


def _is_current(path: Path, file: IO[bytes]) -> bool:
    """Whether the monitor still writes to it: there is no newer one."""
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:  # between two renames, or the container was removed
        return True


def _skip(files: list[IO[bytes]], tail: int) -> list[IO[bytes]]:
    """The files with the last lines, the first of them at the first line."""
    kept: list[IO[bytes]] = []
    for file in reversed(files):
        if tail <= 0 and kept:
            file.close()
            continue
        position, found = _tail_position(file, tail)
        file.seek(position)
        tail -= found
        kept.append(file)
    return kept[::-1]


def _entry(line: bytes) -> LogEntry | None:
    try:
        parsed = documents.decode(line, _Line)
    except msgspec.DecodeError:  # an empty line, or what a monitor was writing when it was killed
        return None
    # Bytes that are no UTF-8 were written as lone surrogates by the monitor.
    data = parsed.log.encode(errors="surrogateescape")
    stream: Stream = "stderr" if parsed.stream == "stderr" else "stdout"
    return LogEntry(stream, data, _moment(parsed.time), parsed.time, parsed.attrs)


def _moment(text: str) -> datetime:
    whole, _, rest = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return moment.replace(microsecond=int(rest[:6].ljust(6, "0"))) if rest else moment


def _tail_position(file: IO[bytes], lines: int) -> tuple[int, int]:
    """Where the last ``lines`` lines begin, found from the end in blocks; and how many lines that are."""
    position = file.seek(0, 2)
    found = 0
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
                    return position + index + 1, lines
    return 0, found
