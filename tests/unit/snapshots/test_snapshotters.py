"""One suite for every snapshotter: layers are shared, whole, and gone when they are removed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import Corrupt, DigestMismatch, InvalidInput, LayerCorrupt, NotFound
from jupyter_containers.layers.base import Item
from jupyter_containers.layers.pack import write_items
from jupyter_containers.layers.trees import LocalTrees
from jupyter_containers.layers.view import LayerView
from jupyter_containers.oci.names import Digest, chain_id
from jupyter_containers.snapshots.base import LayerInfo, Snapshotter, chain_ids
from jupyter_containers.snapshots.copy import CopySnapshotter
from jupyter_containers.snapshots.overlay import OverlaySnapshotter

Factory = Callable[[Path], Snapshotter]


def overlay(root: Path) -> Snapshotter:
    return OverlaySnapshotter(root, LocalTrees(), userxattr=os.geteuid() != 0)


def copy(root: Path) -> Snapshotter:
    return CopySnapshotter(root, LocalTrees())


def test_chain_ids_are_those_of_the_specification() -> None:
    diff_ids = [Digest.of(b"1"), Digest.of(b"2"), Digest.of(b"3")]
    assert chain_ids(diff_ids) == [chain_id(diff_ids[:count]) for count in (1, 2, 3)]
    assert chain_ids([]) == []


class Image:
    """Layers in a content store, unpacked one by one."""

    def __init__(self, root: Path, snapshotter: Snapshotter) -> None:
        self.store = ContentStore(root / "content")
        self.store.ensure()
        self.snapshotter = snapshotter
        self.diff_ids: list[Digest] = []

    @property
    def chains(self) -> list[Digest]:
        return chain_ids(self.diff_ids)

    def blob(self, *items: Item) -> Digest:
        with self.store.ingest() as ingest:
            write_items(items, ingest)
            return ingest.commit()

    def add(self, *items: Item) -> LayerInfo:
        digest = self.blob(*items)
        parents = self.chains
        self.diff_ids.append(digest)
        return self.snapshotter.unpack(self.chains[-1], self.store.path(digest), diff_id=digest, parents=parents)


class SnapshotterSuite:
    """What holds for every snapshotter; a subclass gives its ``factory``."""

    factory: Factory

    @pytest.fixture
    def snapshotter(self, tmp_path: Path) -> Snapshotter:
        return type(self).factory(tmp_path)

    @pytest.fixture
    def image(self, tmp_path: Path, snapshotter: Snapshotter) -> Image:
        return Image(tmp_path, snapshotter)

    def test_layers_are_unpacked_once_and_described(self, image: Image, snapshotter: Snapshotter) -> None:
        info = image.add(Item("d", "dir", 0o755), Item("d/f", source=b"12345"))
        [chain] = image.chains
        assert (info.chain, info.diff_id, info.bytes, info.entries) == (chain, image.diff_ids[0], 5, 2)
        assert snapshotter.info(chain) == info
        assert list(snapshotter.chains()) == [info]
        [directory] = snapshotter.layer_dirs([chain])
        assert (directory / "d" / "f").read_bytes() == b"12345"
        inode = directory.stat().st_ino
        again = snapshotter.unpack(chain, Path("/nowhere"), diff_id=image.diff_ids[0], parents=[])
        assert again == info
        assert directory.stat().st_ino == inode

    def test_a_layer_made_from_a_list_is_the_one_that_its_archive_gives(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        items = [Item("d", "dir", 0o711, mtime=5), Item("d/new", source=b"12"), Item("old", "link", target="d/new")]
        image.add(Item("d", "dir", 0o700), Item("d/old", source=b"1"))
        chain = chain_ids([*image.diff_ids, image.blob(*items)])[-1]
        seen: list[LayerInfo | None] = []
        with image.store.ingest() as ingest:
            written = snapshotter.make(image.chains, items, ingest, lambda: seen.append(snapshotter.info(chain)))
            assert (seen, ingest.hashed()) == ([None], written.digest)
        made = snapshotter.info(chain)
        other = Image(tmp_path / "other", type(self).factory(tmp_path / "other"))
        other.add(Item("d", "dir", 0o700), Item("d/old", source=b"1"))
        assert made == other.add(*items)
        for one, two in zip(snapshotter.layer_dirs([chain]), other.snapshotter.layer_dirs([chain]), strict=True):
            assert sorted(os.listdir(one / "d")) == ["new"]
            with LayerView([one]) as left, LayerView([two]) as right:
                assert [replace(node, inode=(0, 0)) for node in left.walk("")] == [
                    replace(node, inode=(0, 0)) for node in right.walk("")
                ]

    def test_a_layer_that_cannot_be_made_leaves_nothing(self, image: Image, snapshotter: Snapshotter) -> None:
        items = [Item("f", source=Path("/nowhere/f"))]
        with image.store.ingest() as ingest, pytest.raises(NotFound):
            snapshotter.make([], items, ingest, lambda: pytest.fail("stored"))
        assert list(snapshotter.chains()) == []
        assert snapshotter.sweep() == 0

    def test_directories_are_listed_top_first(self, image: Image, snapshotter: Snapshotter) -> None:
        for name in ("one", "two", "three"):
            image.add(Item(name))
        assert [os.listdir(path)[0] for path in snapshotter.layer_dirs(image.chains)] == ["three", "two", "one"]

    def test_the_same_layer_on_other_parents_is_another(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("f"))
        image.add(Item("f"))
        assert len(list(snapshotter.chains())) == 2

    def test_a_parent_that_is_not_unpacked_is_reported(self, snapshotter: Snapshotter) -> None:
        missing = [Digest.of(b"missing")]
        for call in (snapshotter.layer_dirs, snapshotter.prepare):
            with pytest.raises(NotFound, match=missing[0].short):
                call(missing)
        assert snapshotter.info(missing[0]) is None

    def test_a_wrong_or_damaged_layer_leaves_nothing(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        good, other = image.blob(Item("f")), Digest.of(b"other")
        with pytest.raises(DigestMismatch) as caught:
            snapshotter.unpack(other, image.store.path(good), diff_id=other, parents=[])
        assert good.short in (caught.value.hint or "")
        bad = image.store.write(b"no archive" * 1000)
        with pytest.raises(LayerCorrupt):
            snapshotter.unpack(bad, image.store.path(bad), diff_id=bad, parents=[])
        assert list(snapshotter.chains()) == []
        assert os.listdir(tmp_path / "scratch") == ["lock"]
        assert os.listdir(tmp_path / "layers") == []

    def test_a_scratch_is_removed_unless_it_is_committed(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        image.add(Item("f"))
        with snapshotter.prepare(image.chains) as scratch:
            assert scratch.upper.is_dir()
            assert snapshotter.sweep() == 0
            assert scratch.upper.is_dir()
        assert os.listdir(tmp_path / "scratch") == ["lock"]
        scratch.close()

    def test_the_upper_directory_begins_like_the_root_below(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("", "dir", 0o1777, mtime=77))
        with snapshotter.prepare(image.chains) as scratch:
            status = scratch.upper.stat()
            assert (status.st_mode & 0o7777, int(status.st_mtime)) == (0o1777, 77)

    def commit(self, image: Image, snapshotter: Snapshotter, change: Callable[[Path], None]) -> LayerInfo:
        with snapshotter.prepare(image.chains) as scratch:
            change(scratch.upper)
            with image.store.ingest() as ingest:
                written = snapshotter.diff(scratch, ingest, timestamp=1000, normalize=True)
                blob = ingest.commit()
            assert blob == written.digest
            image.diff_ids.append(blob)
            return snapshotter.commit(scratch, image.chains[-1], written, image.store.path(blob))

    def test_committing_makes_a_layer_like_the_one_its_archive_gives(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        image.add(Item("etc", "dir", 0o755, mtime=5), Item("etc/old", source=b"old"))

        def change(upper: Path) -> None:
            (upper / "etc").mkdir(exist_ok=True)
            (upper / "etc" / "new").write_text("new")
            (upper / "link").symlink_to("etc/new")

        info = self.commit(image, snapshotter, change)
        assert snapshotter.info(info.chain) == info
        other = type(self).factory(tmp_path / "other")
        for count, (chain, diff_id) in enumerate(zip(image.chains, image.diff_ids, strict=True)):
            other.unpack(chain, image.store.path(diff_id), diff_id=diff_id, parents=image.chains[:count])
        assert other.info(image.chains[-1]) == info
        with LayerView(snapshotter.layer_dirs(image.chains)) as mine, LayerView(other.layer_dirs(image.chains)) as its:
            assert list(mine.walk("")) == list(its.walk(""))
            assert mine.read_bytes("link", limit=10) == b"new"
        assert os.listdir(tmp_path / "scratch") == ["lock"]

    def test_committing_what_exists_is_harmless(self, image: Image, snapshotter: Snapshotter) -> None:
        def change(upper: Path) -> None:
            (upper / "f").write_text("x")

        first = self.commit(image, snapshotter, change)
        image.diff_ids.clear()
        assert self.commit(image, snapshotter, change) == first

    def test_a_container_has_its_directories_in_its_own(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        image.add(Item("f"))
        home = tmp_path / "containers" / "1"
        home.mkdir(parents=True)
        scratch = snapshotter.prepare(image.chains, directory=home)
        (scratch.upper / "mine").write_text("x")
        scratch.close()
        again = snapshotter.attach(image.chains, home)
        assert (again.upper / "mine").exists()
        out = io.BytesIO()
        written = snapshotter.diff(again, out)
        assert written.entries == 1
        blob = image.store.write(out.getvalue())
        image.diff_ids.append(blob)
        snapshotter.commit(again, image.chains[-1], written, image.store.path(blob))
        assert (again.upper / "mine").exists()
        assert snapshotter.info(image.chains[-1]) is not None

    def test_mount_points_are_left_out_of_the_diff(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("etc", "dir", 0o755))
        with snapshotter.prepare(image.chains) as scratch:
            (scratch.upper / "etc").mkdir(exist_ok=True)
            (scratch.upper / "etc" / "hosts").touch()
            written = snapshotter.diff(scratch, io.BytesIO(), exclude=frozenset({"etc/hosts"}))
            assert written.entries == 0

    def test_removing(self, image: Image, snapshotter: Snapshotter, tmp_path: Path) -> None:
        image.add(Item("d", "dir", 0o000))
        [chain] = image.chains
        assert snapshotter.remove(chain) is True
        assert snapshotter.remove(chain) is False
        assert snapshotter.info(chain) is None
        assert os.listdir(tmp_path / "layers") == []
        assert os.listdir(tmp_path / "scratch") == ["lock"]

    def test_more_than_a_hundred_layers(self, image: Image, snapshotter: Snapshotter) -> None:
        for index in range(110):
            image.add(Item(f"d/{index}"))
        assert len(snapshotter.layer_dirs(image.chains)) == 110
        with snapshotter.prepare(image.chains) as scratch:
            [mount] = snapshotter.mounts(image.chains, scratch)
            assert mount["destination"] == "/"

    def test_a_layer_that_hides_all_below_stands_alone(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("old"))
        data = io.BytesIO()
        from jupyter_containers.layers.tar import Entry, TarWriter

        writer = TarWriter(data)
        writer.add(Entry(b".wh..wh..opq", "file"))
        writer.close()
        digest = image.store.write(data.getvalue())
        parents = image.chains
        image.diff_ids.append(digest)
        info = snapshotter.unpack(image.chains[-1], image.store.path(digest), diff_id=digest, parents=parents)
        assert info.opaque_root is True
        assert len(snapshotter.layer_dirs(image.chains)) == 1

    def test_a_damaged_description_is_reported(self, image: Image, snapshotter: Snapshotter, tmp_path: Path) -> None:
        image.add(Item("f"))
        [chain] = image.chains
        (tmp_path / "layers" / chain.hex / "info.json").write_text("{")
        with pytest.raises(Corrupt, match=chain.short) as caught:
            snapshotter.info(chain)
        assert caught.value.hint is not None

    def test_threads_that_unpack_the_same_layer_get_the_same(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        digest = image.blob(*[Item(f"d/{n}", source=b"x" * 100) for n in range(300)])
        found: list[LayerInfo] = []

        def unpack() -> None:
            found.append(snapshotter.unpack(digest, image.store.path(digest), diff_id=digest, parents=[]))

        threads = [threading.Thread(target=unpack) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert len(found) == 6
        assert os.listdir(tmp_path / "scratch") == ["lock"]
        assert os.listdir(tmp_path / "layers") == [digest.hex]

    def process(self, tmp_path: Path, code: str) -> subprocess.Popen[bytes]:
        made = {
            "overlay": "OverlaySnapshotter(root, LocalTrees(), userxattr=True)",
            "copy": "CopySnapshotter(root, LocalTrees())",
        }
        kind = type(self).factory.__name__
        start = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from jupyter_containers.layers.trees import LocalTrees
from jupyter_containers.oci.names import Digest
from jupyter_containers.snapshots.{kind} import *
root = Path({str(tmp_path)!r})
snapshotter = {made[kind]}
"""
        return subprocess.Popen([sys.executable, "-c", start + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def test_processes_that_unpack_the_same_layer_get_the_same(
        self, image: Image, snapshotter: Snapshotter, tmp_path: Path
    ) -> None:
        digest = image.blob(*[Item(f"d/{n}", source=b"x" * 100) for n in range(500)])
        code = f"""
digest = Digest({str(digest)!r})
sys.stdin.read()
info = snapshotter.unpack(digest, Path({str(image.store.path(digest))!r}), diff_id=digest, parents=[])
print(info.bytes)
"""
        processes = [self.process(tmp_path, code) for _ in range(3)]
        assert [process.communicate()[0] for process in processes] == [b"50000\n"] * 3
        assert snapshotter.sweep() == 0
        assert len(list(snapshotter.chains())) == 1

    def test_what_a_killed_process_left_is_swept(self, image: Image, snapshotter: Snapshotter, tmp_path: Path) -> None:
        digest = image.blob(*[Item(f"d/{n}", source=b"x" * 100_000) for n in range(60)])
        code = f"""
import time
digest = Digest({str(digest)!r})
held = snapshotter.prepare([])
def stop(done):
    print('ready', flush=True)
    time.sleep(60)
snapshotter.unpack(digest, Path({str(image.store.path(digest))!r}), diff_id=digest, parents=[], progress=stop)
"""
        process = self.process(tmp_path, code)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert snapshotter.sweep() == 0
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert snapshotter.info(digest) is None
        assert snapshotter.sweep() == 2
        assert os.listdir(tmp_path / "scratch") == ["lock"]
        info = snapshotter.unpack(digest, image.store.path(digest), diff_id=digest, parents=[])
        assert info.bytes == 6_000_000

    @pytest.mark.parametrize("left", [[], ["lock"], ["layer", "lock"]])
    def test_what_is_left_between_two_steps_is_swept(
        self, snapshotter: Snapshotter, tmp_path: Path, left: list[str]
    ) -> None:
        with snapshotter.prepare([]):
            (tmp_path / "scratch" / "dead").mkdir()
            for name in left:
                (tmp_path / "scratch" / "dead" / name).touch()
            assert snapshotter.sweep() == 1
            assert not (tmp_path / "scratch" / "dead").exists()

    def test_sweeping_before_anything_was_made(self, snapshotter: Snapshotter) -> None:
        assert snapshotter.sweep() == 0
        assert list(snapshotter.chains()) == []


class TestOverlay(SnapshotterSuite):
    factory = staticmethod(overlay)

    def test_the_options_of_its_mounts(self, image: Image, snapshotter: Snapshotter, tmp_path: Path) -> None:
        image.add(Item("one"))
        image.add(Item("two"))
        lowers = [str(path) for path in snapshotter.layer_dirs(image.chains)]
        with snapshotter.prepare(image.chains) as scratch:
            [mount] = OverlaySnapshotter(tmp_path, LocalTrees(), userxattr=True).mounts(
                image.chains, scratch, volatile=True
            )
        assert (mount["type"], mount["destination"]) == ("overlay", "/")
        assert mount["options"] == [
            "lowerdir=" + ":".join([*lowers, f"{tmp_path}/mountpoints"]),
            f"upperdir={scratch.upper}",
            f"workdir={scratch.work}",
            "index=off",
            "userxattr",
            "volatile",
        ]
        below = {str(path.relative_to(tmp_path)): path.stat().st_mode for path in (tmp_path / "mountpoints").rglob("*")}
        assert below == {
            "mountpoints/etc": 0o040755,
            "mountpoints/etc/hostname": 0o100644,
            "mountpoints/etc/hosts": 0o100644,
        }
        [mount] = OverlaySnapshotter(tmp_path, LocalTrees(), userxattr=False).mounts(image.chains, scratch)
        assert mount["options"][3:] == ["index=off", "metacopy=off", "redirect_dir=off"]
        [shown] = snapshotter.mounts(image.chains, None)
        assert not [option for option in shown["options"] if option.startswith(("upper", "work", "volatile"))]

    def test_a_single_layer_or_none_needs_no_overlay(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("one"))
        [mount] = snapshotter.mounts(image.chains, None)
        assert (mount["type"], mount["options"]) == ("bind", ["rbind", "ro"])
        with snapshotter.prepare([]) as scratch:
            [mount] = snapshotter.mounts([], scratch)
            assert (mount["type"], mount["source"]) == ("bind", str(scratch.upper))

    def test_paths_with_separators_are_escaped(self, tmp_path: Path) -> None:
        root = tmp_path / "a:b,c\\d"
        root.mkdir()
        image = Image(root, overlay(root))
        image.add(Item("f"))
        with image.snapshotter.prepare(image.chains) as scratch:
            [mount] = image.snapshotter.mounts(image.chains, scratch)
        assert mount["options"][0].startswith(f"lowerdir={tmp_path}/a\\:b\\,c\\\\d/layers/")


class TestCopy(SnapshotterSuite):
    factory = staticmethod(copy)

    def test_a_scratch_is_a_whole_file_system(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("one", source=b"1"))
        image.add(Item("two", source=b"2"))
        with snapshotter.prepare(image.chains) as scratch:
            assert sorted(os.listdir(scratch.upper)) == ["one", "two"]
            [mount] = snapshotter.mounts(image.chains, scratch)
            assert (mount["type"], mount["source"]) == ("bind", str(scratch.upper))
            (scratch.upper / "one").unlink()
            out = io.BytesIO()
            assert snapshotter.diff(scratch, out).entries == 1
            assert b".wh.one" in out.getvalue()

    def test_several_layers_are_not_shown_without_a_copy(self, image: Image, snapshotter: Snapshotter) -> None:
        image.add(Item("one"))
        assert snapshotter.mounts(image.chains, None)[0]["type"] == "bind"
        image.add(Item("two"))
        with pytest.raises(InvalidInput):
            snapshotter.mounts(image.chains, None)
