"""A start that is watched: its steps with their system calls and times; where it is stepped, a halt after each stage.

The launch request says so (``watch``). The process itself writes down what it does in memory that it shares with its
monitor, so that nothing has to be sent once the filter is loaded; execve takes its half away. A stepped start waits
after each stage until it is told to go on. It dies with its monitor at any time, like any other that starts.
"""

from __future__ import annotations

import marshal
import mmap
from time import monotonic_ns

from jupyter_containers.linux import process_look
from jupyter_containers.runtime import credentials
from jupyter_containers.runtime.init import Init
from jupyter_containers.runtime.launch import Launch
from jupyter_containers.runtime.process_start import OrphanedError
from jupyter_containers.runtime.recording import Recorder
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, NoReturn

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime import plan
    from jupyter_containers.runtime.ahead import Ahead

_SIZE = 1 << 20
_HEAD = 8
_FILTERED = ("filter", "capabilities")

STAGES = (
    (
        "namespaces",
        (
            "bind_to_parent",
            "enter_cgroups",
            "await_permission",
            "await_request",
            "join_namespaces",
            "mount_propagation",
        ),
    ),
    ("kernel file systems", ("stage", "loopback")),
    (
        "root file system",
        ("root_file_system", "put_staged", "mounts", "write_files", "devices", "terminal"),
    ),
    ("network", ("gate", "interfaces", "sysctls")),
    ("protections", ("protections", "oom_score")),
    ("pivot_root", ("enter_root", "host_name", "limits")),
    ("user", ("lookup_user", "working_directory", "connect_stdio", "become")),
    ("filter", ("listen", "announce", "detach", "load_filter")),
    ("capabilities", ("restrict",)),
    ("program", ("execute",)),
)
"""The stages of a start, and the steps of each, in the order in which they are done."""


class Page:
    """Memory for what is recorded, shared with a process that is made later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    def write(self, steps: list[Any]) -> None:
        """Keep steps; those that do not fit are left out."""
        data = marshal.dumps(steps)
        if len(data) <= _SIZE - _HEAD:
            self._memory[_HEAD : _HEAD + len(data)] = data
            self._memory[:_HEAD] = len(data).to_bytes(_HEAD, "little")

    def read(self) -> list[Any]:
        """What was written last."""
        size = int.from_bytes(self._memory[:_HEAD], "little")
        if not 0 < size <= _SIZE - _HEAD:
            return []
        found: list[Any] = marshal.loads(self._memory[_HEAD : _HEAD + size])  # noqa: S302 - a fork of this process wrote it
        return found


class WatchedInit(Init):
    """The start of a container that writes down what it does, and halts between its stages where it is asked to."""

    def __init__(
        self, page: Page, watch: dict[str, Any], first: tuple[Ahead, plan.Namespaces, CgroupPlan | None, socket]
    ) -> None:
        super().__init__(*first)
        self._page = page
        self._watch = watch
        self._recorder = Recorder("init")
        self._passed = False

    def start(self) -> NoReturn:
        """Do all steps, in the order of the stages."""
        self._recorder.begin()
        self.run(self._stepped() if self._watch.get("hold") else self._usual())

    def _usual(self) -> list[Callable[[], None]]:
        """All steps in the usual order."""
        names = [step.__name__ for step in [*self.first_steps(), self.await_request, *self.steps()]]
        at = names.index("restrict")
        return [self._recorded(name) for name in [*names[:at], "detach", "load_filter", *names[at:]]]

    def _stepped(self) -> list[Callable[[], None]]:
        """The steps of each stage, and a halt after it."""
        steps: list[Callable[[], None]] = []
        for stage, names in STAGES:
            steps += [self._recorded(name) for name in names]
            if stage != "program" and not (self._watch.get("mute") and stage in _FILTERED):
                steps.append(self._halt(stage))
        return steps

    def _recorded(self, name: str) -> Callable[[], None]:
        method = getattr(self, name)

        def step() -> None:
            try:
                if name == "execute":
                    self._begin_last()
                self._recorder.step(name, method)
            finally:
                self._page.write(self._recorder.steps)

        step.__name__ = name
        return step

    def _begin_last(self) -> None:
        """The last step does not come back: it is written down before it begins."""
        name = self.process["args"][0]
        self._page.write([*self._recorder.steps, ["init", "execute", monotonic_ns(), -1, [["execve", name, -1, ""]]]])

    def _halt(self, stage: str) -> Callable[[], None]:
        def halt() -> None:
            look = process_look.take("/proc/self")
            send(self.sync, {"kind": "stage", "name": stage, "look": look})
            while True:
                message, _ = receive(self.sync)
                if message is None:
                    raise OrphanedError
                if message["kind"] == "next":
                    return
                self._passed = True  # the starter has done its part already

        halt.__name__ = f"halt after {stage}"
        return halt

    def gate(self) -> None:
        """Wait for the starter, unless it has said already that its part is done."""
        if not self._passed:
            super().gate()

    def load_filter(self) -> None:
        """The filter, a step of its own: before the capabilities are cut, as always."""
        if program := self.filter():
            credentials.load_filter(self.process, self.identity, program, self.request.get("seccomp_flags", 0))

    def restrict(self) -> None:
        """What is left to give up: the capabilities."""
        credentials.restrict(self.process, self.identity, b"")


class WatchedLaunch(Launch):
    """A launch whose part outside is written down too."""

    def __init__(self, ahead: Ahead, cgroup: CgroupPlan | None, watch: dict[str, Any]) -> None:
        page = Page()
        super().__init__(ahead, cgroup, lambda *first: WatchedInit(page, watch, first))
        self._page = page
        self._recorder = Recorder("monitor")

    def steps(self) -> list[Any]:
        """All that was done, in order of time."""
        return sorted([*self._recorder.steps, *self._page.read()], key=lambda step: step[2])

    def _outside(self, name: str, do: Callable[[], Any]) -> Any:
        self._recorder.begin()
        try:
            return self._recorder.step(name, do)
        finally:
            self._recorder.end()

    def clone(self) -> None:
        """See :meth:`Launch.clone`."""
        self._outside("clone", super().clone)

    def equip(self, *, wait: bool = False) -> bool:
        """See :meth:`Launch.equip`."""
        done = super().equip
        return bool(self._outside("equip", lambda: done(wait=wait)))

    def connect(self, request: dict[str, Any], connect: Callable[[list[bytes]], object]) -> None:  # type: ignore[override]
        """See :meth:`Launch.connect`."""
        done = super().connect
        self._outside("connect", lambda: done(request, connect))

    def release(self, request: dict[str, Any], stdio: list[int], mountpoint: bytes, *, gate: bool = False) -> None:
        """See :meth:`Launch.release`."""
        done = super().release
        self._outside("release", lambda: done(request, stdio, mountpoint, gate=gate))

    def proceed(self) -> None:
        """Let a process that halts between two stages go on."""
        self._tell({"kind": "next"})
