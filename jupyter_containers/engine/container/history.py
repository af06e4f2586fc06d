"""A history of what containers use, kept in the background: the latest samples, as values and as a DataFrame."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from jupyter_containers.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    import pandas as pd

    from jupyter_containers.engine.views import ContainerStats

    Sampling = Callable[[Callable[[float], object]], Iterator[list[ContainerStats]]]

KEPT = 3600
"""Moments that are kept unless told otherwise: an hour of one a second."""
_COLUMNS = (
    "name",
    "id",
    "cpu_percent",
    "memory",
    "memory_limit",
    "memory_percent",
    "network_received",
    "network_sent",
    "disk_read",
    "disk_written",
    "pids",
    "source",
)


class StatsHistory:
    """Samples that are taken until :meth:`stop`, the end of the ``with`` block, or that of the engine. Thread-safe.

    Attributes
    ----------
    interval
        Seconds between two moments.
    keep
        So many moments are kept, the latest ones.
    problem
        What was in the way of the last sample; None: nothing.
    """

    def __init__(
        self, sampling: Sampling, *, interval: float, keep: int, ended: Callable[[StatsHistory], None]
    ) -> None:
        self.interval = interval
        self.keep = keep
        self.problem: EngineError | None = None
        self._sampling = sampling
        self._ended = ended
        self._moments: deque[list[ContainerStats]] = deque(maxlen=keep)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.is_set():
            try:
                for rows in self._sampling(self._over.wait):
                    self.problem = None
                    if rows:
                        self._moments.append(rows)
            except EngineError as error:
                self.problem = error
                self._over.wait(self.interval)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return not self._over.is_set()

    @property
    def moments(self) -> list[list[ContainerStats]]:
        """The rows of each moment, oldest first; one in which no container ran is left out."""
        return [list(rows) for rows in tuple(self._moments)]

    @property
    def rows(self) -> list[ContainerStats]:
        """All rows, oldest first."""
        return [row for rows in tuple(self._moments) for row in rows]

    def frame(self) -> pd.DataFrame:
        """A DataFrame indexed by time, a row for each container and moment; it needs pandas."""
        import pandas  # noqa: PLC0415, ICN001 - optional

        rows = self.rows
        index = pandas.DatetimeIndex([row.time for row in rows], dtype="datetime64[ns, UTC]", name="time")
        return pandas.DataFrame({name: [getattr(row, name) for row in rows] for name in _COLUMNS}, index=index)

    def stop(self) -> None:
        """Take no more samples; what there is stays. Idempotent."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._ended(self)

    def __len__(self) -> int:
        """How many moments there are."""
        return len(self._moments)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
