"""Where user names and passwords for registries come from: Docker's configuration file and its credential helpers.

Source: Docker's ``config.json`` (``auths``, ``credsStore``, ``credHelpers``) and its credential helpers' protocol:
``docker-credential-<name> get`` reads a server's name from standard input and writes JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_containers.errors import InvalidInput
from jupyter_containers.oci.names import DOCKER_HUB
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

HUB_KEY = "https://index.docker.io/v1/"
_HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_SECONDS = 30
_TOKEN_USER = "<token>"  # noqa: S105 - the helpers' mark for an identity token, no secret


@dataclass(frozen=True, slots=True)
class Credential:
    """What identifies a user to one registry; secrets do not show in its ``repr``.

    Either a name and a password, or ``identity_token`` (an OAuth2 refresh token), or ``registry_token`` (a bearer
    token to be used as it is).
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of ``Authorization`` by RFC 7617."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


class Credentials(Protocol):
    """A source of credentials. Called before the first request to a registry that asks for some, from any thread."""

    def lookup(self, registry: str) -> Credential | None:
        """The credential for a registry's host (``docker.io``, ``localhost:5000``), or None for none.

        Raises
        ------
        InvalidInput
            when the source cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """Everything is asked for anonymously."""

    def lookup(self, registry: str) -> Credential | None:  # noqa: ARG002 - the protocol's parameter
        """None."""
        return None


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Credentials given by the caller, by registry host."""

    by_registry: Mapping[str, Credential] = field(repr=False)

    def lookup(self, registry: str) -> Credential | None:
        """The one given for this very host."""
        return self.by_registry.get(registry)


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """Credentials from Docker's configuration file, read at each lookup so that a log-in counts at once.

    Parameters
    ----------
    path
        The file; by default ``config.json`` in ``$DOCKER_CONFIG`` or ``~/.docker``.
    """

    path: Path | None = None

    def lookup(self, registry: str) -> Credential | None:
        """What ``docker login`` stored for the host: a helper of the host, then the file, then the general helper.

        Raises
        ------
        InvalidInput
            when the file is not what Docker writes, or a helper named in it fails.
        """
        document = self._read()
        keys = _keys(registry)
        helpers = _mapping(document.get("credHelpers"))
        for key in keys:
            if isinstance(name := helpers.get(key), str) and name:
                return _ask_helper(name, key)
        auths = _mapping(document.get("auths"))
        for key in keys:
            credential = self._stored(_mapping(auths.get(key)), registry)
            if credential is not None:
                return credential
        if isinstance(name := document.get("credsStore"), str) and name:
            return _ask_helper(name, keys[0])
        return None

    def _file(self) -> Path:
        if self.path is not None:
            return self.path
        directory = os.environ.get("DOCKER_CONFIG")
        return (Path(directory) if directory else Path("~/.docker").expanduser()) / "config.json"

    def _read(self) -> Mapping[str, Any]:
        path = self._file()
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise InvalidInput(f"the registry credentials in {path} cannot be read: {error.strerror}") from error
        except ValueError:
            # The parser's message may quote the file; it holds passwords.
            raise InvalidInput(f"{path} is not valid JSON", hint="repair it, or log in again") from None
        return _mapping(document)

    def _stored(self, entry: Mapping[str, Any], registry: str) -> Credential | None:
        text = {name: value for name, value in entry.items() if isinstance(value, str)}
        username, password = text.get("username", ""), text.get("password", "")
        if encoded := text.get("auth"):
            try:
                username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise InvalidInput(
                    f"the credentials for {registry} in {self._file()} are damaged", hint="log in again"
                ) from None
        credential = Credential(
            username=username,
            password=password.rstrip("\0"),
            identity_token=text.get("identitytoken", ""),
            registry_token=text.get("registrytoken", ""),
        )
        return credential if credential != Credential() else None


def _keys(registry: str) -> tuple[str, ...]:
    """The names under which ``docker login`` may have stored a host."""
    if registry == DOCKER_HUB:
        return (HUB_KEY, "https://index.docker.io/v1", "index.docker.io", "docker.io", "registry-1.docker.io")
    schemes = (f"https://{registry}", f"http://{registry}")
    return (registry, *schemes, *(f"{url}{tail}" for url in schemes for tail in ("/", "/v1/", "/v2/")))


def _ask_helper(name: str, server: str) -> Credential | None:
    """Ask ``docker-credential-<name>``; None when it knows nothing of the server."""
    program = shutil.which(f"docker-credential-{name}") if _HELPER_NAME.fullmatch(name) else None
    if program is None:
        raise InvalidInput(
            f"the credential helper docker-credential-{name} named in Docker's configuration is not installed",
            hint="install it, or remove credsStore and credHelpers from config.json and log in again",
        )
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"the credential helper {program} does not work: {type(error).__name__}") from None
    if done.returncode != 0:
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        raise InvalidInput(f"the credential helper {program} failed with exit status {done.returncode}")
    try:
        answer = _mapping(json.loads(done.stdout))
    except ValueError:
        raise InvalidInput(f"the credential helper {program} did not answer with JSON") from None
    username, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
    if not secret:
        return None
    return Credential(identity_token=secret) if username == _TOKEN_USER else Credential(username, secret)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
