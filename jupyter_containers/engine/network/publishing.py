"""Ports of a container that exists: published, and given up, while it runs or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine import record, status
from jupyter_containers.engine.network import plugging
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.network.record import HOST
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.errors import Conflict, ContainerNotFound, NotFound
from jupyter_containers.network import ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.network.ports import Port


def bound(parts: Parts, found: ContainerRecord) -> tuple[Port, ...]:
    """Where the ports of a container are now; none while it does not run."""
    return found.bound if status.read(parts.paths, found.id).running else ()


def update(parts: Parts, found: ContainerRecord, add: Sequence[str], remove: Sequence[str]) -> None:
    """Publish ports (as ``-p`` says it) and give others up: those of a container's port, or at an address of the host.

    Those that stay keep their ports of the host, and their connections.

    Raises
    ------
    InvalidInput, NotFound, Conflict, PortInUse
        when that cannot be; then nothing has changed.
    """
    new = ports.of_options(add, ())
    unwanted = [(text, ports.parse(text)) for text in remove]
    if not found.endpoints:
        why = "its ports are the host's" if found.network == HOST else f"its network is {found.network}"
        raise Conflict(f"the container {found.name} has no ports to publish: {why}")
    with plugging.changing(parts, found):
        before = _current(parts, found)
        kept = _without(before, unwanted)
        _apply(parts, before, [*kept, *(port for port in new if port not in kept)])


def _current(parts: Parts, found: ContainerRecord) -> ContainerRecord:
    rows = parts.state.find_containers(found.id)
    if not rows:
        raise ContainerNotFound(f"no such container: {found.name}", hint="it was removed meanwhile")
    return ContainerRecord.decode(rows[0].record)


def _without(found: ContainerRecord, unwanted: Sequence[tuple[str, Sequence[Port]]]) -> list[Port]:
    """The ports that stay. A port that was given out at random is named by what it is, too."""
    places = dict(zip(found.ports, found.bound, strict=False))
    gone: set[Port] = set()
    for text, named in unwanted:
        matching = {port for port in found.ports if any(_matches(port, places.get(port, port), each) for each in named)}
        if not matching:
            raise NotFound(f"{text} is not published by {found.name}", hint=f"'port {found.name}' lists what is")
        gone |= matching
    return [port for port in found.ports if port not in gone]


def _matches(port: Port, place: Port, named: Port) -> bool:
    if port.key != named.key:
        return False
    return not named.first or (port.first, port.last) == (named.first, named.last) or place.first == named.first


def _apply(parts: Parts, before: ContainerRecord, wanted: Sequence[Port]) -> None:
    def changed(current: ContainerRecord) -> ContainerRecord:
        return msgspec.structs.replace(current, ports=tuple(wanted))

    after = record.change(parts.state, before.id, changed)
    pid = status.read(parts.paths, before.id).pid
    if not pid or not (network_service.needed(parts, after) or network_service.needed(parts, before)):
        return
    try:
        network_service.serve(parts, after, pid)
    except BaseException:
        record.change(parts.state, before.id, lambda current: msgspec.structs.replace(current, ports=before.ports))
        raise
