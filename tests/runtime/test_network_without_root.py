"""The networks of an ordinary user: one namespace for all containers, a way out, nothing once nobody needs it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Container, Engine, RunResult
from jupyter_containers.errors import PermissionDenied
from jupyter_containers.network import host, rootless
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.rootless

HELPER = b"passt"  # what pasta is called once it runs
ASK = "for n in 1 2 3 4 5; do nc -w 1 {0} 8080 </dev/null >said; test -s said && break; sleep 0.2; done; cat said"


def sh(engine: Engine, script: str, **keywords: Any) -> str:
    result = engine.containers.run("starter", ["sh", "-c", script], remove=True, **keywords)
    assert isinstance(result, RunResult)
    return result.stdout


def serve(engine: Engine, name: str, **keywords: Any) -> Container:
    script = f"while true; do echo {name} | nc -l -p 8080; done"
    made = engine.containers.run("starter", ["sh", "-c", script], detach=True, name=name, stop_timeout=0, **keywords)
    assert isinstance(made, Container)
    return made


def ask(port: int) -> bytes:
    """What a port answers; the server is a shell loop, which is not always there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as channel:
            return channel.recv(9)
    except OSError:
        return b""


def ours(*names: bytes) -> Iterator[int]:
    """The processes of this user whose names begin so."""
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == os.getuid():
                with open(f"/proc/{entry}/stat", "rb") as file:
                    text = file.read()
                state = text.rpartition(b")")[2].split()[0]
                if text.partition(b"(")[2].startswith(names) and state != b"Z":
                    yield int(entry)


def test_containers_of_two_engines_share_networks_until_nobody_needs_them(net: Engine, store_root: Path) -> None:
    with Engine(store_root) as other:
        serve(other, "web", publish="18080:8080")  # in the default network
    net.networks.create("back")
    net.networks.connect("back", "web", aliases=["www"])
    assert sh(net, ASK.format("www"), network="back") == "web\n"
    assert "nc -l" in sh(net, "ps", pid="container:web")
    assert sh(net, "ip addr show eth0; ip route", network="container:web").count("default via") == 1
    with pytest.raises(PermissionDenied, match="macvlan network needs root"):
        net.networks.create("lan", driver="macvlan", options={"parent": "lo"})
    net.containers.remove("web", force=True)
    assert sh(net, "ls /sys/class/net", network="host").split() == sorted(os.listdir("/sys/class/net"))
    net._parts.network_namespace.close()  # as an engine does at its end
    wait_until(lambda: not [*ours(b"jc-network", b"jc-netns", HELPER)], what="the end of all of it")


@pytest.mark.parametrize("victim", [b"jc-network", b"jc-netns", HELPER])
def test_what_was_killed_comes_back_with_the_next_command(net: Engine, victim: bytes) -> None:
    if victim == HELPER and (missing := rootless.unavailable()):
        pytest.skip(missing)
    net.networks.create("back")
    serve(net, "web", network="back", publish="18080:8080")
    killed = [*ours(victim)]
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not set(killed) & {*ours(victim)}, what="its end")
    net.containers.list()
    assert [*ours(victim)]
    assert sh(net, ASK.format("web"), network="back") == "web\n"
    wait_until(lambda: ask(18080) == b"web\n", what="an answer of the port")
    if not rootless.unavailable():
        (holder,) = ours(b"jc-netns")
        assert rootless.connected(holder)


def test_the_outside_is_reached_where_there_is_a_helper_and_else_the_loss_is_said(net: Engine) -> None:
    missing = rootless.unavailable()
    result = net.containers.run("starter", ["true"], remove=True)
    assert isinstance(result, RunResult)
    assert result.notices == ((missing,) if missing else ())
    address = host.address()
    if missing or not address:
        return
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            channel, _peer = server.accept()
            channel.sendall(b"reached\n")
            channel.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        # An input that does not end: pasta of 2023 loses the end of a connection that both sides end at once.
        script = f"mkfifo quiet; nc outside {port} <>quiet"
        assert sh(net, script, add_host="outside:host-gateway") == "reached\n"
        thread.join(5)


def test_a_helper_that_gives_up_is_quoted_and_containers_run_all_the_same(
    net: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rootless.unavailable():
        pytest.skip(rootless.unavailable())
    helper = tmp_path / "pasta"
    helper.write_text("#!/bin/sh\necho no such luck >&2; exit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    serve(net, "web", publish="18080:8080")
    result = net.containers.run("starter", ["true"], remove=True)
    assert isinstance(result, RunResult)
    (notice,) = result.notices
    assert "no way to other machines: pasta could not connect the container: no such luck" in notice
    wait_until(lambda: ask(18080) == b"web\n", what="an answer of the port")
