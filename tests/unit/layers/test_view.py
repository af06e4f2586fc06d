"""The merged view of stacked layers, without a mount."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.layers import disk
from jupyter_containers.layers.view import LayerView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def opaque(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    disk.set_opaque(fd)
    os.close(fd)


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Top first: two hides, adds and replaces what one has."""
    one, two = tmp_path / "one", tmp_path / "two"
    write(one / "etc" / "passwd", "root:one")
    write(one / "etc" / "group", "group")
    write(one / "gone", "gone")
    write(one / "opaque" / "old", "old")
    write(one / "was-dir" / "f")
    write(one / "was-file", "f")
    write(two / "etc" / "passwd", "root:two")
    write(two / "opaque" / "new", "new")
    opaque(two / "opaque")
    os.mknod(two / "gone", stat.S_IFCHR, 0)
    write(two / "was-dir", "now a file")
    write(two / "was-file" / "f", "below")
    (two / "bin").symlink_to("usr/bin")
    write(one / "usr" / "bin" / "sh", "shell")
    (one / "absolute").symlink_to("/etc/passwd")
    (one / "out").symlink_to("../../../../etc/passwd")
    (one / "loop").symlink_to("loop")
    return [two, one]


@pytest.fixture
def view(layers: list[Path]) -> Iterator[LayerView]:
    with LayerView(layers) as opened:
        yield opened


def read(view: LayerView, path: str) -> str:
    return view.read_bytes(path, limit=100).decode()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("etc/passwd", "root:two"),
        ("/etc/group", "group"),
        ("bin/sh", "shell"),
        ("absolute", "root:two"),
        ("out", "root:two"),
        ("usr/../bin/../../etc/./passwd", "root:two"),
        ("../../../etc//passwd", "root:two"),
        ("was-dir", "now a file"),
        ("was-file/f", "below"),
        ("opaque/new", "new"),
    ],
)
def test_reading(view: LayerView, path: str, content: str) -> None:
    assert read(view, path) == content


@pytest.mark.parametrize("path", ["gone", "opaque/old", "was-dir/f", "none", "etc/passwd/x", "loop", "loop/x"])
def test_what_is_not_there(view: LayerView, path: str) -> None:
    assert view.find(path) is None
    with pytest.raises(NotFound, match=path):
        view.resolve(path)


def test_listing_and_walking(view: LayerView) -> None:
    top = [node.path for node in view.listdir("/")]
    assert top == ["absolute", "bin", "etc", "loop", "opaque", "out", "usr", "was-dir", "was-file"]
    assert [node.path for node in view.listdir("bin")] == ["usr/bin/sh"]
    assert [node.path for node in view.walk("etc")] == ["etc", "etc/group", "etc/passwd"]
    assert [node.layer for node in view.walk("etc")] == [0, 1, 0]
    assert len(list(view.walk(""))) == 16


def test_links_are_shown_when_they_are_not_followed(view: LayerView) -> None:
    node = view.resolve("absolute", follow=False)
    assert (node.kind, node.target) == ("symlink", "/etc/passwd")
    assert view.resolve("bin/", follow=False).kind == "symlink"
    assert view.resolve("bin/.", follow=False).kind == "symlink"
    assert view.resolve("bin").path == "usr/bin"


def test_hashes(view: LayerView) -> None:
    [node] = view.walk("etc/passwd", hashes=True)
    assert node.sha256 == hashlib.sha256(b"root:two").hexdigest()


def test_what_cannot_be_read(view: LayerView) -> None:
    with pytest.raises(InvalidInput, match="not a regular file"):
        view.read_bytes("etc", limit=10)
    with pytest.raises(InvalidInput, match="more than 3"):
        view.read_bytes("etc/passwd", limit=3)
    with pytest.raises(InvalidInput, match="not a directory"):
        view.listdir("etc/passwd")


def test_an_opaque_root_hides_all_below(layers: list[Path]) -> None:
    opaque(layers[0])
    with LayerView(layers) as view:
        assert view.find("etc/group") is None


def test_no_layers_at_all() -> None:
    with LayerView([]) as view:
        assert view.find("") is None
        with pytest.raises(NotFound):
            list(view.walk(""))


def test_a_missing_layer_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        LayerView([tmp_path / "nowhere"])


def test_a_directory_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    """What a container can do while its upper directory is read."""
    upper, outside = tmp_path / "upper", tmp_path / "outside"
    write(upper / "d" / "f", "mine")
    write(outside / "f", "secret")
    with LayerView([upper]) as view:
        node = view.resolve("d/f")
        (upper / "d").rename(upper / "old")
        (upper / "d").symlink_to(outside)
        with pytest.raises(NotFound):
            view.parent_fd(node)


def test_many_layers(tmp_path: Path) -> None:
    dirs = [tmp_path / str(index) for index in range(130)]
    for index, directory in enumerate(dirs):
        write(directory / "d" / str(index), str(index))
    with LayerView(dirs) as view:
        assert len(view.listdir("d")) == 130
        assert read(view, "d/129") == "129"
