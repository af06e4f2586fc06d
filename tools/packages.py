"""Tools of the system that tests, the demo and benchmarks use, and how they are installed (Debian, Ubuntu)."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.stages import Failed, note, run_quietly, stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True, slots=True)
class Tool:
    """A command, the package that brings it, and what cannot be done without it."""

    command: str
    package: str
    purpose: str


BUSYBOX = Tool("busybox", "busybox-static", "the image `starter`")
UIDMAP = Tool("newuidmap", "uidmap", "rootless containers with more than one user id")
NETWORK = (
    Tool("ip", "iproute2", "checks of links and addresses against iproute2"),
    Tool("nft", "nftables", "checks of firewall rules against nft"),
    Tool("slirp4netns", "slirp4netns", "the network of rootless containers by slirp4netns"),
    Tool("pasta", "passt", "the network of rootless containers by pasta"),
)
PEERS = (
    Tool("skopeo", "skopeo", "image layouts and archives read by skopeo"),
    Tool("umoci", "umoci", "layers unpacked by umoci"),
    Tool("docker-registry", "docker-registry", "pull and push against docker-registry"),
    Tool("crun", "crun", "comparison with crun"),
    Tool("runc", "runc", "comparison with runc"),
    Tool("podman", "podman", "comparison with podman, and our runtime command under it"),
    Tool("dockerd", "docker.io", "our runtime command under dockerd"),
    Tool("buildah", "buildah", "comparison with buildah"),
)
SSH = (
    Tool("ssh", "openssh-client", "a container moved over ssh"),
    Tool("dropbear", "dropbear-bin", "a container moved over ssh"),
)
BROWSER = Tool("chromium", "chromium", "widgets in JupyterLab in a browser")
DEBIAN = Tool("debootstrap", "debootstrap", "builds on a real base; nginx, PostgreSQL and Redis in containers")
FOR_DEMO = (BUSYBOX, UIDMAP)
FOR_TESTS = (BUSYBOX, UIDMAP, *NETWORK, *PEERS, *SSH, BROWSER, DEBIAN)


def find(command: str) -> str | None:
    """The command's path; system directories are looked at even where they are not on PATH."""
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def provide(tools: Sequence[Tool]) -> list[str]:
    """Install what is missing where this user may; what is missing still, one line each."""
    missing = [tool for tool in tools if not find(tool.command)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        with stage(f"system packages: {' '.join(tool.package for tool in missing)}"):
            problem = install([tool.package for tool in missing])
        if problem:
            note(problem)
    still = [tool for tool in missing if not find(tool.command)]
    lines = [f"{tool.purpose}: {tool.command} is not installed (package {tool.package})" for tool in still]
    if still and os.geteuid() != 0:
        lines.append(f"to install: sudo apt-get install {' '.join(tool.package for tool in still)}")
    return lines


def install(names: Sequence[str]) -> str | None:
    """Install packages with apt, as many as can be had; why some could not, or None."""
    get = [
        "apt-get",
        "-o",
        "Acquire::Retries=1",
        "-o",
        "Acquire::http::Timeout=20",
        "-o",
        "DPkg::Lock::Timeout=120",
        "-q",
    ]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    problem: str | None = None
    try:
        run_quietly([*get, "update"], what="apt-get update", env=env, timeout=180)
    except Failed as error:
        problem = f"the package lists cannot be read again: {str(error).splitlines()[-1]}"
    known = [name for name in names if _is_known(name)]
    if not known:
        return problem or f"apt knows no package {' '.join(names)}"
    with _services_stay_off():
        try:
            run_quietly([*get, "install", "-y", "--no-install-recommends", *known], what="apt-get install", env=env)
        except Failed as error:
            return problem or str(error).splitlines()[-1]
    return None


def _is_known(name: str) -> bool:
    done = subprocess.run(
        ["apt-cache", "show", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Packages come with services that tests start themselves, or not at all: let none start at installation."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
