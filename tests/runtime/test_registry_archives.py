"""Archives of images, exchanged with skopeo."""

from __future__ import annotations

import io
import subprocess
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.images.archive import load, load_layout, save
from jupyter_containers.images.model import Image
from jupyter_containers.oci.names import Reference
from tests.support.images import LINUX, make_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = Reference.parse("example.org/team/tool:1")


@pytest.fixture
def skopeo(need_tool: Callable[[str], str]) -> Callable[[str, str], None]:
    tool = need_tool("skopeo")

    def copy(source: str, target: str) -> None:
        command = [tool, "--insecure-policy", "copy", "--override-os=linux", "--override-arch=amd64", source, target]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return copy


def new_store(directory: Path) -> ContentStore:
    store = ContentStore(directory)
    store.ensure()
    return store


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Image, Path]:
    """An image with a plain and a compressed layer, and an archive of it."""
    store = new_store(tmp_path / "store")
    descriptor = make_image(store, {"a": b"one"}, {"b": b"two" * 1000}, compressed=[1])
    path = tmp_path / "saved.tar"
    with path.open("wb") as out:
        assert save(store, [(descriptor, [NAME])], out) > 0
    return Image.read(store, descriptor), path


@pytest.mark.peer
@pytest.mark.parametrize(
    "source", ["docker-archive:{}:example.org/team/tool:1", "oci-archive:{}:example.org/team/tool:1"]
)
def test_skopeo_reads_our_archive(
    archive: tuple[Image, Path], skopeo: Callable[[str, str], None], tmp_path: Path, source: str
) -> None:
    image, path = archive

    skopeo(source.format(path), f"oci:{tmp_path}/layout:example.org/team/tool:1")

    other = new_store(tmp_path / "other")
    (loaded,) = load_layout(other, tmp_path / "layout")
    read = Image.read(other, loaded.descriptor)
    assert [layer.diff_id for layer in read.layers] == [layer.diff_id for layer in image.layers]
    assert read.settings == image.settings
    assert loaded.references == (NAME,)


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_we_read_the_archive_of_skopeo(
    archive: tuple[Image, Path], skopeo: Callable[[str, str], None], tmp_path: Path, kind: str
) -> None:
    image, path = archive
    skopeo(f"oci-archive:{path}:example.org/team/tool:1", f"{kind}:{tmp_path}/copy.tar:example.org/team/tool:1")

    other = new_store(tmp_path / "other")
    with (tmp_path / "copy.tar").open("rb") as stream:
        (loaded,) = load(other, stream, platform=LINUX)

    read = Image.read(other, loaded.descriptor)
    assert [layer.diff_id for layer in read.layers] == [layer.diff_id for layer in image.layers]
    assert loaded.references == (NAME,)
    for blob in read.blobs:
        other.verify(blob)


def test_our_own_archive_gives_the_same_manifest(archive: tuple[Image, Path], tmp_path: Path) -> None:
    image, path = archive
    other = new_store(tmp_path / "other")

    with path.open("rb") as stream:
        (loaded,) = load(other, stream)

    assert loaded.descriptor.digest == image.digest
    assert loaded.references == (NAME,)
    again = io.BytesIO()
    save(other, [(loaded.descriptor, loaded.references)], again)
    assert again.getvalue() == path.read_bytes()
