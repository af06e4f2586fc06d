"""Run a command as an ordinary user that exists only for it, from a root shell.

Two kinds of user are made, the two rootless rungs of the isolation ladder:

``single``
    a number without an entry in any database and without subordinate ids;
``subids``
    a user with a name, 65,536 subordinate ids, and access to ``/dev/net/tun``. The entries are in copies of
    ``/etc/passwd`` and its like, bind-mounted in a mount namespace of the command's own: the machine is not changed.

The command gets a home, a temporary and a run-time directory of its own, which are removed with everything in them
when it ended; processes of the user that outlive it are killed and reported.

Used as a program too: ``python3 tests/support/unprivileged.py subids -- COMMAND...`` (as root).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Kind: TypeAlias = Literal["single", "subids"]

FIRST_UID, UIDS = 61_000, 4_000
FIRST_SUBID = 0x7000_0000
SUBIDS = 65_536
# Kept from the caller's environment: what finds programs and packages, and what says how to print.
KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "TZ", "CI", "COLUMNS", "SSL_CERT_FILE", "VIRTUAL_ENV")

# Seconds in which what ends after its owner (a monitor, one that waits for a container) may do so on a busy machine.
_PATIENCE = 10.0

_CLONE_NEWNS = 0x0002_0000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x4_0000


@contextmanager
def unused_uid() -> Iterator[int]:
    """A uid that nobody has and no process uses, kept from other runs on this machine for as long as it is needed."""
    running = set()
    for entry in _pids():
        with suppress(FileNotFoundError):  # it has just ended
            running.add(Path(f"/proc/{entry}").stat().st_uid)
    for uid in range(FIRST_UID, FIRST_UID + UIDS):
        if uid in running or _has_name(uid):
            continue
        with socket.socket(socket.AF_UNIX) as claim:  # an abstract name: the kernel frees it however this process ends
            try:
                claim.bind(f"\0jupyter-containers-tests-{uid}")
            except OSError:
                continue
            yield uid
            return
    raise LookupError(f"no unused uid from {FIRST_UID} to {FIRST_UID + UIDS - 1}")


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def first_subid(uid: int) -> int:
    """The first of the user's subordinate ids; no two users have one in common."""
    return FIRST_SUBID + (uid - FIRST_UID) * SUBIDS


@contextmanager
def directories(uid: int) -> Iterator[Path]:
    """A short temporary directory of the user's (socket paths are 107 bytes at most), removed afterwards."""
    base = Path(tempfile.mkdtemp(prefix="jc", dir="/tmp"))
    try:
        base.chmod(0o711)
        for name in ("home", "tmp", "run"):
            directory = base / name
            directory.mkdir(mode=0o700)
            os.chown(directory, uid, uid)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def environment(base: Path, uid: int, *, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a fresh log-in, with the user's own directories."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    return {
        **kept,
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "XDG_RUNTIME_DIR": str(base / "run"),
        "USER": name_of(uid),
        "LOGNAME": name_of(uid),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(extra or {}),
    }


def name_of(uid: int) -> str:
    """The user's name in the copies of the databases."""
    return f"jc{uid}"


def run(
    kind: Kind,
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
    timeout: float | None = None,
    output: IO[bytes] | None = None,
) -> tuple[int, list[str]]:
    """Run the command; its exit status, and the processes that it left behind (killed by then).

    What it prints goes to ``output`` instead of to this process's own. Raises ``PermissionError`` unless called by
    root, ``subprocess.TimeoutExpired`` when it takes longer than ``timeout`` seconds.
    """
    if os.geteuid() != 0:
        raise PermissionError("only root can become another user")
    with unused_uid() as uid, directories(uid) as base:
        program = [
            sys.executable,
            "-I",
            os.path.abspath(__file__),
            "--enter",
            str(base),
            str(uid),
            kind,
            "--",
            *command,
        ]
        try:
            done = subprocess.run(
                program,
                cwd=cwd,
                env=environment(base, uid, extra=extra),
                stdout=output,
                stderr=output,
                timeout=timeout,
                check=False,
            )
        finally:
            left = _end_processes(uid)
    return done.returncode, left


def _end_processes(uid: int) -> list[str]:
    """Kill what still runs under the uid (and under its subordinate ids) after a while; what it was."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and any(_belongs(pid, uid) for pid in _pids()):
        time.sleep(0.1)
    found: list[str] = []
    for _attempt in range(50):
        running = [pid for pid in _pids() if _belongs(pid, uid)]
        if not running:
            break
        for pid in running:
            command = _command(pid)
            if command and f"{command} ({pid})" not in found:
                found.append(f"{command} ({pid})")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
    return found


def _belongs(pid: int, uid: int) -> bool:
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
        fields = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    real = next((line.split()[1] for line in fields.splitlines() if line.startswith("Uid:")), "0")
    ids = {owner, int(real)}
    return uid in ids or any(first_subid(uid) <= one < first_subid(uid) + SUBIDS for one in ids)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(bytes(1), b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and os.path.exists(f"/proc/{entry}")]


def _libc_call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _bind(source: Path, target: str) -> None:
    _libc_call("mount", os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND), None)


def _give_databases(base: Path, uid: int) -> None:
    """Bind copies of the databases, with the user in them, over the machine's."""
    etc = base / "etc"
    etc.mkdir(mode=0o755)
    user = name_of(uid)
    lines = {
        "passwd": f"{user}:x:{uid}:{uid}::{base}/home:/bin/sh\n",
        "group": f"{user}:x:{uid}:\n",
        "subuid": f"{user}:{first_subid(uid)}:{SUBIDS}\n",
        "subgid": f"{user}:{first_subid(uid)}:{SUBIDS}\n",
    }
    for name, line in lines.items():
        original = Path("/etc") / name
        text = original.read_text(encoding="utf-8")
        copy = etc / name
        copy.write_text(text + ("" if text.endswith("\n") or not text else "\n") + line, encoding="utf-8")
        copy.chmod(0o644)
        _bind(copy, str(original))


def _give_tun(base: Path) -> None:
    """A tun device that everybody may open, as desktop distributions have it; nothing where there is none."""
    device = "/dev/net/tun"
    if os.path.exists(device):
        node = base / "tun"
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 200))
        node.chmod(0o666)
        _bind(node, device)


def enter(base: Path, uid: int, kind: Kind, command: Sequence[str]) -> None:
    """Become the user and execute the command; does not come back."""
    _libc_call("unshare", ctypes.c_int(_CLONE_NEWNS))
    _libc_call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    if kind == "subids":
        _give_databases(base, uid)
        _give_tun(base)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execvp(command[0], list(command))


def main(argv: Sequence[str]) -> int:
    """The command line: ``KIND -- COMMAND...``."""
    own, separator, command = list(argv), "--", list[str]()
    if separator in own:
        place = own.index(separator)
        own, command = own[:place], own[place + 1 :]
    parser = argparse.ArgumentParser(
        description="run a command as a temporary ordinary user", usage="%(prog)s KIND -- COMMAND..."
    )
    parser.add_argument("--enter", nargs=2, metavar=("BASE", "UID"), help=argparse.SUPPRESS)
    parser.add_argument("kind", choices=["single", "subids"])
    options = parser.parse_args(own)
    if not command:
        parser.error("a command is missing")
    if options.enter:
        enter(Path(options.enter[0]), int(options.enter[1]), options.kind, command)
    status, left = run(options.kind, command)
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
