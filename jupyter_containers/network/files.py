"""The contents of /etc/hosts, /etc/resolv.conf and /etc/hostname of a container. Pure.

Source: hosts(5), resolv.conf(5); Docker's documentation, "Container networking: DNS services".
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")
"""Used where the host names no server that a container can reach, as Docker does."""
HOST_GATEWAY = "host-gateway"
"""In ``--add-host NAME:host-gateway``: the host, as the container sees it."""

_LOOPBACK = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_DIRECTIVES = frozenset(["search", "options", "sortlist", "domain"])


def hosts_file(
    hostname: str,
    addresses: Sequence[str],
    extra_hosts: Iterable[tuple[str, str]] = (),
    *,
    aliases: Sequence[str] = (),
    gateway: str = "",
) -> bytes:
    """/etc/hosts.

    Parameters
    ----------
    hostname
        The container's name, a domain may follow it.
    addresses
        Its own; without any its name is that of 127.0.0.1.
    extra_hosts
        ``--add-host``: name and address. ``host-gateway`` for an address stands for ``gateway`` and is left out
        where there is none.
    aliases
        More names of the container.
    gateway
        The host's address as seen from the container.
    """
    lines = [_LOOPBACK]
    for name, address in extra_hosts:
        resolved = gateway if address == HOST_GATEWAY else address
        if resolved:
            lines.append(f"{resolved.strip('[]')}\t{name}\n")
    short = hostname.partition(".")[0]
    names = " ".join(dict.fromkeys(name for name in (hostname, short, *aliases) if name))
    if names:
        lines += [f"{address}\t{names}\n" for address in (addresses or ["127.0.0.1"])]
    return "".join(lines).encode()


def changed_hosts(content: bytes, hostname: str, *, gone: Sequence[str], new: Sequence[str]) -> bytes:
    """/etc/hosts after some addresses of the container have gone and others have come; the rest stays as it is."""
    lines = [line for line in content.splitlines(keepends=True) if line.split()[:1] not in [[a.encode()] for a in gone]]
    if lines and not lines[-1].endswith(b"\n"):
        lines.append(b"\n")
    names = " ".join(dict.fromkeys(name for name in (hostname, hostname.partition(".")[0]) if name))
    return b"".join([*lines, *(f"{address}\t{names}\n".encode() for address in new)])


def hostname_file(hostname: str) -> bytes:
    """/etc/hostname."""
    return f"{hostname}\n".encode()


def resolv_conf(
    host: bytes,
    *,
    servers: Sequence[str] = (),
    search: Sequence[str] | None = None,
    options: Sequence[str] | None = None,
    host_loopback: bool = False,
    fallback: Sequence[str] = FALLBACK_SERVERS,
) -> bytes:
    """/etc/resolv.conf.

    Parameters
    ----------
    host
        The host's file. Where it only has a stub on a loopback address (systemd-resolved's 127.0.0.53), give
        ``/run/systemd/resolve/resolv.conf``: see :func:`needs_upstream`.
    servers, search, options
        ``--dns``, ``--dns-search``, ``--dns-option``: each replaces what the host says; ``search`` ``["."]`` means
        none at all.
    host_loopback
        The container is in the host's network, where its loopback servers can be reached.
    fallback
        Servers for a container that is left without any.
    """
    found = list(servers) or [server for server in _servers(host) if host_loopback or not _is_loopback(server)]
    lines = [f"nameserver {server}" for server in found or fallback]
    for directive, given in (("search", search), ("options", options)):
        words = list(given) if given else _words(host, directive)
        if words and words != ["."]:
            lines.append(" ".join([directive, *words]))
    return ("\n".join(lines) + "\n").encode()


def needs_upstream(host: bytes) -> bool:
    """Whether every server the host's file names is on a loopback address."""
    servers = _servers(host)
    return bool(servers) and all(_is_loopback(server) for server in servers)


def _lines(text: bytes) -> list[list[str]]:
    """The directives with their words; a comment begins with # or ; in the first column."""
    lines = [line for line in text.decode("utf-8", "replace").splitlines() if line[:1] not in {"#", ";"}]
    return [words for line in lines if (words := line.split())]


def _servers(text: bytes) -> list[str]:
    named = [words[1] for words in _lines(text) if words[0] == "nameserver" and len(words) > 1]
    return [server for server in named if _is_address(server)]


def _words(text: bytes, directive: str) -> list[str]:
    """What the last line of a directive says; ``domain`` is an old form of ``search``."""
    found: list[str] = []
    for words in _lines(text):
        if words[0] in _DIRECTIVES and (words[0] == directive or (directive, words[0]) == ("search", "domain")):
            found = words[1:]
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(server: str) -> bool:
    return ip_address(server.partition("%")[0]).is_loopback
