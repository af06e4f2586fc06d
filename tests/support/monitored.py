"""A container with a monitor, without an engine: its directories, its request, and processes executed in it."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from jupyter_containers.linux import namespaces
from jupyter_containers.runtime import handle, lifecycle
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jupyter_containers.runtime.protocol import ExecRequest, LaunchRequest


class Box:
    """A container's directories and request."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = rootfs.make(tmp_path / "root")
        self.run = tmp_path / "run"
        self.state = tmp_path / "state"
        self.run.mkdir()
        self.state.mkdir()
        self.log = self.state / "log.json"

    def request(self, *args: str, **more: object) -> LaunchRequest:
        request = {
            "id": "test",
            "spec": rootfs.spec(self.root, *args),
            "run_dir": str(self.run),
            "state_dir": str(self.state),
            "log": {"path": str(self.log)},
        }
        return {**request, **more}  # type: ignore[typeddict-item]

    def entries(self) -> list[dict[str, str]]:
        if not self.log.exists():  # it is made for the first output
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def state_now(self) -> lifecycle.State:
        return lifecycle.read_state(str(self.state))


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    return namespaces.start_time(pid) == 0


def executed(box: Box, *args: str, **more: object) -> tuple[int, str]:
    read, write = os.pipe()
    request: ExecRequest = {"process": rootfs.spec("", *args)["process"], **more}  # type: ignore[typeddict-item]
    try:
        with handle.execute(str(box.run), request, None, write, write) as process:
            os.close(write)
            write = -1
            data = b""
            while chunk := os.read(read, 65536):
                data += chunk
            status = process.wait(10)
            assert status is not None
            return status["code"], data.decode()
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
