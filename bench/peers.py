"""The other engines: how each is made ready in a directory of its own, and the commands that are timed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

TIMER = Path(__file__).with_name("timer.py")
CONTAINERS_CONF = """\
[containers]
default_ulimits = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


class NotHere(Exception):  # noqa: N818 - an outcome: the engine is left out of the table with this reason
    """An engine cannot be measured on this machine."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An engine that can be timed: the argument vectors of its cases, and what it needs around them."""

    commands: dict[str, list[str]]
    environment: dict[str, str]
    prefix: tuple[str, ...] = ()

    def time(self, case: str, *, repeats: int, pause: float, at_once: int = 1) -> list[float]:
        """Seconds of each turn. Raises ``NotHere`` when the command fails."""
        timer = [str(TIMER), str(repeats), str(pause), str(at_once)]
        command = [*self.prefix, sys.executable, "-I", *timer, *self.commands[case]]
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise NotHere(f"{case}: {last}")
        seconds: list[float] = json.loads(done.stdout)
        return seconds


def find(name: str) -> str:
    """A program's path, or ``NotHere``."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        raise NotHere(f"{name} is not installed")
    return path


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """A command's output; ``NotHere`` with its last line when it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise NotHere(f"{Path(command[0]).name} {command[1]}: {last}")
    return done.stdout


@contextmanager
def low_level(name: str, directory: Path) -> Iterator[Ready]:
    """``crun`` or ``runc`` on a bare bundle: no image, no overlay, no address."""
    program = find(name)
    bundle = directory / name
    workload.make_root(bundle / "rootfs")
    run([find("runc") if shutil.which("runc") else program, "spec", "--bundle", str(bundle)])
    config = bundle / "config.json"
    document: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    document["process"].update(terminal=False, args=["/bin/true"])
    document["process"].pop("rlimits", None)
    config.write_text(json.dumps(document), encoding="utf-8")
    idle = directory / f"{name}-idle"
    idle.mkdir()
    (idle / "rootfs").symlink_to(bundle / "rootfs")
    document["process"]["args"] = ["/bin/sleep", "1000"]
    document["root"]["path"] = str(bundle / "rootfs")
    (idle / "config.json").write_text(json.dumps(document), encoding="utf-8")
    base = [program, "--root", f"/run/bench-{name}"]  # in memory, as where it keeps its state by default
    command = [*base, "run", "--bundle", str(bundle), f"bench-{name}-{{n}}"]
    # crun refuses a hybrid hierarchy: it gets a mount namespace without the empty second one
    hybrid = name == "crun" and os.path.ismount("/sys/fs/cgroup/unified")
    prefix = ("unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh") if hybrid else ()
    commands = {"run": command, "at once": command, "exec": [*base, "exec", "bench-idle", "/bin/true"]}
    # what is started in the background keeps the output open: it gets none
    start = [*prefix, *base, "run", "--detach", "--bundle", str(idle), "bench-idle"]
    subprocess.run(start, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    try:
        yield Ready(commands, {}, prefix)
    finally:
        subprocess.run([*prefix, *base, "delete", "--force", "bench-idle"], capture_output=True, check=False)


@contextmanager
def podman(directory: Path) -> Iterator[Ready]:
    """Podman with stores of its own. ``buildah`` shares them."""
    program = find("podman")
    environment, storage = _containers_settings(directory)
    archive = root_archive(directory)
    base = [program, *storage]
    run([*base, "import", str(archive), workload.BASE], environment)
    commands = {
        "run": [*base, "run", "--rm", "--network=none", workload.BASE, "/bin/true"],
        "run, network": [*base, "run", "--rm", workload.BASE, "/bin/true"],
        "exec": [*base, "exec", "bench-idle", "/bin/true"],
        "build": [*base, "build", "--layers", "--network=none", *_build_arguments(directory)],
    }
    run([*base, "run", "--detach", "--network=none", "--name=bench-idle", workload.BASE, "sleep", "1000"], environment)
    try:
        yield Ready(commands, environment)
    finally:
        remove = [*base, "rm", "--force", "--time=0", "bench-idle"]
        subprocess.run(remove, env={**os.environ, **environment}, capture_output=True, check=False)
        subprocess.run(
            [*base, "system", "reset", "--force"], env={**os.environ, **environment}, capture_output=True, check=False
        )
        subprocess.run(["umount", "-l", str(directory / "podman" / "overlay")], capture_output=True, check=False)
        _remove_cgroups("libpod_parent")


@contextmanager
def buildah(directory: Path) -> Iterator[Ready]:
    """Buildah with stores of its own."""
    program = find("buildah")
    environment, storage = _containers_settings(directory)
    base = [program, *storage]
    archive = root_archive(directory)
    container = run([*base, "from", "scratch"], environment).strip()
    run([*base, "add", "--quiet", container, str(archive), "/"], environment)
    run([*base, "commit", "--quiet", "--rm", container, workload.BASE], environment)
    commands = {"build": [*base, "build", "--layers", "--network=none", *_build_arguments(directory)]}
    try:
        yield Ready(commands, environment)
    finally:
        subprocess.run(["umount", "-l", str(directory / "podman" / "overlay")], capture_output=True, check=False)
        _remove_cgroups("libpod_parent")


def _containers_settings(directory: Path) -> tuple[dict[str, str], list[str]]:
    settings = directory / "containers.conf"
    settings.write_text(CONTAINERS_CONF, encoding="utf-8")
    policy = directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', encoding="utf-8")
    storage = directory / "storage.conf"
    store, run = directory / "podman", directory / "podman-run"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{store}"\nrunroot = "{run}"\n', encoding="utf-8")
    environment = {"CONTAINERS_CONF": str(settings), "CONTAINERS_STORAGE_CONF": str(storage), "TMPDIR": str(directory)}
    return environment, ["--root", str(store), "--runroot", str(run)]


def root_archive(directory: Path) -> Path:
    """The small root file system, packed."""
    archive = directory / "base.tar"
    if not archive.exists():
        workload.make_root(directory / "base")
        workload.make_archive(directory / "base", archive)
    return archive


def _build_arguments(directory: Path) -> list[str]:
    context = directory / "context"
    if not context.exists():
        workload.make_context(context)
    return ["-t", "bench-built", "-f", str(workload.write_dockerfile(directory, workload.BASE)), str(context)]


@contextmanager
def dockerd(directory: Path) -> Iterator[tuple[str, dict[str, str], subprocess.Popen[bytes]]]:
    """A Docker daemon of our own on directories of its own, stopped afterwards: client, environment, process."""
    daemon, client = find("dockerd"), find("docker")
    if os.access("/usr/bin/docker", os.X_OK):
        client = "/usr/bin/docker"  # the distribution's, of the daemon's version
    socket, pidfile = directory / "docker.sock", directory / "docker.pid"
    store = [f"--data-root={directory / 'docker'}", f"--exec-root={directory / 'docker-run'}"]
    with (directory / "docker.log").open("wb") as log:
        process = subprocess.Popen(
            [daemon, *store, f"--host=unix://{socket}", f"--pidfile={pidfile}"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    environment = {"DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(directory / "docker-config")}
    try:
        _wait_for_daemon(process, client, environment, directory / "docker.log")
        yield client, environment, process
    finally:
        _stop(process)
        _remove_cgroups("docker")


@contextmanager
def docker(directory: Path) -> Iterator[Ready]:
    """The daemon with the small root file system and a container that waits."""
    with dockerd(directory) as (client, environment, _process):
        run([client, "import", str(root_archive(directory)), workload.BASE], environment)
        build = [client, "build", "--network=none", *_build_arguments(directory)]
        commands = {
            "run": [client, "run", "--rm", "--network=none", workload.BASE, "/bin/true"],
            "run, network": [client, "run", "--rm", workload.BASE, "/bin/true"],
            "exec": [client, "exec", "bench-idle", "/bin/true"],
            "build": ["env", "DOCKER_BUILDKIT=1", *build],
        }
        idle = ["run", "--detach", "--network=none", "--name=bench-idle", workload.BASE, "sleep", "1000"]
        try:
            run([client, *idle], environment)
            yield Ready(commands, environment)
        finally:
            remove = [client, "rm", "--force", "bench-idle"]
            subprocess.run(remove, env={**os.environ, **environment}, capture_output=True, check=False)


def _wait_for_daemon(process: subprocess.Popen[bytes], client: str, environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
            raise NotHere(f"dockerd ended: {lines[-1]}")
        asked = subprocess.run([client, "version"], env={**os.environ, **environment}, capture_output=True, check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.2)
    raise NotHere("dockerd did not answer within 60 s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _remove_cgroups(name: str) -> None:
    """The daemon's own cgroup in every hierarchy; it leaves them behind."""
    for base in {Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")}:
        top = base / name
        if top.is_dir():
            for directory, _names, _files in os.walk(top, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError as error:
                    print(f"left: cgroup {directory}: {error.strerror}", file=sys.stderr)


PEERS: dict[str, Callable[[Path], AbstractContextManager[Ready]]] = {
    "crun": lambda directory: low_level("crun", directory),
    "runc": lambda directory: low_level("runc", directory),
    "podman": podman,
    "buildah": buildah,
    "docker": docker,
}
