"""``jupyter-container`` as scripts use it, with real containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

PROGRAM = [sys.executable, "-m", "jupyter_containers"]


def call(*words: str, given: bytes | None = None) -> tuple[int, bytes, bytes]:
    ended = subprocess.run([*PROGRAM, *words], input=given, capture_output=True, check=False, timeout=60)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(autouse=True)
def starter() -> None:
    assert call("pull", "-q", "starter")[0] == 0


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (["no-such-program"], 127),
        (["/etc"], 126),
    ],
)
def test_the_exit_status_is_dockers(command: list[str], status: int) -> None:
    ended = call("run", "--rm", "starter", *command)
    assert ended[0] == status, ended
    assert call("ps", "-aq")[1] == b""


def test_a_run_imports_what_it_needs() -> None:
    code = (
        "import sys; from jupyter_containers import cli; status = cli.main(sys.argv[1:]); "
        "parts = ('build', 'registry', 'notebook', 'images.starter', 'layers.apply', 'network.service'); "
        "heavy = {'pandas', 'IPython', 'asyncio', 'pyroute2', 'urllib3', 'logging', 'ssl', 'email', 'http'}; "
        "heavy |= {f'jupyter_containers.{part}' for part in parts}; "
        "print(sorted(heavy & set(sys.modules)), status)"
    )
    words = ["run", "--rm", "--network=none", "starter", "true"]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "[] 0\n"


def test_a_container_killed_at_its_memory_limit_says_so() -> None:
    status, out, err = call("run", "--rm", "-m", "32m", "starter", "sh", "-c", "exec tail /dev/zero")
    assert (status, out) == (137, b"")
    assert b"killed: out of memory" in err
    assert b"32 MiB" in err


def test_bytes_pass_through_a_container() -> None:
    data = bytes(range(256)) * 1000
    assert call("run", "--rm", "-i", "starter", "cat", given=data) == (0, data, b"")
    assert call("run", "--rm", "starter", "cat", given=data) == (0, b"", b"")


def test_a_detached_container_is_found_again(tmp_path: Path) -> None:
    identity = tmp_path / "id"
    status, out, err = call("run", "-d", "--name", "web", "--cidfile", str(identity), "starter", "sleep", "1000")
    assert status == 0, err
    assert out.decode().strip() == identity.read_text().strip()
    assert call("ps", "-q", "--no-trunc")[1] == out
    assert call("exec", "-e", "A=1", "web", "sh", "-c", "echo $A; exit 5")[:2] == (5, b"1\n")
    assert call("rm", "web")[0] == 1
    assert call("rm", "-f", "web") == (0, b"web\n", b"")


def test_logs_and_wait() -> None:
    call("run", "-d", "--name", "job", "starter", "sh", "-c", "echo one; echo two >&2; exit 4")
    assert call("wait", "job")[:2] == (0, b"4\n")
    assert call("logs", "job") == (0, b"one\n", b"two\n")
    assert call("logs", "-n", "1", "job")[1:] in {(b"one\n", b""), (b"", b"two\n")}
    assert b"Exited (4)" in call("ps", "-a")[1]
    assert call("rm", "job")[0] == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_container_and_the_program(number: signal.Signals, status: int) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "run", "--rm", "starter", "sh", "-c", "echo up; sleep 1000"], stdout=subprocess.PIPE, stderr=None
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        began = time.monotonic()
        os.kill(process.pid, number)
        assert process.wait(timeout=30) == status
    assert time.monotonic() - began < 10
    assert call("ps", "-aq")[1] == b""


def test_a_build_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM starter\nRUN echo working; echo made > /made\n")
    status, out, err = call("build", "-t", "made", str(tmp_path))
    assert (status, out) == (0, b""), err
    assert b"#2 [2/2] RUN echo working; echo made > /made\n" in err
    assert b" working\n" in err
    assert b"\n#2 CACHED\n" in call("build", str(tmp_path))[2]
    status, out, _ = call("build", "-q", "-", given=b"FROM made\nRUN cat /made\n")
    assert (status, out[:7]) == (0, b"sha256:")
    assert call("run", "--rm", "made", "cat", "/made")[1] == b"made\n"
