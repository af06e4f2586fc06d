"""The worker in a user namespace with one id: owners it cannot set come back in the next layer."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.layers import disk
from jupyter_containers.layers.base import ApplyOptions, DiffOptions, Item
from jupyter_containers.layers.tar import TarReader
from jupyter_containers.layers.trees import WorkerTrees, worker_argv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def trees() -> Iterator[WorkerTrees]:
    if subprocess.run(["unshare", "-r", "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not to be had here")
    ours, theirs = socket.socketpair()
    with theirs:
        argv = ["unshare", "-r", *worker_argv(theirs.fileno())]
        process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
    worker = WorkerTrees(lambda: ours)
    yield worker
    worker.close()
    assert process.wait(10) == 0


def test_owners_modes_and_devices_survive_a_namespace_with_one_id(trees: WorkerTrees, tmp_path: Path) -> None:
    items = [
        Item("d", "dir", 0o2750, 0, 42),
        Item("d/f", mode=0o4711, uid=33, gid=33, source=b"text", xattrs={"user.mine": b"1"}),
        Item("null", "char", 0o666, device=(1, 3)),
        Item("plain"),
        Item("shut", mode=0o000, source=b"x"),
    ]
    with (tmp_path / "a.tar").open("wb") as out:
        trees.pack(items, out)
    with (tmp_path / "a.tar").open("rb") as blob:
        applied = trees.apply(blob, tmp_path / "tree", ApplyOptions())
    assert applied.unrecorded == 0
    status = (tmp_path / "tree" / "d" / "f").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o4711)
    assert os.getxattr(tmp_path / "tree" / "d" / "f", disk.RECORD) == b"33:33:"
    again = io.BytesIO()
    assert trees.diff(tmp_path / "tree", again, DiffOptions()).digest == applied.diff_id
    assert again.getvalue() == (tmp_path / "a.tar").read_bytes()
    shown = {node.path: (node.kind, node.uid, node.gid, node.mode) for node in trees.walk([tmp_path / "tree"], "")}
    assert shown["d/f"] == ("file", 33, 33, 0o4711)
    assert shown["null"] == ("char", 0, 0, 0o666)
    assert shown["d"] == ("dir", 0, 42, 0o2750)


def test_a_file_of_the_namespace_has_no_trace_of_it(trees: WorkerTrees, tmp_path: Path) -> None:
    """File capabilities set in a user namespace are stored with its root's id; a layer has them without."""
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    with (tmp_path / "a.tar").open("wb") as out:
        trees.pack([Item("ping", mode=0o755, xattrs={"security.capability": value})], out)
    with (tmp_path / "a.tar").open("rb") as blob:
        trees.apply(blob, tmp_path / "tree", ApplyOptions())
    again = io.BytesIO()
    trees.diff(tmp_path / "tree", again, DiffOptions())
    [entry] = TarReader(io.BytesIO(again.getvalue()))
    assert entry.xattrs == {b"security.capability": value}
