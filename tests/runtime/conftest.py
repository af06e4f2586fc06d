"""What tests of the real kernel get besides what all tests get."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from tests.support import leaks, peers, rootfs, verbs
from tests.support.own_network import entered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.peers import Peer
    from tests.support.verbs import Program


def _docker(directory: Path, *, networked: bool) -> AbstractContextManager[Peer]:
    daemon = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    client = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else shutil.which("docker")
    if daemon is None or client is None:
        pytest.skip("dockerd is not installed")
    if not rootfs.available():
        pytest.skip("needs a static busybox")
    return peers.docker(daemon, client, directory, networked=networked)


@pytest.fixture(scope="session")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One Docker daemon for all tests of a run: on directories of its own, without a network."""
    with _docker(tmp_path_factory.mktemp("docker"), networked=False) as peer:
        yield peer


@pytest.fixture(scope="module")
def dockerd_with_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A Docker daemon with bridges, in a network namespace of its own."""
    with _docker(tmp_path_factory.mktemp("docker"), networked=True) as peer:
        yield peer


@pytest.fixture(params=[verbs.OURS, pytest.param(verbs.DOCKERD, marks=pytest.mark.peer)])
def wired(request: pytest.FixtureRequest) -> Iterator[Program]:
    """A command line whose containers have networks; nothing is there but the image."""
    if request.param == verbs.DOCKERD:
        yield verbs.dockers(request.getfixturevalue("dockerd_with_networks"))
        return
    request.getfixturevalue("apart")
    request.getfixturevalue("no_leaks")
    chosen = verbs.ours()
    chosen.good("pull", "-q", "starter")
    yield chosen


@pytest.fixture
def own_network() -> Iterator[None]:
    """The test, and what it starts, is in a network namespace of its own (as root)."""
    with entered():
        yield


@pytest.fixture
def net(own_network: None, engine: Engine) -> Engine:  # noqa: ARG001 - entered before the engine is made
    """An engine with the starter image, in a network namespace of its own."""
    engine.images.pull("starter")
    return engine


@pytest.fixture
def apart() -> Iterator[None]:
    """In a network namespace of the test's own: what others do on this machine is no leak of it."""
    with entered():
        yield


@pytest.fixture(params=[verbs.OURS, pytest.param(verbs.DOCKERD, marks=[pytest.mark.peer, pytest.mark.root])])
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    """A command line with two containers: ``web`` runs, ``still`` was never started."""
    if request.param == verbs.DOCKERD:
        peer: Peer = request.getfixturevalue("dockerd")
        chosen = verbs.dockers(peer)
    else:
        request.getfixturevalue("apart")
        request.getfixturevalue("no_leaks")
        chosen = verbs.ours()
        chosen.good("pull", "-q", "starter")
    chosen.good("run", "-d", "--network", "none", "--name", "web", chosen.image, "sleep", "1000")
    chosen.good("create", "--network", "none", "--name", "still", chosen.image, "true")
    yield chosen
    chosen("rm", "-f", "web", "still")


@pytest.fixture
def other(store_root: Path) -> Iterator[Path]:
    """Another store, whose containers are removed in the end."""
    root = store_root.with_name(f"{store_root.name}o")
    before = leaks.take(root)
    yield root
    with Engine(root) as engine:
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)
    assert leaks.remaining(root, before) == []
    shutil.rmtree(root)
