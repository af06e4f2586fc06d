"""The content store: whole blobs or none, whoever dies when."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import BlobNotFound, Corrupt, DigestMismatch, InvalidInput, SystemFailure
from jupyter_containers.oci.image_spec import OCI_CONFIG, OCI_MANIFEST, Descriptor
from jupyter_containers.oci.names import Digest

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "content")
    store.ensure()
    return store


def leftovers(store: ContentStore) -> list[str]:
    return os.listdir(store.root / "ingest")


def child(store: ContentStore, code: str) -> subprocess.Popen[bytes]:
    """A Python process with ``store``; it prints a line when it is where the test wants it."""
    start = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from jupyter_containers.content.store import ContentStore
from jupyter_containers.oci.names import Digest
store = ContentStore(Path({str(store.root)!r}))
"""
    return subprocess.Popen([sys.executable, "-c", start + code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)


def test_a_blob_is_stored_under_its_digest_and_read_back(store: ContentStore) -> None:
    digest = store.write(b"hello")
    assert digest == Digest.of(b"hello")
    assert store.read(digest) == b"hello"
    assert (store.has(digest), store.size(digest)) == (True, 5)
    assert list(store.digests()) == [digest]
    assert leftovers(store) == []


def test_the_root_is_private_and_blobs_are_read_only(store: ContentStore) -> None:
    digest = store.write(b"x")
    assert stat.S_IMODE(os.stat(store.root).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(store.path(digest)).st_mode) == 0o444


def test_ensure_keeps_what_is_there(store: ContentStore) -> None:
    digest = store.write(b"x")
    store.write_index([Descriptor(OCI_MANIFEST, digest, 1)])
    before = (store.root / "index.json").read_bytes()
    store.ensure()
    assert store.has(digest)
    assert (store.root / "index.json").read_bytes() == before


def test_an_ingest_takes_pieces_and_knows_where_it_is(store: ContentStore) -> None:
    with store.ingest(expected=Digest.of(b"abcdef"), size=6) as ingest:
        ingest.write(b"abc")
        assert (ingest.size, ingest.hashed()) == (3, Digest.of(b"abc"))
        ingest.write(memoryview(b"def"))
        assert ingest.commit() == Digest.of(b"abcdef")


def test_an_ingest_can_start_again(store: ContentStore) -> None:
    with store.ingest(expected=Digest.of(b"new")) as ingest:
        ingest.write(b"old and long")
        ingest.restart()
        ingest.write(b"new")
        assert store.read(ingest.commit()) == b"new"


def test_an_ingest_that_is_not_committed_leaves_nothing(store: ContentStore) -> None:
    with store.ingest() as ingest:
        ingest.write(b"x")
        assert len(leftovers(store)) == 1
    assert leftovers(store) == []
    assert list(store.digests()) == []
    with pytest.raises(InvalidInput):
        ingest.write(b"y")


def test_wrong_content_is_never_stored(store: ContentStore) -> None:
    expected = Digest.of(b"right")
    with store.ingest(expected=expected) as ingest:
        ingest.write(b"wrong")
        with pytest.raises(DigestMismatch) as caught:
            ingest.commit()
    assert caught.value.expected == expected
    assert list(store.digests()) == leftovers(store) == []


def test_a_blob_shorter_than_announced_is_refused(store: ContentStore) -> None:
    with store.ingest(size=5) as ingest:
        ingest.write(b"shor")
        with pytest.raises(DigestMismatch):
            ingest.commit()
    assert list(store.digests()) == []


def test_a_blob_longer_than_announced_is_refused_while_it_arrives(store: ContentStore) -> None:
    with store.ingest(size=5) as ingest:
        ingest.write(b"12345")
        with pytest.raises(DigestMismatch):
            ingest.write(b"6")
    assert leftovers(store) == []


def test_a_damaged_blob_is_reported_by_its_digest(store: ContentStore) -> None:
    digest = store.write(b"content" * 100_000)
    path = store.path(digest)
    path.chmod(0o644)
    with path.open("r+b") as handle:
        handle.seek(500_000)
        handle.write(b"!")
    with pytest.raises(DigestMismatch) as caught:
        store.read(digest)
    assert caught.value.expected == digest
    with pytest.raises(DigestMismatch):
        store.verify(digest)
    with store.open(digest) as blob:
        assert blob.read(10) == b"contentcon"
        with pytest.raises(DigestMismatch):
            blob.read()


def test_a_damaged_blob_is_repaired_by_storing_it_again(store: ContentStore) -> None:
    digest = store.write(b"content")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"c0ntent")
    with store.ingest(expected=digest) as ingest:
        ingest.write(b"content")
        ingest.commit()
    assert store.read(digest) == b"content"


def test_a_missing_blob_is_reported_by_its_digest(store: ContentStore) -> None:
    digest = Digest.of(b"missing")
    for call in (store.open, store.read, store.size, store.verify):
        with pytest.raises(BlobNotFound, match=str(digest)):
            call(digest)
    assert store.remove(digest) is False


def test_removing_leaves_open_readers_alone(store: ContentStore) -> None:
    digest = store.write(b"data")
    with store.open(digest) as blob:
        assert store.remove(digest) is True
        assert blob.read() == b"data"
    assert not store.has(digest)


def test_a_document_has_a_limit(store: ContentStore) -> None:
    digest = store.write(b"x" * 100)
    with pytest.raises(Corrupt, match="too many"):
        store.read(digest, limit=99)


def test_what_a_killed_process_left_is_swept_and_a_live_one_is_not_disturbed(store: ContentStore) -> None:
    code = "i = store.ingest(); i.write(b'half'); print('ready', flush=True); sys.stdin.read(); i.commit()"
    dead, alive = child(store, code), child(store, code)
    for process in (dead, alive):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert store.sweep() == 1
    alive.communicate()
    assert alive.returncode == 0
    assert list(store.digests()) == [Digest.of(b"half")]
    assert leftovers(store) == []


def test_sweeping_while_others_write_loses_nothing(store: ContentStore) -> None:
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            store.sweep()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        digests = [store.write(b"%d" % index) for index in range(200)]
    finally:
        stop.set()
        sweeper.join()
    assert sorted(store.digests()) == sorted(digests)


def test_two_processes_store_the_same_blob(store: ContentStore) -> None:
    code = "sys.stdin.read()\nfor n in range(50): store.write(b'%d' % (n % 5) * 1000)"
    processes = [child(store, code) for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(list(store.digests())) == 5
    for digest in store.digests():
        store.verify(digest)


def test_the_lock_keeps_collection_away_from_writers(store: ContentStore) -> None:
    holder = child(store, "with store.lock(exclusive=False): print('ready', flush=True); sys.stdin.read()")
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    taken = threading.Event()

    def collect() -> None:
        with store.lock(exclusive=True):
            taken.set()

    collector = threading.Thread(target=collect)
    collector.start()
    with store.lock(exclusive=False):
        assert not taken.wait(0.2)
    holder.communicate()
    assert taken.wait(5)
    collector.join()


def test_a_full_disk_is_a_clear_error(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_fd: int, _data: object) -> int:
        raise OSError(28, os.strerror(28))

    with store.ingest() as ingest:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(SystemFailure, match="No space left") as caught:
            ingest.write(b"x")
    assert caught.value.hint is not None


def test_the_index_is_replaced_whole(store: ContentStore) -> None:
    digest = store.write(b"{}")
    store.write_index([Descriptor(OCI_MANIFEST, digest, 2, annotations={"org.opencontainers.image.ref.name": "a"})])
    document = json.loads((store.root / "index.json").read_bytes())
    assert document["schemaVersion"] == 2
    assert document["manifests"][0]["digest"] == digest
    assert leftovers(store) == []


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_the_layout(store: ContentStore) -> None:
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": store.write(config), "size": len(config)},
            "layers": [],
        }
    ).encode()
    name = {"org.opencontainers.image.ref.name": "example"}
    store.write_index([Descriptor(OCI_MANIFEST, store.write(manifest), len(manifest), annotations=name)])
    shown = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{store.root}:example"], check=True, capture_output=True
    ).stdout
    assert json.loads(shown)["config"]["Cmd"] == ["sh"]
