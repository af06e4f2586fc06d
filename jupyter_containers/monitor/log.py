r"""A container's log: one JSON object a line, as Docker's json-file driver writes it.

``{"log": "text\n", "stream": "stdout", "time": "2026-01-02T03:04:05.678901234Z"}``. A line of output is one entry; one
longer than 16 KiB is split into several, of which only the last ends in a newline. Output after the last newline is
written when the stream ends.
"""

from __future__ import annotations

import os
from _json import encode_basestring
from time import gmtime, strftime, time_ns

from jupyter_containers.monitor.record import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 16384
_SECOND = 1_000_000_000
_CONTINUATION = 0x80


def cut(data: bytes, longest: int = LONGEST) -> int:
    """Where to split a text that is too long: at ``longest`` bytes, or just before a UTF-8 character across that."""
    at = longest
    while at > longest - 3 and data[at] & 0xC0 == _CONTINUATION:
        at -= 1
    return at


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole entries, and the rest that may become one."""
    entries = []
    *lines, rest = data.split(b"\n")
    for line in lines:
        line += b"\n"  # noqa: PLW2901 - what split took away
        while len(line) > LONGEST:
            at = cut(line)
            entries.append(line[:at])
            line = line[at:]  # noqa: PLW2901 - the remainder is the line now
        entries.append(line)
    while len(rest) > LONGEST:
        at = cut(rest)
        entries.append(rest[:at])
        rest = rest[at:]
    return entries, rest


class Log:
    """Writes entries to a file, and starts a new one when it grows too long. It is made for the first entry.

    Attributes
    ----------
    problem
        Why entries could not be written, empty if all were. The container goes on without.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._path: str = options["path"]
        self._most: int = options.get("max_size") or 0
        self._files: int = max(1, options.get("max_file") or 1)
        self._attributes = f',"attrs":{text(options["attrs"])}' if options.get("attrs") else ""
        self._rest: dict[str, bytes] = {}
        self._second = -1
        self._stamp = ""
        self.problem = ""
        self._file = -1
        self._size = 0

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._file).st_size

    def _time(self) -> str:
        second, fraction = divmod(time_ns(), _SECOND)
        if second != self._second:
            self._second = second
            self._stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        return f"{self._stamp}.{fraction:09d}Z"

    def write(self, stream: str, data: bytes) -> None:
        """Add output; what is no whole line yet waits for its end."""
        entries, self._rest[stream] = split(self._rest.get(stream, b"") + data)
        self._append(stream, entries)

    def end(self, stream: str) -> None:
        """The stream has ended: write what has no newline."""
        rest = self._rest.pop(stream, b"")
        if rest:
            self._append(stream, [rest])

    def _append(self, stream: str, entries: list[bytes]) -> None:
        if not entries:
            return
        tail = f',"stream":"{stream}"{self._attributes},"time":"{self._time()}"}}\n'
        lines = [f'{{"log":{encode_basestring(entry.decode("utf-8", "replace"))}{tail}' for entry in entries]
        try:
            if self._file < 0:
                self._open()
            if self._most:
                for line in lines:
                    self._put_within_limit(line.encode())
            else:
                self._put("".join(lines).encode())
        except OSError as error:  # a full disk must not end the container
            self.problem = f"log: {error.strerror}"

    def _put_within_limit(self, line: bytes) -> None:
        if self._size and self._size + len(line) > self._most:
            self._rotate()
        self._put(line)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._size += len(data)

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(older):
                os.rename(older, f"{self._path}.{number}")
        if self._files == 1:
            os.unlink(self._path)
        os.close(self._file)
        self._file = -1
        self._open()

    def close(self) -> None:
        """Write what is left and close the file."""
        for stream in list(self._rest):
            self.end(stream)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
