"""Putting a container into a network, and taking it out, while it runs or not."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jupyter_containers.engine import status, supervision
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.network.endpoints import CONTAINER
from jupyter_containers.engine.network.record import BRIDGE, HOST, MACVLAN, NONE
from jupyter_containers.engine.record import ContainerRecord, change
from jupyter_containers.errors import Conflict, ContainerNotFound, NotFound, SystemFailure
from jupyter_containers.linux import netlink, syscalls
from jupyter_containers.network import files as contents
from jupyter_containers.network import links, messages
from jupyter_containers.network.bridge import INSIDE_INDEX
from jupyter_containers.runtime import handle
from jupyter_containers.snapshots.scratch import locked_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.engine.network.endpoints import Endpoint
    from jupyter_containers.engine.network.record import NetworkRecord
    from jupyter_containers.engine.parts import Parts

HOSTS = "/etc/hosts"
_LARGEST = 1 << 20  # bytes: one that has become larger is not what the container was given


def connect(parts: Parts, wanted: Endpoint, container: str) -> None:
    """See :meth:`jupyter_containers.engine.networks.Networks.connect`."""
    record = _container(parts, container)
    if record.network in {HOST, NONE} or record.network.startswith(CONTAINER):
        raise Conflict(
            f"the container {record.name} has --network {record.network}: it cannot be connected to networks",
            hint="run it without that option",
        )
    with networking.using(parts, [wanted, *record.endpoints]), changing(parts, record):
        _connect(parts, _container(parts, record.id), wanted)


def _connect(parts: Parts, record: ContainerRecord, wanted: Endpoint) -> None:
    (endpoint,) = networking.settle(parts, [wanted], taken=[each.position for each in record.endpoints])
    network = networking.find(parts, endpoint.network)
    if any(each.network == network.id for each in record.endpoints):
        raise Conflict(f"the container {record.name} is in the network {network.name} already")
    pid = status.read(parts.paths, record.id).pid
    if not pid:
        _keep(parts, record, endpoint)
        return
    endpoints = [*record.endpoints, endpoint]
    before, after = _way_out(parts, record.endpoints), _way_out(parts, endpoints)
    first = after is endpoint
    done, attachment = networking.join(parts, record.id, endpoint, network, default=first and before is None)
    changed = _keep(parts, record, done)
    try:
        for interface in attachment.interfaces:
            netlink.transact(
                [netlink.patch(data, offset, pid) for data, offset in interface["host"]],
                parts.network_namespace.socket,
            )
            inside = list(interface["inside"])
            if first and before is not None:
                inside += _moved_route(parts, before, attachment.gateway)
            _inside(parts, pid, inside, f"connect {record.name} to {network.name}")
    except BaseException:
        with suppress(ContainerNotFound):
            _keep(parts, record, without=network.id)
        parts.state.release_address(_key(network), record.id)
        raise
    _announce(parts, record, changed, pid)
    _tell(parts, "connect", record, done)


def disconnect(parts: Parts, network: NetworkRecord, container: str, *, force: bool) -> None:
    """See :meth:`jupyter_containers.engine.networks.Networks.disconnect`."""
    try:
        record = _container(parts, container)
    except ContainerNotFound:
        if force:
            return
        raise
    endpoint = next((each for each in record.endpoints if each.network == network.id), None)
    if endpoint is None:
        if force:
            return
        raise NotFound(f"the container {record.name} is not in the network {network.name}")
    with networking.using(parts, record.endpoints), changing(parts, record):
        _disconnect(parts, network, _container(parts, record.id))


@contextmanager
def changing(parts: Parts, record: ContainerRecord) -> Iterator[None]:
    """While the interfaces of a container change: one after the other. Raises Conflict when it ends meanwhile."""
    with locked_name(parts.paths.run / f"connect-{record.id[:16]}.lock"):
        pid = status.read(parts.paths, record.id).pid
        try:
            yield
        except (OSError, SystemFailure) as error:
            if pid and status.read(parts.paths, record.id).pid != pid:
                raise Conflict(f"the container {record.name} has ended meanwhile", hint="try again") from error
            raise


def _disconnect(parts: Parts, network: NetworkRecord, record: ContainerRecord) -> None:
    endpoint = next((each for each in record.endpoints if each.network == network.id), None)
    if endpoint is None:  # another process was faster
        return
    rest = [each for each in record.endpoints if each is not endpoint]
    pid = status.read(parts.paths, record.id).pid
    changed = _keep(parts, record, without=network.id)
    parts.state.release_address(_key(network), record.id)
    if not pid:
        return
    inside = [links.removal(INSIDE_INDEX + endpoint.position)]
    after = _way_out(parts, rest)
    if after is not None and _way_out(parts, record.endpoints) is endpoint:
        inside += [messages.default_route(gateway) for gateway in _gateways(parts, after)]
    _inside(parts, pid, inside, f"disconnect {record.name} from {network.name}", ignore=errno.ENODEV)
    _announce(parts, record, changed, pid)
    _tell(parts, "disconnect", record, endpoint)


def _tell(parts: Parts, action: str, record: ContainerRecord, endpoint: Endpoint) -> None:
    attributes = supervision.network_attributes(record, endpoint)
    supervision.tell_of(parts, "network", action, endpoint.network, **attributes)


def _announce(parts: Parts, before: ContainerRecord, record: ContainerRecord, pid: int) -> None:
    """Tell the network agent, the monitor, which may start the container again, and the container's /etc/hosts."""
    _write_hosts(before, record, pid)
    if network_service.needed(parts, record) or network_service.needed(parts, before):
        network_service.serve(parts, record, pid)
    _, attachments = networking.attach(parts, record)
    interfaces = [interface for each in attachments for interface in each.interfaces]
    with handle.connect(str(parts.paths.running / record.id)) as process:
        process.ask({"kind": "update", "beside": supervision.beside(record), "interfaces": interfaces})


def _write_hosts(before: ContainerRecord, record: ContainerRecord, pid: int) -> None:
    """Change the addresses in the file that a running container was given. One of the user's own is left alone."""
    if any(point.target == HOSTS for point in record.mounts):
        return
    had, has = (
        [address for each in one.endpoints for address in (each.address, each.address6) if address]
        for one in (before, record)
    )
    gone, new = [each for each in had if each not in has], [each for each in has if each not in had]
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended, or has no such file any more
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = syscalls.openat2(root, HOSTS.encode(), flags, resolve=syscalls.RESOLVE_IN_ROOT)
        finally:
            os.close(root)
        with os.fdopen(descriptor, "r+b") as file:
            status_of = os.fstat(descriptor)
            if not stat.S_ISREG(status_of.st_mode) or status_of.st_size > _LARGEST:
                return
            content = contents.changed_hosts(file.read(), record.hostname, gone=gone, new=new)
            file.seek(0)
            file.write(content)
            file.truncate()


def _container(parts: Parts, name: str) -> ContainerRecord:
    rows = parts.state.find_containers(name) if name else []
    if len(rows) > 1:
        raise Conflict(f"several containers have an id that begins with {name}", hint="give more of its digits")
    if not rows:
        raise ContainerNotFound(f"no such container: {name}", hint="'ps -a' lists what there is")
    return ContainerRecord.decode(rows[0].record)


def _keep(
    parts: Parts, record: ContainerRecord, endpoint: Endpoint | None = None, *, without: str = ""
) -> ContainerRecord:
    """Enter one more place of a container, or that it left the network of the id ``without``."""
    gone = endpoint.network if endpoint else without

    def changed(current: ContainerRecord) -> ContainerRecord:
        places = [each for each in current.endpoints if each.network != gone]
        return networking.with_endpoints(current, [*places, endpoint] if endpoint else places)

    return change(parts.state, record.id, changed)


def _key(network: NetworkRecord) -> str:
    """Under which the addresses of a network are kept."""
    return network.id if network.driver == MACVLAN else network.interface


def _way_out(parts: Parts, endpoints: Sequence[Endpoint]) -> Endpoint | None:
    return networking.default_of(endpoints, [networking.find(parts, each.network) for each in endpoints])


def _gateways(parts: Parts, endpoint: Endpoint) -> list[str]:
    network = networking.find(parts, endpoint.network)
    if network.driver == BRIDGE:
        up = network_setup.ensure(parts, network)
        found = [up.gateway, up.gateway6 if endpoint.address6 else ""]
    else:
        found = [network.gateway, network.gateway6 if endpoint.address6 else ""]
    return [gateway for gateway in found if gateway]


def _moved_route(parts: Parts, before: Endpoint, gateway: str) -> list[bytes]:
    old = _gateways(parts, before)
    return [
        *(messages.remove_default_route(each) for each in old),
        *([messages.default_route(gateway)] if gateway else []),
    ]


def _inside(parts: Parts, pid: int, batch: Sequence[bytes], what: str, *, ignore: int = 0) -> None:
    """Have the kernel change the interfaces of a container, by a socket in its network namespace."""
    try:
        with parts.network_service.socket_of(pid) as channel:
            netlink.transact(list(batch), lambda *_: channel)
    except OSError as error:
        if error.errno != ignore:
            raise SystemFailure(f"cannot {what}: {error.strerror}") from error
