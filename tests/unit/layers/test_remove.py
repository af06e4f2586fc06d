"""Deleting, measuring and copying trees."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import NotFound, PermissionDenied
from jupyter_containers.layers.base import Usage
from jupyter_containers.layers.copying import copy_view, make_directory
from jupyter_containers.layers.remove import remove_tree, usage
from jupyter_containers.layers.view import LayerView

if TYPE_CHECKING:
    from pathlib import Path


def test_removing_what_is_closed_to_its_owner(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "work" / "work" / "inner").mkdir(parents=True)
    (tree / "work" / "work" / "inner" / "f").write_text("x")
    (tree / "work" / "work" / "inner").chmod(0o500)
    (tree / "work" / "work").chmod(0o000)
    remove_tree(tree)
    assert not tree.exists()


def test_removing_never_follows_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("x")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "dir").symlink_to(outside)
    (tree / "file").symlink_to(outside / "f")
    (tmp_path / "link").symlink_to(outside)
    remove_tree(tree)
    remove_tree(tmp_path / "link")
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert (outside / "f").exists()


def test_removing_is_idempotent(tmp_path: Path) -> None:
    remove_tree(tmp_path / "none")
    remove_tree(tmp_path / "none" / "none")
    (tmp_path / "file").write_text("x")
    remove_tree(tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_removing_a_tree_deeper_than_descriptors_or_paths_allow(tmp_path: Path) -> None:
    tree = tmp_path / "deep"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for level in range(3000):
        os.mkdir("d" * 20, dir_fd=fd)
        child = os.open("d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
        if level % 500 == 0:
            os.fchmod(fd, 0o700)
    os.close(fd)
    remove_tree(tree)
    assert not tree.exists()


@pytest.mark.root
@pytest.mark.skipif(shutil.which("chattr") is None, reason="chattr is not installed")
def test_an_immutable_file_is_reported(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "fixed").write_text("x")
    if subprocess.run(["chattr", "+i", tree / "fixed"], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        with pytest.raises(PermissionDenied, match="fixed") as caught:
            remove_tree(tree)
        assert caught.value.hint is not None
        assert "lsattr" in caught.value.hint
    finally:
        subprocess.run(["chattr", "-i", tree / "fixed"], check=True)


def test_usage_counts_hard_links_once_and_links_nothing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(bytes(1000))
    os.link(tmp_path / "d" / "f", tmp_path / "g")
    (tmp_path / "l").symlink_to("/etc")
    assert usage(tmp_path) == Usage(1000, 4)
    with pytest.raises(NotFound):
        usage(tmp_path / "none")


def test_usage_of_a_directory_with_more_directories_than_descriptors(tmp_path: Path) -> None:
    for index in range(1500):
        (tmp_path / str(index)).mkdir()
    assert usage(tmp_path) == Usage(0, 1500)


def test_copying_a_merged_view(tmp_path: Path) -> None:
    one, two, target = tmp_path / "one", tmp_path / "two", tmp_path / "target"
    (one / "d").mkdir(parents=True)
    two.mkdir(mode=0o711)
    (one / "d" / "f").write_bytes(b"one")
    os.link(one / "d" / "f", one / "hard")
    (one / "d" / "gone").write_bytes(b"")
    (two / "d").mkdir()
    os.mknod(two / "d" / "gone", 0o020000, 0)
    (two / "link").symlink_to("d/f")
    os.mkfifo(two / "fifo")
    os.setxattr(one / "d" / "f", "user.x", b"1")
    os.utime(two / "d", (5, 5))
    os.utime(one / "d" / "f", (7, 7))
    total = copy_view([two, one], target)
    assert total == Usage(3, 5)
    with LayerView([two, one]) as expected, LayerView([target]) as copied:
        assert [(n.path, n.kind, n.mode, n.uid, n.mtime, n.target) for n in copied.walk("")] == [
            (n.path, n.kind, n.mode, n.uid, n.mtime, n.target) for n in expected.walk("")
        ]
    assert (target / "d" / "f").read_bytes() == b"one"
    assert (target / "d" / "f").stat().st_ino == (target / "hard").stat().st_ino
    assert os.getxattr(target / "d" / "f", "user.x") == b"1"


def test_a_new_directory_is_like_the_root_of_a_view(tmp_path: Path) -> None:
    (tmp_path / "like").mkdir()
    (tmp_path / "like").chmod(0o1777)
    os.utime(tmp_path / "like", (9, 9))
    make_directory(tmp_path / "new", [tmp_path / "like"])
    make_directory(tmp_path / "plain")
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "new").stat().st_mtime == 9
    assert (tmp_path / "plain").stat().st_mode & 0o7777 == 0o755
