"""The package itself, in two ways: in a process that is running already, and as a command started each time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import workload
from bench.peers import NotHere, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.engine import Engine

IDLE = "bench-idle"
_IDLE_SECONDS = 2.0
LIMITS = {"memory": "256m", "cpus": 2.0, "pids_limit": 100, "cpu_shares": 512}
"""Four limits, for who can set them."""


class Warm:
    """An engine in this process, as in a notebook's kernel."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        context = directory / "context-ours"
        workload.make_context(context)
        dockerfile = workload.write_dockerfile(directory, workload.BASE).read_text(encoding="utf-8")
        run, base, true = engine.containers.run, workload.BASE, ["/bin/true"]
        limits = LIMITS if os.geteuid() == 0 else {}
        self._cases: dict[str, Callable[[], object]] = {
            "run": lambda: run(base, true, remove=True, network="none", **limits),  # type: ignore[arg-type]  # each as its option wants
            "run, network": lambda: run(base, true, remove=True, **limits),  # type: ignore[arg-type]  # the same
            "at once": lambda: run(base, true, remove=True),
            "exec": lambda: engine.containers.exec(IDLE, true),
            "build": lambda: engine.images.build(str(context), dockerfile=dockerfile, tag=["bench-built"]),
        }

    def time(self, case: str, *, repeats: int, pause: float, at_once: int = 1) -> list[float]:
        """Seconds of each turn. Raises ``NotHere`` when it fails."""
        from jupyter_containers import EngineError  # noqa: PLC0415 - with the engine

        action, seconds = self._cases[case], []
        try:
            action()
            with ThreadPoolExecutor(at_once) as threads:
                for _turn in range(repeats):
                    time.sleep(pause)
                    begin = time.perf_counter()
                    if at_once == 1:
                        action()
                    else:
                        for future in [threads.submit(action) for _ in range(at_once)]:
                            future.result()
                    seconds.append(time.perf_counter() - begin)
        except EngineError as error:
            raise NotHere(f"{case}: {error}") from error
        return seconds

    def idle(self) -> str:
        """What a container costs that runs and does nothing: memory and CPU time of its monitor."""
        pid = self._engine.containers.inspect(IDLE)["State"]["Pid"]
        monitor = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        before = _ticks(monitor)
        time.sleep(_IDLE_SECONDS)
        used = 100 * (_ticks(monitor) - before) / os.sysconf("SC_CLK_TCK") / _IDLE_SECONDS
        sizes = dict.fromkeys(("Rss", "Private_Clean", "Private_Dirty"), 0)
        for line in Path(f"/proc/{monitor}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            key, _, rest = line.partition(":")
            if key in sizes:
                sizes[key] = int(rest.split()[0])
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        return f"{sizes['Rss'] / 1024:.1f} MB resident, {private / 1024:.1f} MB of it its own, {used:.0f} % CPU"


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def made(directory: Path) -> Iterator[Engine]:
    """The engine, on a store of its own, with what /run has by default, in memory, and the peers' root file system."""
    from jupyter_containers import Engine  # noqa: PLC0415 - lazily, as every front end does

    store = directory / "store"
    (store / "run").mkdir(parents=True)
    mounted = os.geteuid() == 0 and "--inside" in sys.argv
    if mounted:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(store / "run")], check=True)
    base = directory / "ours-base"
    base.mkdir()
    workload.make_root(base / "root")
    workload.make_archive(base / "root", base / "base.tar")
    shutil.rmtree(base / "root")
    with Engine(store) as engine:
        engine.images.build(str(base), dockerfile="FROM scratch\nADD base.tar /\n", tag=[workload.BASE])
        yield engine


def forget(directory: Path) -> None:
    """Remove a directory in which an engine was made."""
    subprocess.run(["umount", "-l", str(directory / "store" / "run")], capture_output=True, check=False)
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def warm(directory: Path) -> Iterator[Warm]:
    """That engine in this process."""
    with made(directory) as engine:
        engine.containers.run(workload.BASE, ["/bin/sleep", "1000"], detach=True, network="none", name=IDLE)
        try:
            yield Warm(engine, directory)
        finally:
            engine.containers.remove(IDLE, force=True)


@contextmanager
def command(directory: Path, program: Path) -> Iterator[Ready]:
    """The command line on the same store: a fresh interpreter each time, beside a container on the default network.

    That keeps the store's bridge, as docker keeps its own.
    """
    if not program.exists():
        raise NotHere(f"{program} is not installed")
    context = directory / "context-cli"
    workload.make_context(context)
    dockerfile = workload.write_dockerfile(directory, workload.BASE)
    commands = {
        "run": [str(program), "run", "--rm", "--network=none", workload.BASE, "/bin/true"],
        "run, network": [str(program), "run", "--rm", workload.BASE, "/bin/true"],
        "exec": [str(program), "exec", IDLE, "/bin/true"],
        "build": [str(program), "build", "-t", "bench-built", "-f", str(dockerfile), str(context)],
    }
    # An installed package has its bytecode; this checkout need not, and is not to get it here.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": os.fspath(directory / "bytecode")}
    settings = {"JUPYTER_CONTAINERS_ROOT": os.fspath(directory / "store"), **bytecode}
    environment = {**os.environ, **settings}
    idle = [str(program), "run", "--detach", f"--name={IDLE}", workload.BASE, "/bin/sleep", "1000"]
    started = subprocess.run(idle, env=environment, capture_output=True, text=True, check=False)
    if started.returncode:
        raise NotHere(started.stderr.strip())
    try:
        yield Ready(commands, settings)
    finally:
        subprocess.run([str(program), "rm", "--force", IDLE], env=environment, capture_output=True, check=False)
