"""Pulling from a real registry, filled by another tool, and from one that misbehaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import (
    Cancelled,
    Corrupt,
    DigestMismatch,
    ImageNotFound,
    RegistryDenied,
    RegistryUnavailable,
    Unsupported,
)
from jupyter_containers.events import Event, Notice, Transfer
from jupyter_containers.images.archive import save_layout
from jupyter_containers.images.model import Image
from jupyter_containers.oci.image_spec import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, PlatformSpec, encode
from jupyter_containers.oci.names import Digest, Platform, Reference
from jupyter_containers.registry.credentials import Credential, NoCredentials, StaticCredentials
from jupyter_containers.registry.transfer import Access, pull
from jupyter_containers.registry.transport import RetryPolicy
from tests.support.images import LINUX, make_image
from tests.support.registry import PASSWORD, USER, Answer, Received, docker_registry, free_port, scripted, token_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.registry import Registry

ANONYMOUS = Access(credentials=NoCredentials(), retries=RetryPolicy(attempts=3, pause=0.01))
BIG = os.urandom(1 << 16) * 48  # 3 MiB


def as_alice(registry: str) -> Access:
    return Access(
        credentials=StaticCredentials({registry: Credential(USER, PASSWORD)}), retries=RetryPolicy(attempts=1)
    )


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "store")
    store.ensure()
    return store


@pytest.fixture
def other(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "other")
    store.ensure()
    return store


@pytest.fixture
def registry(tmp_path: Path, need_tool: Callable[[str], str]) -> Iterator[Registry]:
    need_tool("docker-registry")
    with docker_registry(tmp_path / "registry") as running:
        yield running


def skopeo_push(tool: str, image: Descriptor, store: ContentStore, target: str, tmp_path: Path, *options: str) -> None:
    layout = tmp_path / f"layout-{hashlib.sha256(target.encode()).hexdigest()[:8]}"
    save_layout(store, [(image, [Reference.parse("made:1")])], layout)
    policy = ["--insecure-policy", "copy", "--dest-tls-verify=false"]
    command = [tool, *policy, *options, f"oci:{layout}:made:1", f"docker://{target}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.peer
@pytest.mark.parametrize("format_", ["oci", "v2s2"])
def test_an_image_pushed_by_skopeo_is_pulled_with_the_same_digest(
    registry: Registry,
    store: ContentStore,
    other: ContentStore,
    tmp_path: Path,
    need_tool: Callable[[str], str],
    format_: str,
) -> None:
    image = make_image(other, {"a": b"one"}, {"big": BIG}, compressed=[0, 1])
    skopeo_push(need_tool("skopeo"), image, other, f"{registry.host}/team/tool:1", tmp_path, "--format", format_)
    events: list[Event] = []

    pulled = pull(
        Reference.parse(f"{registry.host}/team/tool:1"),
        platform=LINUX,
        store=store,
        sink=events.append,
        access=ANONYMOUS,
    )

    read = Image.read(store, pulled.descriptor)
    assert [layer.diff_id for layer in read.layers] == [layer.diff_id for layer in Image.read(other, image).layers]
    assert pulled.digest == Digest(pulled.descriptor.digest)
    assert pulled.descriptor.size == store.size(pulled.digest)
    for blob in read.blobs:
        store.verify(blob)
    assert pulled.downloaded == sum(layer.size for layer in read.layers) + read.manifest.config.size
    last = {event.key: event for event in events if isinstance(event, Transfer)}
    assert {event.status for event in last.values()} == {"done"}
    assert len(last) == 3
    assert format_ == "v2s2" or pulled.digest == image.digest


@pytest.mark.peer
def test_a_second_pull_downloads_nothing(
    registry: Registry, store: ContentStore, other: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    image = make_image(other, {"a": b"one"}, compressed=[0])
    skopeo_push(need_tool("skopeo"), image, other, f"{registry.host}/tool:1", tmp_path)
    name = Reference.parse(f"{registry.host}/tool:1")
    pull(name, platform=LINUX, store=store, access=ANONYMOUS)

    again = pull(name, platform=LINUX, store=store, access=ANONYMOUS)

    assert (again.downloaded, again.reused) == (0, 2)


@pytest.mark.peer
def test_a_corrupted_blob_is_refused_and_not_stored(
    registry: Registry, store: ContentStore, other: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    image = make_image(other, {"big": BIG}, compressed=[0])
    skopeo_push(need_tool("skopeo"), image, other, f"{registry.host}/tool:1", tmp_path)
    layer = Image.read(other, image).layers[0].digest
    damaged = bytearray(registry.blob_path(layer).read_bytes())
    damaged[1000] ^= 1
    registry.blob_path(layer).write_bytes(damaged)

    with pytest.raises(DigestMismatch):
        pull(Reference.parse(f"{registry.host}/tool:1"), platform=LINUX, store=store, access=ANONYMOUS)

    assert not store.has(layer)
    assert not store.has(Digest(image.digest))
    assert list((store.root / "ingest").iterdir()) == []


def test_an_unknown_tag_and_an_unknown_repository_are_not_found(registry: Registry, store: ContentStore) -> None:
    with pytest.raises(ImageNotFound, match="nothing:1"):
        pull(Reference.parse(f"{registry.host}/nothing:1"), platform=LINUX, store=store, access=ANONYMOUS)


@pytest.mark.peer
def test_basic_authentication(
    store: ContentStore, other: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    need_tool("docker-registry")
    image = make_image(other, {"a": b"one"}, compressed=[0])
    with docker_registry(tmp_path / "registry", authorization="htpasswd") as registry:
        target = f"{registry.host}/tool:1"
        skopeo_push(need_tool("skopeo"), image, other, target, tmp_path, f"--dest-creds={USER}:{PASSWORD}")
        name = Reference.parse(target)

        with pytest.raises(RegistryDenied, match="wants credentials"):
            pull(name, platform=LINUX, store=store, access=ANONYMOUS)
        wrong = StaticCredentials({registry.host: Credential(USER, "a wrong password")})
        with pytest.raises(RegistryDenied) as refused:
            pull(name, platform=LINUX, store=store, access=Access(credentials=wrong))
        assert "wrong password" not in "\n".join(refused.value.lines())

        pulled = pull(name, platform=LINUX, store=store, access=as_alice(registry.host))

    assert pulled.digest == image.digest


@pytest.mark.peer
def test_token_authentication(
    store: ContentStore, other: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    need_tool("docker-registry")
    need_tool("openssl")
    image = make_image(other, {"a": b"one"}, {"b": b"two"}, compressed=[0, 1])
    with (
        token_server(tmp_path / "tokens") as tokens,
        docker_registry(tmp_path / "registry", authorization="token", token_server=tokens) as registry,
    ):
        target = f"{registry.host}/team/tool:1"
        skopeo_push(need_tool("skopeo"), image, other, target, tmp_path, f"--dest-creds={USER}:{PASSWORD}")
        del tokens.requests[:]

        pulled = pull(Reference.parse(target), platform=LINUX, store=store, access=ANONYMOUS)

        assert pulled.digest == image.digest
        assert [request.query["scope"] for request in tokens.requests] == [["repository:team/tool:pull"]]
        del tokens.requests[:]
        identity = StaticCredentials({registry.host: Credential(identity_token=PASSWORD)})
        pull(Reference.parse(target), platform=LINUX, store=store, access=Access(credentials=identity))
        assert [request.method for request in tokens.requests] == ["POST"]


@pytest.mark.peer
def test_an_index_gives_the_manifest_for_the_platform(
    registry: Registry, store: ContentStore, other: ContentStore, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    skopeo = need_tool("skopeo")
    machines = [Platform("linux", "amd64"), Platform("linux", "arm", "v6")]
    images = [make_image(other, {"a": str(machine).encode()}, compressed=[0], platform=machine) for machine in machines]
    for number, image in enumerate(images):
        skopeo_push(skopeo, image, other, f"{registry.host}/multi:{number}", tmp_path)
    index = encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=images))
    put(f"http://{registry.host}/v2/multi/manifests/both", index, OCI_INDEX)
    name = Reference.parse(f"{registry.host}/multi:both")

    pulled = pull(name, platform=Platform("linux", "arm", "v7"), store=store, access=ANONYMOUS)

    assert Image.read(store, pulled.descriptor).platform == machines[1]
    assert pulled.digest == Digest.of(index)
    assert pulled.descriptor.digest == images[1].digest
    with pytest.raises(ImageNotFound, match="no image for linux/s390x; it has linux/amd64, linux/arm/v6"):
        pull(name, platform=Platform("linux", "s390x"), store=store, access=ANONYMOUS)


def put(url: str, data: bytes, media_type: str) -> None:
    import urllib.request

    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 201


# -- registries that misbehave ---------------------------------------------------------------------------------------


class Script:
    """Serves one image out of a store, the layer as a test wants it."""

    def __init__(self, store: ContentStore, image: Descriptor) -> None:
        self.store = store
        self.image = image
        self.layer = Image.read(store, image).layers[0].digest
        self.blob: Callable[[Received, bytes], Answer] = lambda _request, data: Answer(200, data)

    def __call__(self, request: Received) -> Answer:
        name = request.path.rpartition("/")[2]
        if "/manifests/" in request.path:
            return Answer(200, self.store.read(Digest(self.image.digest)), {"Content-Type": OCI_MANIFEST})
        data = self.store.path(Digest(name)).read_bytes()
        return self.blob(request, data) if name == self.layer else Answer(200, data)


@pytest.fixture
def script(other: ContentStore) -> Script:
    return Script(other, make_image(other, {"big": BIG}))


def from_script(script: Callable[[Received], Answer], store: ContentStore) -> tuple[Digest, list[Received]]:
    with scripted(script) as server:
        name = Reference.parse(f"{server.host}/tool:1")
        return pull(name, platform=LINUX, store=store, access=ANONYMOUS).digest, server.received


def test_a_connection_that_is_cut_again_and_again_is_resumed_where_it_was(script: Script, store: ContentStore) -> None:
    def blob(request: Received, data: bytes) -> Answer:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        rest = data[start:]
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        cut = 700_000 if len(rest) > 700_000 else None
        return Answer(206 if start else 200, rest, headers if start else {}, cut=cut)

    script.blob = blob
    digest, received = from_script(script, store)

    assert digest == script.image.digest
    ranges = [request.headers.get("Range") for request in received if request.path.endswith(script.layer)]
    assert ranges == [None, *(f"bytes={count * 700_000}-" for count in range(1, len(ranges)))]
    assert len(ranges) == 5
    store.verify(script.layer)


def test_a_registry_without_ranges_is_read_from_the_start_again(script: Script, store: ContentStore) -> None:
    attempts: list[int] = []

    def blob(_request: Received, data: bytes) -> Answer:
        attempts.append(1)
        return Answer(200, data, cut=100_000 if len(attempts) == 1 else None)

    script.blob = blob
    from_script(script, store)

    assert len(attempts) == 2
    store.verify(script.layer)


def test_a_connection_that_never_gets_further_ends_as_unavailable(script: Script, store: ContentStore) -> None:
    script.blob = lambda _request, data: Answer(200, data, cut=1000)

    with pytest.raises(RegistryUnavailable):
        from_script(script, store)

    assert list((store.root / "ingest").iterdir()) == []


def test_more_bytes_than_announced_are_refused(script: Script, store: ContentStore) -> None:
    script.blob = lambda _request, data: Answer(200, data + b"more")

    with pytest.raises(DigestMismatch):
        from_script(script, store)


def test_a_manifest_of_another_digest_is_refused(script: Script, store: ContentStore) -> None:
    with scripted(script) as server:
        asked = Reference.parse(f"{server.host}/tool@sha256:{'0' * 64}")
        with pytest.raises(DigestMismatch):
            pull(asked, platform=LINUX, store=store, access=ANONYMOUS)


def test_a_manifest_without_end_is_refused(store: ContentStore) -> None:
    with pytest.raises(Corrupt, match="more than 4 MiB"):
        from_script(lambda _request: Answer(200, b" " * (5 << 20)), store)


def test_a_document_that_is_two_things_is_refused(script: Script, store: ContentStore) -> None:
    def lying(_request: Received) -> Answer:
        return Answer(200, script.store.read(Digest(script.image.digest)), {"Content-Type": OCI_INDEX})

    with pytest.raises(Corrupt, match="neither an image nor an index"):
        from_script(lying, store)


def test_an_artifact_that_is_no_image_is_named(store: ContentStore) -> None:
    chart = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2},
        "layers": [],
    }
    with pytest.raises(Unsupported, match=r"no container image but an artifact of type .*helm"):
        from_script(lambda _request: Answer(200, json.dumps(chart).encode(), {"Content-Type": OCI_MANIFEST}), store)


def test_the_first_format_of_docker_is_named(store: ContentStore) -> None:
    with pytest.raises(Unsupported, match="first format"):
        from_script(lambda _request: Answer(200, b'{"schemaVersion": 1}'), store)


def test_an_image_for_another_machine_comes_with_a_warning(other: ContentStore, store: ContentStore) -> None:
    image = make_image(other, {"a": b"1"}, platform=Platform("linux", "s390x"))
    events: list[Event] = []
    with scripted(Script(other, image)) as server:
        pull(Reference.parse(f"{server.host}/a:1"), platform=LINUX, store=store, sink=events.append, access=ANONYMOUS)

    assert [event.text.partition(" ")[2] for event in events if isinstance(event, Notice)] == [
        "is for linux/s390x, not for linux/amd64"
    ]


def test_credentials_do_not_follow_a_redirect_to_another_host(
    script: Script, other: ContentStore, store: ContentStore
) -> None:
    with scripted(lambda request: Answer(200, other.path(Digest(request.path[1:])).read_bytes())) as storage:

        def redirecting(request: Received) -> Answer:
            if "Authorization" not in request.headers:
                return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            digest = request.path.rpartition("/")[2]
            if "/blobs/" in request.path:
                return Answer(307, headers={"Location": f"{storage.url}/{digest}?signature=secret"})
            return script(request)

        with scripted(redirecting) as server:
            name = Reference.parse(f"{server.host}/tool:1")
            pull(name, platform=LINUX, store=store, access=as_alice(server.host))

        assert len(storage.received) == 2
        assert all("Authorization" not in request.headers for request in storage.received)
        assert all(request.headers["User-Agent"].startswith("jupyter-containers/") for request in server.received)


def test_a_redirect_in_a_circle_ends(store: ContentStore) -> None:
    with pytest.raises(RegistryUnavailable, match="redirects too often"):
        from_script(lambda request: Answer(307, headers={"Location": request.path}), store)


def test_a_passing_failure_is_tried_again(script: Script, store: ContentStore) -> None:
    failures = [503, 502]

    def failing(request: Received) -> Answer:
        return Answer(failures.pop()) if failures else script(request)

    digest, _ = from_script(failing, store)

    assert digest == script.image.digest


def test_a_rate_limit_tells_how_long(store: ContentStore) -> None:
    with pytest.raises(RegistryUnavailable, match="limits how often") as limited:
        from_script(lambda _request: Answer(429, headers={"Retry-After": "600"}), store)
    assert "in 600 seconds" in str(limited.value.hint)


def test_nobody_listens(store: ContentStore) -> None:
    name = Reference.parse(f"127.0.0.1:{free_port()}/tool")
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable, match="connection refused") as unavailable:
        pull(name, platform=LINUX, store=store, access=ANONYMOUS)
    assert "HTTPS_PROXY" in str(unavailable.value.hint)
    assert time.monotonic() - started < 20  # nothing is tried again


def test_no_network(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RegistryUnavailable, match="its name is not known") as unavailable:
        pull(Reference.parse("registry.invalid/tool"), platform=LINUX, store=store, access=ANONYMOUS)
    assert "starter" in str(unavailable.value.hint)


def test_an_interrupt_ends_a_pull_that_waits_and_leaves_nothing(script: Script, store: ContentStore) -> None:
    release = threading.Event()
    script.blob = lambda _request, data: Answer(200, data, cut=10_000, stall=release)
    with scripted(script) as server:
        name = Reference.parse(f"{server.host}/tool:1")
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            pull(name, platform=LINUX, store=store, access=ANONYMOUS)
        assert time.monotonic() - started < 5
        timer.join()
        release.set()

    assert list((store.root / "ingest").iterdir()) == []
    assert not store.has(script.layer)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("registry")] == []


def test_cancelling_ends_a_read_that_waits(script: Script) -> None:
    from jupyter_containers.registry.client import RegistryClient
    from jupyter_containers.registry.transport import Transport

    release = threading.Event()
    script.blob = lambda _request, data: Answer(200, data, cut=10_000, stall=release)
    with scripted(script) as server, RegistryClient(Transport(server.host, NoCredentials())) as client:
        name = Reference.parse(f"{server.host}/tool:1")
        timer = threading.Timer(0.3, client.transport.cancel)
        timer.start()
        started = time.monotonic()
        with client.open_blob(name, script.layer) as (_, chunks), pytest.raises(Cancelled):
            list(chunks)
        assert time.monotonic() - started < 5
        release.set()
        timer.join()
        with pytest.raises(Cancelled):
            client.get_manifest(name)


def test_tags_of_all_pages_are_listed_and_other_hosts_are_not_followed() -> None:
    from jupyter_containers.registry.client import RegistryClient
    from jupyter_containers.registry.transport import Transport

    def pages(request: Received) -> Answer:
        if "last" not in request.query:
            return Answer(200, b'{"tags": ["a", "b"]}', {"Link": '</v2/tool/tags/list?last=b&n=2>; rel="next"'})
        return Answer(200, b'{"tags": ["c"]}', {"Link": '<http://127.0.0.1:1/v2/tool/tags/list?last=c>; rel="next"'})

    with scripted(pages) as server, RegistryClient(Transport(server.host, NoCredentials())) as client:
        assert client.list_tags(Reference.parse(f"{server.host}/tool")) == ["a", "b", "c"]


def test_platform_of_an_index_entry_is_optional(other: ContentStore, store: ContentStore) -> None:
    image = make_image(other, {"a": b"1"})
    entry = Descriptor(OCI_MANIFEST, image.digest, image.size)
    noise = Descriptor(
        OCI_MANIFEST, f"sha256:{'1' * 64}", 5, platform=PlatformSpec(architecture="unknown", os="unknown")
    )
    index = encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=[noise, entry]))
    serve = Script(other, image)

    def answer(request: Received) -> Answer:
        if request.path.endswith("/manifests/1"):
            return Answer(200, index, {"Content-Type": OCI_INDEX})
        return serve(request)

    digest, _ = from_script(answer, store)

    assert digest == Digest.of(index)
