"""What a container is to have of networks: ``--network`` and the options beside it, read and checked.

Source: docs.docker.com, "docker run" and "docker network connect".
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from jupyter_containers.engine.options import RunOptions

CONTAINER = "container:"
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_NAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?")
_KEYS = ("name", "alias", "ip", "ip6", "mac-address", "gw-priority")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container's place in a network.

    Attributes
    ----------
    network
        The id of the network; empty until it was found by its name.
    name
        Its name.
    aliases
        More names of the container in it.
    ip, ip6, mac_address
        What was asked for.
    gw_priority
        The network with the highest one has the way to everything else.
    address, address6, mac
        What it has, or had when it last ran.
    position
        Which interface it is: ``eth0``.
    """

    name: str
    network: str = ""
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac_address: str = ""
    gw_priority: int = 0
    address: str = ""
    address6: str = ""
    mac: str = ""
    position: int = 0

    def check(self) -> None:
        """Refuse what is not of the right form.

        Raises
        ------
        InvalidInput
            naming the option.
        """
        for option, text, version in (("ip", self.ip, 4), ("ip6", self.ip6, 6)):
            if text and _version(text) != version:
                raise InvalidInput(f"--{option}: {text!r} is no IPv{version} address")
        if self.mac_address:
            check_mac(self.mac_address)
        for alias in self.aliases:
            check_name(alias, "network alias")


def check_mac(text: str) -> None:
    """Refuse what is no hardware address of one interface."""
    if not _MAC.fullmatch(text) or int(text[:2], 16) & 1 or not int(text.replace(":", ""), 16):
        raise InvalidInput(
            f"--mac-address: {text!r} is no hardware address of an interface", hint="write it as 02:42:ac:11:00:02"
        )


def check_name(text: str, what: str) -> None:
    """Refuse what cannot be looked up as a name."""
    if not _NAME.fullmatch(text):
        raise InvalidInput(f"invalid {what} {text!r}", hint="use letters, digits, '-', '_' and '.'")


def _version(text: str) -> int:
    try:
        return ip_address(text).version
    except ValueError:
        return 0


def read(options: RunOptions) -> list[Endpoint]:
    """The networks that ``run`` names, in their order, with the options that are for the first one.

    Raises
    ------
    InvalidInput, Unsupported
        naming the option.
    """
    if options.link:
        raise Unsupported(
            f"--link {options.link[0]} is not supported",
            hint="make a network (network create NAME) and run both with --network NAME: they find each other by name",
        )
    wanted = (options.network,) if isinstance(options.network, str) else options.network or ()
    found = [_read_one(text) for text in wanted] or [Endpoint(name="default")]
    first = found[0]
    single = {
        key: value
        for key, value in (("ip", options.ip), ("ip6", options.ip6), ("mac_address", options.mac_address))
        if value
    }
    for key in single:
        if getattr(first, key):
            raise InvalidInput(f"--{key.replace('_', '-')} is given twice: as an option, and in --network")
    found[0] = msgspec.structs.replace(first, **single, aliases=(*first.aliases, *options.network_alias))
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise InvalidInput(f"--network: {max(names, key=names.count)} is given twice")
    if len(found) > 1 and any(each.name in {"host", "none"} or each.name.startswith(CONTAINER) for each in found):
        raise InvalidInput(
            "--network: host, none and container:NAME cannot be combined with other networks",
            hint="leave the others out",
        )
    for each in found:
        each.check()
    return found


def _read_one(text: str) -> Endpoint:
    """``NAME``, or ``name=NAME,alias=A,ip=ADDRESS`` (CSV of keys)."""
    if "=" not in text:
        if not text:
            raise InvalidInput("--network: the name is empty")
        return Endpoint(name=text)
    values: dict[str, list[str]] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in _KEYS or not equals:
            raise InvalidInput(f"--network: unknown field {part!r}", hint=f"use {', '.join(_KEYS)}")
        values.setdefault(key, []).append(value)
    if len(values.get("name", ())) != 1:
        raise InvalidInput(f"--network {text}: the network's name is missing", hint="write name=NAME")
    single = {key: each[-1] for key, each in values.items()}
    priority = single.get("gw-priority", "0")
    if not priority.lstrip("-").isdecimal():
        raise InvalidInput(f"--network: gw-priority={priority} is no number")
    return Endpoint(
        name=single["name"],
        aliases=tuple(values.get("alias", ())),
        ip=single.get("ip", ""),
        ip6=single.get("ip6", ""),
        mac_address=single.get("mac-address", ""),
        gw_priority=int(priority),
    )
