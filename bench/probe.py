"""Moments of a start, written down by the processes that make it: the spawner, the monitors, the inits.

``bench/steps.py`` has this program run in the spawner before it serves; the others are its forks. A moment is a line
``<nanoseconds> <pid> <name>`` in a file opened for appending. What it costs is in what it measures: some microseconds
each.
"""

from __future__ import annotations

import os
import time
from typing import Any

_HIGH = 200


class Probe:
    """Writes moments to a file."""

    def __init__(self, path: str) -> None:
        low = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.descriptor = os.dup2(low, _HIGH, inheritable=False)
        os.close(low)

    def mark(self, name: str) -> None:
        """It is now."""
        os.write(self.descriptor, f"{time.monotonic_ns()} {os.getpid()} {name}\n".encode())

    def watch(self, owner: Any, name: str, label: str = "") -> None:
        """Mark the begin and the end of each call of a function."""
        function = getattr(owner, name)
        label = label or name

        def watched(*arguments: Any, **keywords: Any) -> Any:
            self.mark(f"{label}(")
            try:
                return function(*arguments, **keywords)
            finally:
                self.mark(f"{label})")

        setattr(owner, name, watched)

    def watch_steps(self, start: Any) -> None:
        """Mark the end of each step of an init."""
        run = start.run

        def watched(this: Any, steps: list[Any]) -> None:
            run(this, [self._marked(step) for step in steps])

        start.run = watched

    def _marked(self, step: Any) -> Any:
        def marked() -> None:
            step()
            self.mark(f"init.{step.__name__}")

        marked.__name__ = step.__name__
        return marked


def watch_small_processes(path: str) -> None:
    """Called in the spawner, where only small modules are imported."""
    from jupyter_containers.linux import cgroups, namespaces, syscalls  # noqa: PLC0415 - those of that process
    from jupyter_containers.monitor import entry, execs, forkserver, job, process  # noqa: PLC0415 - the same
    from jupyter_containers.runtime import launch, process_start  # noqa: PLC0415 - the same

    probe = Probe(path)
    close_except = syscalls.close_except
    syscalls.close_except = lambda keep: close_except([*keep, probe.descriptor])
    probe.watch(forkserver.ForkServer, "_launch", "handed over")
    probe.watch(entry, "_run", "monitor")
    probe.watch(launch.Launch, "release")
    probe.watch(launch.Launch, "adopt")
    probe.watch(launch.Launch, "connect")
    probe.watch(launch.Launch, "clone")
    probe.watch(cgroups, "create")
    probe.watch(cgroups, "remove")
    probe.watch(namespaces, "write_maps")
    probe.watch(process.Monitor, "_running", "running")
    probe.watch(process.Monitor, "_open_to_others", "listen")
    probe.watch(process.Monitor, "_announce", "announce")
    probe.watch(execs.Execs, "_clone", "enter")
    probe.watch(execs.Execs, "_running", "running")
    probe.watch(job.Job, "_reap", "reap")
    probe.watch_steps(process_start.Start)
