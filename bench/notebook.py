"""What a notebook costs: the extension, a listing, a completion, much output, a widget; in real kernels."""

from __future__ import annotations

import json
import os
import queue
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import ours, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.engine import Engine

CONTAINERS, LINES, REPEATS, KERNELS, WATCHED = 100, 100_000, 20, 5, 5.0
LOAD = """
import sys, time
begin = time.perf_counter()
get_ipython().run_line_magic('load_ext', 'jupyter_containers')
print(time.perf_counter() - begin, 'pandas' in sys.modules)
"""
_TIMEOUT = 60.0


class Kernel:
    """A kernel, spoken to as JupyterLab does."""

    def __init__(self, store: Path, place: Path) -> None:
        from jupyter_client.manager import KernelManager  # noqa: PLC0415 - only for this table

        self._manager: Any = KernelManager(kernel_name="python3", transport="ipc", ip=str(place / "k"))
        variables = {"JUPYTER_CONTAINERS_ROOT": str(store), "IPYTHONDIR": str(place / "ipython")}
        self._manager.start_kernel(env=os.environ | variables, cwd=str(place))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=_TIMEOUT)
        self._comms: list[str] = []

    def close(self) -> None:
        """End it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel()
        self._manager.cleanup_resources()

    def messages(self, *, wait: float = _TIMEOUT) -> Iterator[dict[str, Any]]:
        """What it publishes, until nothing comes for so long."""
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            try:
                yield self._client.get_iopub_msg(timeout=left)
            except queue.Empty:
                return

    def run(self, source: str) -> tuple[float, list[dict[str, Any]]]:
        """Run a cell: seconds until its first display or result, or its end; and all that it published."""
        begin = time.perf_counter()
        request = self._client.execute(source)
        shown, published = 0.0, []
        for message in self.messages():
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if not shown and kind in {"display_data", "execute_result"}:
                shown = time.perf_counter() - begin
            if kind == "comm_open":
                self._comms.append(content["comm_id"])
            if kind == "error":
                raise RuntimeError(f"{source}: {content['ename']}: {content['evalue']}")
            if kind in {"stream", "display_data", "update_display_data", "execute_result"}:
                published.append(content)
            if kind == "status" and content["execution_state"] == "idle":
                break
        self._client.get_shell_msg(timeout=_TIMEOUT)
        return shown or time.perf_counter() - begin, published

    def watch(self, seconds: float) -> float:
        """Look at the widgets that cells showed, as a page does; bytes of what comes in a second."""
        came, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            for comm in self._comms:
                data = {"method": "custom", "content": {"kind": "hello" if not came else "ping", "view": "bench"}}
                message = self._client.session.msg("comm_msg", {"comm_id": comm, "data": data})
                self._client.shell_channel.send(message)
            for message in self.messages(wait=1.0):
                came += _size(message["content"]) if message["msg_type"] == "comm_msg" else 0
        return came / seconds

    def complete(self, text: str) -> float:
        """Seconds until a completion is there."""
        begin = time.perf_counter()
        self._client.complete(text, len(text))
        self._client.get_shell_msg(timeout=_TIMEOUT)
        return time.perf_counter() - begin


def benchmark(directory: Path) -> str:
    """A Markdown table; all is ours, there is nothing to compare with."""
    with ours.made(directory) as engine, _running(engine):
        rows = _rows(directory / "store", directory)
    lines = ["| in a notebook | measured | to reach |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {title} | {value} | {goal} |" for title, value, goal in rows)])


@contextmanager
def _running(engine: Engine) -> Iterator[None]:
    """So many containers that run, and one that has printed much and ended."""

    def start(_number: int) -> object:
        return engine.containers.run(workload.BASE, ["/bin/sleep", "1000"], detach=True, network="none")

    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(start, range(CONTAINERS)))
        yield
    finally:
        with ThreadPoolExecutor(4) as threads:
            ids = [row.id for row in engine.containers.list(all=True)]
            list(threads.map(lambda each: engine.containers.remove(each, force=True), ids))


def _rows(store: Path, directory: Path) -> list[tuple[str, str, str]]:
    loads, firsts, listings, completions = [], [], [], []
    with_pandas = False
    for _ in range(KERNELS):
        with _kernel(store, directory) as kernel:
            _, (answer,) = kernel.run(LOAD)
            seconds, pandas = answer["text"].split()
            loads.append(float(seconds))
            with_pandas |= pandas == "True"
            completions.append(kernel.complete("%container run --na"))
            firsts.append(kernel.run("%container ps")[0])
            listings += [kernel.run("%container ps")[0] for _ in range(REPEATS // KERNELS)]
    with _kernel(store, directory) as kernel:
        kernel.run("%load_ext jupyter_containers")
        base = "starter"
        printed = kernel.run(f"%container run --rm --network none {base} seq {LINES}")[1]
        kernel.run(f"%container -o r run --network none --name chatty {base} seq {LINES}")
        logs = kernel.run("%container logs chatty")[1]
        built = kernel.run(f"%%container build --network none\nFROM {base}\nRUN seq {LINES}")[1]
        kernel.run("%container -w ps")
        traffic = kernel.watch(WATCHED)
    return [
        (f"%load_ext, {'with' if with_pandas else 'without'} pandas", _ms(loads), "100 ms, without"),
        ("the first completion", _ms(completions), ""),
        (f"the first %container ps of {CONTAINERS} containers, with the import of pandas", _ms(firsts), ""),
        (f"%container ps of {CONTAINERS} containers, to the displayed table", _ms(listings), "50 ms"),
        (f"{LINES:,} lines of a run, in the saved notebook", f"{_size(printed) // 1000} kB", "1,000 kB"),
        (f"{LINES:,} lines of a log, in the saved notebook", f"{_size(logs) // 1000} kB", "1,000 kB"),
        (f"{LINES:,} lines of a build, in the saved notebook", f"{_size(built) // 1000} kB", "1,000 kB"),
        (f"the dashboard of {CONTAINERS} containers, in a second", f"{traffic / 1000:.1f} kB", ""),
    ]


@contextmanager
def _kernel(store: Path, directory: Path) -> Iterator[Kernel]:
    with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as place:
        kernel = Kernel(store, Path(place))
        try:
            yield kernel
        finally:
            kernel.close()


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


def _size(document: object) -> int:
    return len(json.dumps(document, default=str))
