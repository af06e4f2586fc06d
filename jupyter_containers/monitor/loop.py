"""One poll loop for everything a small process waits for: descriptors and deadlines.

poll(2) rather than epoll(7): a monitor watches a dozen descriptors, and some of them are regular files, which epoll
refuses.
"""

from __future__ import annotations

import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT


class Loop:
    """Handlers by descriptor, and timers by name."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}

    def watch(self, descriptor: int, events: int, handler: Callable[[], None]) -> None:
        """Call ``handler`` whenever the descriptor is ready, or its other end is gone."""
        self._poll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Stop watching; nothing happens for one that is not watched."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def watches(self, descriptor: int) -> bool:
        """Whether a descriptor is watched."""
        return descriptor in self._handlers

    def after(self, name: str, seconds: float, handler: Callable[[], None]) -> None:
        """Call ``handler`` once, later; a timer of the same name is replaced."""
        self._timers[name] = (monotonic() + seconds, handler)

    def cancel(self, name: str) -> None:
        """Forget a timer, if there is one of that name."""
        self._timers.pop(name, None)

    def idle(self) -> bool:
        """Whether nothing is watched any more."""
        return not self._handlers

    def turn(self) -> None:
        """Wait for the next event and handle what is there."""
        timeout = None
        if self._timers:
            timeout = max(0.0, min(at for at, _ in self._timers.values()) - monotonic()) * 1000 + 1
        ready = self._poll.poll(timeout)
        now = monotonic()  # a timer that a handler sets now comes after the next look at all descriptors
        for descriptor, _events in ready:
            handler = self._handlers.get(descriptor)  # an earlier handler may have ended this one
            if handler is not None:
                handler()
        if self._timers:
            for name in [name for name, (at, _) in self._timers.items() if at < now]:
                self._timers.pop(name, (0.0, _nothing))[1]()  # an earlier one may have cancelled it


def _nothing() -> None:
    """For a timer that is gone."""
