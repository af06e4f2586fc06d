"""A container goes to another store with all it has; killed at any step, either side, it is in one place."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.errors import Conflict, EngineError, Unavailable, Unsupported
from tests.support import leaks
from tests.support.moves import KILLED_AT_FRAME, await_receivers, where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = ["sh", "-c", "echo begun; exec sleep 10000"]


@pytest.fixture
def box(engine: Engine) -> Engine:
    """An engine with a container ``job`` that has written to its layer and to a volume, and runs."""
    engine.images.pull("starter")
    engine.containers.run(
        "starter", SCRIPT, detach=True, network="none", name="job", volume="kept:/kept", env={"A": "b"}
    )
    sh(
        engine,
        "echo mine > /mine; echo kept > /kept/file; rm /etc/hostname /usr/share/udhcpc -rf; chmod 700 /tmp; mkdir /d",
    )
    return engine


def sh(engine: Engine, script: str) -> str:
    done = engine.containers.exec("job", ["sh", "-c", script])
    assert isinstance(done, RunResult)
    return done.stdout


LOOK = "cat /mine /kept/file; echo $A; ls -d /usr/share/udhcpc /d 2>/dev/null; stat -c '%a %u' /tmp / /kept"


def test_a_container_is_moved_with_all_it_has(box: Engine, other: Path) -> None:
    before, identity = sh(box, LOOK), box.containers.get("job").id
    moved = box.containers.move("job", str(other), time=0)
    assert (moved.name, moved.started, moved.failed) == ("job", True, "")
    assert box.containers.list(all=True) == []
    assert box.volumes.list() == []
    with Engine(other) as engine:
        assert engine.containers.get("job").id == identity
        assert sh(engine, LOOK) == before
        assert [entry.data for entry in engine.containers.logs("job")] == [b"begun\n", b"begun\n"]
        assert [row.name for row in engine.volumes.list()] == ["kept"]
        assert [row.repository for row in engine.images.list()] == ["starter"]
        moved = engine.containers.move("job", os.environ["JUPYTER_CONTAINERS_ROOT"], start=False, time=0)
        assert moved.started is None
        assert engine.containers.list(all=True) == []
    box.containers.start("job")
    assert sh(box, LOOK) == before


def test_what_cannot_be_moved_stays_and_runs(
    box: Engine, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = box.containers.list()[0].pid
    with Engine(other) as engine:
        engine.images.pull("starter")
        engine.containers.create("starter", ["true"], name="job")
        with pytest.raises(Conflict, match='name "job" is already in use'):
            box.containers.move("job", str(other))
        engine.containers.remove("job")
        engine.volumes.create("kept")
        with pytest.raises(Conflict, match='volume name "kept"'):
            box.containers.move("job", str(other))
        assert [row.name for row in engine.containers.list(all=True)] == []
    with pytest.raises(EngineError, match="invalid target"):
        box.containers.move("job", "nowhere")
    with pytest.raises(Unavailable, match="broke off"):
        box.containers.move("job", "/proc/nowhere")
    criu = tmp_path / "criu"
    criu.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n", encoding="utf-8")
    criu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    reason = "CRIU, which does not work here: no such luck" if os.geteuid() == 0 else "root"
    with pytest.raises(Unsupported, match=f"a live move needs {reason}"):
        box.containers.move("job", str(other), live=True)
    assert box.containers.list()[0].pid == pid


SOURCE = KILLED_AT_FRAME + textwrap.dedent("""
    from jupyter_containers import Engine
    Engine().containers.move("job", sys.argv[2], time=0)
    print("moved")
""")
TARGET = KILLED_AT_FRAME + textwrap.dedent("""
    from jupyter_containers import Engine
    Engine(sys.argv[2]).containers.receive(sys.stdin.buffer, sys.stdout.buffer)
""")


@pytest.mark.root
def test_the_source_is_killed_at_any_step(box: Engine, other: Path, store_root: Path) -> None:
    look = sh(box, LOOK)
    for frame in range(1, 40):
        command = [sys.executable, "-c", SOURCE, str(frame), str(other)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        await_receivers(other)
        told: list[object] = []
        with Engine(store_root, on_event=told.append) as again:
            here, there = where(again, other)
            assert sorted([*here, *there]) == ["job"], f"{frame}: {here} {there} {told}"
            at = again if here else None
            if done.returncode == 0:
                break
            if here:
                assert sh(again, LOOK) == look
        if at is None:
            with Engine(other) as engine:
                engine.containers.move("job", str(store_root), time=0, start=True)
    else:
        pytest.fail("it never got to the end")
    assert frame > 8
    with Engine(other) as engine:
        assert sh(engine, LOOK) == look


@pytest.fixture
def ssh_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another machine, as far as ssh can tell: its address. It takes one key, which ssh is told to use."""
    for program in ("dropbear", "dropbearkey", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"not installed: {program}")
    home, key, own, passwd = (tmp_path / name for name in ("home", "key", "own", "passwd"))
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(key.with_suffix(".pub"), home / ".ssh/authorized_keys")
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(own)], check=True, capture_output=True)
    passwd.write_text(f"root:x:0:0:root:{home}:/bin/sh\n", encoding="ascii")  # whose home has the key
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = [
        "dropbear",
        "-F",
        "-E",
        "-s",
        "-j",
        "-k",
        "-P",
        f"{tmp_path}/pid",
        "-r",
        str(own),
        "-p",
        f"127.0.0.1:{port}",
    ]
    apart = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    command = [*apart, 'mount --bind "$0" /etc/passwd; exec "$@"', str(passwd), *serve]
    options = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    monkeypatch.setenv("JUPYTER_CONTAINERS_SSH", f"ssh -i {key} {options}")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            leaks.wait_until(lambda: _listens(port), what="the ssh server")
            yield f"ssh://root@127.0.0.1:{port}"
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.root
def test_a_container_is_moved_over_ssh(
    box: Engine, other: Path, ssh_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, identity = sh(box, LOOK), box.containers.get("job").id
    program = f"{sys.executable} -m jupyter_containers"
    moved = box.containers.move("job", f"{ssh_server}{other}", time=0, program=program)
    assert (moved.name, moved.started, moved.failed) == ("job", True, "")
    assert where(box, other) == ([], ["job"])
    with Engine(other) as engine:
        assert engine.containers.get("job").id == identity
        assert sh(engine, LOOK) == look
    box.containers.run("starter", ["true"], network="none", name="stays")
    with pytest.raises(Unavailable, match="nosuch"):
        box.containers.move("stays", f"{ssh_server}{other}", program="nosuch")
    monkeypatch.setenv(
        "JUPYTER_CONTAINERS_SSH", "ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    )
    with pytest.raises(Unavailable, match="Permission denied"):
        box.containers.move("stays", f"{ssh_server}{other}", program=program)
    assert where(box, other) == (["stays"], ["job"])


@pytest.mark.root
def test_the_target_is_killed_at_any_step(
    box: Engine, other: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By way of ssh: a program in its place that runs the command here."""
    look = sh(box, LOOK)
    for frame in range(1, 12):
        ssh = tmp_path / "ssh"
        killed = shlex.join([sys.executable, "-c", TARGET, str(frame), str(other)])
        ssh.write_text(f"#!/bin/sh\nexec {killed}\n", encoding="utf-8")
        ssh.chmod(0o755)
        monkeypatch.setenv("JUPYTER_CONTAINERS_SSH", str(ssh))
        try:
            box.containers.move("job", "ssh://there", time=0)
        except Unavailable as error:
            outcome = str(error)
        else:
            outcome = "moved"
        here, there = where(box, other)
        if "it may be there" in outcome:
            # One of the two can start it: this one asks first.
            with pytest.raises(Conflict, match="it may be there"):
                box.containers.start("job")
            ssh.write_text(f"#!/bin/sh\nexec {killed.replace(f' {frame} ', ' 1000 ')}\n", encoding="utf-8")
            box.containers.move("job", "ssh://there", time=0)
            here, there = where(box, other)
            assert (here, there) == ([], ["job"])
        assert sorted([*here, *there]) == ["job"], (frame, here, there, outcome)
        if here:
            assert sh(box, LOOK) == look
            continue
        with Engine(other) as engine:
            engine.containers.move("job", str(store_root), time=0, start=True)
        assert sh(box, LOOK) == look
        if outcome == "moved":
            break
    else:
        pytest.fail("it never got to the end")
    assert frame > 4
