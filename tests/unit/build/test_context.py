"""The build context: what is read again, what is noticed, what stays outside."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.build import context
from jupyter_containers.build.cache import SqliteCache
from jupyter_containers.build.context import LocalTree, load_ignore
from jupyter_containers.build.dockerfile.ignore import IgnoreMatcher
from jupyter_containers.errors import Conflict, InvalidInput, NotFound, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def cache() -> Iterator[SqliteCache]:
    opened = SqliteCache(None)
    yield opened
    opened.close()


def opened(root: Path, cache: SqliteCache, ignore: str = "") -> LocalTree:
    return LocalTree(root, IgnoreMatcher.parse(ignore), cache)


def digests(tree: LocalTree) -> dict[str, str]:
    nodes = tree.tree("")
    tree.hash(nodes)
    return {node.path: node.sha256 for node in nodes if node.kind == "file"}


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "SETTLED_NS", -1)


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, cache: SqliteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    (tmp_path / "a").write_text("a")
    first = digests(opened(tmp_path, cache))
    assert first == {"a": hashlib.sha256(b"a").hexdigest()}
    with monkeypatch.context() as patched:
        patched.setattr(LocalTree, "_hash", lambda *_args: pytest.fail("it was read"))
        assert digests(opened(tmp_path, cache)) == first
    (tmp_path / "a").write_text("b")
    assert digests(opened(tmp_path, cache)) == {"a": hashlib.sha256(b"b").hexdigest()}


def test_a_file_changed_just_now_is_read_again(tmp_path: Path, cache: SqliteCache) -> None:
    (tmp_path / "a").write_text("a")
    digests(opened(tmp_path, cache))
    assert cache.files(os.path.realpath(tmp_path), b"") == {}


def test_a_change_of_the_same_size_with_the_time_put_back_is_noticed(
    tmp_path: Path, cache: SqliteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    file = tmp_path / "a"
    file.write_text("a")
    status = file.stat()
    before = digests(opened(tmp_path, cache))
    # Written again until the clock of the file system has moved on.
    while file.stat().st_ctime_ns == status.st_ctime_ns:
        file.write_text("b")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digests(opened(tmp_path, cache)) != before


def test_a_replaced_file_is_noticed(tmp_path: Path, cache: SqliteCache, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    (tmp_path / "a").write_text("a")
    digests(opened(tmp_path, cache))
    (tmp_path / "new").write_text("b")
    os.replace(tmp_path / "new", tmp_path / "a")
    assert digests(opened(tmp_path, cache)) == {"a": hashlib.sha256(b"b").hexdigest()}


def test_a_file_that_changes_while_it_is_used_is_an_error(tmp_path: Path, cache: SqliteCache) -> None:
    (tmp_path / "a").write_text("a")
    tree = opened(tmp_path, cache)
    nodes = tree.tree("")
    tree.hash(nodes)
    tree.check_unchanged(nodes)
    (tmp_path / "a").write_text("longer")
    with pytest.raises(Conflict, match="a changed while the build read it"):
        tree.check_unchanged(nodes)
    with pytest.raises(Conflict, match="changed"):
        tree.hash(nodes)
    (tmp_path / "a").unlink()
    with pytest.raises(Conflict, match="changed"):
        tree.check_unchanged(nodes)
    with pytest.raises(Conflict, match="changed"):
        tree.hash(nodes)


def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path, cache: SqliteCache) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "secret").write_text("s")
    tree = opened(tmp_path, cache)
    nodes = tree.tree("a")
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("secret")
    with pytest.raises(Conflict, match="a changed"):
        tree.hash(nodes)


def test_what_cannot_be_read_is_said(tmp_path: Path, cache: SqliteCache) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "a").write_text("a")
    (tmp_path / "a").chmod(0)
    with pytest.raises(PermissionDenied, match="cannot read a of the build context"):
        digests(opened(tmp_path, cache))


def test_paths_that_are_none(tmp_path: Path, cache: SqliteCache) -> None:
    tree = opened(tmp_path, cache)
    assert tree.lookup("nosuch") is None
    with pytest.raises(NotFound):
        tree.tree("nosuch")
    with pytest.raises(InvalidInput, match="NUL"):
        tree.lookup("a\0b")
    with pytest.raises(NotFound, match="not a directory"):
        opened(tmp_path / "nosuch", cache)


def test_ignored_directories_are_not_entered(
    tmp_path: Path, cache: SqliteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kept", "node_modules/x", "partly/in", "partly/out"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    entered: list[str] = []
    scandir = os.scandir

    def watch(path: str) -> object:
        entered.append(os.path.basename(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watch)
    tree = opened(tmp_path, cache, "node_modules\npartly\n!partly/in\n")
    assert [node.path for node in tree.tree("")] == ["", "kept", "partly", "partly/in"]
    assert "node_modules" not in entered
    assert tree.lookup("node_modules") is None
    assert tree.excluded("partly/out")
    assert not tree.excluded("nosuch")


def test_no_ignore_file_ignores_nothing(tmp_path: Path) -> None:
    assert not load_ignore(tmp_path, "Dockerfile").patterns
    (tmp_path / ".dockerignore").write_text("a\n")
    assert [pattern.text for pattern in load_ignore(tmp_path, "sub/My.Dockerfile").patterns] == ["a"]
    (tmp_path / "My.Dockerfile.dockerignore").write_text("b\n")
    assert [pattern.text for pattern in load_ignore(tmp_path, "sub/My.Dockerfile").patterns] == ["b"]
