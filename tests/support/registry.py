"""Registries to test against: Debian's ``docker-registry`` on a port of its own, and a scripted server.

``docker-registry`` runs without authorization, with user names (``htpasswd``), or with tokens of :class:`TokenServer`.
The scripted :class:`Server` does what no registry does on purpose: cut connections, send wrong bytes, redirect.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

USER = "alice"
PASSWORD = "correct horse"
# bcrypt of PASSWORD, cost 5: made once with crypt(3), because no bcrypt is among the test's dependencies
HTPASSWD = f"{USER}:$2b$05$0123456789abcdefghijkeG78L3vLTCzcDmjO6hy3HNyZ.BRZcmKG\n"

Authorization = Literal["none", "htpasswd", "token"]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry: ``host`` is ``127.0.0.1:port``, ``storage`` its directory."""

    host: str
    storage: Path

    def blob_path(self, digest: str) -> Path:
        """Where it keeps the bytes of a blob."""
        return self.storage / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"


@contextmanager
def docker_registry(
    directory: Path, *, authorization: Authorization = "none", token_server: TokenServer | None = None
) -> Iterator[Registry]:
    """Start ``docker-registry`` with its files in a directory, and stop it in the end."""
    program = shutil.which("docker-registry")
    assert program is not None
    host = f"127.0.0.1:{free_port()}"
    storage = directory / "storage"
    storage.mkdir(parents=True)
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "a secret of the test"},
    }
    if authorization == "htpasswd":
        (directory / "htpasswd").write_text(HTPASSWD, encoding="utf-8")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    if authorization == "token":
        assert token_server is not None
        config["auth"] = {
            "token": {
                "realm": token_server.realm,
                "service": token_server.service,
                "issuer": token_server.issuer,
                "rootcertbundle": str(token_server.certificate),
            }
        }
    (directory / "config.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(directory / "config.yml")],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        try:
            _wait_for(host, process)
            yield Registry(host, storage)
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(host: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    name, _, port = host.partition(":")
    while time.monotonic() < deadline:
        assert process.poll() is None, "docker-registry ended at once"
        try:
            socket.create_connection((name, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("docker-registry did not start within 20 s")


# -- a server that follows a script ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: ``cut`` closes the connection after so many bytes of the body; ``stall`` waits before it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    stall: threading.Event | None = None


@dataclass
class Server:
    """A running scripted server; ``received`` are all requests so far."""

    host: str
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"


@contextmanager
def scripted(script: Callable[[Received], Answer]) -> Iterator[Server]:
    """Run a server that answers each request as the script says."""
    server = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self._body()
            request = Received(self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()), body)
            server.received.append(request)
            answer = script(request)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(answer.body[: answer.cut])
            if answer.stall is not None:
                self.wfile.flush()
                answer.stall.wait(30)
            if answer.cut is not None:
                self.close_connection = True

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """A client that went away is part of the tests."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.host = f"127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


# -- a token server for docker-registry --------------------------------------------------------------------------------


@dataclass
class TokenServer:
    """Gives tokens: anonymous ones for pulling, for USER all that is asked for. ``requests`` are those it got."""

    realm: str
    service: str
    issuer: str
    certificate: Path
    requests: list[Received]


@contextmanager
def token_server(directory: Path) -> Iterator[TokenServer]:
    """Run a token server with a key of its own, made by ``openssl``."""
    directory.mkdir(parents=True, exist_ok=True)
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    running = TokenServer("", "test registry", "test issuer", certificate, [])
    der = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-outform", "DER"], check=True, capture_output=True
    ).stdout

    def answer(request: Received) -> Answer:
        running.requests.append(request)
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        given = request.headers.get("Authorization")
        if given not in {None, basic}:
            return Answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}')
        form = parse_qs(request.body.decode()) if request.method == "POST" else {}
        if form and form["refresh_token"] != [PASSWORD]:
            return Answer(401)
        known = given == basic or bool(form)
        scopes = form["scope"][0].split() if form else request.query.get("scope", [])
        token = _sign(key, der, _claims(running, scopes, known=known))
        return Answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    with scripted(answer) as server:
        running.realm = f"{server.url}/token"
        yield running


def _claims(server: TokenServer, scopes: list[str], *, known: bool) -> dict[str, Any]:
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":")
        granted = [action for action in actions.split(",") if known or action == "pull"]
        access.append({"type": kind, "name": name, "actions": granted})
    now = int(time.time())
    return {
        "iss": server.issuer,
        "sub": USER if known else "",
        "aud": server.service,
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now - 10,
        "jti": str(time.monotonic_ns()),
        "access": access,
    }


def _sign(key: Path, certificate: bytes, claims: Mapping[str, Any]) -> str:
    """A JSON web token by RS256, with the certificate in its header (RFC 7515)."""
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(certificate).decode()]}
    content = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(key)], input=content.encode(), check=True, capture_output=True
    ).stdout
    return f"{content}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def fetch(url: str) -> bytes:
    """The body at an address of this machine."""
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read())
