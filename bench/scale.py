"""``python -m bench.scale``: how quick an engine is on a store with many containers and images.

The running containers are real. Of the stopped ones and of the images one is real, and the others are entered beside it
as the engine would have left them: what is measured is looking among them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine import Engine
from jupyter_containers.engine.record import ContainerRecord, new_id
from jupyter_containers.oci.names import Digest
from jupyter_containers.state import ContainerRow, ImageRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine.parts import Parts

IMAGE = "starter"
REPEATS = 20


def main(arguments: list[str]) -> int:
    """Make the store, measure, take it away."""
    parser = argparse.ArgumentParser(prog="./dev bench scale", description="an engine with much in its store")
    parser.add_argument("--running", type=int, default=200)
    parser.add_argument("--stopped", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=2_000)
    options = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="jcb"))
    try:
        with Engine(place / "store") as engine:
            engine.images.pull(IMAGE)
            try:
                _measure(engine, place / "store", options)
            finally:
                _end(engine)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


def _measure(engine: Engine, store: Path, options: argparse.Namespace) -> None:
    run = engine.containers.run
    start = {"run /bin/true, no network": lambda: run(IMAGE, ["true"], remove=True, network="none")}
    before = {name: _median(action) for name, action in start.items()}
    run(IMAGE, ["true"], network="none", name="ended")
    parts = engine.containers._parts  # noqa: SLF001 - rows are entered that no command would
    _images(parts, options.images)
    _stopped(parts, engine.containers.record("ended"), options.stopped)
    _running(engine, options.running)
    print(f"{options.running} running and {options.stopped} stopped containers, {options.images} images")
    reopened = _median(lambda: _open(store), repeats=5)
    rows: dict[str, Callable[[], object]] = {
        "ps": engine.containers.list,
        "ps -a": lambda: engine.containers.list(all=True),
        "images": engine.images.list,
        "inspect one by name": lambda: engine.containers.inspect("ended"),
        "an id by its beginning": lambda: engine.containers.get(engine.containers.record("ended").id[:12]),
    }
    print("| median, ms | |\n| --- | ---: |")
    for name, action in rows.items():
        print(f"| {name} | {_median(action):.1f} |")
    for name, action in start.items():
        print(f"| {name} (in an empty store {before[name]:.1f}) | {_median(action):.1f} |")
    print(f"| the first ps of a new engine | {reopened:.1f} |")


def _median(action: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Milliseconds, after one turn to warm up."""
    action()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds) * 1000


def _open(store: Path) -> None:
    with Engine(store) as engine:
        engine.containers.list()


def _images(parts: Parts, count: int) -> None:
    """Names that stand for the one image, each as an image of its own in the state file and in the content store."""
    (row,) = parts.state.images()
    data = parts.store.read(Digest(row.digest))
    for number in range(count):
        document = msgspec.json.decode(data)
        document["annotations"] = {"bench.number": str(number)}
        encoded = msgspec.json.encode(document)
        digest = str(parts.store.write(encoded))
        names = (f"docker.io/library/bench-{number}:latest",)
        parts.state.add_image(ImageRow(digest, row.image_id, row.media_type, len(encoded), row.added + number, names))


def _stopped(parts: Parts, record: ContainerRecord, count: int) -> None:
    directory = parts.paths.containers / record.id
    for number in range(count):
        identity = new_id()
        shutil.copytree(directory, parts.paths.containers / identity, symlinks=True)
        own = msgspec.structs.replace(record, id=identity, name=f"ended-{number}", created=record.created + number)
        parts.state.add_container(ContainerRow(identity, own.name, own.digest, own.created, own.encode()))


def _running(engine: Engine, count: int) -> None:
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(_one, engine, number) for number in range(count)]:
            future.result()


def _one(engine: Engine, number: int) -> None:
    engine.containers.run(IMAGE, ["sleep", "10000"], detach=True, name=f"running-{number}")


def _end(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        for row in engine.containers.list():
            threads.submit(engine.containers.remove, row.id, force=True).add_done_callback(lambda done: done.result())


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
