"""Names and published ports of containers: the network agent, and what happens when it, or the rules, are gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Container, Engine, RunResult
from jupyter_containers.errors import EngineError, NotFound, PortInUse
from tests.support.leaks import wait_until
from tests.support.own_network import run

if TYPE_CHECKING:
    from pathlib import Path


def sh(engine: Engine, script: str, **keywords: Any) -> str:
    result = engine.containers.run("starter", ["sh", "-c", script], remove=True, **keywords)
    assert isinstance(result, RunResult)
    return result.stdout


def serve(engine: Engine, name: str, **keywords: Any) -> Container:
    script = f"while true; do echo {name} | nc -l -p 8080; done"
    made = engine.containers.run("starter", ["sh", "-c", script], detach=True, name=name, stop_timeout=0, **keywords)
    assert isinstance(made, Container)
    return made


def ask(port: int, host: str = "127.0.0.1") -> bytes:
    """What a port answers; the server is a shell loop, which is not always there."""
    deadline = time.monotonic() + 5
    while True:
        try:
            with socket.create_connection((host, port), 2) as channel:
                data = channel.recv(100)
        except OSError:
            data = b""
        if data or time.monotonic() > deadline:
            return data
        time.sleep(0.05)


def port_of(engine: Engine, name: str, key: str = "8080/tcp", at: int = 0) -> int:
    return int(engine.containers.inspect(name)["NetworkSettings"]["Ports"][key][at]["HostPort"])


def agents(store: Path) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"agent" in words and os.fsencode(store / "run" / "network") in words:
                found.append(int(entry))
    return found


def test_containers_find_each_other_by_name(net: Engine) -> None:
    net.networks.create("back", subnet="10.77.0.0/24", ipv6=True)
    net.networks.create("other")
    made = serve(net, "web", network="back", network_alias="www", ip="10.77.0.9")
    for name in ("web", "WEB", "www", made.short_id, "web.back"):
        assert "10.77.0.9" in sh(net, f"nslookup -type=a {name}", network="back"), name
    own = net.networks.inspect("back")["Containers"][made.id]["IPv6Address"].partition("/")[0]
    assert own in sh(net, "nslookup -type=aaaa web", network="back")
    assert "web.back" in sh(net, "nslookup -type=ptr 9.0.77.10.in-addr.arpa", network="back")
    assert "10.77.0.9" not in sh(net, "nslookup web", network="other")
    assert (
        sh(net, "for n in 1 2 3; do nc -w 1 web 8080 </dev/null && break; sleep 0.2; done", network="back") == "web\n"
    )
    net.containers.rename("web", "site")
    assert "10.77.0.9" in sh(net, "nslookup -type=a site", network="back")
    net.containers.stop("site")
    assert "10.77.0.9" not in sh(net, "nslookup www", network="back")


def test_an_alias_of_several_is_answered_with_all_in_turn(net: Engine) -> None:
    net.networks.create("back")
    serve(net, "one", network="back", network_alias="pool")
    serve(net, "two", network="back", network_alias="pool")
    first = sh(net, "for n in 1 2 3 4; do ping -c 1 -W 1 pool | head -1; done", network="back").split("\n")
    assert len({line.split()[2] for line in first if line}) == 2


def test_a_name_follows_connect_and_disconnect(net: Engine) -> None:
    net.networks.create("one")
    net.networks.create("two", subnet="10.77.1.0/24")
    serve(net, "web", network="one")
    net.networks.connect("two", "web", aliases=["extra"], ip="10.77.1.5")
    assert "10.77.1.5" in sh(net, "nslookup -type=a extra", network="two")
    net.networks.disconnect("two", "web")
    assert "10.77.1.5" not in sh(net, "nslookup -type=a extra", network="two")


@pytest.mark.root
def test_other_names_are_asked_of_the_given_server(net: Engine) -> None:
    net.networks.create("back")
    from jupyter_containers.network import dns

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        server.settimeout(0.2)
        made = net.containers.run(
            "starter", ["nslookup", "-type=a", "far.example"], detach=True, network="back", dns="127.0.0.1", name="asks"
        )
        assert isinstance(made, Container)
        asked = set()
        while net.containers.list():  # it may ask more than once
            with suppress(TimeoutError):
                query, client = server.recvfrom(4096)
                question = dns.parse(query)
                asked.add(question.name)
                server.sendto(dns.answer(query, question, [dns.address_record("192.0.2.44")]), client)
    assert asked == {"far.example"}
    assert net.containers.wait("asks") == 0
    assert b"192.0.2.44" in b"".join(entry.data for entry in net.containers.logs("asks"))


@pytest.mark.root
def test_a_port_is_for_this_host_alone_unless_an_address_is_given(net: Engine) -> None:
    run("ip link add out0 type veth peer name out1", "ip address add 198.51.100.1/24 dev out0", "ip link set out0 up")
    serve(net, "web", publish=["18080:8080", "0.0.0.0::8080"], expose="9/udp")
    wide = port_of(net, "web", at=1)
    (row,) = net.containers.list()
    assert row.ports == f"127.0.0.1:18080->8080/tcp, 0.0.0.0:{wide}->8080/tcp, 9/udp"
    assert ask(18080) == b"web\n"
    assert ask(wide) == b"web\n"
    assert ask(wide, "198.51.100.1") == b"web\n"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("198.51.100.1", 18080), 2)
    # a container of the same network, and the one that has the port
    loop = f"for n in 1 2 3 4 5; do nc -w 1 198.51.100.1 {wide} </dev/null && break; sleep 0.2; done"
    assert sh(net, loop) == "web\n"
    net.containers.stop("web")
    wait_until(lambda: not listens(18080) and "ports" not in rules(), what="the end of its port and its rules")


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 2):
            return True
    except OSError:
        return False


def rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def test_a_lot_of_data_passes_a_published_port_both_ways(net: Engine) -> None:
    net.containers.run(
        "starter",
        ["sh", "-c", "while nc -l -p 8080 -e cat; do :; done"],
        detach=True,
        name="echo",
        publish="18080:8080",
    )
    sent = os.urandom(1 << 20) * 8
    with _echoing(18080) as channel:
        import threading

        def send() -> None:
            channel.sendall(sent)
            channel.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        received = bytearray()
        while data := channel.recv(1 << 20):
            received += data
        thread.join()
    assert received == sent


def _echoing(port: int) -> socket.socket:
    """A connection on which the server answers; between two of them it listens for nobody."""
    for _attempt in range(100):
        channel = socket.socket()
        channel.settimeout(10)
        with suppress(OSError):
            channel.connect(("127.0.0.1", port))
            channel.sendall(b"?")
            if channel.recv(1) == b"?":
                return channel
        channel.close()
        time.sleep(0.05)
    raise AssertionError("the server never answered")


def test_a_port_in_use_is_one_error_that_names_the_holder(net: Engine) -> None:
    serve(net, "web", publish="18080:8080")
    with pytest.raises(PortInUse, match=r"port 80/tcp of .* at 127\.0\.0\.1:18080: .* by the container web") as caught:
        net.containers.run("starter", ["true"], publish="18080:80", remove=True)
    assert caught.value.exit_code == 125
    with socket.create_server(("127.0.0.1", 18081)), pytest.raises(PortInUse, match=rf"pid {os.getpid()}"):
        net.containers.run("starter", ["true"], publish="18081:80", remove=True)
    with pytest.raises(EngineError, match="no such address"):
        net.containers.run("starter", ["true"], publish="192.0.2.1:18082:80", remove=True)
    assert [row.name for row in net.containers.list(all=True)] == ["web"]
    made = net.containers.run("starter", ["sleep", "9"], detach=True, publish="18080-18085:80", name="range")
    assert isinstance(made, Container)
    assert 18080 < port_of(net, "range", "80/tcp") <= 18085


def test_ports_come_and_go_while_a_container_runs(net: Engine) -> None:
    made = serve(net, "web", publish=["8080", "18080:8080"])
    (random, _) = net.containers.ports("web")
    assert ask(random.first) == ask(18080) == b"web\n"
    net.containers.update("web", publish_add=["18081-18085:8080", "18090:53/udp"], publish_rm=["18080:8080"])
    assert [port.where for port in net.containers.ports("web")] == [random.where, "127.0.0.1:18081", "127.0.0.1:18090"]
    assert ask(random.first) == ask(18081) == b"web\n"
    assert not listens(18080)
    with socket.create_server(("127.0.0.1", 18086)), pytest.raises(PortInUse, match="18086"):
        net.containers.update("web", publish_add=["18087:8080", "18086:8080"])
    assert not listens(18087)
    with pytest.raises(NotFound, match=r"81/tcp is not published by web"):
        net.containers.update("web", publish_rm=["81/tcp"])
    net.containers.update("web", publish_rm=["18081:8080"], publish_add=["0.0.0.0:18081:8080"])
    assert [port.where for port in net.containers.ports("web")] == [random.where, "127.0.0.1:18090", "0.0.0.0:18081"]
    with socket.create_server(("127.0.0.1", 18086)), pytest.raises(PortInUse, match="18086"):
        net.containers.update("web", publish_rm=["18081:8080"], publish_add=["18081:53", "18086:8080"])
    assert ask(18081) == b"web\n"
    net.containers.update("web", publish_rm=["0.0.0.0:18081:8080"], publish_add=["18081:8080"])
    net.networks.create("back")
    net.networks.connect("back", "web")
    net.networks.disconnect("bridge", "web")
    assert len(net.containers.ports("web")) == 3
    assert ask(18081) == b"web\n"
    net.containers.update("web", publish_rm=["8080", "53/udp"])
    assert (net.containers.ports(made.id), listens(18081), listens(random.first)) == ((), False, False)
    net.containers.stop("web")
    net.containers.update("web", publish_add=["18099:8080"])
    net.containers.start("web")
    assert ask(18099) == b"web\n"


def test_names_and_ports_outlive_a_restart_by_policy(net: Engine) -> None:
    net.networks.create("back")
    script = "echo up; nc -l -p 8080 -e echo hello; exit 1"
    net.containers.run(
        "starter", ["sh", "-c", script], detach=True, name="job", network="back", restart="always", publish="18080:8080"
    )
    for _ in range(3):
        assert ask(18080) == b"hello\n"
    assert "Address" in sh(net, "nslookup -type=a job", network="back")
    net.containers.stop("job", time=0)


@pytest.mark.root
def test_a_killed_agent_and_flushed_rules_come_back_with_the_next_command(net: Engine, store_root: Path) -> None:
    net.networks.create("back")
    serve(net, "web", network="back", publish="0.0.0.0:18080:8080")
    (agent,) = agents(store_root)
    before = rules()
    os.kill(agent, signal.SIGKILL)
    run("nft flush ruleset", "nft add table inet foreign")
    wait_until(lambda: not agents(store_root), what="its end")
    net.containers.list()
    assert rules().replace("table inet foreign {\n}\n", "") == before
    assert agents(store_root) not in ([], [agent])
    assert ask(18080) == b"web\n"
    assert "Address" in sh(net, "nslookup -type=a web", network="back")


def test_the_agent_outlives_the_engine_and_ends_with_the_containers(net: Engine, store_root: Path) -> None:
    with Engine(store_root) as other:
        serve(other, "web", publish="18080:8080")
    assert ask(18080) == b"web\n"
    net.containers.remove("web", force=True)
    wait_until(lambda: not agents(store_root), what="the end of the agent")


@pytest.mark.root
def test_without_names_and_ports_there_is_no_agent(net: Engine, store_root: Path) -> None:
    serve(net, "web")
    assert agents(store_root) == []
