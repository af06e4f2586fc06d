"""Explanations: what was done for a verb, step by step, as it was really done.

A start is told by the runtime itself (``runtime/watched.py``): its steps with their system calls and times. Builds and
transfers are told by the events of what they do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jupyter_containers.engine.explain.xray.text import visible
from jupyter_containers.engine.launch.watching import Watcher
from jupyter_containers.events import BuildFinished, Notice, StepError, StepFinished, StepStarted, Transfer
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jupyter_containers.events import Event, EventSink

    Row: TypeAlias = tuple[str, str, int, int, Sequence[Any], str]  # whose, name, began, took, calls, words

_MICRO: Final = 1000
AHEAD: Final = frozenset(
    {
        "clone",
        "equip",
        "bind_to_parent",
        "enter_cgroups",
        "await_permission",
        "join_namespaces",
        "mount_propagation",
        "stage",
        "loopback",
    }
)
"""Steps that may be done before anybody asks: ``runtime/ahead.py``."""

WORDS: Final = {
    "clone": "cgroups are made and limited, and a process is born in new namespaces",
    "equip": "the process is given its ids",
    "connect": "the outer ends of its interfaces are made",
    "release": "the process is told what is wanted, and given its input and output",
    "bind_to_parent": "it will die with its monitor; it is a session of its own and has nothing open of its maker's",
    "enter_cgroups": "it puts itself into its cgroups",
    "await_permission": "it waits until its monitor has given it its ids",
    "join_namespaces": "it joins the namespaces of others that were asked for, and makes its cgroup namespace",
    "mount_propagation": "what it mounts from here on is not seen outside",
    "stage": "proc, sys, dev with its devices, and their masks are mounted where nobody sees them",
    "loopback": "the loopback interface is brought up",
    "await_request": "it waits until somebody wants a container of this kind",
    "root_file_system": "the image's layers and the writable directory are mounted as one tree",
    "put_staged": "proc, sys and dev are moved into that tree",
    "mounts": "volumes and other mounts",
    "write_files": "hostname, hosts and resolv.conf, kept in memory",
    "devices": "device nodes that could not be made ahead",
    "terminal": "a terminal, where one was asked for",
    "gate": "it waits until its monitor has done its part",
    "interfaces": "the inner ends of its interfaces get addresses and routes",
    "sysctls": "kernel parameters that could not be set ahead",
    "protections": "read-only and masked paths that could not be covered ahead",
    "oom_score": "how soon it is taken when memory runs out",
    "enter_root": "the tree becomes its root; the host's file tree is gone for it",
    "host_name": "host name",
    "limits": "resource limits (setrlimit)",
    "lookup_user": "the user is looked up in the container's own files",
    "working_directory": "the working directory is made if it is missing",
    "connect_stdio": "standard input, output and errors are put in place",
    "become": "the bounding set of capabilities is cut, and it becomes the user",
    "listen": "an agent gets the filter, where one is asked about system calls",
    "announce": "it says that all is done but the program itself",
    "detach": "signals are reset, and descriptors marked to be closed",
    "load_filter": "the system call filter is loaded",
    "restrict": "all capabilities but those asked for are given up",
    "execute": "it becomes the program",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ``at`` and ``took`` in microseconds, ``at`` since the first one.

    ``whose`` did it (``monitor``, ``init``, ``build``, ``transfer``); ``took`` is None where its end is not known: the
    last step of a start becomes the program. ``ahead``: it may be done before anybody asks, and was not this time.
    """

    number: int
    whose: str
    name: str
    at: int
    took: int | None
    calls: int
    ahead: bool
    words: str


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a step; ``took`` in microseconds, ``error`` the name of the kernel's error or empty."""

    step: int
    whose: str
    step_name: str
    call: str
    arguments: str
    took: int | None
    error: str


class Story(Watcher):
    """What happens while it listens. It is a sink of events, and watches the starts of containers."""

    def __init__(self, sink: EventSink) -> None:
        super().__init__()
        self._sink = sink
        self._events: list[tuple[int, Event]] = []

    def __call__(self, event: Event) -> None:
        """Take an event, and hand it on."""
        if isinstance(event, StepStarted | StepFinished | StepError | Transfer | BuildFinished | Notice):
            self._events.append((time.monotonic_ns(), event))
        self._sink(event)

    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return steps_of(self._rows(), pooled=self.pooled)

    def calls(self) -> tuple[Call, ...]:
        """All system calls of the starts, in order."""
        return calls_of(self._rows())

    def _rows(self) -> list[Row]:
        return sorted([*(row for steps in self.starts for row in rows_of(steps)), *_told(self._events)], key=_when)


def rows_of(steps: Iterable[Any]) -> Iterator[Row]:
    """The steps of a start as the runtime wrote them down, with the words for each."""
    for whose, name, at, took, calls in steps:
        yield whose, name, at, took, calls, WORDS.get(name, "")


def steps_of(rows: Sequence[Row], *, pooled: bool) -> tuple[Step, ...]:
    """The steps as values, in their order; ``pooled``: some may be done before anybody asks."""
    first = rows[0][2] if rows else 0
    found = []
    for number, (whose, name, at, took, calls, words) in enumerate(rows, 1):
        ahead = pooled and whose in {"monitor", "init"} and name in AHEAD
        shown = name.replace("_", " ")
        found.append(Step(number, whose, shown, (at - first) // _MICRO, _micro(took), len(calls), ahead, words))
    return tuple(found)


def calls_of(rows: Sequence[Row]) -> tuple[Call, ...]:
    """The system calls of the steps, in their order."""
    return tuple(
        Call(number, whose, name.replace("_", " "), call, visible(text), _micro(took), error)
        for number, (whose, name, _at, _took, calls, _words) in enumerate(rows, 1)
        for call, text, took, error in calls
    )


def _when(row: Row) -> int:
    return row[2]


def _micro(nanoseconds: int) -> int | None:
    return None if nanoseconds < 0 else nanoseconds // _MICRO


def _told(events: Iterable[tuple[int, Event]]) -> Iterator[Row]:
    """Steps of builds and transfers from what was told of them."""
    begun: dict[str, tuple[int, StepStarted]] = {}
    moving: dict[str, tuple[int, int, Transfer]] = {}
    for at, event in events:
        match event:
            case StepStarted():
                begun[event.vertex] = at, event
            case StepFinished() | StepError() if event.vertex in begun:
                began, started = begun.pop(event.vertex)
                yield "build", visible(started.text), began, int(event.seconds * 1e9), (), _verdict(event)
            case Transfer():
                began, _last, _event = moving.get(event.key, (at, at, event))
                moving[event.key] = began, at, event
            case BuildFinished():
                yield "build", "image", at, 0, (), f"the image {event.image_id.removeprefix('sha256:')[:12]} is there"
            case Notice():
                yield "engine", "notice", at, 0, (), visible(event.text)
            case _:
                continue
    for key, (began, last, event) in moving.items():
        size = f", {event.total} bytes" if event.total else ""
        yield "transfer", visible(key), began, last - began, (), f"{visible(event.status)}{size}"


def _verdict(event: StepFinished | StepError) -> str:
    if isinstance(event, StepError):
        return f"failed: {visible(event.message)}"
    return f"{'from the cache' if event.cached else 'made'}{f': {visible(event.reason)}' if event.reason else ''}"
