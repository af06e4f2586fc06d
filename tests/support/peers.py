"""Podman and dockerd on directories of their own, running containers with this project's runtime command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance import harness
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGE = "jc-base"
_PATIENCE = 60.0
_CONTAINERS_CONF = """\
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A client and how it is called."""

    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)

    def call(self, *arguments: str, stdin: str = "") -> harness.Ran:
        """Run it and wait for its end."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
        return harness.Ran(done.returncode, done.stdout, done.stderr)

    def output(self, *arguments: str) -> str:
        """What it prints, stripped; it must end well."""
        ran = self.call(*arguments)
        assert ran.status == 0, ran.stderr
        return ran.stdout.strip()


def runtime_program(directory: Path) -> str:
    """One file that is the runtime command, also where only the package is installed."""
    program = directory / harness.OURS
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m jupyter_containers.oci_runtime "$@"\n')
    program.chmod(0o755)
    return str(program)


def archive(directory: Path) -> Path:
    """A root file system of busybox as a tar file."""
    rootfs.make(directory / "base")
    path = directory / "base.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(directory / "base", arcname=".")
    return path


@contextmanager
def podman(program: str, directory: Path) -> Iterator[Peer]:
    """Podman with stores, settings and a runtime of its own."""
    store, run = directory / "store", directory / "run"
    (directory / "containers.conf").write_text(_CONTAINERS_CONF)
    (directory / "storage.conf").write_text(f'[storage]\ndriver="vfs"\ngraphroot="{store}"\nrunroot="{run}"\n')
    environment = {
        "CONTAINERS_CONF": str(directory / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        "TMPDIR": str(directory),
    }
    state = directory / "state"
    command = [program, "--root", str(store), "--runroot", str(run), "--tmpdir", str(directory / "tmp")]
    command += ["--runtime", runtime_program(directory), "--runtime-flag", f"root={state}"]
    peer = Peer(command, environment)
    peer.output("import", str(archive(directory)), IMAGE)
    try:
        yield peer
    finally:
        peer.call("rm", "--all", "--force", "--time", "0")
        subprocess.run(["umount", "-l", str(store / "vfs")], capture_output=True, check=False)
        remove_cgroups("libpod_parent")


@contextmanager
def docker(
    daemon: str, client: str, directory: Path, *, driver: str = "vfs", networked: bool = False
) -> Iterator[Peer]:
    """A Docker daemon in a mount namespace of its own, without a network, that knows our runtime as ``jc``.

    ``driver`` is how it keeps layers: vfs works everywhere; an empty text lets it find the best that does here.
    ``networked``: it has bridges and firewall rules, in a network namespace of its own.
    """
    socket = directory / "docker.sock"
    (directory / "daemon.json").write_text(json.dumps({"runtimes": {"jc": {"path": runtime_program(directory)}}}))
    options = [
        f"--config-file={directory / 'daemon.json'}",
        f"--data-root={directory / 'data'}",
        f"--exec-root={directory / 'exec'}",
        f"--pidfile={directory / 'pid'}",
        f"--host=unix://{socket}",
        *([f"--storage-driver={driver}"] if driver else []),
        *([] if networked else ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]),
    ]
    apart = ["unshare", "--mount"]
    if networked:
        apart += ["--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    log = directory / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen([*apart, daemon, *options], stdout=sink, stderr=sink)
    peer = Peer([client], {"DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(directory / "client")})
    try:
        _await(process, peer, log)
        peer.output("import", str(archive(directory)), IMAGE)
        yield peer
        for name in peer.output("ps", "--all", "--quiet").split():
            peer.call("rm", "--force", name)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        remove_cgroups("docker")


def _await(process: subprocess.Popen[bytes], peer: Peer, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while peer.call("version").status:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline, "dockerd does not answer"
        time.sleep(0.2)


def remove_cgroups(name: str) -> None:
    """A daemon's own cgroup in every hierarchy, which it leaves behind; what others use stays."""
    for base in {Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")}:
        for directory, _names, _files in os.walk(base / name, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                continue
