"""Both implementations of Trees under one suite, and what only the worker has: processes."""

from __future__ import annotations

import dataclasses
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from jupyter_containers import errors
from jupyter_containers.errors import Cancelled, DigestMismatch, EngineError, LayerCorrupt, NotFound, SystemFailure
from jupyter_containers.layers import wire
from jupyter_containers.layers.base import ApplyOptions, DiffOptions, Item, Node, Trees, Usage, ViewSource
from jupyter_containers.layers.trees import LocalTrees, WorkerTrees, worker_argv
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def worker() -> Iterator[tuple[WorkerTrees, subprocess.Popen[bytes]]]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            worker_argv(theirs.fileno()), pass_fds=[theirs.fileno()], env={}, stderr=subprocess.PIPE
        )
    trees = WorkerTrees(lambda: ours)
    yield trees, process
    trees.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(10) in {0, -signal.SIGKILL}


@pytest.fixture(params=["local", "worker"])
def trees(request: pytest.FixtureRequest) -> Trees:
    if request.param == "local":
        return LocalTrees()
    started, _process = request.getfixturevalue("worker")
    assert isinstance(started, WorkerTrees)
    return started


def packed(trees: Trees, path: Path, *items: Item) -> Digest:
    with path.open("wb") as out:
        return trees.pack(items, out).digest


def test_a_layer_goes_round(trees: Trees, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    digest = packed(trees, tmp_path / "a.tar", Item("d", "dir", 0o755), Item("d/f", source=content), Item("é\udcff"))
    with (tmp_path / "a.tar").open("rb") as blob:
        applied = trees.apply(blob, tmp_path / "tree", ApplyOptions(expected=digest))
    assert applied.diff_id == digest
    assert (tmp_path / "tree" / "d" / "f").read_bytes() == content
    out = io.BytesIO()
    written = trees.diff(tmp_path / "tree", out, DiffOptions())
    assert written.digest == Digest.of(out.getvalue()) == digest
    assert trees.usage(tmp_path / "tree") == Usage(len(content), 3)


def test_looking_into_layers(trees: Trees, tmp_path: Path) -> None:
    dirs = [tmp_path / "two", tmp_path / "one"]
    for directory in dirs:
        trees.make(directory)
        (directory / directory.name).write_text(directory.name)
    assert [node.path for node in trees.walk(dirs, "")] == ["", "one", "two"]
    assert [node.path for node in trees.walk(dirs, "/", recursive=False)] == ["", "one", "two"]
    [node] = trees.walk(dirs, "one", hashes=True)
    assert (node.layer, node.sha256) == (1, Digest.of(b"one").hex)
    assert trees.read(dirs, "two", limit=10) == b"two"
    assert trees.copy(dirs, tmp_path / "copy") == Usage(6, 2)
    trees.make(tmp_path / "like", dirs)
    out = io.BytesIO()
    trees.pack([Item("x", source=ViewSource(tuple(dirs), "one"))], out)
    assert b"one" in out.getvalue()
    trees.remove(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_errors_keep_their_type_and_their_hint(trees: Trees, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing"):
        trees.walk([tmp_path], "nothing")
    packed(trees, tmp_path / "a.tar", Item("f"))
    with (tmp_path / "a.tar").open("rb") as blob, pytest.raises(DigestMismatch) as caught:
        trees.apply(blob, tmp_path / "x", ApplyOptions(expected=Digest.of(b"")))
    assert caught.value.expected == Digest.of(b"")
    (tmp_path / "bad").write_bytes(b"bad" * 1000)
    with (tmp_path / "bad").open("rb") as blob, pytest.raises(LayerCorrupt):
        trees.apply(blob, tmp_path / "y", ApplyOptions())
    with pytest.raises(EngineError):
        trees.make(tmp_path)
    with pytest.raises(errors.InvalidInput):
        trees.pack([Item("../x")], io.BytesIO())


def test_a_file_is_read_from_where_it_stands(trees: Trees, tmp_path: Path) -> None:
    packed(trees, tmp_path / "a.tar", Item("f"))
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "b").write_bytes(b"head" + data)
    with (tmp_path / "b").open("rb") as blob:
        assert blob.read(4) == b"head"
        assert trees.apply(blob, tmp_path / "tree", ApplyOptions()).diff_id == Digest.of(data)


def test_progress_that_raises_cancels(trees: Trees, tmp_path: Path) -> None:
    packed(trees, tmp_path / "a.tar", *[Item(str(n), source=bytes(1 << 20)) for n in range(60)])
    seen: list[int] = []

    def cancel(done: int) -> None:
        seen.append(done)
        raise Cancelled("enough")

    with (tmp_path / "a.tar").open("rb") as blob, pytest.raises(Cancelled, match="enough"):
        trees.apply(blob, tmp_path / "tree", ApplyOptions(), progress=cancel)
    assert len(seen) == 1
    assert trees.usage(tmp_path) is not None


def test_a_sink_that_fails_ends_the_call(trees: Trees, tmp_path: Path) -> None:
    class Full:
        def write(self, _data: bytes, /) -> None:
            raise SystemFailure("full")

    trees.make(tmp_path / "tree")
    (tmp_path / "tree" / "f").write_bytes(bytes(8 << 20))
    with pytest.raises(SystemFailure, match="full"):
        trees.diff(tmp_path / "tree", Full(), DiffOptions())
    assert trees.usage(tmp_path / "tree").entries == 1


def test_calls_from_several_threads(trees: Trees, tmp_path: Path) -> None:
    found: list[Usage] = []

    def work(index: int) -> None:
        directory = tmp_path / str(index)
        trees.make(directory)
        (directory / "f").write_bytes(bytes(index))
        found.append(trees.usage(directory))
        trees.remove(directory)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(usage.bytes for usage in found) == list(range(20))
    assert os.listdir(tmp_path) == []


def test_a_worker_that_died_is_a_clear_error(
    worker: tuple[WorkerTrees, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    trees, process = worker
    process.kill()
    process.wait()
    for _ in range(2):
        with pytest.raises(SystemFailure, match="has died") as caught:
            trees.usage(tmp_path)
        assert caught.value.hint is not None


def test_a_worker_that_died_is_replaced_by_the_next_call(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            started.append(subprocess.Popen(worker_argv(theirs.fileno()), pass_fds=[theirs.fileno()]))
        return ours

    trees = WorkerTrees(start)
    assert started == []
    assert trees.usage(tmp_path) == Usage(0, 0)
    started[0].kill()
    started[0].wait()
    assert trees.usage(tmp_path) == Usage(0, 0)
    trees.close()
    assert len(started) == 2
    assert started[1].wait(10) == 0


def test_a_worker_that_dies_while_it_works_is_a_clear_error(
    worker: tuple[WorkerTrees, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    trees, process = worker

    class Killer:
        def write(self, _data: bytes, /) -> None:
            process.kill()
            process.wait()

    (tmp_path / "f").write_bytes(bytes(32 << 20))
    with pytest.raises(SystemFailure, match="has died"):
        trees.diff(tmp_path, Killer(), DiffOptions())


def test_a_worker_ends_with_its_engine(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(worker_argv(theirs.fileno()), pass_fds=[theirs.fileno()])
    assert WorkerTrees(lambda: ours).usage(tmp_path) == Usage(0, 0)
    ours.close()
    assert process.wait(10) == 0


def test_a_worker_imports_no_third_party_package() -> None:
    code = "import sys; sys.path[:0] = sys.argv[1:]; import jupyter_containers.layers.worker; print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", code, worker_argv(3)[6]]
    loaded = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert not {"msgspec", "asyncio", "sqlite3", "IPython", "isal", "backports"} & set(loaded)


def test_descriptors_do_not_leak(worker: tuple[WorkerTrees, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    trees, process = worker

    def settled() -> tuple[int, int]:
        """How many are open; a thread of the worker closes its socket just after it answered."""
        for _ in range(100):
            select.select([], [], [], 0.02)
            if len(os.listdir(f"/proc/{process.pid}/task")) == 1:
                break
        return len(os.listdir(f"/proc/{process.pid}/fd")), len(os.listdir("/proc/self/fd"))

    trees.usage(tmp_path)
    before = settled()
    for _ in range(10):
        trees.pack([Item("f")], io.BytesIO())
        with pytest.raises(NotFound):
            trees.read([tmp_path], "none", limit=1)
    assert settled() == before


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, "text\udcff", b"bytes", True],
        (Node("a", "file", 0o644, 1, 2, device=(3, 4)), Usage(1, 2)),
        ApplyOptions(expected=Digest.of(b"")),
        DiffOptions(exclude=frozenset({"b", "a"}), timestamp=5),
        {"key": (1, ("nested", [()]))},
    ],
)
def test_values_travel(value: object) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, wire.encode(value))
        assert wire.decode(wire.receive(theirs)) == value


def test_only_known_types_travel() -> None:
    with pytest.raises(TypeError, match="does not travel"):
        wire.encode(object())
    assert dataclasses.is_dataclass(Usage)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LayerCorrupt("what", hint="do"), LayerCorrupt),
        (DigestMismatch("a", "b", what="layer"), DigestMismatch),
        (errors.StartFailed("x", step="y"), SystemFailure),
    ],
)
def test_errors_travel(error: EngineError, kind: type[EngineError]) -> None:
    again = wire.decode_error(wire.encode_error(error))
    assert type(again) is kind
    assert (again.message, again.hint) == (error.message, error.hint)
