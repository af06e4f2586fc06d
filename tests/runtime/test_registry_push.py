"""Pushing to a real registry, read back by another tool, and to one that misbehaves."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import count
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import BlobNotFound, InvalidInput, RegistryDenied, RegistryUnavailable
from jupyter_containers.events import Event, Transfer
from jupyter_containers.images.model import Image
from jupyter_containers.oci.image_spec import OCI_LAYER_GZIP
from jupyter_containers.oci.names import Digest, Reference
from jupyter_containers.registry.credentials import Credential, NoCredentials, StaticCredentials
from jupyter_containers.registry.transfer import Access, pull, push
from jupyter_containers.registry.transport import RetryPolicy
from tests.support.images import LINUX, make_image
from tests.support.registry import PASSWORD, USER, Answer, Received, docker_registry, scripted, token_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.registry import Registry

ANONYMOUS = Access(credentials=NoCredentials(), retries=RetryPolicy(attempts=3, pause=0.01))
BIG = os.urandom(1 << 16) * 24
HUGE = os.urandom(6 << 20)  # does not shrink: it stays larger than what goes in one request


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "store")
    store.ensure()
    return store


@pytest.fixture
def registry(tmp_path: Path, need_tool: Callable[[str], str]) -> Iterator[Registry]:
    need_tool("docker-registry")
    with docker_registry(tmp_path / "registry") as running:
        yield running


def back(name: Reference, tmp_path: Path, access: Access = ANONYMOUS) -> Image:
    """The image as a pull into another store has it, every blob verified."""
    other = ContentStore(tmp_path / "back")
    other.ensure()
    image = Image.read(other, pull(name, platform=LINUX, store=other, access=access).descriptor)
    for blob in image.blobs:
        other.verify(blob)
    return image


def test_plain_layers_are_compressed_and_the_image_stays_the_same(
    registry: Registry, store: ContentStore, tmp_path: Path
) -> None:
    descriptor = make_image(store, {"a": b"one"}, {"big": BIG}, {"huge": HUGE}, compressed=[0])
    image = Image.read(store, descriptor)
    name = Reference.parse(f"{registry.host}/team/tool:1")
    events: list[Event] = []

    pushed = push(descriptor, name, store=store, sink=events.append, access=ANONYMOUS)

    read = back(name, tmp_path)
    assert read.digest == pushed.descriptor.digest != image.digest
    assert read.id == image.id
    assert [layer.diff_id for layer in read.layers] == [layer.diff_id for layer in image.layers]
    assert {layer.descriptor.media_type for layer in read.layers} == {OCI_LAYER_GZIP}
    assert read.layers[0].digest == image.layers[0].digest
    assert set(pushed.outcomes.values()) == {"done"}
    assert {event.status for event in events if isinstance(event, Transfer)} == {"compressing", "uploading", "done"}
    assert sorted(path.name for path in store.root.iterdir()) == ["blobs", "index.json", "ingest", "oci-layout"]


@pytest.mark.peer
def test_skopeo_reads_what_was_pushed(
    registry: Registry, store: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    descriptor = make_image(store, {"a": b"one"}, {"b": b"two"})
    push(descriptor, Reference.parse(f"{registry.host}/tool:1"), store=store, access=ANONYMOUS)

    target = tmp_path / "copied"
    command = [need_tool("skopeo"), "--insecure-policy", "copy", "--src-tls-verify=false"]
    done = subprocess.run(
        [*command, f"docker://{registry.host}/tool:1", f"dir:{target}"], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    manifest = json.loads((target / "manifest.json").read_bytes())
    assert manifest["config"]["digest"] == Image.read(store, descriptor).id
    assert len(manifest["layers"]) == 2


def test_a_second_push_sends_nothing(registry: Registry, store: ContentStore) -> None:
    descriptor = make_image(store, {"a": b"one"}, {"b": b"two"})
    name = Reference.parse(f"{registry.host}/tool:1")
    first = push(descriptor, name, store=store, access=ANONYMOUS)

    second = push(descriptor, name, store=store, access=ANONYMOUS)

    assert second.descriptor == first.descriptor
    assert set(second.outcomes.values()) == {"exists"}


def test_blobs_are_mounted_from_another_repository(registry: Registry, store: ContentStore, tmp_path: Path) -> None:
    descriptor = make_image(store, {"a": b"one"}, {"huge": HUGE}, compressed=[0, 1])
    first = Reference.parse(f"{registry.host}/first:1")
    second = Reference.parse(f"{registry.host}/second:1")
    push(descriptor, first, store=store, access=ANONYMOUS)

    pushed = push(descriptor, second, store=store, access=ANONYMOUS, mount_from=[first])

    assert set(pushed.outcomes.values()) == {"mounted"}
    assert back(second, tmp_path).digest == descriptor.digest


def test_a_push_by_digest(registry: Registry, store: ContentStore) -> None:
    descriptor = make_image(store, {"a": b"one"}, compressed=[0])
    name = Reference.parse(f"{registry.host}/tool").with_digest(Digest(descriptor.digest))

    assert push(descriptor, name, store=store, access=ANONYMOUS).descriptor.digest == descriptor.digest
    with pytest.raises(InvalidInput, match="not sha256:0000"):
        push(descriptor, name.with_digest(Digest(f"sha256:{'0' * 64}")), store=store, access=ANONYMOUS)


def test_a_push_needs_all_blobs(registry: Registry, store: ContentStore) -> None:
    descriptor = make_image(store, {"a": b"one"}, compressed=[0])
    store.remove(Image.read(store, descriptor).layers[0].digest)

    with pytest.raises(BlobNotFound):
        push(descriptor, Reference.parse(f"{registry.host}/tool:1"), store=store, access=ANONYMOUS)


def test_pushing_with_a_token(store: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]) -> None:
    need_tool("docker-registry")
    need_tool("openssl")
    descriptor = make_image(store, {"a": b"one"}, {"huge": HUGE})
    with (
        token_server(tmp_path / "tokens") as tokens,
        docker_registry(tmp_path / "registry", authorization="token", token_server=tokens) as registry,
    ):
        name = Reference.parse(f"{registry.host}/team/tool:1")
        with pytest.raises(RegistryDenied) as denied:
            push(descriptor, name, store=store, access=ANONYMOUS)
        assert "docker login" in str(denied.value.hint)
        del tokens.requests[:]

        alice = Access(credentials=StaticCredentials({registry.host: Credential(USER, PASSWORD)}))
        push(descriptor, name, store=store, access=alice)

        assert all(request.query["scope"] == ["repository:team/tool:pull,push"] for request in tokens.requests)
        assert back(name, tmp_path, alice).id == Image.read(store, descriptor).id


class MemoryRegistry:
    """Takes uploads into memory; ``partial`` has what came of each by its path, ``ranges`` those of all PATCHes."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.partial: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self._sessions = count()

    def __call__(self, request: Received) -> Answer:
        if request.method == "HEAD":
            return Answer(200 if request.path.rpartition("/")[2] in self.blobs else 404)
        if request.method == "POST":
            path = f"/v2/tool/blobs/uploads/{next(self._sessions)}"
            self.partial[path] = b""
            return Answer(202, headers={"Location": path})
        location = {"Location": request.path}
        if request.method == "GET":
            return Answer(204, headers={**location, "Range": f"0-{len(self.partial[request.path]) - 1}"})
        if request.method == "PATCH":
            self.ranges.append(request.headers.get("Content-Range"))
            self.partial[request.path] += request.body
            return Answer(202, headers=location)
        if "manifests" not in request.path:
            self.blobs[request.query["digest"][0]] = self.partial[request.path] + request.body
        return Answer(201)


def test_an_upload_that_breaks_goes_on_where_it_was(store: ContentStore) -> None:
    descriptor = make_image(store, {"huge": HUGE}, compressed=[0])
    layer = Image.read(store, descriptor).layers[0]
    memory = MemoryRegistry()

    def failing(request: Received) -> Answer:
        if request.method == "PATCH" and not memory.ranges:
            if len(request.body) < layer.size:
                return Answer(500)  # the connection was cut on the way
            memory.ranges.append(None)
            memory.partial[request.path] = request.body[:1_000_000]
            return Answer(500)
        return memory(request)

    with scripted(failing) as server:
        push(descriptor, Reference.parse(f"{server.host}/tool:1"), store=store, access=ANONYMOUS)

    assert memory.ranges == [None, f"1000000-{layer.size - 1}"]
    assert Digest.of(memory.blobs[layer.digest]) == layer.digest


def test_an_upload_that_always_breaks_is_given_up(store: ContentStore) -> None:
    descriptor = make_image(store, {"huge": HUGE}, compressed=[0])

    def failing(request: Received) -> Answer:
        if request.method == "HEAD":
            return Answer(404)
        if request.method == "POST":
            return Answer(202, headers={"Location": "/v2/tool/blobs/uploads/session"})
        return Answer(500)

    with scripted(failing) as server, pytest.raises(RegistryUnavailable, match="status 500"):
        push(descriptor, Reference.parse(f"{server.host}/tool:1"), store=store, access=ANONYMOUS)


def test_an_upload_elsewhere_gets_no_credentials(store: ContentStore) -> None:
    descriptor = make_image(store, {"a": b"one"}, compressed=[0])
    with scripted(lambda _request: Answer(201)) as elsewhere:

        def answer(request: Received) -> Answer:
            if "Authorization" not in request.headers:
                return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            if request.method == "HEAD":
                return Answer(404)
            if request.method == "POST":
                return Answer(202, headers={"Location": f"{elsewhere.url}/upload?state=1"})
            return Answer(201)

        with scripted(answer) as server:
            alice = Access(credentials=StaticCredentials({server.host: Credential(USER, PASSWORD)}))
            push(descriptor, Reference.parse(f"{server.host}/tool:1"), store=store, access=alice)

        assert len(elsewhere.received) == 2
        for request in elsewhere.received:
            assert "Authorization" not in request.headers
            assert request.query["state"] == ["1"]
            assert Digest.of(request.body) == request.query["digest"][0]
