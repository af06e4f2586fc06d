"""Running a graph: each vertex once, after its inputs, independent ones at the same time.

:class:`Schedule` decides and does nothing else (no threads, no clock), so that every order of events can be tested;
:func:`solve` drives it with threads.
"""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

from jupyter_containers.errors import Cancelled
from jupyter_containers.interrupts import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.graph import Graph, Vertex

R = TypeVar("R")


class Schedule(Generic[R]):
    """Which vertices can be run now, given what has happened.

    Parameters
    ----------
    needs
        The inputs of each vertex. An input without an entry of its own, or a cycle, is a ValueError.
    """

    def __init__(self, needs: Mapping[str, tuple[str, ...]]) -> None:
        self._needs = dict(needs)
        self._open = {key: len(set(inputs)) for key, inputs in self._needs.items()}
        self._followers: dict[str, list[str]] = {key: [] for key in self._needs}
        for key, inputs in self._needs.items():
            for name in dict.fromkeys(inputs):
                if name not in self._followers:
                    raise ValueError(f"{key} needs {name}, which is not in the graph")
                self._followers[name].append(key)
        self._ready = [key for key, count in self._open.items() if not count]
        self._running: set[str] = set()
        self._failed = False
        self.results: dict[str, R] = {}
        if self._has_cycle():
            raise ValueError("the graph has a cycle")

    def _has_cycle(self) -> bool:
        counts, queue, seen = dict(self._open), list(self._ready), 0
        while queue:
            seen += 1
            for follower in self._followers[queue.pop()]:
                counts[follower] -= 1
                if not counts[follower]:
                    queue.append(follower)
        return seen != len(self._needs)

    def ready(self) -> list[str]:
        """The vertices to start now, each given out once; none after a failure."""
        if self._failed:
            return []
        ready, self._ready = self._ready, []
        self._running.update(ready)
        return ready

    def inputs(self, key: str) -> tuple[R, ...]:
        """The results a vertex works on."""
        return tuple(self.results[name] for name in self._needs[key])

    def done(self, key: str, result: R) -> None:
        """A vertex that was given out ended well."""
        self._running.remove(key)
        self.results[key] = result
        for follower in self._followers[key]:
            self._open[follower] -= 1
            if not self._open[follower]:
                self._ready.append(follower)

    def failed(self, key: str) -> None:
        """A vertex that was given out failed: nothing new is started."""
        self._running.remove(key)
        self._failed = True

    @property
    def active(self) -> bool:
        """Whether something runs or can be started."""
        return bool(self._running) or (not self._failed and bool(self._ready))


def solve(
    graph: Graph, work: Callable[[Vertex, tuple[R, ...]], R], *, cancel: CancelToken, jobs: int | None = None
) -> dict[str, R]:
    """Run all vertices of a graph and return their results by id.

    ``work`` is called in threads, ``jobs`` at most at a time (default: the processors, at least four, because steps
    wait for networks and disks). When one fails, or the caller is interrupted, ``cancel`` is set, the others are
    waited for, and the first error goes on: nothing runs any more when this returns.
    """
    schedule: Schedule[R] = Schedule(graph.needs())

    def unless_cancelled(vertex: Vertex, inputs: tuple[R, ...]) -> R:
        cancel.check()  # one that waited for a free thread is not begun any more
        try:
            return work(vertex, inputs)
        except BaseException:
            cancel.cancel()  # here and not in the caller's thread: this one takes the next vertex at once
            raise

    workers = min(jobs or max(4, os.cpu_count() or 1), max(1, len(graph)))
    with ThreadPoolExecutor(workers, thread_name_prefix="build") as pool:
        try:
            error = _drive(schedule, graph, pool, unless_cancelled, cancel)
        except BaseException:
            cancel.cancel()
            raise
    if error is not None:
        raise error
    cancel.check()
    return schedule.results


def _drive(
    schedule: Schedule[R],
    graph: Graph,
    pool: ThreadPoolExecutor,
    work: Callable[[Vertex, tuple[R, ...]], R],
    cancel: CancelToken,
) -> BaseException | None:
    running: dict[Future[R], str] = {}
    first: BaseException | None = None
    while schedule.active:
        for key in schedule.ready():
            running[pool.submit(work, graph[key], schedule.inputs(key))] = key
        for future in wait(running, ATTENTION, FIRST_COMPLETED).done:
            key = running.pop(future)
            problem = future.exception()
            if problem is None:
                schedule.done(key, future.result())
                continue
            schedule.failed(key)
            cancel.cancel()
            if first is None or (isinstance(first, Cancelled) and not isinstance(problem, Cancelled)):
                first = problem
    return first
