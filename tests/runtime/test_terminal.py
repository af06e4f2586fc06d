"""``jupyter-container`` at a real terminal: what a person types and sees."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("no_leaks")

PROGRAM = [sys.executable, "-m", "jupyter_containers"]


class Screen:
    """A terminal of 30 rows and 90 columns with a program at it."""

    def __init__(self, *words: str, program: Sequence[str] = PROGRAM) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(30, 90)
        self._before = termios.tcgetattr(self._slave)
        self.text = b""
        self.process = subprocess.Popen(
            [*program, *words],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - it makes one system call
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self._master, text)

    def expect(self, text: bytes, seconds: float = 20) -> None:
        """Read until the text has come; forget it and what came before."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                self.text += os.read(self._master, 4096)
        self.text = self.text.partition(text)[2]

    def ends(self) -> int:
        """Its exit status; its terminal is as it was."""
        status = self.process.wait(30)
        assert self.as_it_was()
        return status

    def as_it_was(self) -> bool:
        """Whether its terminal has the settings it began with."""
        return termios.tcgetattr(self._slave) == self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


def call(*words: str) -> str:
    ended = subprocess.run([*PROGRAM, *words], capture_output=True, check=False, timeout=60, text=True)
    assert ended.returncode == 0, ended
    return ended.stdout.strip()


@pytest.fixture(autouse=True)
def starter() -> None:
    call("pull", "-q", "starter")


def test_a_shell_at_a_terminal_follows_its_size_and_ends_with_its_status() -> None:
    with Screen("run", "-it", "--rm", "starter", "sh") as screen:
        screen.type(b"stty size; tty\n")
        screen.expect(b"30 90")
        screen.expect(b"/dev/pts/0")
        screen.resize(40, 100)
        time.sleep(0.2)
        screen.type(b"stty size\n")
        screen.expect(b"40 100")
        screen.type(b"sleep 100\n")
        time.sleep(0.2)
        screen.type(b"\x03")  # Ctrl-C is the shell's, not ours
        screen.type(b"echo st$((1+1))ll\n")
        screen.expect(b"st2ll")
        screen.type(b"exit 7\n")
        assert screen.ends() == 7
    assert call("ps", "-aq") == ""


def test_the_keys_leave_it_running_and_attach_comes_back() -> None:
    with Screen("run", "-it", "--name", "web", "starter", "sh") as screen:
        screen.type(b"x=kept; echo u''p\n")
        screen.expect(b"up\r\n")
        screen.type(b"\x10\x11")
        assert screen.ends() == 0
    assert call("ps", "--filter", "name=web", "-q") != ""
    with Screen("attach", "web") as first, Screen("attach", "--detach-keys", "ctrl-a,b", "web") as second:
        first.type(b"\n")
        first.expect(b"# ")
        second.type(b"echo $x-too\n")
        second.expect(b"kept-too")
        first.expect(b"kept-too")
        second.type(b"\x01b")
        assert second.ends() == 0
        first.type(b"exit 3\n")
        assert first.ends() == 3
    assert "Exited (3)" in call("ps", "-a")
    call("rm", "web")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 130)])
def test_a_signal_gives_the_terminal_back(number: signal.Signals, status: int) -> None:
    with Screen("run", "-it", "--rm", "starter", "sh") as screen:
        screen.type(b"echo u''p\n")
        screen.expect(b"up\r\n")
        os.kill(screen.process.pid, number)
        assert screen.ends() == status
    assert call("ps", "-aq") == ""


def test_the_terminal_is_given_back_while_stopped() -> None:
    # A shell with job control: what has no parent in its session cannot be stopped from a terminal.
    shell = ("sh", "-mc", '"$@"; echo stopped; read line; fg; echo ended $?', "sh", *PROGRAM)
    with Screen("run", "-it", "--rm", "starter", "sh", program=shell) as screen:
        screen.type(b"echo u''p\n")
        screen.expect(b"up\r\n")
        (child,) = Path(f"/proc/{screen.process.pid}/task/{screen.process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTSTP)
        screen.expect(b"stopped")
        assert screen.as_it_was()
        screen.type(b"go on\n")
        wait_until(lambda: not screen.as_it_was(), what="raw mode")
        screen.type(b"exit 4\n")
        screen.expect(b"ended 4")
        screen.ends()


def test_exec_and_start_at_a_terminal() -> None:
    call("run", "-d", "--name", "web", "starter", "sleep", "1000")
    with Screen("exec", "-it", "web", "sh") as screen:
        screen.type(b"stty size; exit 5\n")
        screen.expect(b"30 90")
        assert screen.ends() == 5
    with Screen("exec", "-it", "web", "sh") as screen:
        screen.type(b"echo u''p; trap 'touch /left' HUP; sleep 1; touch /stayed\n")
        screen.expect(b"up\r\n")
        screen.type(b"\x10\x11")
        assert screen.ends() == 0
    wait_until(lambda: call("exec", "web", "sh", "-c", "ls /stayed 2>/dev/null; true") == "/stayed", what="the exec")
    call("rm", "-f", "web")
    call("create", "-it", "--name", "web", "starter", "sh")
    with Screen("start", "-ai", "web") as screen:
        screen.type(b"stty size; exit 6\n")
        screen.expect(b"30 90")
        assert screen.ends() == 6
    call("rm", "web")


def test_a_terminal_needs_one_for_its_input() -> None:
    ended = subprocess.run(
        [*PROGRAM, "run", "-it", "--rm", "starter", "true"], input=b"", capture_output=True, check=False
    )
    assert ended.returncode == 125
    assert b"the input device is not a TTY" in ended.stderr
    assert call("ps", "-aq") == ""
    assert call("run", "-t", "--rm", "starter", "tty") == "/dev/pts/0"


def test_signals_are_handed_on_without_a_terminal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo up; while true; do sleep 0.05; done"
    with out.open("wb") as file:
        process = subprocess.Popen([*PROGRAM, "run", "--rm", "starter", "sh", "-c", script], stdout=file)
    with process:
        wait_until(lambda: out.read_text() == "up\n", what="its start", seconds=20)
        os.kill(process.pid, signal.SIGUSR1)
        wait_until(lambda: out.read_text() == "up\nusr1\n", what="the signal")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 9
    assert out.read_text() == "up\nusr1\nterm\n"


def test_attach_without_a_terminal_hands_on_input_and_leaves_it_running() -> None:
    call("run", "-di", "--name", "web", "starter", "sh", "-c", "while read line; do echo got $line; done; sleep 100")
    process = subprocess.Popen([*PROGRAM, "attach", "web"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"got one\n"
        process.stdin.close()
        process.stdin = None
        process.kill()
    assert call("exec", "web", "echo", "there") == "there"
    call("rm", "-f", "web")


def test_a_shell_in_what_a_failed_step_left(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM starter\nENV A=b\nRUN echo half > /half; exit 3\n")
    with Screen("build", "--debug", "--network=none", str(tmp_path)) as screen:
        screen.expect(b"RUN ended with exit status 3")
        screen.expect(b"# ")
        screen.type(b"echo $A-$(cat /half)-$(tty); exit\n")
        screen.expect(b"b-half-/dev/pts/0")
        screen.expect(b"RUN ended with exit status 3")
        assert screen.ends() == 1
