"""A real kernel with the extension loaded, on a store of its own."""

from __future__ import annotations

import os
import queue
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT = 90


@dataclass
class Ended:
    """What a cell sent."""

    status: str = ""
    stdout: str = ""
    stderr: str = ""
    error: list[str] = field(default_factory=list)
    name: str = ""
    data: dict[str, str] = field(default_factory=dict)
    displays: list[tuple[str, dict[str, str], str]] = field(default_factory=list)


class Kernel:
    """A kernel and its client, spoken to by the messages that notebooks use."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)

    def start(self, source: str) -> str:
        """Run a cell; its message id."""
        return str(self.client.execute(source))

    def finish(self, message: str, *, until: str | None = None) -> Ended:
        """What the cell sent until it ended, or until ``until`` was printed or displayed."""
        ended = Ended()
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            try:
                received = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if received["parent_header"].get("msg_id") != message:
                continue
            content, kind = received["content"], received["msg_type"]
            if kind == "stream":
                setattr(ended, content["name"], getattr(ended, content["name"]) + content["text"])
            elif kind in {"display_data", "update_display_data"}:
                identity = content.get("transient", {}).get("display_id", "")
                ended.displays.append((kind, content["data"], identity))
            elif kind == "execute_result":
                ended.data = content["data"]
            elif kind == "error":
                ended.error, ended.name = content["traceback"], content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                ended.status = self._reply(message)
                return ended
            if until is not None and (until in ended.stdout or until in str(ended.displays[-1:])):
                return ended
        raise AssertionError(f"the cell did not end: {ended}")

    def _reply(self, message: str) -> str:
        """The status of a cell's reply; a slow kernel may have answered older questions before."""
        while True:
            reply = self.client.get_shell_msg(timeout=TIMEOUT)
            if reply["parent_header"].get("msg_id") == message:
                return str(reply["content"]["status"])

    def run(self, source: str) -> Ended:
        """Run a cell to its end."""
        return self.finish(self.start(source))


@pytest.fixture
def start_kernel(store_root: Path, no_leaks: None, tmp_path: Path) -> Iterator[Callable[[], Kernel]]:  # noqa: ARG001 - checks at the end
    """Starts kernels whose containers are in this test's store; nothing may be left when they have ended."""
    started: list[Kernel] = []

    def start() -> Kernel:
        manager: Any = KernelManager(kernel_name="python3", transport="ipc", ip=str(tmp_path / f"k{len(started)}"))
        environment = os.environ | {"JUPYTER_CONTAINERS_ROOT": str(store_root), "IPYTHONDIR": str(tmp_path / "ipython")}
        manager.start_kernel(env=environment, cwd=str(tmp_path))
        made = Kernel(manager)
        started.append(made)
        loaded = made.run("%load_ext jupyter_containers")
        assert loaded.status == "ok", loaded
        return made

    yield start
    for made in started:
        made.client.stop_channels()
        made.manager.shutdown_kernel(now=not made.manager.is_alive())
        made.manager.cleanup_resources()


@pytest.fixture
def kernel(start_kernel: Callable[[], Kernel]) -> Iterator[Kernel]:
    """One kernel; its containers are removed at the end."""
    made = start_kernel()
    yield made
    made.run(
        "from jupyter_containers import Engine\n"
        "with Engine() as engine:\n"
        "    for row in engine.containers.list(all=True):\n"
        "        engine.containers.remove(row.id, force=True)\n"
    )
