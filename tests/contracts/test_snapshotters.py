"""What every snapshotter does, whatever it is made of: the Protocol's promises, one test each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import DigestMismatch, LayerCorrupt, NotFound
from jupyter_containers.layers.base import Item
from jupyter_containers.layers.trees import LocalTrees
from jupyter_containers.oci.names import Digest
from jupyter_containers.snapshots.base import chain_ids
from jupyter_containers.snapshots.copy import CopySnapshotter
from jupyter_containers.snapshots.overlay import OverlaySnapshotter

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.layers.base import Trees
    from jupyter_containers.snapshots.base import Snapshotter

ROOT = Path(__file__).resolve().parents[2]
ABSENT = Digest.of(b"no such layer")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer archive on disk."""

    blob: Path
    diff_id: Digest
    chain: Digest
    parents: tuple[Digest, ...]


@pytest.fixture
def trees() -> Trees:
    return LocalTrees()


@pytest.fixture(params=["overlay", "copy"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def snapshotter(kind: str, tmp_path: Path, trees: Trees) -> Snapshotter:
    return make(kind, tmp_path / "store", trees)


def make(kind: str, root: Path, trees: Trees) -> Snapshotter:
    root.mkdir(exist_ok=True)
    if kind == "overlay":
        return OverlaySnapshotter(root, trees, userxattr=os.geteuid() != 0)
    return CopySnapshotter(root, trees)


@pytest.fixture
def layers(tmp_path: Path, trees: Trees) -> Callable[..., list[Layer]]:
    """``layers({"a": b"1"}, {"b": b"2"})``: archives of these files, stacked in this order."""

    def write(*contents: dict[str, bytes]) -> list[Layer]:
        diff_ids: list[Digest] = []
        blobs: list[Path] = []
        for number, files in enumerate(contents):
            blob = tmp_path / f"layer-{number}.tar"
            with blob.open("wb") as out:
                items = [Item(name, source=data, uid=os.getuid(), gid=os.getgid()) for name, data in files.items()]
                written = trees.pack(items, out)
            diff_ids.append(written.digest)
            blobs.append(blob)
        chains = chain_ids(diff_ids)
        return [
            Layer(blob, diff_id, chain, tuple(chains[:index]))
            for index, (blob, diff_id, chain) in enumerate(zip(blobs, diff_ids, chains, strict=True))
        ]

    return write


def unpack(snapshotter: Snapshotter, stack: list[Layer]) -> tuple[Digest, ...]:
    for layer in stack:
        snapshotter.unpack(layer.chain, layer.blob, diff_id=layer.diff_id, parents=layer.parents)
    return tuple(layer.chain for layer in stack)


def files(trees: Trees, dirs: list[Path]) -> dict[str, bytes]:
    """All files of the merged view."""
    nodes = trees.walk(dirs, "")
    return {node.path: trees.read(dirs, node.path, limit=2**20) for node in nodes if node.kind == "file"}


def test_an_unpacked_layer_is_known_and_listed(snapshotter: Snapshotter, layers: Callable[..., list[Layer]]) -> None:
    (layer,) = layers({"a": b"12345"})
    assert snapshotter.info(layer.chain) is None
    info = snapshotter.unpack(layer.chain, layer.blob, diff_id=layer.diff_id, parents=())
    assert (info.chain, info.diff_id, info.bytes) == (layer.chain, layer.diff_id, 5)
    assert snapshotter.info(layer.chain) == info
    assert list(snapshotter.chains()) == [info]


def test_a_stack_shows_the_files_of_all_layers_the_upper_first(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], trees: Trees
) -> None:
    chains = unpack(snapshotter, layers({"a": b"old", "b": b"below"}, {"a": b"new"}, {"c": b"above"}))
    assert files(trees, snapshotter.layer_dirs(chains)) == {"a": b"new", "b": b"below", "c": b"above"}


def test_unpacking_again_changes_nothing(snapshotter: Snapshotter, layers: Callable[..., list[Layer]]) -> None:
    stack = layers({"a": b"1"})
    unpack(snapshotter, stack)
    before = snapshotter.info(stack[0].chain)
    unpack(snapshotter, stack)
    assert snapshotter.info(stack[0].chain) == before


def test_several_who_unpack_the_same_get_one_layer(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], trees: Trees
) -> None:
    stack = layers({f"file-{number}": b"x" * 100 for number in range(200)})
    with ThreadPoolExecutor(4) as pool:
        chains = list(pool.map(lambda _turn: unpack(snapshotter, stack), range(4)))
    assert len(set(chains)) == 1
    assert len(list(snapshotter.chains())) == 1
    assert len(files(trees, snapshotter.layer_dirs(chains[0]))) == 200


def test_an_archive_that_is_not_what_it_should_be_is_not_kept(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]]
) -> None:
    (layer,) = layers({"a": b"1"})
    with pytest.raises(DigestMismatch):
        snapshotter.unpack(ABSENT, layer.blob, diff_id=ABSENT, parents=())
    assert snapshotter.info(ABSENT) is None
    assert list(snapshotter.chains()) == []


def test_a_damaged_archive_is_not_kept(snapshotter: Snapshotter, tmp_path: Path) -> None:
    blob = tmp_path / "damaged.tar"
    blob.write_bytes(b"this is no archive" * 100)
    digest = Digest.of(blob.read_bytes())
    with pytest.raises(LayerCorrupt):
        snapshotter.unpack(digest, blob, diff_id=digest, parents=())
    assert list(snapshotter.chains()) == []


def test_layers_that_are_not_there_are_named(snapshotter: Snapshotter) -> None:
    with pytest.raises(NotFound, match=ABSENT.hex[:12]):
        snapshotter.layer_dirs([ABSENT])


def test_a_scratch_needs_its_parents(snapshotter: Snapshotter) -> None:
    with pytest.raises(NotFound):
        snapshotter.prepare([ABSENT])


def test_a_scratch_is_gone_after_its_context(snapshotter: Snapshotter, layers: Callable[..., list[Layer]]) -> None:
    chains = unpack(snapshotter, layers({"a": b"1"}))
    with snapshotter.prepare(chains) as scratch:
        assert scratch.upper.is_dir()
    assert not scratch.directory.exists()


def test_what_is_written_in_a_scratch_becomes_a_layer(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], trees: Trees, tmp_path: Path
) -> None:
    chains = unpack(snapshotter, layers({"a": b"below"}))
    blob = tmp_path / "new.tar"
    with snapshotter.prepare(chains) as scratch:
        (scratch.upper / "b").write_bytes(b"written")
        with blob.open("wb") as out:
            written = snapshotter.diff(scratch, out, normalize=True, timestamp=0)
        parents = [info.diff_id for chain in chains if (info := snapshotter.info(chain))]
        chain = chain_ids([*parents, written.digest])[-1]
        info = snapshotter.commit(scratch, chain, written, blob)
    assert Digest.of(blob.read_bytes()) == written.digest == info.diff_id
    assert files(trees, snapshotter.layer_dirs([*chains, chain])) == {"a": b"below", "b": b"written"}


def test_a_layer_that_was_made_is_the_layer_that_is_extracted(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], trees: Trees, tmp_path: Path, kind: str
) -> None:
    stack = layers({"a": b"below"})
    chains = unpack(snapshotter, stack)
    blob = tmp_path / "new.tar"
    with snapshotter.prepare(chains) as scratch:
        (scratch.upper / "sub").mkdir()
        (scratch.upper / "sub" / "b").write_bytes(b"written")
        with blob.open("wb") as out:
            written = snapshotter.diff(scratch, out, normalize=True, timestamp=0)
        chain = chain_ids([stack[0].diff_id, written.digest])[-1]
        snapshotter.commit(scratch, chain, written, blob)
    elsewhere = make(kind, tmp_path / "elsewhere", trees)
    unpack(elsewhere, [*stack, Layer(blob, written.digest, chain, chains)])
    nodes = [trees.walk(one.layer_dirs([*chains, chain]), "", hashes=True) for one in (snapshotter, elsewhere)]
    assert nodes[0] == nodes[1]


def test_nothing_written_is_an_empty_layer(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], tmp_path: Path
) -> None:
    chains = unpack(snapshotter, layers({"a": b"below"}))
    with snapshotter.prepare(chains) as scratch, (tmp_path / "empty.tar").open("wb") as out:
        assert snapshotter.diff(scratch, out).entries == 0


def test_a_scratch_in_the_callers_directory_can_be_found_again(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], tmp_path: Path
) -> None:
    chains = unpack(snapshotter, layers({"a": b"1"}))
    own = tmp_path / "container"
    own.mkdir()
    first = snapshotter.prepare(chains, directory=own)
    first.close()
    assert first.upper.is_dir()
    again = snapshotter.attach(chains, own)
    assert (again.upper, again.work, again.parents) == (first.upper, first.work, first.parents)


def test_mounts_are_absolute_and_end_in_a_root(snapshotter: Snapshotter, layers: Callable[..., list[Layer]]) -> None:
    chains = unpack(snapshotter, layers({"a": b"1"}, {"b": b"2"}))
    with snapshotter.prepare(chains) as scratch:
        mounts = snapshotter.mounts(chains, scratch)
    assert mounts
    assert all(mount["destination"].startswith("/") for mount in mounts)


def test_removing_says_whether_it_was_there(snapshotter: Snapshotter, layers: Callable[..., list[Layer]]) -> None:
    stack = layers({"a": b"1"})
    unpack(snapshotter, stack)
    assert snapshotter.remove(stack[0].chain) is True
    assert snapshotter.remove(stack[0].chain) is False
    assert snapshotter.info(stack[0].chain) is None


def test_what_a_killed_process_left_is_swept_and_the_living_are_spared(
    snapshotter: Snapshotter, layers: Callable[..., list[Layer]], kind: str, tmp_path: Path
) -> None:
    chains = unpack(snapshotter, layers({"a": b"1"}))
    code = f"""
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from jupyter_containers.layers.trees import LocalTrees
        from jupyter_containers.oci.names import Digest
        from jupyter_containers.snapshots.copy import CopySnapshotter
        from jupyter_containers.snapshots.overlay import OverlaySnapshotter
        root = Path({str(tmp_path / "store")!r})
        made = OverlaySnapshotter(root, LocalTrees(), userxattr=os.geteuid() != 0) \\
            if {kind!r} == "overlay" else CopySnapshotter(root, LocalTrees())
        made.prepare([Digest({str(chains[0])!r})])
        print("ready", flush=True)
        sys.stdin.read()
    """
    with snapshotter.prepare(chains) as ours:
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            assert snapshotter.sweep() == 0
            child.send_signal(signal.SIGKILL)
        assert snapshotter.sweep() == 1
        assert ours.upper.is_dir()
    assert snapshotter.sweep() == 0
