"""What nobody waits for to be gone.

A container that was run to be thrown away has ended once its row in the state file is gone; its directories are garbage
from then on. A thread waits for its monitor and removes them; what is left when the process is killed, the next engine
sweeps.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from jupyter_containers.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_containers.layers.base import Trees

    class Closable(Protocol):
        """What is closed before."""

        def close(self) -> None:
            """Let go of it."""

    Left = tuple[Closable, Sequence[Path]]


_QUIET = 0.02  # seconds: whoever runs one container after the other waits for the next one now
_MOST = 32


class Remover:
    """Removes what is left of containers, one after the other, when no more have ended just now. Thread-safe."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Left | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, session: Closable, directories: Sequence[Path]) -> None:
        """Have a session, whose process has ended, closed, and then directories removed."""
        with self._lock:
            self._queue.put((session, directories))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="container-removal", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        closing = False
        while not closing:
            pending, closing = self._gather()
            for session, directories in pending:
                session.close()
                for directory in directories:
                    try:
                        self._trees.remove(directory)
                    except EngineError:
                        continue  # the sweep of the next engine tries again, and says what is in the way

    def _gather(self) -> tuple[list[Left], bool]:
        """What is to be removed once nothing more has come for a moment, or much; whether this was the last."""
        pending: list[Left] = []
        with suppress(queue.Empty):
            while len(pending) < _MOST:
                left = self._queue.get(timeout=_QUIET if pending else None)
                if left is None:
                    return pending, True
                pending.append(left)
        return pending, False

    def close(self) -> None:
        """Wait until all is removed. Idempotent."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._queue.put(None)
        if thread is not None:
            thread.join()
