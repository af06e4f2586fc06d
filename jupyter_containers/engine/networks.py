"""``engine.networks``: everything about networks."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from jupyter_containers.engine import pruning, supervision
from jupyter_containers.engine.network import creation as network_creation
from jupyter_containers.engine.network import networking, plugging
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.network.endpoints import Endpoint
from jupyter_containers.engine.network.record import BRIDGE, NetworkRecord
from jupyter_containers.engine.views import NetworkSummary
from jupyter_containers.errors import Conflict, NameInUse, NetworkInUse, NetworkNotFound

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from jupyter_containers.engine.network.creation import NetworkKeywords
    from jupyter_containers.engine.network.topology import Topology
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord

_PATIENCE = 10.0
"""Seconds to wait for containers that are being connected."""


class Networks:
    """The networks of an engine. All methods block and are thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # -- making ------------------------------------------------------------------------------------------------------

    def create(self, name: str, **given: Unpack[NetworkKeywords]) -> NetworkSummary:
        """Make a network: a bridge of its own, or a macvlan network on an interface of the host.

        Parameters
        ----------
        driver
            ``bridge`` or ``macvlan``.
        subnet, gateway, ip_range
            One each for IPv4 and IPv6; a subnet that is left out is chosen so that it overlaps with nothing.
        aux_address
            Addresses of others in the subnet, which no container gets.
        options
            Docker's options of drivers: ``com.docker.network.bridge.enable_icc=false``.
        attachable
            Kept and shown; it means something to Docker's swarm only.

        Raises
        ------
        NameInUse, InvalidInput, Conflict, Unsupported, PermissionDenied
            when it cannot be made; nothing is left behind.
        """
        request = network_creation.Request.of(name, given)
        for last in (False, False, True):
            try:
                return self._create(request)
            except Conflict as error:
                # Another store may have taken the subnet that was chosen: the two do not see each other's records.
                if last or isinstance(error, NameInUse) or request.subnets:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _create(self, request: network_creation.Request) -> NetworkSummary:
        record = network_creation.enter(self._parts, request)
        try:
            if record.driver == BRIDGE:
                with networking.using(self._parts, [Endpoint(name=record.name, network=record.id)]):
                    network_setup.ensure(self._parts, record)
        except NetworkNotFound:
            raise NetworkNotFound(f"the network {record.name} was removed while it was made") from None
        except BaseException:
            self._discard(record)
            raise
        supervision.tell_of(self._parts, "network", "create", record.id, name=record.name, type=record.driver)
        return self._summary(record, {})

    # -- looking -----------------------------------------------------------------------------------------------------

    def list(self) -> builtins.list[NetworkSummary]:
        """All networks, those that every store has first."""
        members = self._members()
        return [self._summary(each, members) for each in networking.networks(self._parts)]

    def inspect(self, name: str) -> dict[str, Any]:
        """A network as Docker's ``network inspect`` shows it."""
        record = networking.find(self._parts, name)
        configs = [
            {
                key: value
                for key, value in (
                    ("Subnet", subnet),
                    ("IPRange", part),
                    ("Gateway", gateway),
                    ("AuxiliaryAddresses", _of_version(record.auxiliary, version)),
                )
                if value
            }
            for version, subnet, part, gateway in (
                (4, *network_setup.addresses(self._parts, record)),
                (6, record.subnet6, record.ip_range6, record.gateway6),
            )
            if subnet
        ]
        return {
            "Name": record.name,
            "Id": record.id,
            "Created": datetime.fromtimestamp(record.created / 1e9, tz=UTC).isoformat().replace("+00:00", "Z"),
            "Scope": "local",
            "Driver": record.driver,
            "EnableIPv4": True,
            "EnableIPv6": bool(record.subnet6),
            "IPAM": {"Driver": "default", "Options": {}, "Config": configs},
            "Internal": record.internal,
            "Attachable": record.attachable,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": {
                member.id: {
                    "Name": member.name,
                    "MacAddress": place.mac,
                    "IPv4Address": _with_prefix(place.address, network_setup.addresses(self._parts, record)[0]),
                    "IPv6Address": _with_prefix(place.address6, record.subnet6),
                }
                for member, place in self._members().get(record.id, [])
            },
            "Options": {"com.docker.network.bridge.name": record.interface, **record.options}
            if record.driver == BRIDGE
            else dict(record.options),
            "Labels": dict(record.labels),
        }

    def topology(self, *names: str) -> Topology:
        """What networks really are at this moment: bridges, veth pairs, addresses, ports, address translation.

        All of them, or those that are named and the containers in them. Nothing is made or started. Containers that
        run are told of.

        Raises
        ------
        NetworkNotFound, InvalidInput
            for a name of no network, or of several.
        """
        from jupyter_containers.engine.network import topology  # noqa: PLC0415 - seldom used

        return topology.look(self._parts, names)

    def _members(self) -> dict[str, builtins.list[tuple[ContainerRecord, Endpoint]]]:
        """The running containers of each network, with their places."""
        members: dict[str, builtins.list[tuple[ContainerRecord, Endpoint]]] = {}
        for record in network_service.running(self._parts):
            for place in record.endpoints:
                members.setdefault(place.network, []).append((record, place))
        return members

    def _summary(self, record: NetworkRecord, members: Mapping[str, Sequence[object]]) -> NetworkSummary:
        subnet, _, gateway = network_setup.addresses(self._parts, record)
        return NetworkSummary(
            id=record.id,
            name=record.name,
            driver=record.driver,
            scope="local",
            subnet=subnet,
            gateway=gateway,
            subnet6=record.subnet6,
            internal=record.internal,
            containers=len(members.get(record.id, ())),
            created=datetime.fromtimestamp(record.created / 1e9, tz=UTC) if record.created else None,
            labels=dict(record.labels),
        )

    # -- changing ----------------------------------------------------------------------------------------------------

    def connect(
        self,
        network: str,
        container: str,
        *,
        aliases: Sequence[str] = (),
        ip: str = "",
        ip6: str = "",
        mac_address: str = "",
        gw_priority: int = 0,
    ) -> None:
        """Put a container into one more network, also while it runs.

        Raises
        ------
        NetworkNotFound, ContainerNotFound, InvalidInput, Conflict
            when that cannot be.
        """
        endpoint = Endpoint(
            name=network, aliases=tuple(aliases), ip=ip, ip6=ip6, mac_address=mac_address, gw_priority=gw_priority
        )
        endpoint.check()
        plugging.connect(self._parts, endpoint, container)

    def disconnect(self, network: str, container: str, *, force: bool = False) -> None:
        """Take a container out of a network, also while it runs; ``force``: it is no error if it is not in it.

        Raises
        ------
        NetworkNotFound, ContainerNotFound, Conflict
            when it is not in it.
        """
        plugging.disconnect(self._parts, networking.find(self._parts, network), container, force=force)

    def remove(self, name: str) -> str:
        """Remove a network, by name or id; its name.

        Raises
        ------
        NetworkNotFound, NetworkInUse, Conflict
            when it is one that every store has, or has running containers.
        """
        record = self.removable(name)
        with networking.ending(self._parts, record, patience=_PATIENCE):
            self.removable(record.id)  # somebody may have joined it while the lock was waited for
            self._discard(record)
        supervision.tell_of(self._parts, "network", "destroy", record.id, name=record.name, type=record.driver)
        return record.name

    def removable(self, name: str) -> NetworkRecord:
        """The network that :meth:`remove` would take away; it raises the same."""
        record = networking.find(self._parts, name)
        if record.predefined:
            raise Conflict(f"{record.name} is a pre-defined network and cannot be removed")
        members = [member.name for member, _ in self._members().get(record.id, [])]
        if members:
            raise NetworkInUse(
                f"the network {record.name} has active endpoints: {', '.join(members)}",
                hint=f"stop them, or take them out: network disconnect {record.name} {members[0]}",
            )
        return record

    def prune(self, *, filters: Sequence[str] = ()) -> builtins.list[str]:
        """Remove the networks that no container is in, running or not. Returns their names.

        Parameters
        ----------
        filters
            Only those that match all: ``until=24h`` (made before), ``label=KEY[=VALUE]``, ``label!=KEY[=VALUE]``.

        Raises
        ------
        InvalidInput
            for a filter that is none.
        """
        removed = []
        for record in pruning.unused_networks(self._parts, pruning.matcher(filters)):
            with suppress(NetworkInUse), networking.ending(self._parts, record):
                self._discard(record)
                supervision.tell_of(self._parts, "network", "destroy", record.id, name=record.name, type=record.driver)
                removed.append(record.name)
        supervision.tell_pruned(self._parts, "network")
        return removed

    def _discard(self, record: NetworkRecord) -> None:
        """The bridge first: what is left after a crash between the two can be removed again."""
        if record.driver == BRIDGE:
            if network_setup.stand(self._parts):
                network_setup.bridge_of(self._parts, record).remove()
            self._parts.bridges.pop(record.id, None)
        self._parts.state.remove_network(record.id, record.interface if record.driver == BRIDGE else record.id)


def _of_version(addresses: Mapping[str, str], version: int) -> dict[str, str]:
    return {name: text for name, text in addresses.items() if ip_address(text).version == version}


def _with_prefix(address: str, subnet: str) -> str:
    return f"{address}/{subnet.partition('/')[2]}" if address and subnet else ""
