"""Layers made from lists."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.layers.base import Item, ViewSource
from jupyter_containers.layers.pack import write_items
from jupyter_containers.layers.tar import TarReader

if TYPE_CHECKING:
    from pathlib import Path


def pack(*items: Item, timestamp: int | None = None) -> bytes:
    out = io.BytesIO()
    written = write_items(items, out, timestamp=timestamp)
    assert written.size == len(out.getvalue())
    return out.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    reader = TarReader(io.BytesIO(data))
    return {os.fsdecode(entry.name): reader.read() if entry.kind == "file" else b"" for entry in reader}


def test_sources_of_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "host").write_bytes(b"from the host")
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "f").write_bytes(b"from a layer")
    os.setxattr(tmp_path / "layer" / "f", "user.kept", b"1")
    data = pack(
        Item("/c", source=ViewSource((tmp_path / "layer",), "f"), xattrs={"user.own": b"2"}),
        Item("b", source=tmp_path / "host"),
        Item("./a", source=b"bytes"),
    )
    assert list(unpack(data).items()) == [("a", b"bytes"), ("b", b"from the host"), ("c", b"from a layer")]
    assert [entry.xattrs for entry in TarReader(io.BytesIO(data))][-1] == {b"user.kept": b"1", b"user.own": b"2"}


def test_the_last_of_several_with_one_name_counts_and_links_come_last() -> None:
    data = pack(Item("x", source=b"1"), Item("a", "link", target="/x"), Item("./x", source=b"2"), Item("d", "dir"))
    assert list(unpack(data).items()) == [("d", b""), ("x", b"2"), ("a", b"")]
    assert [entry.target for entry in TarReader(io.BytesIO(data))] == [b"", b"", b"x"]


def test_the_timestamp_is_an_upper_limit() -> None:
    data = pack(Item("new", mtime=100), Item("old", mtime=1), timestamp=50)
    assert [entry.mtime // 10**9 for entry in TarReader(io.BytesIO(data))] == [50, 1]


@given(st.permutations([Item(name, source=name.encode()) for name in ("a", "a/b", "a.c", "b/x", "b", "c")]))
def test_the_order_of_the_list_does_not_matter(items: list[Item]) -> None:
    assert pack(*items) == pack(*sorted(items, key=lambda item: item.name))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", ".wh.x", "d/.wh..wh..opq"])
def test_names_that_a_layer_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        pack(Item(name))
    with pytest.raises(InvalidInput):
        pack(Item("l", "link", target=name))


def test_a_source_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="not a regular file"):
        pack(Item("f", source=tmp_path / "fifo"))
    with pytest.raises(NotFound):
        pack(Item("f", source=tmp_path / "missing"))
    with pytest.raises(Exception, match="symbolic links"):
        pack(Item("f", source=tmp_path / "link"))
