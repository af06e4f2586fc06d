"""A CRIU that works on this kernel, for the tests of live moves.

That of the system does on few machines: a release of Debian has one that is older than its users' kernels. Where it
does not, the one of Debian's development branch is unpacked into the virtual environment with the libraries it needs,
its packages checked against Debian's keys by apt. Nothing is installed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tools.packages import find
from tools.stages import Failed, note, run_quietly, stage

if TYPE_CHECKING:
    from tools.environment import Environment

PURPOSE = "a container moved while it runs, by CRIU"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_BRANCH = "sid"


def provide(environment: Environment) -> list[str]:
    """Have one that works on the path of the environment; a line that says why there is none.

    Nothing for an ordinary user, who cannot use it.
    """
    if os.geteuid() != 0:
        return []
    command = environment.directory / "bin" / "criu"
    said = [_check(path) for path in (find("criu"), str(command) if command.exists() else None) if path]
    if "" in said:
        return []
    mirror = _mirror()
    if mirror is None or not shutil.which("dpkg-deb"):
        return [f"{PURPOSE}: {said[0] if said else 'criu is not installed'}"]
    with stage(f"criu of Debian {_BRANCH}"):
        try:
            _unpack(environment.directory / "criu", mirror)
            _wrap(environment.directory / "criu", command)
        except Failed as error:
            note(str(error).splitlines()[-1])
    problem = _check(str(command)) if command.exists() else "it cannot be had"
    return [f"{PURPOSE}: {problem}"] if problem else []


def _check(path: str) -> str:
    """Why it does not work; empty if it does."""
    done = subprocess.run([path, "check"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return f"criu check: {(done.stderr.strip() or done.stdout.strip()).rpartition(chr(10))[2]}"


def _mirror() -> str | None:
    """From where this machine has Debian; None for another distribution."""
    if not shutil.which("apt-get") or not _KEYS.exists():
        return None
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    sites = [line.split(" ") for line in listed.splitlines() if line.startswith("Debian ")]
    return next((site for _origin, site, release in sites if "security" not in release), None)


def _unpack(directory: Path, mirror: str) -> None:
    """Have apt fetch it with all it depends on, as for a machine that has nothing, and unpack that."""
    shutil.rmtree(directory, ignore_errors=True)
    apt, root = directory / "apt", directory / "root"
    for made in ("state/lists/partial", "cache/archives/partial"):
        (apt / made).mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb [signed-by={_KEYS}] {mirror} {_BRANCH} main\n", encoding="utf-8")
    (apt / "status").touch()
    settings = {
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
    }
    get = ["apt-get", "-q", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    run_quietly([*get, "update"], what="apt-get update", timeout=180)
    run_quietly([*get, "install", "-y", "--download-only", "criu"], what="apt-get install", timeout=180)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        run_quietly(["dpkg-deb", "--extract", str(package), str(root)], what=f"dpkg-deb {package.name}")
    shutil.rmtree(apt)


def _wrap(directory: Path, command: Path) -> None:
    """A command that runs it with its own libraries."""
    root = directory / "root"
    loaders = sorted(root.glob("usr/lib*/ld-linux-*.so.*")) + sorted(root.glob("usr/lib/*/ld-linux-*.so.*"))
    libraries = sorted({path.parent for path in root.glob("usr/lib/*/libc.so.6")})
    program = root / "usr" / "sbin" / "criu"
    if not loaders or not libraries or not program.exists():
        raise Failed("the packages of criu do not have what it needs")
    words = shlex.join([str(loaders[0]), "--library-path", str(libraries[0]), str(program)])
    command.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
