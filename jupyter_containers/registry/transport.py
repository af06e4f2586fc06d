"""Sending requests to one registry: authorization, redirects, retries, cancellation and errors, each once.

A transport may be used by several threads.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import msgspec
import urllib3.exceptions

from jupyter_containers import documents
from jupyter_containers.errors import Cancelled, Corrupt, RegistryUnavailable, size_text
from jupyter_containers.oci.names import DOCKER_HUB
from jupyter_containers.records import dataclass, field
from jupyter_containers.registry.auth import Authorizer, Reply, Request
from jupyter_containers.registry.connection import is_loopback, make_pool
from jupyter_containers.registry.credentials import Credentials, NoCredentials
from jupyter_containers.registry.failures import from_exception, from_status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from urllib3 import BaseHTTPResponse

CHUNK = 256 << 10
_HUB_HOST = "registry-1.docker.io"
_ERROR_LIMIT = 64 << 10
_TOKEN_LIMIT = 256 << 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 30.0
_ERROR = 400
_PASSING = (
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.ReadTimeoutError,
    urllib3.exceptions.ConnectTimeoutError,
)
_SETTLED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent at most, and the first pause in seconds; each further one is twice as long."""

    attempts: int = 4
    pause: float = 0.5

    def delay(self, attempt: int, retry_after: str | None = None) -> float | None:
        """Seconds to wait after a failed attempt, counted from 1; None when there shall be no further one.

        A registry that asks for more than half a minute of patience (``Retry-After``) is not asked again.
        """
        if attempt >= self.attempts:
            return None
        if retry_after is not None and retry_after.isdigit():
            return float(retry_after) if float(retry_after) <= _LONGEST_WAIT else None
        return self.pause * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, no secret


@dataclass(frozen=True, slots=True)
class Call:
    """A request as an operation states it.

    ``doing`` says in words what for, for messages. ``body`` is made anew for each attempt; ``length`` is its size in
    bytes. ``accept`` are statuses of 400 and above that are an answer. ``once`` forbids sending it again.
    """

    method: str
    url: str
    doing: str
    scopes: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Iterable[bytes]] | None = None
    length: int = 0
    accept: Collection[int] = ()
    once: bool = False


@dataclass
class Transport:
    """Speaks HTTP with one registry.

    Parameters
    ----------
    registry
        The host as image names have it: ``docker.io``, ``localhost:5000``.
    credentials
        Who to be there.
    insecure
        Hosts that may be spoken to without encryption, besides those of this machine (loopback).
    retries
        What to do about passing failures.
    """

    registry: str
    credentials: Credentials = field(default_factory=NoCredentials)
    insecure: Collection[str] = ()
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    _streams: set[BaseHTTPResponse] = field(default_factory=set, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        host = _HUB_HOST if self.registry == DOCKER_HUB else self.registry
        self._plain = is_loopback(host) or self.registry in self.insecure
        self.base = f"{'http' if self._plain else 'https'}://{host}"
        self._pool = make_pool(self.base)
        self._authorizer = Authorizer(self.registry, self.credentials, allow_plain=self._plain)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._pool.clear()

    def cancel(self) -> None:
        """Make every request that is under way in another thread fail soon with Cancelled, and every later one."""
        self._cancelled.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            shutdown = getattr(stream, "shutdown", None)  # urllib3 2.3
            if shutdown is not None:
                try:
                    shutdown()
                except (ValueError, RuntimeError, OSError):  # it ended meanwhile
                    continue

    def pause(self, seconds: float) -> None:
        """Wait, or less when the transport is cancelled; then raises Cancelled."""
        self._cancelled.wait(seconds)
        self.check()

    @contextmanager
    def request(self, call: Call) -> Iterator[BaseHTTPResponse]:
        """Send a request and follow it to its answer, whose body is not read yet; it is closed at the end.

        Raises
        ------
        ImageNotFound, RegistryDenied, RegistryUnavailable, Unsupported, InvalidInput, Conflict
            as the registry answers, or when it does not.
        Cancelled
            after :meth:`cancel`.
        """
        response = self._follow(call)
        with self._lock:
            self._streams.add(response)
        try:
            if response.status >= _ERROR and response.status not in call.accept:
                body = _read_quietly(response, _ERROR_LIMIT)
                raise from_status(response.status, response.headers, body, doing=call.doing, registry=self.registry)
            yield response
            _drain(response)
        finally:
            with self._lock:
                self._streams.discard(response)
            response.close()

    def read(self, response: BaseHTTPResponse, limit: int, *, doing: str) -> bytes:
        """The whole body; raises Corrupt when it has more than ``limit`` bytes, RegistryUnavailable when it breaks."""
        with self.reading(doing):
            data = response.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(f"{doing}: {self.registry} sends more than {size_text(limit)}")
        return data

    def read_json(self, response: BaseHTTPResponse, limit: int, *, doing: str) -> dict[str, Any]:
        """The body as a JSON object; raises Corrupt when it is none."""
        try:
            return documents.decode(self.read(response, limit, doing=doing), dict[str, Any])
        except msgspec.DecodeError as error:
            raise Corrupt(f"{doing}: {self.registry} does not answer with a JSON object") from error

    def chunks(self, response: BaseHTTPResponse, *, doing: str) -> Iterator[bytes]:
        """The body in chunks as they come; raises RegistryUnavailable when the connection breaks."""
        while True:
            with self.reading(doing):
                data = response.read1(CHUNK)
            self.check()
            if not data:
                return
            yield data

    @contextmanager
    def reading(self, doing: str) -> Iterator[None]:
        """Turn the library's exceptions into typed errors."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self.check()
            if isinstance(error, urllib3.exceptions.HTTPError):
                raise from_exception(error, doing=doing, registry=self.registry) from error
            raise RegistryUnavailable(f"{doing}: the connection to {self.registry} broke") from error

    def is_own(self, url: str) -> bool:
        """Whether an address is at this registry, so that credentials may be sent there."""
        return _origin(url) == _origin(self.base)

    def _follow(self, call: Call) -> BaseHTTPResponse:
        """Authorize, and follow redirects; what is not at the registry's own address gets no credentials."""
        url = call.url
        for _ in range(_MAX_REDIRECTS + 1):
            if urlsplit(url).scheme != "https" and not (self._plain and urlsplit(url).scheme == "http"):
                raise RegistryUnavailable(f"{call.doing}: {self.registry} leads to an address without encryption")
            response = self._converse(call, url) if self.is_own(url) else self._send(call, self._bare(call, url))
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or call.method not in {"GET", "HEAD"} or not location:
                return response
            _dispose(response)
            url = urljoin(url, location)
        raise RegistryUnavailable(f"{call.doing}: {self.registry} redirects too often")

    def _converse(self, call: Call, url: str) -> BaseHTTPResponse:
        flow = self._authorizer.flow(Request(call.method, url, call.headers), call.scopes)
        request = next(flow)
        while True:
            response = self._send(call, request)
            body = b""
            if request.for_token:
                body = _read_quietly(response, _TOKEN_LIMIT)
            reply = Reply(response.status, response.headers.getlist("WWW-Authenticate"), body)
            try:
                request = flow.send(reply)
            except StopIteration:
                return response
            except BaseException:
                _dispose(response)
                raise
            _dispose(response)

    @staticmethod
    def _bare(call: Call, url: str) -> Request:
        return Request(call.method, url, {name: text for name, text in call.headers.items() if name != "Authorization"})

    def _send(self, call: Call, request: Request) -> BaseHTTPResponse:
        """Send one request, again when it failed in a way that may pass."""
        attempt = 0
        while True:
            self.check()
            attempt += 1
            pause: float | None = None
            try:
                response = self._exchange(call, request)
            except urllib3.exceptions.HTTPError as error:
                if isinstance(error, _PASSING) and not isinstance(error, _SETTLED) and not call.once:
                    pause = self.retries.delay(attempt)
                if pause is None:
                    raise from_exception(error, doing=call.doing, registry=self.registry) from error
            else:
                if response.status in _TRANSIENT and response.status not in call.accept and not call.once:
                    pause = self.retries.delay(attempt, response.headers.get("Retry-After"))
                if pause is None:
                    return response
                _dispose(response)
            self.pause(pause)

    def _exchange(self, call: Call, request: Request) -> BaseHTTPResponse:
        body: bytes | Iterable[bytes] | None = request.body
        headers = dict(request.headers)
        if call.body is not None and not request.for_token:
            body = call.body()
            headers["Content-Length"] = str(call.length)
        return self._pool.request(
            request.method,
            request.url,
            headers={**self._pool.headers, **headers},
            body=body,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )

    def check(self) -> None:
        """Raise Cancelled when the transport was cancelled."""
        if self._cancelled.is_set():
            raise Cancelled(f"the transfer with {self.registry} was stopped")


def _read_quietly(response: BaseHTTPResponse, limit: int) -> bytes:
    """What can be read of a body that only explains a failure, or whose damage its reader detects."""
    try:
        return response.read(limit)
    except (urllib3.exceptions.HTTPError, OSError):
        return b""


def _drain(response: BaseHTTPResponse) -> None:
    """Read the rest of a short body, so that the connection can be used again."""
    _read_quietly(response, _ERROR_LIMIT)


def _dispose(response: BaseHTTPResponse) -> None:
    """Be done with an answer that is not passed on."""
    _drain(response)
    response.close()


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
