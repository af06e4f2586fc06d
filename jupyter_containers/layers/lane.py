"""A thread that works on what it is handed, a few pieces at a time waiting for it.

Hashing, writing and making files spend most of their time in the kernel or in C without the interpreter's lock, so
that lanes beside each other use several processors.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

T = TypeVar("T")
R = TypeVar("R")
_AHEAD: Final = 4


class Lane(Generic[T, R]):
    """Calls ``work`` in a thread with the pieces that :meth:`put` is given, in their order.

    As a context manager it has ended at its end: one whose result was not taken is made to give up.
    """

    def __init__(self, work: Callable[[Iterator[T]], R], name: str) -> None:
        self._work = work
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._complete = self._abandoned = self._done = False
        self._results: list[R] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        self._thread.join()

    def put(self, piece: T) -> None:
        """Hand over a piece; waits while enough are there. Raises what ended the thread."""
        with self._changed:
            while len(self._waiting) >= _AHEAD and not self._done:
                self._changed.wait()
            if self._done:
                self._raise()
            self._waiting.append(piece)
            self._changed.notify_all()

    def result(self) -> R:
        """What ``work`` returns when it has all pieces. Raises what it raised."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()
        self._thread.join()
        if not self._results:
            self._raise()
        return self._results[0]

    def _raise(self) -> None:
        assert self._error is not None, "work returns when there are no more pieces, not before"
        raise self._error

    def _run(self) -> None:
        try:
            self._results.append(self._work(self._pieces()))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that hands over
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _pieces(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not (self._waiting or self._complete or self._abandoned):
                    self._changed.wait()
                if self._abandoned:
                    raise _AbandonedError
                if not self._waiting:
                    return
                piece = self._waiting.popleft()
                self._changed.notify_all()
            yield piece


class _AbandonedError(Exception):
    """Nobody wants the result any more."""
