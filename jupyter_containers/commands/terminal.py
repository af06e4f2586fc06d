"""A person's terminal and a container: raw mode, its size, the keys that detach, signals handed on.

Whatever happens short of SIGKILL, the terminal is afterwards as it was.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import termios
import threading
import tty
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import InvalidInput
from jupyter_containers.interrupts import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from jupyter_containers.engine import Session

DETACH_KEYS = "ctrl-p,ctrl-q"
CHUNK = 1 << 16
_PROXIED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
_FORCED_AFTER = 3
_FIRST_CONTROL, _LAST_CONTROL, _DELETE = "@", "_", 127


def key_sequence(text: str) -> bytes:
    r"""The bytes of ``ctrl-p,ctrl-q``: ``ctrl-`` with a letter or one of ``@[\\]^_``, ``DEL``, or a character itself.

    Raises
    ------
    InvalidInput
        for anything else.
    """
    found = bytearray()
    for key in text.split(",") if text else ():
        control = key[5:].upper() if key.lower().startswith("ctrl-") else ""
        if len(control) == 1 and _FIRST_CONTROL <= control <= _LAST_CONTROL:
            found.append(ord(control) - ord(_FIRST_CONTROL))
        elif key == "DEL":
            found.append(_DELETE)
        elif len(key) == 1 and key.isascii():
            found.append(ord(key))
        else:
            raise InvalidInput(f"invalid detach keys {text!r}: {key!r} is no key", hint="write them as ctrl-p,ctrl-q")
    return bytes(found)


class DetachKeys:
    """Finds the keys in what is typed. What may be their beginning is held back until it is certain."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to hand on of it, and whether the keys were pressed; what follows them is dropped."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._seen]:
                self._seen += 1
                if self._seen == len(self._keys):
                    self._seen = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._seen]
            self._seen = int(byte == self._keys[0])
            if not self._seen:
                passed.append(byte)
        return bytes(passed), False


class TerminalConsole:
    """The standard streams of this process. Implements ``engine.Console``."""

    def __init__(self, stdin: int, stdout: int, *, detach_keys: str | None = None, sig_proxy: bool = True) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._keys = key_sequence(DETACH_KEYS if detach_keys is None else detach_keys)
        self._sig_proxy = sig_proxy

    def size(self) -> tuple[int, int] | None:
        """Rows and columns, where it is a terminal."""
        for descriptor in (self._stdout, self._stdin):
            with contextlib.suppress(OSError):
                found = os.get_terminal_size(descriptor)
                if found.lines and found.columns:
                    return found.lines, found.columns
        return None

    def check(self, *, stdin: bool, terminal: bool) -> None:
        """Refuse a terminal in the container whose input would come from none here."""
        if stdin and terminal and not os.isatty(self._stdin):
            raise InvalidInput(
                "the input device is not a TTY", hint="leave -t out: -i alone hands any input to the container"
            )

    def attend(self, session: Session) -> bool:
        """Carry input and output until the process has ended; False when the user has detached from it before."""
        with contextlib.ExitStack() as stack:
            if session.terminal:
                if session.stdin >= 0 and os.isatty(self._stdin):
                    stack.enter_context(_raw(self._stdin, lambda: self._resize(session)))
                stack.enter_context(_handling({signal.SIGWINCH: lambda _number, _frame: self._resize(session)}))
                self._resize(session)
            elif self._sig_proxy:
                stack.enter_context(_proxy(session))
            return Copying(session, self._stdin, self._keys if session.terminal else b"").run()

    def _resize(self, session: Session) -> None:
        size = self.size()
        if size is not None:
            session.resize(*size)


class Copying:
    """Input and output of one session, in one loop; input waits while the container does not take it."""

    def __init__(self, session: Session, source: int, keys: bytes) -> None:
        self._session = session
        self._source = source
        self._keys = DetachKeys(keys)
        self._waiting = bytearray()
        self._ending = False
        self._selector = selectors.PollSelector()  # epoll takes no regular files

    def run(self) -> bool:
        """Until all output has ended, or the detach keys were pressed (False)."""
        outputs = self._session.outputs
        with self._selector as selector:
            for descriptor in outputs:
                selector.register(descriptor, selectors.EVENT_READ)
            if self._session.stdin >= 0:
                os.set_blocking(self._session.stdin, False)
                selector.register(self._source, selectors.EVENT_READ)
            open_outputs = set(outputs)
            while open_outputs:
                for key, _events in selector.select(ATTENTION):
                    if key.fd in open_outputs:
                        data = os.read(key.fd, CHUNK)
                        if data:
                            self._session.on_output(outputs[key.fd], data)
                        else:
                            open_outputs.discard(key.fd)
                            selector.unregister(key.fd)
                    elif key.fd == self._source:
                        if not self._read():
                            return False
                    else:
                        self._write()
        return True

    def _read(self) -> bool:
        try:
            data = os.read(self._source, CHUNK)
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            self._selector.unregister(self._source)
            self._ending = True
            self._finish()
            return True
        passed, detached = self._keys.feed(data)
        self._waiting += passed
        self._write()
        return not detached

    def _write(self) -> None:
        target = self._session.stdin
        try:
            while self._waiting:
                del self._waiting[: os.write(target, self._waiting)]
        except BlockingIOError:
            if self._watched(self._source):
                self._selector.unregister(self._source)
            if not self._watched(target):
                self._selector.register(target, selectors.EVENT_WRITE)
            return
        except BrokenPipeError:  # the container has closed its input
            self._waiting.clear()
            self._ending = True
            if self._watched(self._source):
                self._selector.unregister(self._source)
        if self._watched(target):
            self._selector.unregister(target)
            if not self._ending:
                self._selector.register(self._source, selectors.EVENT_READ)
        self._finish()

    def _watched(self, descriptor: int) -> bool:
        return descriptor in self._selector.get_map()

    def _finish(self) -> None:
        if self._ending and not self._waiting:
            self._session.close_stdin()


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Signal handlers for a while; only the main thread can have any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _raw(descriptor: int, resumed: Callable[[], None]) -> Iterator[None]:
    """Raw mode: every key goes to the container. Given back while this process is stopped, and at the end."""
    saved = termios.tcgetattr(descriptor)

    def stop(number: int, _frame: FrameType | None) -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)
        with _handling({signal.SIGTSTP: signal.SIG_DFL}):  # type: ignore[dict-item]  # what signal.signal takes too
            os.kill(os.getpid(), number)
        tty.setraw(descriptor, termios.TCSADRAIN)
        resumed()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling({signal.SIGTSTP: stop, signal.SIGHUP: hang_up}):
        tty.setraw(descriptor, termios.TCSADRAIN)
        try:
            yield
        finally:
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


def _proxy(session: Session) -> contextlib.AbstractContextManager[None]:
    """Hand signals on to the container.

    One that would end any other process, and for which its first process has no handler, the kernel drops (pid
    namespaces(7)): then, and at the third one, this process does what it would have done without a container.
    """
    count = 0
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _PROXIED}

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal count
        session.signal(number)
        if number not in _ENDING:
            return
        count += 1
        if count < _FORCED_AFTER and _handles(session.pid, number):
            return
        if callable(before[number]):
            before[number](number, frame)
        raise KeyboardInterrupt

    return _handling(dict.fromkeys(_PROXIED, forward))


def _handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, proc_pid_status(5)."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("SigCgt:")), "SigCgt: 0")
    except OSError:
        return False
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
