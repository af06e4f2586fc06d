"""The processes of a container, as the host sees them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from jupyter_containers.engine.views import ProcessTable
from jupyter_containers.errors import InvalidInput, Unsupported
from jupyter_containers.monitor.watchdog import descendants, read
from jupyter_containers.runtime import lifecycle

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_TERMINAL_MAJOR = 136
_DAY = 86_400


def pids(state_dir: str) -> list[int]:
    """All processes of a running container, the first one first: its own, and what was started in it by exec."""
    record = lifecycle.read_record(state_dir)
    if record is None:
        return []
    monitor, init = record["monitor"]["pid"], record["init"]["pid"]
    found = [pid for pid in descendants(monitor) if pid != monitor]
    return sorted(found, key=lambda pid: (pid != init, pid))


def table(found: Sequence[int], options: Sequence[str]) -> ProcessTable:
    """A row for each, in the columns of ``ps -ef``, or in those that the host's ps(1) gives for some options.

    Raises
    ------
    Unsupported
        Options were given, and the host has no ps.
    InvalidInput
        It refuses the options, or they leave out the column PID, by which rows are chosen.
    """
    if options:
        return _by_ps(set(found), options)
    rows = [row for pid in found if (row := _row(pid)) is not None]
    return ProcessTable(TITLES, tuple(rows))


def _row(pid: int) -> tuple[str, ...] | None:
    """The columns for one process, proc_pid_stat(5); None once it has ended."""
    stat, status = read(f"/proc/{pid}/stat"), read(f"/proc/{pid}/status")
    if not stat or not status:
        return None
    name, _, rest = stat.decode(errors="replace").partition("(")[2].rpartition(")")
    fields = rest.split()
    uid = next(int(line.split()[1]) for line in status.splitlines() if line.startswith(b"Uid:"))
    command = read(f"/proc/{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    hertz = os.sysconf("SC_CLK_TCK")
    seconds = (int(fields[11]) + int(fields[12])) // hertz
    age = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / hertz)
    began = time.localtime(time.time() - age)
    return (
        _user(uid),
        str(pid),
        fields[1],
        str(min(99, int(seconds * 100 // age) if age >= 1 else 0)),
        time.strftime("%H:%M" if age < _DAY else "%b%d", began),
        _terminal(int(fields[4])),
        f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        command or f"[{name}]",
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(number: int) -> str:
    major, minor = os.major(number), os.minor(number)
    return f"pts/{(major - _TERMINAL_MAJOR) * 256 + minor}" if _TERMINAL_MAJOR <= major < _TERMINAL_MAJOR + 8 else "?"


def _by_ps(wanted: set[int], options: Sequence[str]) -> ProcessTable:
    program = shutil.which("ps")
    if program is None:
        raise Unsupported("options of top are those of ps, which is not installed", hint="leave them out")
    ended = subprocess.run([program, *options], capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
        raise InvalidInput(f"ps refused the options {' '.join(options)!r}: {said}")
    header, *lines = ended.stdout.splitlines() or [""]
    titles = header.split()
    if "PID" not in titles:
        raise InvalidInput("the options of top leave out the column PID", hint="add it: -o pid,comm")
    at, columns = titles.index("PID"), len(titles)
    rows = [tuple(line.split(None, columns - 1)) for line in lines]
    return ProcessTable(tuple(titles), tuple(row for row in rows if len(row) > at and int(row[at]) in wanted))
