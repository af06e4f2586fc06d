"""``engine.containers.step``: a container is started one stage at a time, so that each can be looked at.

The start is the usual one, in a thread of its own, with somebody who watches it: after each stage the container's
first process tells what it sees of itself, and waits (``runtime/watched.py``). It dies with its monitor, which ends it
when this process ends before its program runs; what is left to put right is what a start that was cut off leaves.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Self

from jupyter_containers.engine.explain import explaining
from jupyter_containers.engine.explain.xray import look
from jupyter_containers.engine.launch import watching
from jupyter_containers.errors import Conflict, ContainerNotFound, ContainerNotRunning, Unsupported, UsageError
from jupyter_containers.linux.seccomp_answers import ALLOWED, answer
from jupyter_containers.records import dataclass
from jupyter_containers.runtime.watched import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    from jupyter_containers.engine.containers import Containers
    from jupyter_containers.engine.explain.xray import Xray
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.engine.views import Container, RunResult
    from jupyter_containers.runtime.protocol import LaunchRequest

NAMES: Final = tuple(name for name, _steps in STAGES)
LAST: Final = NAMES[-1]
MEANINGS: Final = {
    "namespaces": "a process was born in new namespaces and its cgroups; it still sees the host's files, as they were",
    "kernel file systems": "proc, sys and dev were mounted where nobody sees them, and loopback is up",
    "root file system": "the image's layers, the writable directory, volumes and devices are one tree in the host's",
    "network": "its interfaces have addresses and routes",
    "protections": "what is masked or read-only is covered",
    "pivot_root": "the tree is its root; the host's files are gone for it",
    "user": "it became the user, in the working directory, with its input and output in place",
    "filter": "the system call filter is loaded and cannot be taken away",
    "capabilities": "all capabilities but those of the container are given up",
    "program": "it became the program",
}
_NEEDED: Final = (
    *("openat", "read", "close", "newfstatat", "fstat", "lseek", "getdents64", "sendmsg", "recvmsg"),
    *("brk", "mmap", "munmap", "mremap", "rt_sigaction", "futex"),
)
"""The system calls that a halt makes."""
_POLL: Final = 0.2


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a start, which is done.

    ``steps`` and ``calls`` are what was done since the stage before, by the monitor and by the container's first
    process; ``xray`` is the half-made container as that process sees it. ``pid`` is that process, outside.
    """

    number: int
    name: str
    meaning: str
    pid: int | None
    steps: tuple[explaining.Step, ...]
    calls: tuple[explaining.Call, ...]
    xray: Xray

    @property
    def last(self) -> bool:
        """Whether its program runs; before, it waits."""
        return self.name == LAST


class _AbortedError(Exception):
    """Ends a start from within."""


class _Gate(watching.Watcher):
    """Between the thread that starts, and whoever looks."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.stages: SimpleQueue[Stage | None] = SimpleQueue()
        self.answers: SimpleQueue[bool] = SimpleQueue()
        self.flows = self.aborted = False
        self.record: ContainerRecord | None = None
        self._parts = parts
        self._shown = 0

    def prepare(self, request: LaunchRequest, record: ContainerRecord) -> None:
        """Ask for a start with halts; not where the container's filter refuses the calls that a halt takes."""
        self.record = record
        program, machine = request.get("seccomp") or b"", self._parts.host.machine
        mute = any(answer(program, call, machine=machine) not in {*ALLOWED, None} for call in _NEEDED)
        request["watch"] = {"hold": True, "mute": mute}

    def halted(self, message: dict[str, Any]) -> None:
        """Show a stage, and wait for what is wanted."""
        if not (self.flows or self.aborted):
            assert self.record is not None
            at = NAMES.index(message["name"])
            filtered, entered = at >= NAMES.index("filter"), at >= NAMES.index("pivot_root")
            parts, record, pid = self._parts, self.record, message["pid"]
            seen = look.starting(parts, record, pid, message["look"], filtered=filtered, entered=entered)
            self._show(at, pid, message["steps"], seen)
            self.answers.get()
        if self.aborted:
            raise _AbortedError

    def started(self, steps: list[Any], *, running: bool) -> None:
        """Show the last stage; the program runs already."""
        if running and not self.flows:
            assert self.record is not None
            seen = look.take(self._parts, self.record)
            self._show(len(NAMES) - 1, seen.pid, steps, seen)

    def _show(self, at: int, pid: int | None, steps: list[Any], seen: Xray) -> None:
        rows = list(explaining.rows_of(steps))
        done = explaining.steps_of(rows, pooled=False)[self._shown :]
        calls = tuple(call for call in explaining.calls_of(rows) if call.step > self._shown)
        self._shown = len(rows)
        self.stages.put(Stage(at + 1, NAMES[at], MEANINGS[NAMES[at]], pid, done, calls, seen))


class _Start:
    """The thread that starts, and what came of it. It knows nothing of who looks, who may be forgotten."""

    def __init__(self, parts: Parts, containers: Containers, run: Callable[[], RunResult | Container]) -> None:
        self.gate = _Gate(parts)
        self.outcome: RunResult | Container | None = None
        self.error: BaseException | None = None
        self._parts = parts
        self._containers = containers
        self._run = run
        self._over = False
        self.thread = threading.Thread(target=self._work, name="step", daemon=True)
        parts.closing.append(self.end)

    def _work(self) -> None:
        try:
            with watching.by(self.gate):
                self.outcome = self._run()
        except _AbortedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error
        finally:
            self.gate.stages.put(None)

    def leave(self) -> None:
        """It is no matter of the engine any more whether it ends."""
        self._over = True
        with suppress(ValueError):  # the engine is being closed
            self._parts.closing.remove(self.end)

    def join(self) -> None:
        """Wait for the end of the thread, so that an interrupt gets through."""
        while self._works():
            self.thread.join(_POLL)

    def _works(self) -> bool:
        return self.thread.is_alive() and self.thread is not threading.current_thread()

    def end(self) -> None:
        """End it, whatever it is at, and leave nothing behind, unless it was left to somebody. Idempotent."""
        if self._over:
            return
        self.leave()
        self.gate.aborted = True
        self.gate.answers.put(True)
        while self._works():
            if self.gate.record is not None:
                with suppress(ContainerNotRunning, ContainerNotFound):
                    self._containers.kill(self.gate.record.id)
            self.thread.join(_POLL)
        if self.gate.record is not None:
            with suppress(ContainerNotFound):
                self._containers.remove(self.gate.record.id, force=True, volumes=True)
            if "remover" in self._parts.__dict__:  # what is removed while nobody waits: this process may be ending
                self._parts.remover.close()


class Stages:
    """The stages of a start, as they are done: an iterator. As a context manager it aborts what was not finished."""

    def __init__(self, start: _Start, first: Stage | None) -> None:
        self._start = start
        self._next = first
        self._over = first is None
        self._finalizer = weakref.finalize(self, start.end)
        self.shown: list[Stage] = []
        self.meanings = MEANINGS

    def __iter__(self) -> Iterator[Stage]:
        return self

    def __next__(self) -> Stage:
        """Let the start go on until the next stage is done. Raises what the start fails with, as ``run`` does."""
        if self._next is None and not self._over:
            self._start.gate.answers.put(True)
            self._next = self._start.gate.stages.get()
            self._over = self._next is None
        if self._next is None:
            if self._start.error is not None and not self._start.gate.aborted:
                raise self._start.error
            raise StopIteration
        stage, self._next = self._next, None
        self._over = stage.last
        self.shown.append(stage)
        return stage

    def finish(self) -> RunResult | Container:
        """Let the start go on to its end, and give what ``run`` gives: the result, or the container if detached.

        Raises
        ------
        Conflict
            when it was aborted.
        """
        start = self._start
        if start.gate.aborted:
            raise Conflict("the start was aborted", hint="step again")
        start.gate.flows = True
        start.gate.answers.put(True)
        try:
            start.join()
        except BaseException:
            start.end()
            raise
        self._over = True
        start.leave()
        if start.error is not None:
            raise start.error
        assert start.outcome is not None
        return start.outcome

    def abort(self) -> None:
        """End the container at whatever stage, and remove it; after :meth:`finish` it is left alone. Idempotent."""
        self._next, self._over = None, True
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


def begin(
    parts: Parts, containers: Containers, run: Callable[[], RunResult | Container], options: RunOptions
) -> Stages:
    """Begin a start, up to its first stage; see :meth:`Containers.step`."""
    if watching.CURRENT.get() is not None:
        raise UsageError("a start that is explained cannot be stepped", hint="a stage tells its steps and calls, too")
    if options.runtime:
        raise Unsupported(f"a container of {options.runtime} cannot be stepped", hint="leave out --runtime")
    if options.tty:
        raise Unsupported("a container with a terminal cannot be stepped", hint="leave out -t")
    start = _Start(parts, containers, run)
    start.thread.start()
    try:
        first = start.gate.stages.get()
    except BaseException:
        start.end()
        raise
    if first is None and start.error is not None:
        raise start.error
    return Stages(start, first)
