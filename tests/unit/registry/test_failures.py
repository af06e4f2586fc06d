from __future__ import annotations

import socket

import pytest
import urllib3.exceptions
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import (
    Conflict,
    EngineError,
    ImageNotFound,
    InvalidInput,
    RegistryDenied,
    RegistryUnavailable,
    Unsupported,
)
from jupyter_containers.registry.connection import is_loopback, make_pool
from jupyter_containers.registry.failures import Problem, from_exception, from_status
from jupyter_containers.registry.transport import RetryPolicy


def body(code: str) -> bytes:
    return b'{"errors": [{"code": "%s", "message": "told so", "detail": {}}]}' % code.encode()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "MANIFEST_INVALID", InvalidInput),
        (400, "DENIED", RegistryDenied),
        (401, "UNAUTHORIZED", RegistryDenied),
        (403, "", RegistryDenied),
        (404, "MANIFEST_UNKNOWN", ImageNotFound),
        (404, "", ImageNotFound),
        (405, "UNSUPPORTED", Unsupported),
        (409, "", Conflict),
        (429, "TOOMANYREQUESTS", RegistryUnavailable),
        (500, "", RegistryUnavailable),
        (503, "UNAVAILABLE", RegistryUnavailable),
    ],
)
def test_statuses_and_codes(status: int, code: str, kind: type[EngineError]) -> None:
    error = from_status(status, {}, body(code), doing="getting it", registry="registry.example")

    assert type(error) is kind
    assert "registry.example" in error.message
    assert "\n" not in error.message


@given(st.binary(max_size=200))
def test_any_body_can_explain_a_failure(data: bytes) -> None:
    assert str(Problem.parse(data)).isprintable() or str(Problem.parse(data)) == ""


@pytest.mark.parametrize(
    "data", [b'{"errors": "x"}', b'{"errors": []}', b'{"errors": [7]}', b"[]", b"null", b'{"errors": [{"code": 5}]}']
)
def test_bodies_of_other_shapes(data: bytes) -> None:
    assert Problem.parse(data) == Problem()


def test_control_characters_of_a_stranger_are_not_printed() -> None:
    assert str(Problem.parse(b'{"errors": [{"code": "A", "message": "b\\u001b[31m\\nc"}]}')) == "A: b [31m c"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (urllib3.exceptions.NameResolutionError("h", None, socket.gaierror(-2, "x")), "its name is not known"),  # type: ignore[arg-type] # no connection is needed for the message
        (urllib3.exceptions.ReadTimeoutError(None, "https://h/?signature=secret", "x"), "does not answer in time"),  # type: ignore[arg-type] # the same
        (urllib3.exceptions.SSLError("x"), "no trusted encryption"),
        (urllib3.exceptions.ProxyError("x", Exception("https://user:secret@proxy")), "the proxy"),
        (urllib3.exceptions.ProtocolError("secret"), "the connection broke"),
    ],
)
def test_no_answer(error: urllib3.exceptions.HTTPError, text: str) -> None:
    failure = from_exception(error, doing="getting it", registry="registry.example")

    assert text in failure.message
    assert failure.hint
    assert "secret" not in "".join(failure.lines())


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]:5000", "a.localhost"]
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["registry.example", "localhost.example", "10.0.0.1", "127.0.0.1.example", "[::2]"])
def test_other_machines(host: str) -> None:
    assert not is_loopback(host)


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", ".intern.example, other.example")

    assert isinstance(make_pool("https://registry.example"), urllib3.ProxyManager)
    assert not isinstance(make_pool("https://a.intern.example"), urllib3.ProxyManager)
    assert not isinstance(make_pool("https://other.example:5000"), urllib3.ProxyManager)
    assert not isinstance(make_pool("http://127.0.0.1:5000"), urllib3.ProxyManager)


def test_pauses_grow_and_end() -> None:
    policy = RetryPolicy(attempts=3, pause=1.0)
    first, second = policy.delay(1), policy.delay(2)

    assert first is not None
    assert second is not None
    assert 0.75 <= first <= 1.25
    assert 1.5 <= second <= 2.5
    assert policy.delay(3) is None
    assert policy.delay(1, "7") == 7.0
    assert policy.delay(1, "3600") is None
