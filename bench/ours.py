"""The package itself, in two ways: in a process that is running already, and as a command started each time."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench import workload
from bench.peers import NotHere, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.engine import Engine

CASES = ("run", "run, network", "build")


class Warm:
    """An engine in this process, as in a notebook's kernel."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        context = directory / "context-ours"
        workload.make_context(context)
        dockerfile = workload.write_dockerfile(directory, "starter").read_text(encoding="utf-8")
        self._cases: dict[str, Callable[[], object]] = {
            "run": lambda: engine.containers.run("starter", ["/bin/true"], remove=True, network="none"),
            "run, network": lambda: engine.containers.run("starter", ["/bin/true"], remove=True),
            "build": lambda: engine.images.build(str(context), dockerfile=dockerfile, tag=["bench-built"]),
        }

    def time(self, case: str, *, repeats: int, pause: float) -> list[float]:
        """Seconds of each call. Raises ``NotHere`` when it fails."""
        from jupyter_containers import EngineError  # noqa: PLC0415 - with the engine

        action, seconds = self._cases[case], []
        try:
            action()
            for _turn in range(repeats):
                time.sleep(pause)
                begin = time.perf_counter()
                action()
                seconds.append(time.perf_counter() - begin)
        except EngineError as error:
            raise NotHere(f"{case}: {error}") from error
        return seconds


@contextmanager
def warm(directory: Path) -> Iterator[Warm]:
    """The engine, on a store of its own."""
    from jupyter_containers import Engine  # noqa: PLC0415 - lazily, as every front end does

    with Engine(directory / "store") as engine:
        yield Warm(engine, directory)


@contextmanager
def command(directory: Path, program: Path) -> Iterator[Ready]:
    """The command line on the same store: a fresh interpreter each time."""
    if not program.exists():
        raise NotHere(f"{program} is not installed")
    context = directory / "context-cli"
    workload.make_context(context)
    dockerfile = workload.write_dockerfile(directory, "starter")
    commands = {
        "run": [str(program), "run", "--rm", "--network=none", "starter", "/bin/true"],
        "run, network": [str(program), "run", "--rm", "starter", "/bin/true"],
        "build": [str(program), "build", "-t", "bench-built", "-f", str(dockerfile), str(context)],
    }
    yield Ready(commands, {"JUPYTER_CONTAINERS_ROOT": os.fspath(directory / "store")})
