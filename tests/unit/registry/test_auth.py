from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from jupyter_containers.errors import RegistryDenied, RegistryUnavailable
from jupyter_containers.registry.auth import Authorizer, Reply, Request
from jupyter_containers.registry.credentials import Credential, NoCredentials, StaticCredentials

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "registry.example"
BEARER = 'Bearer realm="https://auth.example/token?x=1",service="the service",scope="repository:a:pull"'
PULL = ["repository:a:pull"]
GET = Request("GET", "https://registry.example/v2/a/manifests/1")
SECRET = "s3cret"


def token(value: str = "t0", **more: object) -> Reply:
    return Reply(200, body=json.dumps({"token": value, **more}).encode())


def converse(authorizer: Authorizer, answer: Callable[[Request], Reply], scopes: list[str] = PULL) -> list[Request]:
    """All requests of one flow."""
    sent = []
    flow = authorizer.flow(GET, scopes)
    request = next(flow)
    while True:
        sent.append(request)
        try:
            request = flow.send(answer(request))
        except StopIteration:
            return sent


def bearer_server(request: Request) -> Reply:
    if request.for_token:
        return token()
    return Reply(200) if "Authorization" in request.headers else Reply(401, [BEARER])


def with_credential(credential: Credential) -> Authorizer:
    return Authorizer(HOST, StaticCredentials({HOST: credential, "other.example": Credential("eve", "other")}))


def test_a_registry_that_asks_for_nothing_gets_nothing() -> None:
    assert converse(with_credential(Credential("alice", SECRET)), lambda _: Reply(200)) == [GET]


def test_an_anonymous_token() -> None:
    first, second, third = converse(Authorizer(HOST), bearer_server)

    assert "Authorization" not in first.headers
    assert second.url.startswith("https://auth.example/token?")
    assert parse_qs(urlsplit(second.url).query) == {"x": ["1"], "service": ["the service"], "scope": PULL}
    assert "Authorization" not in second.headers
    assert third.headers["Authorization"] == "Bearer t0"


def test_a_token_for_a_user() -> None:
    _, second, _ = converse(with_credential(Credential("alice", SECRET)), bearer_server)

    assert second.headers["Authorization"] == "Basic YWxpY2U6czNjcmV0"
    assert parse_qs(urlsplit(second.url).query)["account"] == ["alice"]
    assert SECRET not in second.url


def test_an_identity_token_is_refreshed() -> None:
    _, second, _ = converse(with_credential(Credential(identity_token=SECRET)), bearer_server)

    assert (second.method, second.url) == ("POST", "https://auth.example/token?x=1")
    form = parse_qs((second.body or b"").decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == [SECRET]
    assert form["scope"] == PULL


def test_a_registry_token_is_used_as_it_is() -> None:
    _, second = converse(with_credential(Credential(registry_token="ready")), bearer_server)

    assert second.headers["Authorization"] == "Bearer ready"


def test_a_token_is_used_again_until_it_ends() -> None:
    now = [0.0]
    authorizer = Authorizer(HOST, clock=lambda: now[0])

    assert len(converse(authorizer, bearer_server)) == 3
    assert [request.headers.get("Authorization") for request in converse(authorizer, bearer_server)] == ["Bearer t0"]
    now[0] = 55.0  # of the 60 seconds a token lives when the server does not say
    again = converse(authorizer, bearer_server)
    assert [request.for_token for request in again] == [True, False]


def test_another_scope_gets_a_token_of_its_own() -> None:
    authorizer = Authorizer(HOST)
    converse(authorizer, bearer_server)

    first, second = converse(authorizer, bearer_server, ["repository:b:pull"])

    assert parse_qs(urlsplit(first.url).query)["scope"] == ["repository:b:pull"]
    assert second.headers["Authorization"] == "Bearer t0"


def test_a_scope_that_only_the_registry_knows_is_asked_for_too() -> None:
    def answer(request: Request) -> Reply:
        if request.for_token:
            return token()
        return Reply(401, ['Bearer realm="https://auth.example/",scope="repository:b:pull repository:a:pull"'])

    _, second, _ = converse(Authorizer(HOST), answer)

    assert parse_qs(urlsplit(second.url).query)["scope"] == ["repository:a:pull", "repository:b:pull"]


def test_basic() -> None:
    def answer(request: Request) -> Reply:
        return Reply(200) if "Authorization" in request.headers else Reply(401, ["Basic realm=x"])

    authorizer = with_credential(Credential("alice", SECRET))

    assert [request.headers.get("Authorization") for request in converse(authorizer, answer)] == [
        None,
        "Basic YWxpY2U6czNjcmV0",
    ]
    assert len(converse(authorizer, answer)) == 1


def test_refused_credentials_are_not_sent_again_and_not_told() -> None:
    authorizer = with_credential(Credential("alice", SECRET))
    refuse: Callable[[Request], Reply] = lambda _: Reply(401, ["Basic realm=x"])  # noqa: E731
    converse(authorizer, refuse)

    with pytest.raises(RegistryDenied, match="refuses the credentials") as denied:
        converse(authorizer, refuse)
    assert SECRET not in "\n".join(denied.value.lines())


@pytest.mark.parametrize("challenges", [["Basic realm=x"], ["Negotiate"], []])
def test_a_registry_that_wants_what_we_do_not_have(challenges: list[str]) -> None:
    with pytest.raises(RegistryDenied):
        converse(Authorizer(HOST, NoCredentials()), lambda _: Reply(401, challenges))


@pytest.mark.parametrize(
    "realm", ["http://auth.example/token", "ftp://auth.example/", "//auth.example", "", "https://user:pw@auth.example/"]
)
def test_credentials_are_not_sent_without_encryption(realm: str) -> None:
    sent = []

    def answer(request: Request) -> Reply:
        sent.append(request)
        return Reply(401, [f'Bearer realm="{realm}"'])

    with pytest.raises(RegistryDenied, match="token server"):
        converse(with_credential(Credential("alice", SECRET)), answer)
    assert sent == [GET]


def test_a_plain_registry_may_have_a_plain_token_server() -> None:
    def answer(request: Request) -> Reply:
        return token() if request.for_token else Reply(401, ['Bearer realm="http://127.0.0.1:5001/token"'])

    assert len(converse(Authorizer("localhost:5000", allow_plain=True), answer)) == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401), RegistryDenied),
        (Reply(403), RegistryDenied),
        (Reply(500), RegistryUnavailable),
        (Reply(200, body=b"<html>"), RegistryUnavailable),
        (Reply(200, body=b"[]"), RegistryUnavailable),
        (Reply(200, body=b'{"token": 7}'), RegistryUnavailable),
        (Reply(200, body=b'{"token": "a\\r\\nX: y"}'), RegistryUnavailable),
        (Reply(200, body=b'{"token": "a", "expires_in": "soon"}'), RegistryUnavailable),
    ],
)
def test_a_token_server_that_refuses_or_talks_nonsense(reply: Reply, error: type[Exception]) -> None:
    with pytest.raises(error):
        converse(Authorizer(HOST), lambda request: reply if request.for_token else Reply(401, [BEARER]))


def test_secrets_do_not_show_in_representations() -> None:
    requests = converse(with_credential(Credential("alice", SECRET, identity_token=SECRET)), bearer_server)

    assert SECRET not in repr(requests)
    assert "t0" not in repr(requests)
    assert SECRET not in repr(Credential("alice", SECRET, SECRET, SECRET))
    assert SECRET not in repr(with_credential(Credential("alice", SECRET)))
