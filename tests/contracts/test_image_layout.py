"""What the store promises to others: an OCI image layout, the same image wherever it is built."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.engine.views import RunResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOCKERFILE = """\
FROM starter
WORKDIR /app
COPY --chmod=750 data/ data/
RUN rm -r /var/tmp && mkdir -p /opt/made && echo made > /opt/made/here && ln -s made /opt/link
ENV PLACE=/opt/made
CMD ["cat", "/opt/made/here"]
"""
NAME = "contract:1"
LAYER_KINDS = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    (directory / "data").mkdir(parents=True)
    for number in range(5):
        (directory / "data" / f"{number}.txt").write_text(f"{number}\n" * number, encoding="utf-8")
    return directory


@pytest.fixture
def layout(engine: Engine, store_root: Path, context: Path) -> Path:
    """The content directory of a store with a built image."""
    engine.images.build(context, dockerfile=DOCKERFILE, tag=NAME)
    return store_root / "content"


def blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    """The bytes of a descriptor, checked."""
    algorithm, _, digits = descriptor["digest"].partition(":")
    data: bytes = (layout / "blobs" / algorithm / digits).read_bytes()
    assert len(data) == descriptor["size"]
    assert hashlib.new(algorithm, data).hexdigest() == digits
    return data


def test_the_store_is_an_image_layout_whose_descriptors_hold(layout: Path) -> None:
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    names = {entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in index["manifests"]}
    assert NAME in names
    for entry in index["manifests"]:
        manifest = json.loads(blob(layout, entry))
        config = json.loads(blob(layout, manifest["config"]))
        assert manifest["mediaType"] == entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"])
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
            assert layer["mediaType"] in LAYER_KINDS
            blob(layout, layer)
            if layer["mediaType"].endswith(".tar"):
                assert layer["digest"] == diff_id  # decision 0005
        layered = [step for step in config["history"] if not step.get("empty_layer")]
        assert len(layered) == len(manifest["layers"])


def test_every_blob_is_what_its_name_says(layout: Path) -> None:
    files = list((layout / "blobs" / "sha256").iterdir())
    assert len(files) > 4
    assert [file.name for file in files] == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


@pytest.mark.usefixtures("no_leaks")
def test_two_stores_build_the_same_image(store_root: Path, context: Path) -> None:
    digests = []
    for name in ("one", "two"):
        with Engine(store_root / name) as engine:
            digests.append(engine.images.build(context, dockerfile=DOCKERFILE, no_cache=True).digest)
    assert digests[0] == digests[1]


@pytest.mark.peer
def test_skopeo_reads_the_store_in_place(layout: Path, need_tool: Callable[[str], str]) -> None:
    command = [need_tool("skopeo"), "inspect", "--config", f"oci:{layout}:{NAME}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)["config"]
    assert config["Cmd"] == ["cat", "/opt/made/here"]
    assert config["WorkingDir"] == "/app"


@pytest.mark.peer
@pytest.mark.root
def test_umoci_unpacks_what_a_container_sees(
    engine: Engine, layout: Path, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    bundle = tmp_path / "bundle"
    command = [need_tool("umoci"), "unpack", "--image", f"{layout}:{NAME}", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listing = "cd {} && find app opt usr var -print | sort | while read f; do stat -c '%n %a %u %g %F' $f; done"
    script = listing.format(bundle / "rootfs")
    theirs = subprocess.run(["sh", "-c", f"export LC_ALL=C; {script}"], capture_output=True, text=True, check=True)
    ours = engine.containers.run(NAME, ["sh", "-c", listing.format("/")], remove=True, network="none")
    assert isinstance(ours, RunResult)
    assert ours.exit_code == 0, ours.stderr
    assert ours.stdout.splitlines() == theirs.stdout.splitlines()
    assert "app/data/4.txt 750 0 0 regular file" in ours.stdout
    assert "var/tmp" not in ours.stdout
