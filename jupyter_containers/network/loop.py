"""The event loop of the network agent: handlers by descriptor, which are told what is ready, and deadlines.

epoll(7): an agent may carry thousands of connections.
"""

from __future__ import annotations

import heapq
import select
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_MOST = 256


class Loop:
    """See the module."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def watch(self, descriptor: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler`` with the events whenever the descriptor is ready; again: with other events from now on."""
        if descriptor not in self._masks:
            self._epoll.register(descriptor, events)
        elif self._masks[descriptor] != events:
            self._epoll.modify(descriptor, events)
        self._masks[descriptor] = events
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Stop watching, before the descriptor is closed; nothing happens for one that is not watched."""
        if self._handlers.pop(descriptor, None) is not None:
            del self._masks[descriptor]
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, handler: Callable[[], None]) -> None:
        """Call ``handler`` once, later."""
        heapq.heappush(self._timers, (monotonic() + seconds, next(self._numbers), handler))

    def turn(self) -> None:
        """Wait for the next events and handle what is there."""
        timeout = max(0.0, self._timers[0][0] - monotonic()) if self._timers else None
        for descriptor, events in self._epoll.poll(timeout, _MOST):
            handler = self._handlers.get(descriptor)  # an earlier handler may have ended this one
            if handler is not None:
                handler(events)
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
