"""Changes as layers, and that applying them gives the same tree again."""

from __future__ import annotations

import io
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidInput, Unsupported
from jupyter_containers.layers import disk
from jupyter_containers.layers.apply import apply_layer
from jupyter_containers.layers.base import ApplyOptions, DiffOptions, Written
from jupyter_containers.layers.diff import write_layer
from jupyter_containers.layers.tar import Entry, TarReader
from jupyter_containers.layers.view import LayerView
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


def diff(upper: Path, *lowers: Path, **options: object) -> tuple[bytes, Written]:
    out = io.BytesIO()
    written = write_layer(upper, out, options=DiffOptions(lowers, **options))  # type: ignore[arg-type]  # of DiffOptions
    assert (written.digest, written.size) == (Digest.of(out.getvalue()), len(out.getvalue()))
    return out.getvalue(), written


def entries(data: bytes) -> dict[str, Entry]:
    return {os.fsdecode(entry.name): entry for entry in TarReader(io.BytesIO(data))}


def names(upper: Path, *lowers: Path, **options: object) -> list[str]:
    return list(entries(diff(upper, *lowers, **options)[0]))


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, 0)


def opaque(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDONLY)
    disk.set_opaque(fd)
    os.close(fd)


def make(path: Path, content: str = "", mtime: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (mtime, mtime))
    return path


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper"


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (tmp_path / "lower").mkdir()
    return tmp_path / "lower"


def test_entries_are_sorted_and_the_root_is_left_out(upper: Path) -> None:
    for name in ("b/z", "b/a", "a", "b.c"):
        make(upper / name, name)
    assert names(upper) == ["a", "b", "b/a", "b/z", "b.c"]


def test_the_same_tree_gives_the_same_bytes_whenever_and_wherever_it_is(tmp_path: Path) -> None:
    layers = []
    for index, order in enumerate((["x/1", "x/2", "y"], ["y", "x/2", "x/1"])):
        upper = tmp_path / str(index)
        for name in order:
            make(upper / name, name, mtime=9_000_000_000)
        layers.append(diff(upper, timestamp=1234)[0])
    assert layers[0] == layers[1]
    assert {entry.mtime for entry in entries(layers[0]).values()} == {1234 * SECOND}


def test_the_timestamp_is_an_upper_limit(upper: Path) -> None:
    make(upper / "old", mtime=5)
    make(upper / "new", mtime=50)
    found = entries(diff(upper, timestamp=10)[0])
    assert (found["old"].mtime, found["new"].mtime) == (5 * SECOND, 10 * SECOND)
    assert (upper / "new").stat().st_mtime == 50


def test_normalizing_gives_the_directory_the_times_of_the_archive(upper: Path) -> None:
    path = make(upper / "d" / "f")
    os.utime(path, ns=(5 * SECOND + 7, 5 * SECOND + 7))
    (upper / "d" / "l").symlink_to("f")
    data, _ = diff(upper, timestamp=10, normalize=True)
    for name, entry in entries(data).items():
        assert (upper / name).lstat().st_mtime_ns == entry.mtime


def test_a_whiteout_is_written_by_name(upper: Path, lower: Path) -> None:
    make(lower / "d" / "f")
    whiteout(upper / "d" / "f")
    os.utime(upper / "d", (9, 9))
    found = entries(diff(upper, lower)[0])
    assert list(found) == ["d", "d/.wh.f"]
    assert (found["d/.wh.f"].kind, found["d/.wh.f"].size) == ("file", 0)


def test_whiteouts_that_share_an_inode_are_no_hard_links(upper: Path, lower: Path) -> None:
    make(lower / "a")
    make(lower / "b")
    whiteout(upper / "a")
    os.link(upper / "a", upper / "b")
    assert {entry.kind for entry in entries(diff(upper, lower)[0]).values()} == {"file"}


def test_an_opaque_directory_is_marked_only_when_a_layer_below_has_it(upper: Path, lower: Path) -> None:
    (lower / "there").mkdir()
    make(lower / "file")
    for name in ("there", "new", "file"):
        opaque(upper / name)
        make(upper / name / "f")
    assert names(upper, lower) == ["file", "file/f", "new", "new/f", "there", "there/.wh..wh..opq", "there/f"]


def test_a_directory_that_was_only_touched_is_no_change(upper: Path, lower: Path) -> None:
    for path in (lower / "d" / "e", upper / "d" / "e"):
        path.mkdir(parents=True)
    os.utime(upper / "d" / "e", (99, 99))
    assert names(upper, lower) == []
    assert (upper / "d").exists()
    assert names(upper, lower, normalize=True) == []
    assert os.listdir(upper) == []


def test_a_directory_with_another_mode_or_a_change_inside_is_written(upper: Path, lower: Path) -> None:
    for path in (lower / "mode", lower / "deep" / "er", upper / "mode", upper / "deep" / "er"):
        path.mkdir(parents=True)
    (upper / "mode").chmod(0o700)
    make(upper / "deep" / "er" / "f")
    assert names(upper, lower) == ["deep", "deep/er", "deep/er/f", "mode"]


def test_the_root_is_written_when_its_mode_changed(upper: Path, lower: Path) -> None:
    upper.chmod(0o711)
    assert [entry.mode for entry in entries(diff(upper, lower)[0]).values()] == [0o711]


def test_hard_links_are_grouped(upper: Path) -> None:
    make(upper / "b" / "one", "x")
    os.link(upper / "b" / "one", upper / "a")
    found = entries(diff(upper)[0])
    assert (found["a"].kind, found["b/one"].kind, found["b/one"].target) == ("file", "link", b"a")


def test_mount_points_are_left_out_while_they_are_empty(upper: Path, lower: Path) -> None:
    (lower / "etc").mkdir()
    make(upper / "etc" / "hosts")
    make(upper / "etc" / "resolv.conf", "edited")
    (upper / "dev" / "pts").mkdir(parents=True)
    make(upper / "dev" / "console")
    exclude = frozenset({"etc/hosts", "/etc/resolv.conf", "dev", "dev/pts", "dev/console"})
    assert names(upper, lower, exclude=exclude) == ["etc", "etc/resolv.conf"]
    assert (upper / "dev" / "console").exists()
    assert names(upper, lower, exclude=exclude, normalize=True) == ["etc", "etc/resolv.conf"]
    assert not (upper / "dev").exists()
    assert os.listdir(upper / "etc") == ["resolv.conf"]


def test_a_mount_point_that_was_filled_stays(upper: Path) -> None:
    make(upper / "data" / "f")
    assert names(upper, exclude=frozenset({"data"}), normalize=True) == ["data", "data/f"]


def test_sockets_are_left_out(upper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(upper)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
    make(upper / "f")
    assert names(upper) == ["f"]
    assert names(upper, normalize=True) == ["f"]
    assert os.listdir(upper) == ["f"]


def test_overlay_attributes_are_left_out_and_others_kept(upper: Path) -> None:
    path = make(upper / "f")
    for name in ("user.mine", "user.overlay.origin"):
        os.setxattr(path, name, b"value")
    assert entries(diff(upper)[0])["f"].xattrs == {b"user.mine": b"value"}


def test_a_renamed_directory_of_redirect_dir_is_refused(upper: Path) -> None:
    (upper / "d").mkdir()
    os.setxattr(upper / "d", f"{disk.overlay_style()}.overlay.redirect", b"/e")
    with pytest.raises(Unsupported, match="redirect_dir"):
        diff(upper)


def test_a_file_that_looks_like_a_whiteout_is_refused(upper: Path) -> None:
    make(upper / ".wh.me")
    with pytest.raises(InvalidInput, match=r"\.wh\."):
        diff(upper)


def test_too_deep_a_tree_is_refused(upper: Path) -> None:
    path = upper
    for _ in range(disk.MAX_DEPTH + 2):
        path /= "d"
    os.makedirs(path)
    with pytest.raises(Unsupported, match="deep"):
        diff(upper)


def test_recorded_owners_are_restored(upper: Path) -> None:
    path = make(upper / "f")
    os.setxattr(path, disk.RECORD, disk.Record(33, 44, 0o4755).encode())
    device = make(upper / "null")
    os.setxattr(device, disk.RECORD, disk.Record(0, 6, 0o666, ("c", 1, 3)).encode())
    found = entries(diff(upper)[0])
    assert (found["f"].uid, found["f"].gid, found["f"].mode, found["f"].xattrs) == (33, 44, 0o4755, None)
    assert (found["null"].kind, found["null"].major, found["null"].minor, found["null"].gid) == ("char", 1, 3, 6)


def test_a_damaged_record_counts_as_none(upper: Path) -> None:
    path = make(upper / "f")
    for value in (b"", b"x:y:z", b"1:2", b"-1:0:", b"1:2:999", b"\xff"):
        os.setxattr(path, disk.RECORD, value)
        assert entries(diff(upper)[0])["f"].uid == 0


def test_progress_is_reported(upper: Path) -> None:
    make(upper / "f", "x" * 1000)
    seen: list[int] = []
    written = write_layer(upper, io.BytesIO(), progress=seen.append)
    assert 0 < seen[-1] <= written.size


# -- whole trees -----------------------------------------------------------------------------------------------------


def test_comparing_finds_what_changed_and_what_is_gone(upper: Path, lower: Path) -> None:
    for root in (lower, upper):
        make(root / "same", "same")
        make(root / "d" / "changed", "1")
        make(root / "d" / "e" / "kept")
        (root / "link").symlink_to("same")
        os.utime(root / "link", (5, 5), follow_symlinks=False)
    make(lower / "gone")
    make(lower / "gone-dir" / "f")
    make(upper / "d" / "changed", "2")
    make(upper / "new")
    assert names(upper, lower, compare=True) == ["d", "d/changed", ".wh.gone", ".wh.gone-dir", "new"]


def test_comparing_notices_a_change_that_kept_size_and_time(upper: Path, lower: Path) -> None:
    make(lower / "f", "1")
    make(upper / "f", "2")
    assert names(upper, lower, compare=True) == ["f"]


# -- round trips -----------------------------------------------------------------------------------------------------

component = st.sampled_from(["a", "b", "c", "ä", "x y"])
places = st.lists(component, min_size=1, max_size=3).map("/".join)
things = st.dictionaries(
    places,
    st.tuples(
        st.sampled_from(["file", "dir", "symlink", "hard", "fifo"]),
        st.binary(max_size=50),
        st.sampled_from([0o644, 0o755, 0o700, 0o1777, 0o4711]),
        st.integers(0, 2**31),
    ),
    max_size=8,
)
Things = dict[str, tuple[str, bytes, int, int]]


def build(root: Path, wanted: Things) -> None:
    """A tree of the things, as far as their names go together."""
    root.mkdir()
    files: list[Path] = []
    for name, (kind, content, mode, mtime) in wanted.items():
        path = root / name
        parents = [parent for parent in path.parents if parent.is_relative_to(root)]
        if os.path.lexists(path) or any(os.path.lexists(p) and (p.is_symlink() or not p.is_dir()) for p in parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "dir":
            path.mkdir()
        elif kind == "symlink":
            path.symlink_to("target-" + content.hex())
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "hard" and files:
            os.link(files[-1], path)
        else:
            path.write_bytes(content)
            files.append(path)
        if kind != "symlink":
            # An ordinary user must be able to work in its own directories.
            path.chmod(mode | 0o700 if kind == "dir" else mode)
        os.utime(path, (mtime, mtime), follow_symlinks=False)


def look(*dirs: Path) -> dict[str, object]:
    """What can be seen of a tree, without times of directories, which their making changes."""
    seen: dict[str, object] = {}
    with LayerView(dirs) as view:
        for node in view.walk(""):
            content = view.read_bytes(node.path, limit=1000) if node.kind == "file" else b""
            times = node.mtime // SECOND if node.kind != "dir" else 0
            seen[node.path] = (node.kind, node.mode, node.uid, node.gid, node.target, times, content)
    return seen


@given(things)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_applying_the_diff_of_a_tree_gives_the_tree(tmp_path_factory: pytest.TempPathFactory, wanted: Things) -> None:
    base = tmp_path_factory.mktemp("identity")
    build(base / "upper", wanted)
    data, written = diff(base / "upper")
    applied = apply_layer(io.BytesIO(data), base / "again")
    assert look(base / "again") == look(base / "upper")
    assert (applied.diff_id, applied.entries) == (written.digest, written.entries)
    assert diff(base / "again")[0] == data


@given(things, things)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_applying_a_comparison_turns_one_tree_into_the_other(
    tmp_path_factory: pytest.TempPathFactory, before: Things, after: Things
) -> None:
    base = tmp_path_factory.mktemp("compare")
    build(base / "before", before)
    build(base / "after", after)
    data, _ = diff(base / "after", base / "before", compare=True)
    apply_layer(io.BytesIO(data), base / "layer", options=ApplyOptions(lowers=(base / "before",)))
    assert look(base / "layer", base / "before") == look(base / "after")
