"""Debian's dockerd (BuildKit of Docker 20.10) and this builder make the same images of the corpus.

The same configuration, history and files: names, types, modes, owners, link targets, hard links, capabilities, content;
except for what is listed here. docs/guide/differences.md explains each of the reasons.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.errors import EngineError
from tests.support import corpus, peers, rootfs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Peer

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.slow]

NOT_COMPARED = {
    "no-from": "dockerd itself ends with a panic",
    "from-scratch-empty": "dockerd cannot save an image without layers",
}

REFUSED_HERE = {
    "copy-several-to-a-file": "later BuildKit refuses it too",
    "copy-unknown-user": "later BuildKit refuses it too",
    "onbuild-bad-trigger": "an instruction that cannot work is refused where it stands",
    "run-nothing": "an instruction that cannot work is refused where it stands",
}
FILES = {
    "add-archive-chown": (r"owned/.+", "--chown is for what an archive holds, too, as in later BuildKit"),
    "copy-chmod": (r"3/b", "--chmod sets the set-user-id bit, whatever --chown does"),
    "run-mount-bind": (r"ctx|o|rel|s", "no directory stays where something was mounted"),
    "run-mount-cache": (r"c|l|p", "no directory stays where something was mounted"),
    "run-mount-secret": (r"run(/secrets)?|s", "no directory stays where something was mounted"),
    "run-mount-several": (r"[bct]", "no directory stays where something was mounted"),
    "run-mount-ssh": (r"1", "SSH_AUTH_SOCK is set where there is an agent"),
    "stages-mount": (r"t", "no directory stays where something was mounted"),
}
"""Paths that may differ, and why."""


@dataclass(frozen=True, slots=True)
class Both:
    """What the two made of the cases: an image, or why there is none."""

    theirs: dict[str, corpus.Image | str]
    ours: dict[str, corpus.Image | str]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Both:
    daemon = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    client = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else shutil.which("docker")
    if daemon is None or client is None:
        pytest.skip("dockerd is not installed")
    if not rootfs.available():
        pytest.skip("needs a static busybox")
    directory = tmp_path_factory.mktemp("corpus")
    names = [name for name in corpus.NAMES if name not in NOT_COMPARED]
    with Engine(stores / "corpus") as engine:
        workshop = corpus.Workshop(engine, stores / "corpus", directory)
        ours = {name: _ours(workshop, name) for name in names}
    with peers.docker(daemon, client, tmp_path_factory.mktemp("docker"), driver="") as docker:
        version = docker.output("version", "--format", "{{.Server.Version}}")
        if not version.startswith("20.10."):
            pytest.skip(f"what differs is known of Docker 20.10, not of {version}")
        docker.environment["DOCKER_BUILDKIT"] = "1"
        docker.output("load", "--input", str(workshop.base_archive))
        with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
            refused = dict(zip(names, pool.map(lambda name: _theirs(docker, workshop, name), names), strict=True))
        built = [f"case/{name}:1" for name in names if refused[name] is None]
        docker.output("save", "--output", str(directory / "saved.tar"), *built)
    images = corpus.read_archive(directory / "saved.tar")
    return Both({name: refused[name] or images[f"case/{name}:1"] for name in names}, ours)


def _ours(workshop: corpus.Workshop, name: str) -> corpus.Image | str:
    try:
        return workshop.build(name)
    except EngineError as error:
        return str(error)


def _theirs(docker: Peer, workshop: corpus.Workshop, name: str) -> str | None:
    """Why it cannot be built there."""
    file = workshop.secret.with_name(f"{name}.dockerfile")
    file.write_bytes(corpus.text_of(name).encode())
    options = ["--network=none", f"--file={file}", f"--tag=case/{name}:1", *corpus.flags_of(name, workshop.secret)]
    done = docker.call("build", *options, str(workshop.context))
    return done.stderr[-500:] if done.status else None


@pytest.mark.parametrize("name", sorted({*corpus.NAMES} - {*NOT_COMPARED}))
def test_case(both: Both, name: str) -> None:
    theirs, ours = both.theirs[name], both.ours[name]
    if name in corpus.NEWER:
        assert isinstance(ours, corpus.Image), ours
        assert isinstance(theirs, str) or _files(theirs, "$") != _files(ours, "$"), "it is not newer"
    elif name in REFUSED_HERE:
        assert isinstance(theirs, corpus.Image)
        assert isinstance(ours, str)
    elif isinstance(theirs, str):
        assert isinstance(ours, str), theirs
    else:
        assert isinstance(ours, corpus.Image), ours
        different = FILES.get(name, ("$", ""))[0]
        assert _files(ours, different) == _files(theirs, different)
        assert _settings(ours) == _settings(theirs)
        assert _history(ours) == _history(theirs)


def _files(image: corpus.Image, different: str) -> dict[str, str]:
    """Without the root, which dockerd lists only when it changed, and attributes of users, which it does not keep."""
    return {
        name: re.sub(r" \{'user\..*\}", "", text)
        for name, text in image.files.items()
        if name != "." and not re.fullmatch(rf"(?:{different})(?:/.*)?", name)
    }


def _settings(image: corpus.Image) -> dict[str, Any]:
    """What is set, without ArgsEscaped, which says something on Windows only."""
    rest = {key: value for key, value in image.config.items() if key not in {"config", "created", "history", "rootfs"}}
    settings = {**rest, **image.config["config"]}
    return {key: value for key, value in settings.items() if value is not None and key != "ArgsEscaped"}


def _history(image: corpus.Image) -> list[str]:
    """In the words that all versions have: later ones tell more of COPY, ARG and HEALTHCHECK, and no ARG twice."""
    found = []
    for entry in image.config["history"]:
        text = re.sub(r"^(COPY|ADD)(?: --\S+)+", r"\1", entry["created_by"])
        text = re.sub(r"^(ARG \w+)=.*", r"\1", text)
        text = re.sub(r"^(HEALTHCHECK) .*", r"\1", text)
        text = re.sub(r"^RUN \|[0-9]+ .* (/bin/sh)", r"RUN \1", text)
        found.append(text)
    return found


def test_what_is_listed_is_in_the_corpus() -> None:
    assert {*REFUSED_HERE, *FILES, *corpus.NEWER, *NOT_COMPARED} <= set(corpus.NAMES)
