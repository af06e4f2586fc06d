"""Extraction: what an archive says is on disk afterwards, and nothing outside its root, whatever it says."""

from __future__ import annotations

import gzip
import io
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_containers.errors import Cancelled, DigestMismatch, LayerCorrupt
from jupyter_containers.layers import disk
from jupyter_containers.layers.apply import apply_layer
from jupyter_containers.layers.base import Applied, ApplyOptions
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.oci.names import Digest

AS_ROOT = os.geteuid() == 0
SECOND = 1_000_000_000


def archive(*entries: tuple[Entry, bytes] | Entry) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out, subsecond=True)
    for item in entries:
        entry, content = item if isinstance(item, tuple) else (item, b"")
        entry.size = len(content)
        writer.add(entry, content)
    writer.close()
    return out.getvalue()


def apply(data: bytes, target: Path, options: ApplyOptions | None = None) -> Applied:
    return apply_layer(io.BytesIO(data), target, options=options)


def file(name: bytes, content: bytes = b"", mode: int = 0o644) -> tuple[Entry, bytes]:
    return Entry(name, "file", mode, mtime=5 * SECOND), content


def folder(name: bytes, mode: int = 0o755, mtime: int = 7 * SECOND) -> Entry:
    return Entry(name, "dir", mode, mtime=mtime)


def link(name: bytes, target: bytes) -> Entry:
    return Entry(name, "symlink", target=target)


def hard(name: bytes, target: bytes) -> Entry:
    return Entry(name, "link", target=target)


def is_whiteout(path: Path) -> bool:
    return disk.is_whiteout(path.lstat())


def is_opaque(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return disk.is_opaque(fd)
    finally:
        os.close(fd)


def owner(path: Path) -> tuple[int, int]:
    """The owner as set, or as recorded where this user cannot set it."""
    if AS_ROOT:
        return path.stat().st_uid, path.stat().st_gid
    fd = os.open(path, os.O_RDONLY)
    try:
        record = disk.read_record(fd)
    finally:
        os.close(fd)
    return (record.uid, record.gid) if record else disk.owner(path.stat())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_contents_modes_owners_and_times(target: Path) -> None:
    data = archive(
        folder(b"d", 0o750),
        (Entry(b"d/f", "file", 0o4755, 33, 44, mtime=3 * SECOND + 5), b"text"),
        link(b"d/l", b"f"),
        file(b"empty"),
    )
    applied = apply(data, target)
    path = target / "d" / "f"
    assert path.read_bytes() == b"text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o4755
    assert path.stat().st_mtime_ns == 3 * SECOND + 5
    assert owner(path) == (33, 44)
    assert (target / "d" / "l").readlink() == Path("f")
    assert (target / "d").stat().st_mtime == 7
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o750
    assert (applied.diff_id, applied.size) == (Digest.of(data), len(data))
    assert (applied.entries, applied.content_bytes, applied.opaque_root) == (4, 4, False)


def test_a_large_file_and_a_sparse_one(target: Path, tmp_path: Path) -> None:
    import subprocess

    content = os.urandom(3 << 20)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as handle:
        handle.truncate(50 << 20)
        handle.seek(20 << 20)
        handle.write(b"island")
    packed = subprocess.run(["tar", "-C", tmp_path, "-S", "-cf", "-", "sparse"], check=True, capture_output=True).stdout
    apply(archive(file(b"large", content)), target)
    apply(packed, target)
    assert (target / "large").read_bytes() == content
    assert (target / "sparse").stat().st_size == 50 << 20
    assert (target / "sparse").stat().st_blocks * 512 < 5 << 20
    assert (target / "sparse").read_bytes() == sparse.read_bytes()


def test_compressed_layers_have_the_diff_id_of_the_plain_archive(target: Path) -> None:
    data = archive(file(b"f", b"text" * 1000))
    assert apply(gzip.compress(data), target).diff_id == Digest.of(data)


def test_hard_links_are_one_file(target: Path) -> None:
    apply(archive(file(b"a/f", b"x"), hard(b"b/g", b"a/f"), hard(b"h", b"./a/../b/g"), hard(b"a/f", b"a/f")), target)
    assert len({(target / name).stat().st_ino for name in ("a/f", "b/g", "h")}) == 1
    assert (target / "h").stat().st_nlink == 3


def test_names_that_are_no_text_survive(target: Path) -> None:
    apply(archive(file(b"\xff\xfe\n", b"x")), target)
    assert os.listdir(os.fsencode(target)) == [b"\xff\xfe\n"]


def test_missing_parents_are_made_plain(target: Path) -> None:
    apply(archive(file(b"a/b/c")), target)
    assert stat.S_IMODE((target / "a" / "b").stat().st_mode) == 0o755
    assert (target / "a").stat().st_mtime == 0


def test_missing_parents_are_as_in_the_layers_below(tmp_path: Path, target: Path) -> None:
    lower = tmp_path / "lower"
    apply(archive(folder(b"", 0o711), folder(b"tmp", 0o1777, 99 * SECOND), file(b"tmp/old")), lower)
    apply(archive(file(b"tmp/new")), target, ApplyOptions(lowers=(lower,)))
    assert stat.S_IMODE((target / "tmp").stat().st_mode) == 0o1777
    assert (target / "tmp").stat().st_mtime == 99
    assert stat.S_IMODE(target.stat().st_mode) == 0o711


def test_a_directory_listed_after_what_is_in_it_has_no_attributes_from_below(tmp_path: Path, target: Path) -> None:
    lower = tmp_path / "lower"
    marked = folder(b"d")
    marked.xattrs = {b"user.below": b"1"}
    apply(archive(marked), lower)
    apply(archive(file(b"d/f")), tmp_path / "inherits", ApplyOptions(lowers=(lower,)))
    apply(archive(file(b"d/f"), folder(b"d")), target, ApplyOptions(lowers=(lower,)))
    assert os.listxattr(tmp_path / "inherits" / "d") == ["user.below"]
    assert os.listxattr(target / "d") == []


def test_a_later_entry_replaces_an_earlier_one(target: Path) -> None:
    apply(
        archive(
            file(b"f", b"1"),
            file(b"f", b"2"),
            folder(b"d"),
            file(b"d/x"),
            file(b"d", b"now a file"),
            link(b"s", b"f"),
            folder(b"s"),
        ),
        target,
    )
    assert (target / "f").read_bytes() == b"2"
    assert (target / "d").read_bytes() == b"now a file"
    assert (target / "s").is_dir()
    assert not (target / "s").is_symlink()


def test_a_directory_listed_twice_keeps_its_content(target: Path) -> None:
    apply(archive(folder(b"d", 0o700), file(b"d/f"), folder(b"d", 0o711)), target)
    assert (target / "d" / "f").exists()
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o711


# -- whiteouts -------------------------------------------------------------------------------------------------------


def test_a_whiteout_becomes_a_device(target: Path) -> None:
    apply(archive(file(b"d/.wh.gone")), target)
    assert is_whiteout(target / "d" / "gone")


def test_a_whiteout_of_nothing_below_leaves_nothing(tmp_path: Path, target: Path) -> None:
    lower = tmp_path / "lower"
    apply(archive(file(b"there")), lower)
    apply(archive(file(b".wh.there"), file(b".wh.nothing")), target, ApplyOptions(lowers=(lower,)))
    assert is_whiteout(target / "there")
    assert not os.path.lexists(target / "nothing")


@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_mark_hides_below_whatever_its_place(target: Path, first: bool) -> None:
    mark = file(b"d/.wh..wh..opq")
    entries = [mark, file(b"d/f")] if first else [file(b"d/f"), mark]
    apply(archive(folder(b"d"), *entries), target)
    assert is_opaque(target / "d")
    assert (target / "d" / "f").exists()
    assert sorted(os.listdir(target / "d")) == ["f"]


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_beside_a_new_directory_of_that_name_makes_it_opaque(target: Path, first: bool) -> None:
    mark, made = file(b".wh.d"), file(b"d/f")
    apply(archive(*([mark, made] if first else [made, mark])), target)
    assert is_opaque(target / "d")
    assert (target / "d" / "f").exists()


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_beside_a_new_file_of_that_name_hides_only_the_old_one(target: Path, first: bool) -> None:
    mark, made = file(b".wh.f"), file(b"f", b"new")
    apply(archive(*([mark, made] if first else [made, mark])), target)
    assert (target / "f").read_bytes() == b"new"


def test_book_keeping_of_aufs_is_ignored(target: Path) -> None:
    apply(archive(folder(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2", b"x"), file(b".wh..wh.aufs"), file(b"f")), target)
    assert os.listdir(target) == ["f"]


def test_an_opaque_root_is_reported(target: Path) -> None:
    assert apply(archive(file(b".wh..wh..opq"), file(b"f")), target).opaque_root is True


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh.."])
def test_a_whiteout_of_no_name_is_refused(target: Path, name: bytes) -> None:
    with pytest.raises(LayerCorrupt):
        apply(archive(file(name)), target)


# -- hostile archives ------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What an attack is after: beside the target, with a file that must stay as it is."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(b"secret")
    os.utime(directory, ns=(1, 1))
    return directory


def assert_untouched(outside: Path) -> None:
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
    assert (outside / "secret").stat().st_nlink == 1
    assert outside.stat().st_mtime_ns == 1


@pytest.mark.parametrize("name", [b"../outside/f", b"a/../../outside/f", b"/../outside/f", b".."])
@pytest.mark.parametrize("kind", ["file", "dir", "symlink", "link", "fifo"])
def test_dotdot_in_a_name_is_refused(target: Path, outside: Path, name: bytes, kind: str) -> None:
    entry = Entry(name, kind, target=b"x")  # type: ignore[arg-type]  # sampled from the literals
    with pytest.raises(LayerCorrupt):
        apply(archive(file(b"x"), entry), target)
    assert_untouched(outside)


def test_an_absolute_name_is_relative_to_the_root(target: Path) -> None:
    apply(archive(file(b"/etc/passwd", b"x"), file(b"//f")), target)
    assert (target / "etc" / "passwd").read_bytes() == b"x"


@pytest.mark.parametrize("up", [b"../outside", b"../../../../../../../outside", b"/../outside"])
def test_a_parent_that_is_a_symbolic_link_out_stays_inside(target: Path, outside: Path, up: bytes) -> None:
    apply(archive(link(b"l", up), file(b"l/secret", b"mine"), folder(b"l/d"), hard(b"l/h", b"l/secret")), target)
    assert_untouched(outside)
    assert (target / "outside" / "secret").read_bytes() == b"mine"
    assert (target / "outside" / "h").exists()


def test_a_parent_that_is_an_absolute_link_out_stays_inside(target: Path, outside: Path) -> None:
    apply(archive(link(b"l", os.fsencode(outside)), file(b"l/secret", b"mine")), target)
    assert_untouched(outside)
    assert (target / os.fspath(outside).lstrip("/") / "secret").read_bytes() == b"mine"


def test_a_chain_of_links_stays_inside(target: Path, outside: Path) -> None:
    apply(archive(link(b"a", b".."), link(b"b", b"a/.."), link(b"c", b"b/outside"), file(b"c/secret", b"mine")), target)
    assert_untouched(outside)


def test_a_loop_of_links_is_refused(target: Path) -> None:
    with pytest.raises(LayerCorrupt, match="too many symbolic links"):
        apply(archive(link(b"a", b"b"), link(b"b", b"a"), file(b"a/f")), target)


def test_a_link_is_replaced_not_written_through(target: Path, outside: Path) -> None:
    apply(archive(link(b"l", b"../outside/secret"), file(b"l", b"mine")), target)
    assert_untouched(outside)
    assert (target / "l").read_bytes() == b"mine"
    assert not (target / "l").is_symlink()


def test_a_directory_entry_on_a_link_does_not_change_what_it_points_to(target: Path, outside: Path) -> None:
    apply(archive(link(b"l", b"../outside"), folder(b"l", 0o777, 123 * SECOND)), target)
    assert_untouched(outside)


def test_a_directory_that_becomes_a_link_later_does_not_lead_times_out(target: Path, outside: Path) -> None:
    apply(archive(folder(b"d"), folder(b"d/e", 0o700, 123 * SECOND), link(b"d", b"../outside"), folder(b"x")), target)
    assert_untouched(outside)


def test_a_whiteout_through_a_link_stays_inside(target: Path, outside: Path) -> None:
    apply(archive(link(b"l", b"../outside"), file(b"l/.wh.secret"), file(b"l/.wh..wh..opq")), target)
    assert_untouched(outside)
    assert is_whiteout(target / "outside" / "secret")


@pytest.mark.parametrize("goal", [b"../outside/secret", b"/../outside/secret", b"a/../../outside/secret"])
def test_a_hard_link_out_is_refused(target: Path, outside: Path, goal: bytes) -> None:
    with pytest.raises(LayerCorrupt):
        apply(archive(hard(b"h", goal)), target)
    assert_untouched(outside)


def test_a_hard_link_through_a_link_out_finds_nothing(target: Path, outside: Path) -> None:
    with pytest.raises(LayerCorrupt, match="does not exist"):
        apply(archive(link(b"l", b"../outside"), hard(b"h", b"l/secret")), target)
    assert_untouched(outside)


def test_a_hard_link_to_a_symbolic_link_links_the_link(target: Path, outside: Path) -> None:
    apply(archive(link(b"l", b"../outside/secret"), hard(b"h", b"l")), target)
    assert (target / "h").is_symlink()
    assert_untouched(outside)


@pytest.mark.parametrize("goal", [b"missing", b"", b"d"])
def test_a_hard_link_to_what_cannot_be_linked_is_refused(target: Path, goal: bytes) -> None:
    with pytest.raises(LayerCorrupt):
        apply(archive(folder(b"d"), hard(b"h", goal)), target)


def test_a_hard_link_to_a_lower_layer_copies_it_up(tmp_path: Path, target: Path) -> None:
    lower = tmp_path / "lower"
    apply(archive(file(b"d/f", b"content", 0o600)), lower)
    apply(archive(hard(b"h", b"d/f")), target, ApplyOptions(lowers=(lower,)))
    assert (target / "h").read_bytes() == b"content"
    assert (target / "h").stat().st_ino == (target / "d" / "f").stat().st_ino
    assert (lower / "d" / "f").stat().st_nlink == 1


def test_an_entry_below_a_file_is_refused(target: Path) -> None:
    with pytest.raises(LayerCorrupt, match="no directory"):
        apply(archive(file(b"f"), file(b"f/g")), target)


def test_the_root_cannot_be_replaced(target: Path) -> None:
    for entry in (link(b"./", b"/etc"), Entry(b"a/..", "fifo")):
        with pytest.raises(LayerCorrupt, match="root"):
            apply(archive(entry), target)


def test_overlay_attributes_in_an_archive_are_dropped(target: Path) -> None:
    entry = folder(b"d")
    entry.xattrs = {
        b"trusted.overlay.opaque": b"y",
        b"user.overlay.opaque": b"y",
        b"trusted.overlay.redirect": b"/etc",
        disk.RECORD.encode(): b"0:0:4755",
        b"security.selinux": b"x",
        b"user.mine": b"kept",
    }
    apply(archive(entry), target)
    assert {name for name in os.listxattr(target / "d") if name != disk.RECORD} == {"user.mine"}
    assert not is_opaque(target / "d")


@pytest.mark.root
def test_file_capabilities_survive_the_change_of_owner(target: Path) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    entry = Entry(b"ping", "file", 0o755, 5, 5, xattrs={b"security.capability": value})
    apply(archive(entry), target)
    assert os.getxattr(target / "ping", "security.capability") == value


@pytest.mark.parametrize(("uid", "gid"), [(-1, 0), (0, 2**32 - 1), (2**40, 0)])
def test_an_owner_out_of_range_is_refused(target: Path, uid: int, gid: int) -> None:
    from jupyter_containers.layers.tar import writer

    header = writer._pax(b"f", {b"uid": b"%d" % uid, b"gid": b"%d" % gid})
    with pytest.raises(LayerCorrupt, match="out of range"):
        apply(header + archive(file(b"f")), target)


def test_times_of_any_size_do_no_harm(target: Path) -> None:
    apply(archive(Entry(b"f", "file", mtime=10**32), Entry(b"g", "dir", mtime=-(10**32))), target)
    assert (target / "f").exists()


def test_too_deep_a_tree_is_refused(target: Path) -> None:
    with pytest.raises(LayerCorrupt, match="deep"):
        apply(archive(file(b"/".join([b"d"] * 500))), target)


def test_a_name_too_long_for_the_disk_is_refused(target: Path) -> None:
    with pytest.raises(LayerCorrupt):
        apply(archive(file(b"n" * 300)), target)


def test_limits_against_bombs(target: Path) -> None:
    with pytest.raises(LayerCorrupt, match="entries allowed"):
        apply(archive(*[file(b"%d" % n) for n in range(5)]), target, ApplyOptions(max_entries=4))
    with pytest.raises(LayerCorrupt, match="1 MiB allowed"):
        apply(gzip.compress(archive(file(b"f", bytes(5 << 20)))), target, ApplyOptions(max_bytes=1 << 20))


def test_another_archive_than_expected_is_refused(target: Path) -> None:
    with pytest.raises(DigestMismatch, match="layer"):
        apply(archive(file(b"f")), target, ApplyOptions(expected=Digest.of(b"other")))


@pytest.mark.parametrize("cut", [600, 100, 20])
def test_a_layer_that_is_cut_off_is_refused(target: Path, cut: int) -> None:
    data = gzip.compress(archive(file(b"f", os.urandom(2000))))
    with pytest.raises(LayerCorrupt):
        apply(data[:-cut], target)


def test_progress_counts_the_blob_and_can_cancel(target: Path) -> None:
    data = archive(*[file(b"%d" % n, os.urandom(1 << 20)) for n in range(20)])
    seen: list[int] = []
    apply_layer(io.BytesIO(data), target, progress=seen.append)
    assert seen[-1] == len(data)
    assert seen == sorted(seen)

    def cancel(_done: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        apply_layer(io.BytesIO(data), target, progress=cancel)


@pytest.mark.root
def test_devices_and_fifos_are_made(target: Path) -> None:
    apply(
        archive(
            Entry(b"null", "char", 0o666, major=1, minor=3),
            Entry(b"sda", "block", 0o660, major=8, minor=0),
            Entry(b"p", "fifo", 0o600),
        ),
        target,
    )
    null = (target / "null").stat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev, stat.S_IMODE(null.st_mode)) == (True, os.makedev(1, 3), 0o666)
    assert stat.S_ISBLK((target / "sda").stat().st_mode)
    assert stat.S_ISFIFO((target / "p").stat().st_mode)


@pytest.mark.rootless
def test_without_privileges_devices_and_modes_are_recorded(target: Path) -> None:
    apply(archive(Entry(b"null", "char", 0o666, major=1, minor=3), file(b"shadow", b"x", 0o000)), target)
    for name, expected in (("null", b"0:0:666:c:1:3"), ("shadow", b"0:0:0")):
        assert os.getxattr(target / name, disk.RECORD) == expected
    assert (target / "shadow").read_bytes() == b"x"


hostile_part = st.sampled_from([b"a", b"b", b"..", b".", b"", b"outside", b"secret", b".wh.a", b".wh..wh..opq"])
hostile_name = st.lists(hostile_part, min_size=1, max_size=5).map(b"/".join) | st.just(b"/")
hostile_entry = st.builds(
    Entry,
    hostile_name.filter(bool),
    st.sampled_from(["file", "dir", "symlink", "link", "fifo"]),
    mode=st.sampled_from([0o644, 0o777, 0o4755]),
    mtime=st.integers(0, 2**31).map(lambda seconds: seconds * SECOND),
    target=hostile_name,
)


@given(st.lists(hostile_entry, max_size=12))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_archive_leaves_its_root(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    base = tmp_path_factory.mktemp("hostile")
    outside = base / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    os.utime(outside, ns=(1, 1))
    os.utime(outside / "secret", ns=(1, 1))
    # Any other error than this one fails the test.
    with suppress(LayerCorrupt):
        apply(archive(*entries), base / "target")
    assert_untouched(outside)
    assert (outside / "secret").stat().st_mtime_ns == 1
    assert sorted(os.listdir(base)) == ["outside", "target"]
