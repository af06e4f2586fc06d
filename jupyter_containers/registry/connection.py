"""Connections: which hosts are this machine, through which proxy, with which patience."""

from __future__ import annotations

import ipaddress
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from jupyter_containers.errors import InvalidInput
from jupyter_containers.version import __version__

if TYPE_CHECKING:
    from urllib3 import PoolManager

USER_AGENT = f"jupyter-containers/{__version__}"
CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0
_CONNECTIONS = 8


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this very machine by its name or address."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: never asked of a name server
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def make_pool(base: str) -> PoolManager:
    """Connections for a registry: by the proxy of the environment (``HTTPS_PROXY``, ``NO_PROXY``) when one is set.

    Certificates are checked by what the machine trusts (``SSL_CERT_FILE``). Redirects and retries are the client's.

    Raises
    ------
    InvalidInput
        when the proxy's address is none.
    """
    headers = {"User-Agent": USER_AGENT}
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    parts = urlsplit(base)
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(parts.scheme)
    if not proxy or is_loopback(parts.netloc) or _is_excepted(parts.hostname or "", proxies.get("no", "")):
        return urllib3.PoolManager(headers=headers, maxsize=_CONNECTIONS, timeout=timeout, retries=False)
    try:
        return urllib3.ProxyManager(proxy, headers=headers, maxsize=_CONNECTIONS, timeout=timeout, retries=False)
    except (urllib3.exceptions.ProxySchemeUnknown, urllib3.exceptions.LocationParseError):
        raise InvalidInput(f"the proxy of the environment for {parts.scheme} is not an address") from None


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` names a host: ``*``, the host itself, or a domain above it."""
    names = [entry.strip().lstrip(".").lower() for entry in no_proxy.split(",") if entry.strip()]
    return any(name in {"*", host} or host.endswith(f".{name}") for name in names)
