"""The socket that a step of a build has for an SSH agent."""

from __future__ import annotations

import os
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.build.agent_relay import AgentRelay

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent that answers each of two connections by what it was told, turned round."""
    path = tmp_path / "agent.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener:
            for _ in range(2):
                connection, _address = listener.accept()
                with connection:
                    while data := connection.recv(100):
                        connection.sendall(data[::-1])

    threading.Thread(target=serve, daemon=True).start()
    return path


def ask(path: Path, *words: bytes) -> list[bytes]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        answers = []
        for word in words:
            client.sendall(word)
            answers.append(client.recv(100))
        return answers


def test_what_is_asked_is_answered_until_the_step_ends(tmp_path: Path, agent: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with AgentRelay(agent, tmp_path / "relay", mode=0o600, uid=os.getuid(), gid=os.getgid()) as relay:
        assert ask(relay.path, b"abc", b"def") == [b"cba", b"fed"]
        assert ask(relay.path, b"again") == [b"niaga"]
        assert stat.S_IMODE(relay.path.stat().st_mode) == 0o600 | (0 if os.geteuid() == 0 else 0o666)
    with pytest.raises(ConnectionRefusedError):
        ask(relay.path, b"late")
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.root
def test_the_socket_belongs_to_whom_it_is_for(tmp_path: Path, agent: Path) -> None:
    with AgentRelay(agent, tmp_path / "relay", mode=0o640, uid=1000, gid=50) as relay:
        status = relay.path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 50, 0o640)


def test_an_agent_that_is_gone(tmp_path: Path) -> None:
    relayed = AgentRelay(tmp_path / "nobody", tmp_path / "relay", mode=0o600, uid=0, gid=0)
    with relayed as relay, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(relay.path))
        assert client.recv(1) == b""
