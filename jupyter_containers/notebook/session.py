"""One engine a kernel, made on first use."""

from __future__ import annotations

import atexit
import sys
import threading
from typing import TYPE_CHECKING

from jupyter_containers.events import Event, Notice

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine


def _tell(event: Event) -> None:
    """What the engine repaired when it was opened is said where the cell's errors are."""
    if isinstance(event, Notice):
        sys.stderr.write(f"{event.text}\n")


class Session:
    """Owns the engine that all magics of a kernel share; closes it when the kernel ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def engine(self) -> Engine:
        """The engine; the first call makes it."""
        with self._lock:
            if self._engine is None:
                from jupyter_containers.engine import Engine  # noqa: PLC0415 - it is slow to import

                self._engine = Engine(on_event=_tell)
                atexit.register(self.close)
            return self._engine

    @property
    def started(self) -> bool:
        """Whether there is an engine already; completion must not make one."""
        return self._engine is not None

    def close(self) -> None:
        """Close the engine, which ends the containers that belong to it. A later use makes a new one."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            atexit.unregister(self.close)
            engine.close()
