"""From a registry's answers to typed errors.

Source: OCI distribution specification 1.1, "Error Codes": a body ``{"errors": [{"code", "message", "detail"}]}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import urllib3.exceptions

from jupyter_containers.errors import (
    Conflict,
    EngineError,
    ImageNotFound,
    InvalidInput,
    RegistryDenied,
    RegistryUnavailable,
    Unsupported,
)
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT_LIMIT = 300
_SERVER_ERROR = 500
_NOT_FOUND_CODES = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"})
_NO_NETWORK = "check the network and the proxy settings (HTTPS_PROXY); images that are here and starter need none"


@dataclass(frozen=True, slots=True)
class Problem:
    """The first error of an answer's body; both empty when there is none."""

    code: str = ""
    message: str = ""

    @classmethod
    def parse(cls, body: bytes) -> Problem:
        """Read a body that may be the specification's JSON, other JSON or anything else."""
        try:
            document: Any = json.loads(body)
        except ValueError:
            return cls()
        errors = document.get("errors") if isinstance(document, dict) else None
        first = errors[0] if isinstance(errors, list) and errors else document
        if not isinstance(first, dict):
            return cls()
        return cls(_printable(first.get("code")), _printable(first.get("message") or first.get("details")))

    def __str__(self) -> str:
        """``CODE: message`` as far as known."""
        return ": ".join(part for part in (self.code, self.message) if part)


def from_status(status: int, headers: Mapping[str, str], body: bytes, *, doing: str, registry: str) -> EngineError:
    """The error for an answer with a status of 400 or more; ``doing`` says in words what was asked for."""
    problem = Problem.parse(body)
    said = f" ({problem})" if str(problem) else ""
    if status == 429 or problem.code == "TOOMANYREQUESTS":  # noqa: PLR2004 - the status itself
        return _rate_limited(headers, doing=doing, registry=registry)
    if status in {401, 403} or problem.code in {"DENIED", "UNAUTHORIZED"}:
        return RegistryDenied(
            f"{registry} refuses {doing}{said}",
            hint=f"check the name, or log in with rights for it: docker login {registry}",
        )
    if status == 404 or problem.code in _NOT_FOUND_CODES:  # noqa: PLR2004 - the status itself
        return ImageNotFound(f"{doing}: {registry} does not have it{said}", hint="check the name and the tag")
    if status >= _SERVER_ERROR:
        return RegistryUnavailable(f"{registry} failed at {doing} with status {status}{said}", hint="try again later")
    if status == 405 or problem.code == "UNSUPPORTED":  # noqa: PLR2004 - the status itself
        return Unsupported(f"{registry} does not support {doing}{said}")
    kind = Conflict if status == 409 else InvalidInput  # noqa: PLR2004 - the status itself
    return kind(f"{registry} does not accept {doing}: status {status}{said}")


def from_exception(error: urllib3.exceptions.HTTPError, *, doing: str, registry: str) -> RegistryUnavailable:
    """The error for a request that got no answer. The URL is not told: it may hold a signature."""
    reason = _reason(error)
    hint = _NO_NETWORK
    if isinstance(error, urllib3.exceptions.SSLError):
        hint = "its certificate must be signed by an authority that this machine trusts (SSL_CERT_FILE)"
    return RegistryUnavailable(f"{doing}: {registry} cannot be reached: {reason}", hint=hint)


_REASONS: tuple[tuple[type[urllib3.exceptions.HTTPError], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "its name is not known (no network, or a mistyped name)"),
    (urllib3.exceptions.ProxyError, "the proxy does not let it through"),
    (urllib3.exceptions.SSLError, "no trusted encryption"),
)


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return text
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return _printable(getattr(error.__cause__, "strerror", None) or "no connection").lower()
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it does not answer in time"
    return "the connection broke"


def _rate_limited(headers: Mapping[str, str], *, doing: str, registry: str) -> RegistryUnavailable:
    wait = headers.get("Retry-After", "")
    when = f"in {wait} seconds" if wait.isdigit() else "later"
    return RegistryUnavailable(
        f"{doing}: {registry} limits how often it may be asked, and the limit is reached",
        hint=f"try again {when}; who is logged in has a higher limit (docker login {registry})",
    )


def _printable(value: object) -> str:
    """One line of text from a stranger, short and without control characters."""
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else " " for char in text[:_TEXT_LIMIT]).strip()
