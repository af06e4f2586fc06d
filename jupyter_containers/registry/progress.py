"""Progress of transfers as events, and running several of them at once."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from jupyter_containers.events import Transfer
from jupyter_containers.interrupts import ATTENTION
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.events import EventSink
    from jupyter_containers.registry.transport import Transport

THREADS = 3
_INTERVAL = 0.1
_Result = TypeVar("_Result")


@dataclass
class Progress:
    """The row of one blob: tells every change of its status, and its bytes ten times a second at most."""

    sink: EventSink
    key: str
    total: int
    status: str = "waiting"
    _told: float = field(default=0.0, init=False)

    def begin(self, status: str, *, total: int | None = None) -> None:
        """A new status, from its first byte."""
        self.status = status
        if total is not None:
            self.total = total
        self.sink(Transfer(self.key, status, 0, self.total))

    def at(self, current: int) -> None:
        """So many bytes are done."""
        now = time.monotonic()
        if now - self._told >= _INTERVAL:
            self._told = now
            self.sink(Transfer(self.key, self.status, current, self.total))

    def end(self, status: str) -> None:
        """All bytes are done, or were there."""
        self.status = status
        self.sink(Transfer(self.key, status, self.total, self.total))


def run_all(transport: Transport, jobs: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Run jobs in a few threads and return their results in order.

    When one fails, or the caller is interrupted, the others are stopped by cancelling the transport, which cannot be
    used any more; the first error is raised when all threads have ended.
    """
    pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="registry")
    try:
        futures = [pool.submit(job) for job in jobs]
        running = set(futures)
        while running:
            finished, running = wait(running, ATTENTION, FIRST_EXCEPTION)
            for future in finished:
                future.result()  # raises the error that ended the wait
        return [future.result() for future in futures]
    except BaseException:
        transport.cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
