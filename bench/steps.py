"""Where the time of one run, and of one exec, goes, step by step: ``./dev bench --section steps``."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import ours, workload
from bench.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.engine import Engine

QUIET = 0.04
_FIRST = 3  # runs that are not counted: they find nobody waiting
PATH = (
    ("run(", ""),
    ("handed over(", "engine: image, options, row, directories, specification"),
    ("monitor(", "spawner, on to the monitor that waits"),
    ("release)", "monitor: streams, log, request to the init that waits"),
    ("init.root_file_system", "init: overlay"),
    ("init.gate", "init: what was staged, files; until limits and interfaces are there"),
    ("init.enter_root", "init: change of root"),
    ("init.become", "init: host name, limits, user, streams"),
    ("init.restrict", "init: capabilities, filter"),
    ("running(", "execve, until the monitor knows"),
    ("running)", "monitor.json, event, answer"),
    ("reap(", "/bin/true, and the end of its namespaces"),
    ("announce)", "figures of the cgroup, event, answer"),
    ("wait)", "engine: output read, told of the end"),
    ("run)", "engine: row removed, event"),
)
"""What is on the way of a run, by the moment each part ends."""
BESIDE = (
    ("adopt", "cgroups renamed, limits"),
    ("connect", "outer ends of interfaces"),
    ("listen", "control socket"),
    ("remove", "cgroups removed"),
)
"""What a monitor does meanwhile, or after the end was told."""
EXEC_PATH = (
    ("exec(", ""),
    ("execute(", "engine: container, request, event"),
    ("enter(", "control socket, on to the monitor; its streams"),
    ("enter)", "monitor: clone"),
    ("init.join_namespaces", "process: namespaces joined"),
    ("init.await_permission", "process: cgroups, limits, user"),
    ("init.become", "process: streams, user"),
    ("init.restrict", "process: capabilities, filter"),
    ("running(", "execve, until the monitor knows"),
    ("running)", "event, answer"),
    ("reap(", "/bin/true"),
    ("announce)", "event, answer "),
    ("wait)", "engine: told of the end"),
    ("exec)", "engine: output, result"),
)
"""What is on the way of an exec."""
AHEAD = (
    ("create", "cgroups and device rules"),
    ("clone", "the same, and clone3 with its namespaces"),
    ("write_maps", "id maps"),
    ("init.enter_cgroups", "init: into its cgroups"),
    ("init.join_namespaces", "init: cgroup namespace, namespaces joined"),
    ("init.stage", "init: proc, dev, sys, cgroup, masks"),
    ("init.loopback", "init: loopback"),
)
"""What is done before there is a request."""


class Moment(NamedTuple):
    """When (ns), in which process, what."""

    at: int
    pid: int
    name: str


def _read(path: Path) -> list[Moment]:
    found = []
    for line in path.read_text(encoding="ascii").splitlines():
        at, pid, name = line.split(" ", 2)
        found.append(Moment(int(at), int(pid), name))
    return sorted(found)


def on_the_way(moments: list[Moment], path: tuple[tuple[str, str], ...] = PATH) -> list[float]:
    """Milliseconds of each part of a path but the first, medians over all times it was taken."""
    parts: list[list[float]] = [[] for _ in path[1:]]
    for run in _runs(moments, path[0][0], path[-1][0]):
        before = run[0].at
        for number, (name, _text) in enumerate(path[1:]):
            at = next((moment.at for moment in run if moment.name == name), before)
            parts[number].append(max(0, at - before) / 1e6)
            before = max(before, at)
    return [statistics.median(part) for part in parts]


def _runs(moments: list[Moment], first: str, last: str) -> Iterator[list[Moment]]:
    begin = -1
    for number, moment in enumerate(moments):
        if moment.name == first:
            begin = number
        elif moment.name == last and begin >= 0:
            yield moments[begin : number + 1]
            begin = -1


def durations(moments: list[Moment]) -> dict[str, float]:
    """Milliseconds of each call that was watched and of each step of an init, medians."""
    found: dict[str, list[float]] = defaultdict(list)
    last: dict[int, int] = {}
    begun: dict[tuple[int, str], int] = {}
    for moment in moments:
        name = moment.name
        if name.endswith("("):
            begun[moment.pid, name[:-1]] = moment.at
        elif name.endswith(")"):
            if (moment.pid, name[:-1]) in begun:
                found[name[:-1]].append((moment.at - begun.pop((moment.pid, name[:-1]))) / 1e6)
        else:
            if moment.pid in last:
                found[name].append((moment.at - last[moment.pid]) / 1e6)
            last[moment.pid] = moment.at
    return {name: statistics.median(values) for name, values in found.items()}


@contextmanager
def _watched(path: Path) -> Iterator[tuple[Engine, Probe]]:
    """An engine whose processes write their moments to a file."""
    from jupyter_containers.engine.container import sessions  # noqa: PLC0415 - lazily, as every front end does
    from jupyter_containers.runtime import spawner  # noqa: PLC0415 - the same

    path.touch()
    probe = Probe(str(path))
    source = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
    *first, last = spawner._BOOTSTRAP.splitlines()  # noqa: SLF001 - what is measured is what this starts
    probing = f"exec({source!r}, space := {{}}); space['watch_small_processes']({str(path)!r})"
    before = spawner._BOOTSTRAP, sessions.Session.wait  # noqa: SLF001 - to put them back
    spawner._BOOTSTRAP = "\n".join([*first, probing, last])  # noqa: SLF001 - see above
    try:
        probe.watch(sessions.Session, "wait")
        with ours.made(path.parent) as engine:
            yield engine, probe
    finally:
        spawner._BOOTSTRAP, sessions.Session.wait = before  # type: ignore[method-assign]  # noqa: SLF001 - see above
        os.close(probe.descriptor)


def measure(directory: Path, repeats: int, *, pause: float, network: str) -> list[Moment]:
    """The moments of so many runs, each after a pause."""
    path = directory / "moments"
    options: dict[str, Any] = {"network": network} if network else {}
    options |= ours.LIMITS if os.geteuid() == 0 else {}
    with _watched(path) as (engine, probe):
        run = partial(engine.containers.run, workload.BASE, ["/bin/true"], remove=True, **options)
        _repeat(run, "run", probe, repeats, pause)
    return _read(path)


def measure_exec(directory: Path, repeats: int, *, pause: float) -> list[Moment]:
    """The moments of so many commands executed in a running container, each after a pause."""
    from jupyter_containers.runtime import handle  # noqa: PLC0415 - with the engine

    path, execute = directory / "moments", handle.execute
    with _watched(path) as (engine, probe):
        engine.containers.run(workload.BASE, ["/bin/sleep", "1000"], detach=True, network="none", name=ours.IDLE)
        probe.watch(handle, "execute")
        try:
            _repeat(partial(engine.containers.exec, ours.IDLE, ["/bin/true"]), "exec", probe, repeats, pause)
        finally:
            handle.execute = execute
            engine.containers.remove(ours.IDLE, force=True)
    return _read(path)


def _repeat(action: Callable[[], object], name: str, probe: Probe, repeats: int, pause: float) -> None:
    for turn in range(repeats + _FIRST):
        time.sleep(pause)
        if turn >= _FIRST:
            probe.mark(f"{name}(")
        action()
        probe.mark(f"{name})")
    time.sleep(pause)


def tables(repeats: int) -> str:
    """Markdown: on the way, beside it, before it; in milliseconds, without a network and on the default one."""
    columns = []
    for network in ("none", ""):
        directory = Path(tempfile.mkdtemp(prefix="jcb"))
        try:
            moments = measure(directory, repeats, pause=QUIET, network=network)
        finally:
            ours.forget(directory)
        columns.append((on_the_way(moments), durations(moments)))
    lines = [f"| on the way of a run, ms, each after {QUIET * 1000:.0f} ms of quiet | no network | default network |"]
    lines.append("| --- | ---: | ---: |")
    for number, (_name, text) in enumerate(PATH[1:]):
        lines.append(_row(text, [way[number] for way, _all in columns]))
    lines.append(_row("**together**", [sum(way) for way, _all in columns]))
    for title, wanted in (("beside it, or after the end was told", BESIDE), ("before there is a request", AHEAD)):
        lines += ["", f"| {title}, ms | no network | default network |", "| --- | ---: | ---: |"]
        lines += [_row(text, [every.get(name, 0.0) for _way, every in columns]) for name, text in wanted]
    lines += ["", f"| on the way of an exec, ms, each after {QUIET * 1000:.0f} ms of quiet | |", "| --- | ---: |"]
    directory = Path(tempfile.mkdtemp(prefix="jcb"))
    try:
        way = on_the_way(measure_exec(directory, repeats, pause=QUIET), EXEC_PATH)
    finally:
        ours.forget(directory)
    lines += [_row(text, [value]) for (_name, text), value in zip(EXEC_PATH[1:], way, strict=True)]
    lines.append(_row("**together**", [sum(way)]))
    return "\n".join(lines)


def _row(text: str, values: list[float]) -> str:
    return f"| {text} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
