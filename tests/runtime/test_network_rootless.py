"""A way out of a container without root. Needs ``/dev/net/tun`` and a helper; says so where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import SystemFailure, Timeout
from jupyter_containers.network import rootless

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOT_HERE = rootless.unavailable()
REACHABLE = pytest.mark.skipif(bool(NOT_HERE), reason=NOT_HERE)


@pytest.fixture
def container() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a user and a network namespace of its own."""
    command = ["unshare", "--user", "--map-root-user", "--net", "sleep", "60"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            own = os.readlink("/proc/self/ns/net")
            deadline = time.monotonic() + 5
            while process.poll() is None and os.readlink(f"/proc/{process.pid}/ns/net") == own:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            if process.poll() is not None:
                pytest.skip("this user may not make user namespaces")
            yield process
        finally:
            process.kill()


def inside(pid: int, *command: str) -> str:
    enter = ["nsenter", "--target", str(pid), "--user", "--net", "--preserve-credentials"]
    return subprocess.run([*enter, *command], capture_output=True, text=True, check=False).stdout


def helpers_of(pid: int) -> list[str]:
    """Commands that watch or serve the process."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if str(pid).encode() in words and any(b"pasta" in word or b"slirp" in word for word in words):
                found.append(b" ".join(words).decode())
    return found


def own_address() -> str:
    """An address of this machine that is not loopback; empty if it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            channel.connect(("198.51.100.1", 9))
        except OSError:
            return ""
        return str(channel.getsockname()[0])


@pytest.mark.rootless
@REACHABLE
@pytest.mark.parametrize("helper", rootless.HELPERS)
def test_a_container_reaches_a_machine_and_the_helper_ends_with_it(
    container: subprocess.Popen[bytes], helper: str
) -> None:
    if shutil.which(helper) is None:
        pytest.skip(f"{helper} is not installed")
    connection = rootless.connect(container.pid, helper=helper)
    assert (connection.helper, connection.notice) == (helper, "")
    assert f"default via {connection.gateway}" in inside(container.pid, "ip", "route")
    assert connection.address in inside(container.pid, "ip", "-4", "address", "show", "dev", rootless.DEVICE)
    assert helpers_of(container.pid)

    address = own_address()
    if address:
        with socket.create_server((address, 0)) as server:
            port = server.getsockname()[1]

            def answer() -> None:
                channel, _peer = server.accept()
                channel.sendall(b"reached\n")
                channel.close()

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            code = f"import socket; print(socket.create_connection(('{address}', {port}), 5).recv(99).decode())"
            assert inside(container.pid, "python3", "-c", code).strip() == "reached"
            thread.join(5)

    container.kill()
    container.wait()
    deadline = time.monotonic() + 5
    while helpers_of(container.pid):
        assert time.monotonic() < deadline, helpers_of(container.pid)
        time.sleep(0.02)


def test_without_the_device_there_is_loopback_and_a_notice(
    container: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rootless, "HELPERS", ("true",))
    connection = rootless.connect(container.pid, tun=str(tmp_path / "tun"))
    assert connection.helper == "none"
    assert "no way to other machines" in connection.notice
    assert "chmod 666" in connection.notice


def test_without_a_helper_the_notice_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootless, "HELPERS", ("no-such-helper",))
    assert "apt-get install passt" in rootless.connect(os.getpid()).notice


def script(directory: Path, text: str) -> str:
    path = directory / "pasta"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_helper_that_gives_up_is_quoted(container: subprocess.Popen[bytes], tmp_path: Path) -> None:
    helper = script(tmp_path, "echo some words >&2; echo no such luck >&2; exit 1")
    with pytest.raises(SystemFailure, match="no such luck"):
        rootless.connect(container.pid, helper=helper, tun="/dev/null")


def test_a_helper_that_hangs_is_ended(container: subprocess.Popen[bytes], tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    helper = script(tmp_path, f"echo $$ > {mark}; exec sleep 60")
    with pytest.raises(Timeout, match=r"within 0\.5 s"):
        rootless.connect(container.pid, helper=helper, tun="/dev/null", timeout=0.5)
    process = mark.read_text().strip()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{process}/root") and "sleep" in _command(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def test_a_container_that_ends_meanwhile_is_reported(container: subprocess.Popen[bytes], tmp_path: Path) -> None:
    helper = script(tmp_path, "exec sleep 60")
    threading.Timer(0.2, container.kill).start()
    with pytest.raises(SystemFailure):
        rootless.connect(container.pid, helper=helper, tun="/dev/null", timeout=10)
