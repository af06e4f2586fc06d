"""The published ports of one container, as sockets of the agent: what is wanted is bound, the rest given up."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_containers.network import forwarder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jupyter_containers.network.forwarder import Connect
    from jupyter_containers.network.loop import Loop

    Place = tuple[str, str, int, int]  # protocol, address and port on the host, port of the container
    Wanted = tuple[str, str, int, int, int]  # the same, with the first and the last port of the host that will do


class PortError(Exception):
    """A port of the host cannot be had: the error's number, and what was asked for."""

    def __init__(self, code: int, port: Wanted) -> None:
        super().__init__(code)
        self.code = code
        self.port = list(port)


class Published:
    """See the module.

    Parameters
    ----------
    connect
        Makes a socket where the container is reached.
    """

    def __init__(self, loop: Loop, connect: Connect) -> None:
        self._loop = loop
        self._connect = connect
        self._there: dict[Place, Any] = {}

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._there)

    def close(self) -> None:
        """Give up all ports and their connections."""
        for forward in self._there.values():
            forward.close()
        self._there = {}

    def set(
        self, wanted: Sequence[Wanted], addresses: Sequence[str], bound: Callable[[Sequence[Place]], object]
    ) -> list[Place]:
        """Bind what is new, give up what is not wanted any more; what each wanted one is bound to.

        Those that stay keep their connections. When something is refused, also by ``bound``, which is told of the
        places before any is given up that is not in the way, nothing has changed.

        Raises
        ------
        PortError
            A port cannot be had.
        """
        held = _held(self._there, wanted)
        keep = {place: self._there[place] for place in held if place}
        gone = {place: forward for place, forward in self._there.items() if place not in keep}
        in_the_way = [place for place in gone if _clashes(place, wanted, held)]
        made: dict[Place, Any] = {}
        places: list[Place] = []
        try:
            for place in in_the_way:
                gone.pop(place).close()
            for each, there in zip(wanted, held, strict=True):
                _protocol, host, _first, _last, target = each
                if there is None:
                    place, forward = self._forward(each, addresses)
                    made[place] = forward
                else:
                    place = there
                    keep[place].target = _reached(host, target, addresses) or keep[place].target
                places.append(place)
            bound(places)
        except BaseException:
            for forward in made.values():
                forward.close()
            self._there = {**keep, **gone, **self._again(in_the_way, addresses)}
            raise
        for forward in gone.values():
            forward.close()
        self._there = {**keep, **made}
        return places

    def _again(self, places: Iterable[Place], addresses: Sequence[str]) -> dict[Place, Any]:
        """Bind what was given up for something that did not come to be, unless another process took it meanwhile."""
        found = {}
        for protocol, host, number, target in places:
            with suppress(PortError):
                place, forward = self._forward((protocol, host, number, number, target), addresses)
                found[place] = forward
        return found

    def _forward(self, wanted: Wanted, addresses: Sequence[str]) -> tuple[Place, Any]:
        protocol, host, first, last, target = wanted
        where = _reached(host, target, addresses)
        if where is None:
            raise PortError(errno.ENETUNREACH, wanted)
        for number in range(first, last + 1):
            try:
                listener = forwarder.bind(protocol, host, number)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or number == last:
                    raise PortError(error.errno or 0, wanted) from error
        else:
            raise AssertionError("unreachable: the range has a port")
        number = listener.getsockname()[1]
        kind = forwarder.TcpForwarder if protocol == "tcp" else forwarder.UdpForwarder
        return (protocol, host, number, target), kind(self._loop, listener, where, self._connect)


def _reached(host: str, target: int, addresses: Sequence[str]) -> tuple[str, int] | None:
    """Where a port of a container is, by an address of the kind of the host's; None while it is in no network."""
    same = [address for address in addresses if (":" in address) == (":" in host)]
    return next(((address, target) for address in [*same, *addresses]), None)


def _held(there: Iterable[Place], wanted: Iterable[Wanted]) -> list[Place | None]:
    """For each port the place that it has already, if it has one that will do."""
    free = list(there)
    found: list[Place | None] = []
    for protocol, host, first, last, target in wanted:
        fitting = (
            each
            for each in free
            if (each[0], each[1], each[3]) == (protocol, host, target) and (not first or first <= each[2] <= last)
        )
        place = next(fitting, None)
        if place is not None:
            free.remove(place)
        found.append(place)
    return found


def _clashes(place: Place, wanted: Sequence[Wanted], held: Sequence[Place | None]) -> bool:
    """Whether a place that is given up has a number that is to be bound anew, there or at another address."""
    return any(
        there is None and first and protocol == place[0] and first <= place[2] <= last
        for (protocol, _host, first, last, _target), there in zip(wanted, held, strict=True)
    )
