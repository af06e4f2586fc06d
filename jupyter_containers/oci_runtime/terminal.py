"""The controlling side of a container's terminal: given away, or carried to and from this command's own terminal."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import termios
from _signal import SIGWINCH, signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

from jupyter_containers.oci_runtime.failure import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_EIO = 5
_CHUNK = 65536


def check(path: str) -> None:
    """Raise :exc:`CommandError` unless there is a socket at ``path``."""
    try:
        found = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise CommandError(f"console socket {path}: {(error.strerror or '').lower()}") from None
    if not found:
        raise CommandError(f"console socket {path} is not a socket")


def give(path: str, master: int) -> None:
    """Send the descriptor to whoever listens at the socket, with the terminal's name, as runc does."""
    name = os.readlink(f"/proc/self/fd/{master}").encode() or b"/dev/ptmx"
    directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    channel = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        # by way of the directory: the path may be longer than a socket address holds
        channel.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        channel.sendmsg([name], [(SOL_SOCKET, SCM_RIGHTS, master.to_bytes(4, "little"))])
    except OSError as error:
        raise CommandError(f"console socket {path}: {(error.strerror or '').lower()}") from None
    finally:
        channel.close()
        os.close(directory)


class Relay:
    """Carries a terminal's output to standard output and standard input to it, until the container ends."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._saved: list[Any] | None = None
        self._open = True
        self._poll = select.poll()
        self._poll.register(master, select.POLLIN)
        self._poll.register(0, select.POLLIN)
        if os.isatty(0):
            self._saved = termios.tcgetattr(0)
            _make_raw(self._saved)
            signal(SIGWINCH, self._resize)
            self._resize()

    def _resize(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def turn(self, pidfd: int) -> bool:
        """Carry what there is; returns whether the process of ``pidfd`` still runs."""
        self._poll.register(pidfd, select.POLLIN)
        ready = [descriptor for descriptor, _events in self._poll.poll()]
        if self._master in ready:
            self._output()
        if 0 in ready:
            self._input()
        return pidfd not in ready

    def _output(self) -> bool:
        try:
            data = os.read(self._master, _CHUNK)
        except OSError as error:
            if error.errno != _EIO:  # what a terminal says at its end
                raise
            data = b""
        if not data:
            self._poll.unregister(self._master)
            self._open = False
            return False
        while data:
            data = data[os.write(1, data) :]
        return True

    def _input(self) -> None:
        data = os.read(0, _CHUNK)
        if not data:
            self._poll.unregister(0)
            data = b"\x04"  # the end of a file, as it is typed
        while data and self._open:
            data = data[os.write(self._master, data) :]

    def close(self) -> None:
        """Bring the last of the output, and give back the terminal as it was."""
        try:
            while self._open and select.select([self._master], [], [], 0)[0] and self._output():
                continue
        finally:
            if self._saved is not None:
                termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            os.close(self._master)


def _make_raw(mode: list[Any]) -> None:
    """Set the terminal so that every key goes to the container, termios(3) "Raw mode"."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = mode
    iflag &= ~(
        termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON | termios.INLCR | termios.IGNCR
    )
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN | termios.ISIG)
    termios.tcsetattr(0, termios.TCSADRAIN, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])
