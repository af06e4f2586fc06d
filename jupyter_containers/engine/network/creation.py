"""A network from what the user said of it: checked, and with the addresses it did not name."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network.record import BRIDGE, MACVLAN, PREDEFINED, NetworkRecord
from jupyter_containers.engine.record import new_id
from jupyter_containers.errors import Conflict, InvalidInput, NameInUse, NotFound, PermissionDenied, Unsupported
from jupyter_containers.network import bridge, host, ipam, links, macvlan

if TYPE_CHECKING:
    from jupyter_containers.engine.parts import Parts

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_INTERFACE = re.compile(r"[^/\s:]{1,15}")
_OPTION = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_SMALLEST_MTU, _SMALLEST_MTU6, _LARGEST_MTU = 68, 1280, 65535


class NetworkKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`jupyter_containers.engine.networks.Networks.create`."""

    driver: str
    subnet: str | Sequence[str]
    gateway: str | Sequence[str]
    ip_range: str | Sequence[str]
    aux_address: Mapping[str, str] | Sequence[str]
    ipv6: bool
    internal: bool
    attachable: bool
    options: Mapping[str, str] | Sequence[str]
    labels: Mapping[str, str] | Sequence[str]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: the parameters of :meth:`jupyter_containers.engine.networks.Networks.create`."""

    name: str
    driver: str
    subnets: Sequence[str]
    gateways: Sequence[str]
    ranges: Sequence[str]
    auxiliary: Mapping[str, str]
    ipv6: bool
    internal: bool
    attachable: bool
    options: Mapping[str, str]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, name: str, given: NetworkKeywords) -> Request:
        """The request that keyword arguments make."""
        return cls(
            name=name,
            driver=given.get("driver", BRIDGE),
            subnets=texts(given.get("subnet", ())),
            gateways=texts(given.get("gateway", ())),
            ranges=texts(given.get("ip_range", ())),
            auxiliary=pairs(given.get("aux_address", ())),
            ipv6=given.get("ipv6", False),
            internal=given.get("internal", False),
            attachable=given.get("attachable", False),
            options=pairs(given.get("options", ())),
            labels=pairs(given.get("labels", ())),
        )


def enter(parts: Parts, request: Request) -> NetworkRecord:
    """Check a request, choose what it leaves open, and enter the network; raises as :func:`settle`."""
    with bridge.locked(parts.network_lock):
        record = settle(parts, request)
        parts.state.add_network(record.id, record.name, record.encode())
    return record


def settle(parts: Parts, request: Request) -> NetworkRecord:
    """Check a request and choose what it leaves open; nothing is made.

    Raises
    ------
    NameInUse, InvalidInput, Conflict, Unsupported, PermissionDenied
        when it cannot be made.
    """
    _check_name(request.name)
    if request.driver not in {BRIDGE, MACVLAN}:
        raise Unsupported(f"there is no network driver {request.driver!r}", hint=f"use {BRIDGE} or {MACVLAN}")
    identity = new_id()
    record = NetworkRecord(
        id=identity,
        name=request.name,
        driver=request.driver,
        created=time.time_ns(),
        internal=request.internal,
        attachable=request.attachable,
        labels=dict(request.labels),
        options=dict(request.options),
        **_settings(request.driver, identity, request.options),
    )
    _check_host(parts, record)
    record = _with_addresses(parts, record, request)
    if record.subnet6 and 0 < record.mtu < _SMALLEST_MTU6:
        raise InvalidInput(f"{_MTU}={record.mtu}: IPv6 needs packets of {_SMALLEST_MTU6} bytes at least")
    return _with_auxiliary(record, request.auxiliary)


def _check_host(parts: Parts, record: NetworkRecord) -> None:
    if parts.host.rootless and record.driver == MACVLAN:
        raise PermissionDenied(
            "a macvlan network needs root: it is on an interface of the host", hint="a bridge network needs none"
        )
    found = links.find(record.interface) if not parts.host.rootless else None
    if record.driver == MACVLAN and found is None:
        raise NotFound(f"this host has no interface {record.interface}", hint="name one with -o parent=eth0")
    for each in networking.networks(parts):
        if record.driver == BRIDGE and each.interface == record.interface:
            raise NameInUse(f"the network {each.name} has a bridge named {record.interface} already")
    if record.driver == BRIDGE and found is not None:
        raise NameInUse(
            f"this host has an interface named {record.interface} already", hint=f"leave out -o {_OPTION}name"
        )


def _with_addresses(
    parts: Parts,
    record: NetworkRecord,
    request: Request,
) -> NetworkRecord:
    """Check the addresses that were given and choose those that were not."""
    values: dict[str, Any] = {}
    others = [each for each in networking.networks(parts) if each.driver == BRIDGE]
    for text in request.subnets:
        subnet = _network(text, "subnet")
        key = "subnet" if isinstance(subnet, IPv4Network) else "subnet6"
        if key in values:
            raise InvalidInput(f"--subnet {text}: there is one of this kind already")
        if subnet.num_addresses < 4:  # noqa: PLR2004 - its own, the gateway's, the broadcast address, a container's
            raise InvalidInput(f"--subnet {text}: it has no room for a container")
        if record.driver == BRIDGE:
            _refuse_overlap(subnet, others)
            taken = [net for net in bridge.unavailable(parts.network_namespace) if net.prefixlen]
            bridge.refuse_overlap(subnet, [*taken, *host.route_table6()])
        values[key] = str(subnet)
    if "subnet" not in values:
        taken = bridge.unavailable(parts.network_namespace)
        taken += [IPv4Network(each.subnet) for each in others if each.subnet]
        values["subnet"] = str(ipam.choose_subnet(taken))
    if request.ipv6 and "subnet6" not in values:
        taken6 = [*host.route_table6(), *(net for each in others if (net := each.ipv6))]
        values["subnet6"] = str(ipam.choose_subnet6(taken6))
    for version, suffix in ((4, ""), (6, "6")):
        whole = values.get(f"subnet{suffix}")
        values |= _gateway_and_range(
            ip_network(whole) if whole else None, version, suffix, request.gateways, request.ranges
        )
    return msgspec.structs.replace(record, **values)


def texts(value: str | Sequence[str]) -> list[str]:
    """One text or several."""
    return [value] if isinstance(value, str) else list(value)


def pairs(value: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts, or a mapping already."""
    if hasattr(value, "items"):
        return {str(key): str(content) for key, content in value.items()}
    return {key: content for key, _, content in (text.partition("=") for text in texts(value))}


def _check_name(name: str) -> None:
    if name in PREDEFINED or name == "default":
        raise NameInUse(f"{name} is a pre-defined network", hint="choose another name")
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"invalid network name {name!r}",
            hint="use letters, digits, '_', '.' and '-', beginning with one of the first",
        )


def _settings(driver: str, identity: str, options: Mapping[str, str]) -> dict[str, Any]:
    """What the options of the driver come to."""
    rest = dict(options)
    values: dict[str, Any] = {}
    if _MTU in rest:
        text = rest.pop(_MTU)
        if not text.isdecimal() or not _SMALLEST_MTU <= int(text) <= _LARGEST_MTU:
            raise InvalidInput(f"{_MTU}={text}: it must be a number from {_SMALLEST_MTU} to {_LARGEST_MTU}")
        values["mtu"] = int(text)
    if driver == MACVLAN:
        values["interface"] = rest.pop("parent", "")
        mode = rest.pop("macvlan_mode", "bridge")
        if not values["interface"]:
            raise InvalidInput("a macvlan network needs an interface of the host", hint="name it: -o parent=eth0")
        if mode not in macvlan.MODES:
            raise InvalidInput(f"macvlan_mode={mode}: unknown", hint=f"use one of {', '.join(macvlan.MODES)}")
    else:
        values["interface"] = rest.pop(f"{_OPTION}name", f"jc{identity[:10]}")
        for option, key in (("enable_icc", "icc"), ("enable_ip_masquerade", "masquerade")):
            values[key] = _boolean(f"{_OPTION}{option}", rest.pop(f"{_OPTION}{option}", "true"))
    if not _INTERFACE.fullmatch(values["interface"]):
        raise InvalidInput(f"{values['interface']!r} cannot be the name of an interface", hint="15 characters at most")
    if rest:
        raise Unsupported(f"the option {min(rest)!r} of the driver {driver} is not supported")
    return values


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise InvalidInput(f"{name}={text}: it must be true or false")
    return text.lower() in {"true", "1"}


def _network(text: str, option: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidInput(f"--{option} {text}: {error}", hint="write it as 10.5.0.0/24") from error


def _refuse_overlap(subnet: IPv4Network | IPv6Network, others: Sequence[NetworkRecord]) -> None:
    for each in others:
        for net in (each.ipv4, each.ipv6):
            if net is not None and net.version == subnet.version and net.overlaps(subnet):
                raise Conflict(
                    f"the subnet {subnet} overlaps with {net} of the network {each.name}", hint="choose another one"
                )


def _gateway_and_range(
    subnet: IPv4Network | IPv6Network | None,
    version: int,
    suffix: str,
    gateways: Sequence[str],
    ranges: Sequence[str],
) -> dict[str, str]:
    """The gateway and the range of one of the two subnets."""
    values: dict[str, str] = {}
    for text in ranges:
        part = _network(text, "ip-range")
        if part.version == version:
            if subnet is None or not (subnet[0] <= part[0] and part[-1] <= subnet[-1]):  # type: ignore[operator]  # of one version
                raise InvalidInput(f"--ip-range {text}: it is not in the subnet {subnet}")
            values[f"ip_range{suffix}"] = str(part)
    for text in gateways:
        try:
            address = ip_address(text)
        except ValueError as error:
            raise InvalidInput(f"--gateway {text}: it is no IP address") from error
        if address.version == version:
            if subnet is None or address not in subnet or address == subnet[0]:
                raise InvalidInput(f"--gateway {text}: it is not in the subnet {subnet}")
            values[f"gateway{suffix}"] = str(address)
    if subnet is not None:
        values.setdefault(f"gateway{suffix}", ipam.gateway(subnet))
    return values


def _with_auxiliary(record: NetworkRecord, given: Mapping[str, str]) -> NetworkRecord:
    for name, text in given.items():
        try:
            address = ip_address(text)
        except ValueError as error:
            raise InvalidInput(f"--aux-address {name}={text}: it is no IP address") from error
        if not any(net is not None and address in net for net in (record.ipv4, record.ipv6)):
            raise InvalidInput(f"--aux-address {name}={text}: it is not in the subnet")
    return msgspec.structs.replace(record, auxiliary=dict(given)) if given else record
