from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import EngineError, InvalidInput, Unsupported
from jupyter_containers.network.ports import Port, exposed, of_options, parse


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [Port(80)]),
        ("8080:80", [Port(80, first=8080, last=8080)]),
        ("8080:53/udp", [Port(53, "udp", first=8080, last=8080)]),
        ("8080:80/TCP", [Port(80, first=8080, last=8080)]),
        ("0.0.0.0:8080:80", [Port(80, "tcp", "0.0.0.0", 8080, 8080)]),
        ("127.0.0.1::80", [Port(80)]),
        ("0:80", [Port(80)]),
        ("[::1]:8080:80", [Port(80, "tcp", "::1", 8080, 8080)]),
        ("[::]::80", [Port(80, "tcp", "::")]),
        ("8000-8002:80", [Port(80, first=8000, last=8002)]),
        ("8000-8001:90-91", [Port(90, first=8000, last=8000), Port(91, first=8001, last=8001)]),
        ("90-91", [Port(90), Port(91)]),
    ],
)
def test_what_docker_understands(text: str, ports: list[Port]) -> None:
    assert parse(text) == ports


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "x", "80:x", "x:80", "70000", "80:70000", "0", "8080:0", "-1", "80/icmp", "8000-8001:90-92", "9-8"),
        *("::1:80:80", "[::1:80:80", "[x]:80:80", "300.1.1.1:80:80", "1:2:3:4", "80 ", "٣"),
    ],
)
def test_what_it_is_not_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"-p"):
        parse(text)


def test_a_protocol_that_cannot_be_published_is_named() -> None:
    with pytest.raises(Unsupported, match="SCTP"):
        parse("80:80/sctp")


@given(st.text(alphabet="0123456789:-./[]tcpud", max_size=25))
def test_any_text_is_ports_or_an_error(text: str) -> None:
    with suppress(EngineError):
        ports = parse(text)
        assert ports
        assert all(0 < port.target <= 65535 and 0 <= port.first <= port.last <= 65535 for port in ports)


def test_exposed_ports_are_published_where_nothing_else_is_said() -> None:
    exposes = exposed(["80/tcp", "53/udp", "9000-9001", "9/sctp"])
    assert exposes == ["80/tcp", "53/udp", "9000/tcp", "9001/tcp", "9/sctp"]
    assert of_options(["8080:80"], exposes) == [Port(80, first=8080, last=8080)]
    assert [port.key for port in of_options(["8080:80"], exposes, publish_all=True)] == [
        *("80/tcp", "53/udp", "9000/tcp", "9001/tcp")
    ]
    with pytest.raises(InvalidInput):
        exposed(["80/icmp"])
    with pytest.raises(InvalidInput):
        exposed(["0"])


def test_how_a_port_is_shown() -> None:
    assert Port(80, "udp", "0.0.0.0").bound(8080).shown == "0.0.0.0:8080->80/udp"
    assert Port(80, host="::1").bound(8080).where == "[::1]:8080"
