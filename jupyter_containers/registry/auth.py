"""Authorization at a registry, without input and output: a generator asks its caller to send requests.

::

    flow = authorizer.flow(request, scope)          the caller                       the registry, its token server
    next(flow)                    -> request        sends it                         401, WWW-Authenticate: Bearer ...
    flow.send(reply)              -> token request  sends it, reads the whole body   200 {"token": ...}
    flow.send(reply)              -> request        sends it, with the token         200
    flow.send(reply)              StopIteration     has its answer: the last reply

Source: the distribution project's "Token Authentication Specification" and "OAuth2 Token Authentication"; RFC 7617 for
Basic. A token is kept for its scope as long as it lives, so most requests need no second one.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from jupyter_containers.errors import RegistryDenied, RegistryUnavailable
from jupyter_containers.records import dataclass, field, replace
from jupyter_containers.registry.challenge import Challenge, parse_challenges
from jupyter_containers.registry.credentials import Credential, Credentials, NoCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

UNAUTHORIZED = 401
_OK = 200
_CLIENT_ID = "jupyter-containers"
_DEFAULT_LIFE = 60.0
_MARGIN = 10.0
_NO_REFRESH_GRANT = frozenset({400, 404, 405})


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``for_token`` marks one to a token server, whose reply must come with its whole body."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    for_token: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; ``challenges`` are its ``WWW-Authenticate`` fields, ``body`` is that of a token request."""

    status: int
    challenges: Sequence[str] = ()
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    expires: float


@dataclass
class Authorizer:
    """Knows how to be let in at one registry.

    Parameters
    ----------
    registry
        The host as image names have it.
    credentials
        Asked once, when the registry wants to know who it is.
    allow_plain
        Whether a token server may be asked without encryption: for registries that are spoken to so themselves.
    clock
        Seconds; for tests.
    """

    registry: str
    credentials: Credentials = field(default_factory=NoCredentials)
    allow_plain: bool = False
    clock: Callable[[], float] = time.monotonic
    _tokens: dict[frozenset[str], _Token] = field(default_factory=dict, init=False, repr=False)
    _bearer: Challenge | None = field(default=None, init=False, repr=False)
    _basic: bool = field(default=False, init=False, repr=False)
    _looked_up: bool = field(default=False, init=False, repr=False)
    _credential: Credential | None = field(default=None, init=False, repr=False)

    def flow(self, request: Request, scopes: Sequence[str]) -> Generator[Request, Reply, None]:
        """Send a request with what the registry wants; see the module for the protocol.

        ``scopes`` are those the request needs, such as ``repository:library/alpine:pull``.

        Raises
        ------
        RegistryDenied
            when the registry or its token server refuses.
        RegistryUnavailable
            when the token server answers nonsense or fails.
        """
        header = self._known(scopes)
        if header is None and self._bearer is not None:  # where to ask is known from an earlier request
            header = yield from self._fetch(self._bearer, scopes, scopes)
        reply = yield _with(request, header)
        if reply.status != UNAUTHORIZED:
            return
        challenges = parse_challenges(reply.challenges)
        self._tokens.pop(frozenset(scopes), None)
        bearer = next((challenge for challenge in challenges if challenge.scheme == "bearer"), None)
        if bearer is not None:
            self._bearer = bearer
            named = bearer.parameters.get("scope", "").split()
            missing = [scope for scope in named if not any(_covers(own, scope) for own in scopes)]
            header = yield from self._fetch(bearer, scopes, [*scopes, *missing])
        elif any(challenge.scheme == "basic" for challenge in challenges):
            credential = self._lookup()
            if credential is None or not credential.username or header is not None:
                raise self._denied(refused=credential is not None)
            self._basic = True
            header = credential.basic
        else:
            raise RegistryDenied(f"{self.registry} refuses access and does not say how to authenticate")
        yield _with(request, header)

    def _known(self, scopes: Sequence[str]) -> str | None:
        """The ``Authorization`` that is known to be wanted, if any."""
        if self._basic and (credential := self._lookup()) is not None:
            return credential.basic
        token = self._tokens.get(frozenset(scopes))
        if token is not None and token.expires > self.clock():
            return f"Bearer {token.value}"
        return None

    def _lookup(self) -> Credential | None:
        if not self._looked_up:
            self._credential = self.credentials.lookup(self.registry)
            self._looked_up = True
        return self._credential

    def _fetch(
        self, challenge: Challenge, scopes: Sequence[str], wanted: Sequence[str]
    ) -> Generator[Request, Reply, str]:
        """Get a token for what is ``wanted`` and keep it for ``scopes``."""
        credential = self._lookup()
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        realm = self._realm(challenge)
        service = challenge.parameters.get("service", "")
        reply: Reply | None = None
        if credential is not None and credential.identity_token:
            reply = yield _refresh_request(realm, service, wanted, credential.identity_token)
        if reply is None or (reply.status in _NO_REFRESH_GRANT and credential is not None and credential.password):
            reply = yield _token_request(realm, service, wanted, credential)
        token = self._read_token(reply, refused=credential is not None)
        self._tokens[frozenset(scopes)] = token
        return f"Bearer {token.value}"

    def _realm(self, challenge: Challenge) -> str:
        realm = challenge.parameters.get("realm", "")
        parts = urlsplit(realm)
        allowed = {"https", "http"} if self.allow_plain else {"https"}
        if parts.scheme not in allowed or not parts.hostname or parts.username is not None:
            raise RegistryDenied(
                f"{self.registry} names a token server that credentials are not sent to: {parts.scheme}://{parts.hostname}",
                hint="a token server must be reached by https",
            )
        return realm

    def _read_token(self, reply: Reply, *, refused: bool) -> _Token:
        if reply.status in {400, 401, 403}:
            raise self._denied(refused=refused)
        if reply.status != _OK:
            raise RegistryUnavailable(
                f"the token server of {self.registry} answers with status {reply.status}", hint="try again later"
            )
        try:
            document: Any = json.loads(reply.body)
            value = document.get("token") or document.get("access_token")
            life = float(document.get("expires_in") or _DEFAULT_LIFE)
        except (ValueError, TypeError, AttributeError):
            value, life = None, 0.0
        if not isinstance(value, str) or not value or not value.isprintable():
            raise RegistryUnavailable(f"the token server of {self.registry} answers without a token")
        return _Token(value, self.clock() + max(life - _MARGIN, life / 2))

    def _denied(self, *, refused: bool) -> RegistryDenied:
        if refused:
            return RegistryDenied(
                f"{self.registry} refuses the credentials it got", hint=f"log in again: docker login {self.registry}"
            )
        return RegistryDenied(
            f"{self.registry} wants credentials, or does not have this repository",
            hint=f"check the name, or log in: docker login {self.registry}",
        )


def _covers(scope: str, other: str) -> bool:
    """Whether who has one scope needs not ask for the other."""
    resource, _, actions = scope.rpartition(":")
    other_resource, _, other_actions = other.rpartition(":")
    return resource == other_resource and set(other_actions.split(",")) <= set(actions.split(","))


def _with(request: Request, authorization: str | None) -> Request:
    if authorization is None:
        return request
    return replace(request, headers={**request.headers, "Authorization": authorization})


def _token_request(realm: str, service: str, scopes: Sequence[str], credential: Credential | None) -> Request:
    known = credential is not None and bool(credential.username)
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    headers: dict[str, str] = {"Accept": "application/json"}
    if credential is not None and known:
        query.append(("account", credential.username))
        headers["Authorization"] = credential.basic
    parts = urlsplit(realm)
    url = urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *query]), fragment=""))
    return Request("GET", url, headers, for_token=True)


def _refresh_request(realm: str, service: str, scopes: Sequence[str], identity_token: str) -> Request:
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT_ID,
        "scope": " ".join(scopes),
        "refresh_token": identity_token,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return Request("POST", realm, headers, urlencode(form).encode(), for_token=True)
