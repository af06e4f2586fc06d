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
from jupyter_containers.errors import (
    Cancelled,
    Conflict,
    DigestMismatch,
    EngineError,
    LayerCorrupt,
    NotFound,
    SystemFailure,
)
from jupyter_containers.layers import pack, wire
from jupyter_containers.layers.base import ApplyOptions, DiffOptions, Earlier, Item, Node, Trees, Usage, ViewSource
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


BIG = [Item(f"f{number}", source=bytes([number]) * (1 << 20)) for number in range(12)]


def test_a_layer_is_extracted_while_it_is_written(trees: Trees, tmp_path: Path) -> None:
    with (tmp_path / "one").open("wb") as out:
        written = trees.pack(BIG, out, extract=(tmp_path / "diff", ApplyOptions()))
    assert written.digest == packed(trees, tmp_path / "two", *BIG)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert {path.name: path.read_bytes() for path in (tmp_path / "diff").iterdir()} == {i.name: i.source for i in BIG}


def test_files_of_every_size_and_kind_are_extracted_while_they_are_written(trees: Trees, tmp_path: Path) -> None:
    contents = {"d/empty": b"", "d/small": b"s", "d/limit": os.urandom(1 << 20), "d/large": os.urandom((5 << 20) + 7)}
    for name, content in contents.items():
        (tmp_path / name.replace("/", "-")).write_bytes(content)
    items = [Item(name, source=str(tmp_path / name.replace("/", "-")), mtime=7) for name in contents]
    items += [Item("d", "dir", 0o750, mtime=9), Item("l", "link", target="d/small"), Item("s", "symlink", target="d")]
    target = tmp_path / "diff"
    with (tmp_path / "one").open("wb") as out:
        written = trees.pack(items, out, extract=(target, ApplyOptions()))
    assert written.digest == packed(trees, tmp_path / "two", *items)
    assert written.content_bytes == sum(map(len, contents.values()))
    assert {name: (target / name).read_bytes() for name in contents} == contents
    assert (target / "l").samefile(target / "d" / "small")
    assert os.readlink(target / "s") == "d"
    assert ((target / "d").stat().st_mode & 0o7777, (target / "d").stat().st_mtime) == (0o750, 9)


@pytest.mark.parametrize("size", [3, 3 << 20])
def test_a_file_that_grows_or_shrinks_while_it_is_extracted_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * size)
    told = pack._open_host
    for change in (-1, 1):
        monkeypatch.setattr(pack, "_open_host", lambda path, by=change: ((file := told(path))[0], file[1] + by))
        extract = tmp_path / f"diff{change}", ApplyOptions()
        with (tmp_path / "out").open("wb") as out, pytest.raises(Conflict, match="changed"):
            LocalTrees().pack([Item("f", source=str(source))], out, extract=extract)


def test_when_writing_or_extracting_fails_the_other_ends_too(trees: Trees, tmp_path: Path) -> None:
    with (tmp_path / "one").open("wb") as out:
        with pytest.raises(NotFound, match="nothing"):
            trees.pack([*BIG, Item("z", source=tmp_path / "nothing")], out, extract=(tmp_path / "diff", ApplyOptions()))
        with pytest.raises(SystemFailure, match="extracting"):
            trees.pack(BIG, out, extract=(tmp_path / "one" / "no-directory", ApplyOptions()))


def entry(name: str, content: bytes = b"", **more: int) -> Item:
    return Item(name, source=content, sha256=Digest.of(content).hex, **more)  # type: ignore[arg-type]  # all are numbers


LONG = "/".join(["long" * 20] * 5)
FIRST = [
    Item("d", "dir", 0o755),
    entry("d/changed", b"1"),
    entry("d/longer", b"1"),
    entry("d/mode", b"1", mode=0o600),
    entry("d/removed", b"1"),
    entry("d/same", b"same"),
    entry("d.d", b"between"),
    entry("large", bytes(range(256)) * 9000),
    entry(LONG, b"its name needs an extended header"),
    Item("link", "link", target="d/same"),
    entry("twice", b"x" * 600),
]
SECOND = [
    Item("d", "dir", 0o755),
    entry("d/added", b"1"),
    entry("d/changed", b"2"),
    entry("d/longer", b"12"),
    entry("d/mode", b"1", mode=0o644),
    entry("d/same", b"same"),
    entry("d.d", b"between"),
    entry("large", bytes(range(256)) * 9000),
    entry(LONG, b"its name needs an extended header"),
    Item("link", "link", target="d/same"),
    entry("twice", b"x" * 600),
    entry("z", b""),
]


def content(directory: Path) -> dict[str, tuple[bytes, int, int, int]]:
    found = {}
    for path in directory.rglob("*"):
        if path.is_file():
            status = path.stat()
            found[str(path.relative_to(directory))] = (
                path.read_bytes(),
                status.st_mode,
                status.st_uid,
                status.st_mtime_ns,
            )
    return found


def test_what_an_earlier_layer_has_too_is_taken_from_there(trees: Trees, tmp_path: Path) -> None:
    for name, items in (("one", FIRST), ("plain", SECOND)):
        with (tmp_path / f"{name}.tar").open("wb") as out:
            trees.pack(items, out, extract=(tmp_path / name, ApplyOptions()))
    earlier = Earlier(tmp_path / "one.tar", tmp_path / "one")
    with (tmp_path / "two.tar").open("wb") as out:
        written = trees.pack(SECOND, out, extract=(tmp_path / "two", ApplyOptions()), earlier=earlier)
    assert (tmp_path / "two.tar").read_bytes() == (tmp_path / "plain.tar").read_bytes()
    assert written.digest == Digest.of((tmp_path / "two.tar").read_bytes())
    assert content(tmp_path / "two") == content(tmp_path / "plain")
    shared = {name for name in content(tmp_path / "two") if (tmp_path / "one" / name).exists()}
    shared = {name for name in shared if (tmp_path / "two" / name).samefile(tmp_path / "one" / name)}
    assert shared == {"d/same", "d.d", "large", "link", "twice"}


def test_an_earlier_layer_that_is_not_what_it_was_is_not_believed(trees: Trees, tmp_path: Path) -> None:
    with (tmp_path / "one.tar").open("wb") as out:
        trees.pack(FIRST, out, extract=(tmp_path / "one", ApplyOptions()))
    data = (tmp_path / "one.tar").read_bytes()
    (tmp_path / "one.tar").write_bytes(data.replace(b"between", b"BETWEEN"))
    (tmp_path / "one" / "d" / "same").unlink()
    (tmp_path / "one" / "twice").write_bytes(b"shorter")
    with (tmp_path / "two.tar").open("wb") as out:
        earlier = Earlier(tmp_path / "one.tar", tmp_path / "one")
        trees.pack(FIRST, out, extract=(tmp_path / "two", ApplyOptions()), earlier=earlier)
    assert (tmp_path / "two.tar").read_bytes() == data
    found = content(tmp_path / "two")
    assert [found[name][0] for name in ("d.d", "d/same", "twice")] == [b"between", b"same", b"x" * 600]
    assert (tmp_path / "two" / "large").samefile(tmp_path / "one" / "large")


@pytest.mark.parametrize("broken", [b"", b"no archive at all" * 100, b"\x1f\x8b" + bytes(2000)])
def test_an_earlier_layer_may_be_gone_or_something_else(trees: Trees, tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other.tar").write_bytes(broken)
    for number, blob in enumerate(("other.tar", "nothing.tar")):
        target = tmp_path / str(number)
        with (tmp_path / "new.tar").open("wb") as out:
            earlier = Earlier(tmp_path / blob, tmp_path / "other")
            trees.pack(FIRST, out, extract=(target, ApplyOptions()), earlier=earlier)
        assert content(target)["d/same"][0] == b"same"


def test_a_layer_goes_round(trees: Trees, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    digest = packed(trees, tmp_path / "a.tar", Item("d", "dir", 0o755), Item("d/f", source=data), Item("é\udcff"))
    with (tmp_path / "a.tar").open("rb") as blob:
        applied = trees.apply(blob, tmp_path / "tree", ApplyOptions(expected=digest))
    assert applied.diff_id == digest
    assert (tmp_path / "tree" / "d" / "f").read_bytes() == data
    out = io.BytesIO()
    written = trees.diff(tmp_path / "tree", out, DiffOptions())
    assert written.digest == Digest.of(out.getvalue()) == digest
    assert trees.usage(tmp_path / "tree") == Usage(len(data), 3)


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


def test_a_request_that_a_dying_worker_did_not_read_goes_to_the_next_one(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            started.append(subprocess.Popen(worker_argv(theirs.fileno()), pass_fds=[theirs.fileno()]))
        return ours

    trees = WorkerTrees(start)
    assert trees.usage(tmp_path) == Usage(0, 0)
    started[0].send_signal(signal.SIGSTOP)
    killer = threading.Timer(0.2, started[0].kill)
    killer.start()
    trees.make(tmp_path / "made")
    killer.join()
    assert (tmp_path / "made").is_dir()
    started[0].wait(10)
    trees.close()
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
        ([Node(str(number), "file", 0o644, number, 2) for number in range(1_001)], [[1] * 500, (2,) * 501]),
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
