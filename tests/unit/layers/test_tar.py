"""The tar reader and writer against the standard library's module and GNU tar."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_containers.errors import Conflict, InvalidInput, LayerCorrupt
from jupyter_containers.layers.tar import Entry, TarReader, TarWriter
from jupyter_containers.layers.tar.entry import FLAG_OF_KIND

if TYPE_CHECKING:
    from pathlib import Path

needs_gnu_tar = pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")

component = st.binary(min_size=1, max_size=60).filter(
    lambda name: not {0, 47} & set(name) and name not in {b".", b".."}
)
names = st.lists(component, min_size=1, max_size=6).map(b"/".join)
xattrs = st.none() | st.dictionaries(
    st.text("abc=%é.", min_size=1, max_size=8).map(lambda text: b"user." + text.encode()),
    st.binary(max_size=40),
    min_size=1,
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from(["file", "dir", "symlink", "link", "char", "block", "fifo"]))
    content = draw(st.binary(max_size=1500)) if kind == "file" else b""
    entry = Entry(
        draw(names),
        kind,  # type: ignore[arg-type]  # sampled from the literals
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)),
        size=len(content),
        mtime=draw(st.integers(-(2**40), 2**40)) * 1_000_000_000,
        xattrs=draw(xattrs),
    )
    if kind in {"symlink", "link"}:
        entry.target = draw(names)
    if kind in {"char", "block"}:
        entry.major, entry.minor = draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1))
    return entry, content


def write(listed: list[tuple[Entry, bytes]], *, subsecond: bool = False) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out, subsecond=subsecond)
    for entry, content in listed:
        writer.add(entry, content)
    digest = writer.close()
    assert writer.size == len(out.getvalue())
    import hashlib

    assert digest.hex == hashlib.sha256(out.getvalue()).hexdigest()
    return out.getvalue()


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    found = []
    reader = TarReader(io.BytesIO(data))
    for entry in reader:
        content = bytearray(entry.size)
        for offset, piece in reader.chunks():
            content[offset : offset + len(piece)] = piece
        entry.sparse = None
        found.append((entry, bytes(content)))
    return found


@given(st.lists(entries(), max_size=5))
def test_what_is_written_is_read_back(listed: list[tuple[Entry, bytes]]) -> None:
    assert read(write(listed)) == listed


@given(st.lists(entries(), max_size=4))
def test_the_standard_library_reads_what_we_write(listed: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(write(listed)), errors="surrogateescape") as archive:
        members = archive.getmembers()
        assert [os.fsencode(member.name) for member in members] == [entry.name.rstrip(b"/") for entry, _ in listed]
        for member, (entry, content) in zip(members, listed, strict=True):
            assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
            assert int(member.mtime) * 1_000_000_000 == entry.mtime
            assert os.fsencode(member.linkname) == entry.target
            assert member.type == FLAG_OF_KIND[entry.kind]
            if member.isfile():
                handle = archive.extractfile(member)
                assert handle is not None
                assert handle.read() == content
            for key, value in (entry.xattrs or {}).items():
                keyword = "SCHILY.xattr." + key.decode().replace("%", "%25").replace("=", "%3D")
                assert member.pax_headers[keyword].encode("utf-8", "surrogateescape") == value


@given(st.lists(entries(), max_size=4), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_we_read_what_the_standard_library_writes(listed: list[tuple[Entry, bytes]], form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as archive:
        for entry, content in listed:
            member = tarfile.TarInfo(os.fsdecode(entry.name))
            member.type = FLAG_OF_KIND[entry.kind]
            member.mode, member.uid, member.gid = entry.mode, entry.uid, entry.gid
            member.size, member.mtime = len(content), entry.mtime // 1_000_000_000
            member.linkname = os.fsdecode(entry.target)
            member.devmajor, member.devminor = entry.major, entry.minor
            archive.addfile(member, io.BytesIO(content))
    for entry, _content in listed:
        entry.xattrs = None
    assert read(out.getvalue()) == listed


@given(st.integers(-(2**60), 2**60), st.booleans())
def test_fractions_of_seconds_are_kept_only_when_wanted(mtime: int, subsecond: bool) -> None:
    [(entry, _)] = read(write([(Entry(b"a", "file", mtime=mtime), b"")], subsecond=subsecond))
    assert entry.mtime == (mtime if subsecond else mtime // 10**9 * 10**9)


@given(st.binary(max_size=3000))
def test_garbage_is_reported_as_a_corrupt_layer(data: bytes) -> None:
    try:
        read(data)
    except LayerCorrupt:
        return
    # Only what begins with the end of an archive, or nothing at all, is one.
    assert data[:512].strip(b"\0") == b""


@given(st.lists(entries(), min_size=1, max_size=3), st.data())
def test_a_cut_archive_never_yields_wrong_content(listed: list[tuple[Entry, bytes]], data: st.DataObject) -> None:
    whole = write(listed)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1025))]
    try:
        found = read(cut)
    except LayerCorrupt:
        return
    assert found == listed[: len(found)]


@given(st.lists(entries(), min_size=1, max_size=3), st.data())
@settings(max_examples=300)
def test_a_flipped_byte_gives_an_error_or_an_archive_never_a_crash(
    listed: list[tuple[Entry, bytes]], data: st.DataObject
) -> None:
    whole = bytearray(write(listed))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(whole))
    except LayerCorrupt:
        return
    assert len(found) <= len(listed)


def test_large_numbers_in_base_256_are_read() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("a")
        member.uid, member.mtime = 2**40, -5
        archive.addfile(member)
    [(entry, _)] = read(out.getvalue())
    assert (entry.uid, entry.mtime) == (2**40, -5 * 10**9)


def test_a_directory_of_an_archive_older_than_posix_is_one() -> None:
    header = bytearray(write([(Entry(b"d", "file"), b"")])[:512])
    header[:2], header[156:157], header[257:265] = b"d/", b"\0", bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    [(entry, _)] = read(bytes(header) + bytes(1024))
    assert (entry.name, entry.kind) == (b"d", "dir")


def test_global_pax_records_apply_until_a_local_one() -> None:
    from jupyter_containers.layers.tar.writer import _pax

    shared = bytearray(_pax(b"g", {b"uid": b"7"}))
    shared[156:157] = b"g"
    shared[148:156] = b" " * 8
    shared[148:156] = b"%06o\0 " % sum(shared[:512])
    data = bytes(shared) + write([(Entry(b"a", "file"), b""), (Entry(b"b", "file", uid=2**30), b"")])
    assert [entry.uid for entry, _ in read(data)] == [7, 2**30]


def test_a_file_that_changes_while_it_is_archived_is_an_error() -> None:
    writer = TarWriter(io.BytesIO())
    with pytest.raises(Conflict, match="changed"):
        writer.add(Entry(b"log", "file", size=3), iter([b"four"]))
    with pytest.raises(Conflict, match="changed"):
        writer.add(Entry(b"log", "file", size=3), b"12")


def test_a_name_with_a_nul_is_refused() -> None:
    with pytest.raises(InvalidInput):
        write([(Entry(b"a\0b", "file"), b"")])


def test_trailing_data_after_the_end_is_read_so_that_digests_cover_it() -> None:
    stream = io.BytesIO(write([(Entry(b"a", "file"), b"")]) + b"x" * 5000)
    assert len(list(TarReader(stream))) == 1
    assert stream.read() == b""


@needs_gnu_tar
@pytest.mark.parametrize(
    "form", ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"]
)
def test_sparse_files_of_gnu_tar_are_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as handle:
        for index in range(30):
            handle.seek(index * 200_000)
            handle.write(b"%d" % index * 5000)
        handle.truncate(30 * 200_000)
    (tmp_path / "after").write_bytes(b"after")
    data = subprocess.run(
        ["tar", "-C", tmp_path, "-S", *f"--format={form}".split(), "-cf", "-", "sparse", "after"],
        check=True,
        capture_output=True,
    ).stdout
    assert len(data) < 3_000_000
    found = {entry.name: content for entry, content in read(data)}
    assert found == {b"sparse": path.read_bytes(), b"after": b"after"}


@needs_gnu_tar
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_formats_of_gnu_tar_are_read(tmp_path: Path, form: str) -> None:
    deep = tmp_path / "tree" / ("d" * 40)
    deep.mkdir(parents=True)
    (deep / ("f" * 40)).write_bytes(b"content" * 1000)
    (deep / "link").symlink_to("t" * (90 if form in {"v7", "ustar"} else 150))
    if form not in {"v7", "ustar"}:
        (deep / ("long" * 30)).write_bytes(b"long")
    (deep / "hard").hardlink_to(deep / ("f" * 40))
    data = subprocess.run(
        ["tar", "-C", tmp_path, f"--format={form}", "--sort=name", "-cf", "-", "tree"], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [
            (os.fsencode(m.name), m.type.replace(b"\0", b"0"), m.size, os.fsencode(m.linkname))
            for m in archive.getmembers()
        ]
    found = [(e.name, FLAG_OF_KIND[e.kind], e.size, e.target) for e, _ in read(data)]
    assert [(n, t, 0 if t == b"1" else s, k) for n, t, s, k in expected] == found


@needs_gnu_tar
def test_gnu_tar_extracts_what_we_write(tmp_path: Path) -> None:
    listed = [
        (Entry(b"d", "dir", 0o755), b""),
        (Entry(b"d/" + b"n" * 120, "file", 0o640, size=700, mtime=10**18), b"x" * 700),
        (Entry(("d/ä" + "é" * 80).encode(), "file", size=1), b"1"),
        (Entry(b"d/l", "symlink", target=b"q" * 200), b""),
        (Entry(b"d/raw\xff", "file"), b""),
    ]
    subprocess.run(["tar", "-C", tmp_path, "-xpf", "-"], input=write(listed), check=True)
    for entry, content in listed[1:]:
        path = os.path.join(os.fsencode(tmp_path), entry.name)
        if entry.kind == "symlink":
            assert os.readlink(path) == entry.target
        else:
            with open(path, "rb") as handle:
                assert handle.read() == content
            assert os.stat(path).st_mode & 0o7777 == entry.mode
