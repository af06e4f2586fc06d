"""COPY, ADD and WORKDIR: where files go, with which modes and owners, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build import archive
from jupyter_containers.errors import DockerfileError, InvalidInput
from jupyter_containers.layers.base import Item
from tests.support.builds import Workshop, reasons

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    workshop.write("a.txt", "A")
    workshop.write("run.sh", "#!", mode=0o755)
    workshop.write("dir/one", "1")
    workshop.write("dir/sub/two", "2")
    yield workshop
    workshop.close()


def made(shop: Workshop, *lines: str) -> dict[str, tarfile.TarInfo]:
    """The entries of the layer that the last instruction made."""
    result = shop.build("\n".join(["FROM base", *lines, ""]))
    return shop.entries(result.layers[-1])


def files(entries: dict[str, tarfile.TarInfo]) -> set[str]:
    return {name for name, entry in entries.items() if not entry.isdir()}


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("COPY a.txt /b", {"b"}),
        ("COPY a.txt /b/", {"b/a.txt"}),
        ("COPY a.txt /srv", {"srv/a.txt"}),
        ("COPY a.txt /srv/new/b", {"srv/new/b"}),
        ("COPY a.txt .", {"a.txt"}),
        ("COPY a.txt ./b", {"b"}),
        ("COPY a.txt /srv/link", {"srv/real/a.txt"}),
        ("COPY a.txt /srv/link/x", {"srv/real/x"}),
        ("COPY a.txt /srv/file", {"srv/file"}),
        ("COPY dir /b", {"b/one", "b/sub/two"}),
        ("COPY dir/ /b/", {"b/one", "b/sub/two"}),
        ("COPY dir /srv/link", {"srv/real/one", "srv/real/sub/two"}),
        ("COPY a.txt dir /b/", {"b/a.txt", "b/one", "b/sub/two"}),
        ("COPY . /b/", {"b/a.txt", "b/run.sh", "b/dir/one", "b/dir/sub/two"}),
        ("COPY dir/* /b/", {"b/one", "b/two"}),
        ("COPY *.txt /b", {"b"}),
        ("COPY ?.[st]xt /b", {"b"}),
        ("COPY **/two /b/", {"b/two"}),
        ('COPY ["a.txt", "/with space"]', {"with space"}),
        ("COPY /a.txt /b", {"b"}),
        ("COPY ../a.txt /b", {"b"}),
        ("ADD a.txt /b", {"b"}),
    ],
)
def test_where_files_go(shop: Workshop, instruction: str, expected: set[str]) -> None:
    assert files(made(shop, instruction)) == expected


def test_a_relative_destination_is_below_the_working_directory(shop: Workshop) -> None:
    assert files(made(shop, "WORKDIR /w", "WORKDIR v", "COPY a.txt .")) == {"w/v/a.txt"}
    assert files(made(shop, "WORKDIR /w", "COPY a.txt b")) == {"w/b"}


def test_modes_and_owners(shop: Workshop) -> None:
    entries = made(shop, "COPY run.sh /new/deep/")
    assert set(entries) == {".", "new", "new/deep", "new/deep/run.sh"}
    for name in ("new", "new/deep", "new/deep/run.sh"):
        assert (entries[name].mode, entries[name].uid, entries[name].gid) == (0o755, 0, 0)


def test_what_is_on_the_way_keeps_its_attributes(shop: Workshop) -> None:
    assert made(shop, "COPY a.txt /tmp/")["tmp"].mode == 0o1777
    assert made(shop, "COPY a.txt /srv/link/")["srv/real"].mode == 0o750


def test_a_copied_directory_takes_over_below_but_not_at_the_destination(shop: Workshop) -> None:
    (shop.context / "dir").chmod(0o700)
    (shop.context / "dir" / "sub").chmod(0o711)
    shop.images.add("other", [Item("d", "dir", 0o750), Item("d/sub", "dir", 0o777)])
    result = shop.build("FROM other\nCOPY dir /d\nCOPY dir /new\n")
    assert shop.entries(result.layers[1])["d"].mode == 0o750
    assert shop.entries(result.layers[1])["d/sub"].mode == 0o711
    assert shop.entries(result.layers[2])["new"].mode == 0o755


@pytest.mark.parametrize(
    ("chown", "owner"),
    [
        ("5", (5, 5)),
        ("5:6", (5, 6)),
        ("ann", (1000, 1001)),
        ("ann:staff", (1000, 50)),
        ("ann:7", (1000, 7)),
        ("7:staff", (7, 50)),
    ],
)
def test_chown(shop: Workshop, chown: str, owner: tuple[int, int]) -> None:
    entries = made(shop, f"COPY --chown={chown} --chmod=640 dir /srv/new/")
    for name in ("srv/new", "srv/new/one", "srv/new/sub"):
        assert (entries[name].uid, entries[name].gid) == owner
    assert entries["srv/new/one"].mode == 0o640
    assert entries["srv/new"].mode == 0o755
    assert (entries["srv"].uid, entries["srv"].gid) == (0, 0) or os.geteuid()


def test_an_unknown_owner(shop: Workshop) -> None:
    with pytest.raises(DockerfileError, match="no user bob"):
        made(shop, "COPY --chown=bob a.txt /")
    with pytest.raises(DockerfileError, match="no group wheel"):
        made(shop, "COPY --chown=ann:wheel a.txt /")
    with pytest.raises(DockerfileError, match="no user ann"):
        shop.build("FROM scratch\nCOPY --chown=ann a.txt /\n")


def test_links_are_followed_as_sources_and_kept_below_them(shop: Workshop) -> None:
    (shop.context / "alias").symlink_to("a.txt")
    (shop.context / "dir" / "link").symlink_to("../a.txt")
    (shop.context / "dirlink").symlink_to("/dir")
    assert made(shop, "COPY alias /x")["x"].isreg()
    entries = made(shop, "COPY dirlink/ /y/")
    assert entries["y/link"].linkname == "../a.txt"
    assert files(made(shop, "COPY dirlink/sub /z/")) == {"z/two"}
    (shop.context / "dir" / "sub" / "absolute").symlink_to("/a.txt")
    assert files(made(shop, "COPY dir/sub/absolute /z/")) == {"z/absolute"}


def test_a_link_does_not_lead_out_of_the_context(shop: Workshop) -> None:
    (shop.root / "secret").write_text("s")
    (shop.context / "out").symlink_to(shop.root / "secret")
    (shop.context / "up").symlink_to("../secret")
    (shop.context / "loop").symlink_to("loop")
    for name in ("out", "up"):
        with pytest.raises(DockerfileError, match="file not found in build context"):
            made(shop, f"COPY {name} /")
    with pytest.raises(DockerfileError, match="too many levels"):
        made(shop, "COPY loop /")
    entries = made(shop, "COPY . /all/")
    assert entries["all/out"].issym()


def test_names_of_one_file_stay_names_of_one_file(shop: Workshop) -> None:
    os.link(shop.context / "dir/one", shop.context / "dir/sub/same")
    entries = made(shop, "COPY dir /b/")
    assert entries["b/sub/same"].islnk()
    assert entries["b/sub/same"].linkname == "b/one"
    assert made(shop, "COPY dir/sub /b/")["b/same"].isreg()


def test_what_replaces_one_name_of_a_file_leaves_the_other(shop: Workshop) -> None:
    shop.write("other/one", "new")
    os.link(shop.context / "dir/one", shop.context / "dir/sub/same")
    result = shop.build("FROM base\nCOPY dir other /b/\n")
    assert (shop.read(result, "b/one"), shop.read(result, "b/sub/same")) == (b"new", b"1")


def test_sockets_are_left_out_and_fifos_are_not(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.context / "dir")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        os.mkfifo("fifo")
        entries = made(shop, "COPY dir /d/")
    assert "d/socket" not in entries
    assert entries["d/fifo"].isfifo()


def test_names_that_are_no_text(shop: Workshop) -> None:
    name = os.fsdecode(b"\xff\xfe")
    (shop.context / "dir" / name).write_text("x")
    result = shop.build("FROM base\nCOPY dir /d/\n")
    assert shop.read(result, f"d/{name}") == b"x"
    assert reasons(shop.build("FROM base\nCOPY dir /d/\n"))["COPY dir /d/"] == "CACHED"


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("COPY a.txt run.sh /b", "more than one source"),
        ("COPY dir/* /b", "2 files match"),
        ("COPY dir /srv/file", "no directory in the image"),
        ("COPY a.txt /srv/file/x", "no directory in the image"),
        ("WORKDIR /srv/file", "no directory in the image"),
        ("COPY [a- /b", "a \\[ without|malformed"),
        ("COPY .wh.x /", "mark deletions"),
        ("COPY https://localhost/x /", "COPY does not fetch https://localhost/x"),
        ("COPY git@localhost:team/r.git /", "COPY does not fetch git@"),
        ("ADD --checksum=sha256:00 a.txt /", "is for one source that is fetched"),
        ("ADD https://localhost/ /srv/", "no file name in https://localhost/"),
        ("COPY trap /", "cannot replace the directory /srv"),
        ("COPY wrong /", "which is a symlink"),
    ],
)
def test_what_is_refused(shop: Workshop, instruction: str, message: str) -> None:
    shop.write(".wh.x")
    shop.write("trap/srv", "a file where the image has a directory")
    shop.write("wrong/srv/link/x", "a directory where the image has a link")
    with pytest.raises(DockerfileError, match=message) as caught:
        made(shop, "RUN x", instruction)
    assert caught.value.source.first == 3


def test_a_wildcard_without_match_copies_nothing(shop: Workshop) -> None:
    result = shop.build("FROM base\nCOPY *.nosuch /b/\n")
    assert len(result.layers) == 1
    assert (result.config.history or [])[-1].empty_layer


def test_workdir_is_made_once_and_owned_by_the_user(shop: Workshop) -> None:
    result = shop.build("FROM base\nUSER ann\nWORKDIR /srv/a/b\nWORKDIR /srv\nWORKDIR ../etc\n")
    assert len(result.layers) == 2
    entries = shop.entries(result.layers[1])
    assert [(entries[name].uid, entries[name].gid) for name in ("srv/a", "srv/a/b")] == [(1000, 1001)] * 2
    assert result.config.config is not None
    assert result.config.config.working_dir == "/etc"


# -- .dockerignore ---------------------------------------------------------------------------------------------------


def test_dockerignore_leaves_out_and_makes_exceptions(shop: Workshop) -> None:
    shop.write(".dockerignore", "dir\n!dir/sub/two\n*.sh\n.dockerignore\n")
    assert files(made(shop, "COPY . /b/")) == {"b/a.txt", "b/dir/sub/two"}
    shop.write(".dockerignore", "dir\n!dir/nosuch\n*.sh\n.dockerignore\n")
    assert "b/dir" not in made(shop, "COPY . /b/")


def test_the_dockerfiles_own_ignore_file_wins(shop: Workshop) -> None:
    shop.write(".dockerignore", "*\n")
    shop.write("Dockerfile.dockerignore", "*\n!a.txt\n")
    assert files(made(shop, "COPY . /b/")) == {"b/a.txt"}
    shop.write("Dockerfile.dockerignore", "[\n")
    with pytest.raises(DockerfileError, match=r"Dockerfile\.dockerignore:1"):
        made(shop, "COPY . /b/")


def test_an_ignored_file_is_no_reason_to_build_again(shop: Workshop) -> None:
    shop.write(".dockerignore", "*.log\n")
    shop.write("x.log", "1")
    dockerfile = "FROM base\nCOPY . /b/\n"
    shop.build(dockerfile)
    shop.write("x.log", "2")
    assert reasons(shop.build(dockerfile))["COPY . /b/"] == "CACHED"


# -- archives --------------------------------------------------------------------------------------------------------


def pack(path: Path, mode: str, members: list[tuple[str, bytes | None, dict[str, object]]]) -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]  # the mode is a parameter here
        for name, content, attributes in members:
            member = tarfile.TarInfo(name)
            member.mtime = 1234
            for key, value in attributes.items():
                setattr(member, key, value)
            if content is not None:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content or b""))


MEMBERS: list[tuple[str, bytes | None, dict[str, object]]] = [
    ("./top/", None, {"type": tarfile.DIRTYPE, "mode": 0o700, "uid": 3}),
    ("./top/file", b"content", {"mode": 0o600, "uid": 4, "gid": 5}),
    ("top/link", None, {"type": tarfile.SYMTYPE, "linkname": "file"}),
    ("top/a-hard", None, {"type": tarfile.LNKTYPE, "linkname": "./top/file"}),
    ("top/big", b"b" * 200_000, {}),
]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_extracts_archives_by_content(shop: Workshop, mode: str) -> None:
    pack(shop.context / "data.bin", mode, MEMBERS)
    result = shop.build("FROM base\nADD data.bin /srv/link\n")
    entries = shop.entries(result.layers[-1])
    assert files(entries) == {f"srv/real/top/{name}" for name in ("file", "link", "a-hard", "big")}
    top, file = entries["srv/real/top"], entries["srv/real/top/file"]
    assert (top.mode, top.uid) == (0o700, 3)
    assert (file.mode, file.uid, file.gid, file.mtime) == (0o600, 4, 5, 1234)
    assert entries["srv/real/top/a-hard"].linkname == "srv/real/top/file"
    assert shop.read(result, "srv/real/top/big") == b"b" * 200_000


def test_copy_does_not_extract_and_add_copies_what_is_no_archive(shop: Workshop) -> None:
    pack(shop.context / "x.tar", "w", MEMBERS)
    (shop.context / "y.gz").write_bytes(gzip.compress(b"just text"))
    (shop.context / "empty.tar").write_bytes(b"")
    assert files(made(shop, "COPY x.tar /b/")) == {"b/x.tar"}
    assert files(made(shop, "ADD y.gz empty.tar /b/")) == {"b/y.gz", "b/empty.tar"}


def test_add_with_an_owner(shop: Workshop) -> None:
    pack(shop.context / "x.tar", "w", MEMBERS)
    entries = made(shop, "ADD --chown=ann x.tar /b/")
    assert {(entry.uid, entry.gid) for name, entry in entries.items() if name.startswith("b")} == {(1000, 1001)}


@pytest.mark.parametrize(
    ("name", "message"),
    [("../evil", "outside of itself"), ("srv", "cannot replace the directory"), (".wh.etc", "mark deletions")],
)
def test_an_archive_that_reaches_too_far(shop: Workshop, name: str, message: str) -> None:
    pack(shop.context / "x.tar", "w", [(name, b"x", {})])
    with pytest.raises(DockerfileError, match=message):
        made(shop, "ADD x.tar /")


parts = st.sampled_from(["a", "b", "..", ".", "", "etc", "c d"])
names = st.lists(parts, min_size=1, max_size=5).map("/".join)
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])


@given(st.lists(st.tuples(names, kinds, names), max_size=6))
def test_no_entry_of_an_archive_goes_elsewhere(entries: list[tuple[str, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x.tar"
        content: list[tuple[str, bytes | None, dict[str, object]]]
        content = [(name, None, {"type": kind, "linkname": target}) for name, kind, target in entries]
        pack(path, "w", content)
        with contextlib.suppress(InvalidInput):
            for item in archive.read_items(path, "srv/d", Path(place)):
                for reached in (item.name, item.target if item.kind == "link" else item.name):
                    assert f"{os.path.normpath(reached)}/".startswith("srv/d/")


def test_an_entry_below_a_link_stays_in_the_image(shop: Workshop) -> None:
    pack(shop.context / "x.tar", "w", [("srv/link/x", b"x", {})])
    assert files(made(shop, "ADD x.tar /")) == {"srv/real/x"}


def test_small_files_beyond_the_memory_limit_are_put_in_files(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archive, "MEMORY_LIMIT", 10)
    spool = tmp_path / "spool"
    spool.mkdir()
    pack(shop.context / "x.tar", "w", [(str(number), b"12345678", {}) for number in range(3)])
    sources = [item.source for item in archive.read_items(shop.context / "x.tar", "d", spool)]
    assert sources[0] == b"12345678"
    assert all(isinstance(source, Path) and source.read_bytes() == b"12345678" for source in sources[1:])
