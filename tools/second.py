"""A place where ordinary users can run the suites when root's checkout or interpreter is closed to them.

The interpreter of the environment may lie in root's home, and so may the checkout. Then a second environment is made
beside it or below ``/var/tmp`` from an interpreter that everybody may run, and the sources are copied for the run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tools.environment import NOBODY, ROOT, fingerprint, install, pythons, shown
from tools.stages import Failed, run_quietly, stage

if TYPE_CHECKING:
    from tools.environment import Environment

BASE = Path("/var/tmp")
PREFIX = "jupyter-containers-dev-"
UNUSED_SECONDS = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Place:
    """What an ordinary user runs the suites with: an interpreter, a directory of sources, variables to add."""

    python: str
    source: Path
    variables: dict[str, str] = field(default_factory=dict)


def provide(environment: Environment) -> Place:
    """The environment itself when everybody can use it, else a second one, made or refreshed.

    Raises
    ------
    Failed
        when no interpreter of this machine is open to everybody.
    """
    os.umask(0o022)  # what is made here is for everybody to read
    readable = _readable(ROOT / "jupyter_containers" / "oci")
    if readable and _works(environment.python, ROOT):
        return Place(environment.python, ROOT, _variables(environment.directory))
    directory = _directory()
    source = ROOT if readable else _copy(directory / "source")
    python = str(directory / "venv" / "bin" / "python")
    stamp = directory / "installed"
    wanted = fingerprint(environment.python)
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and _works(python, source)):
        _make(environment, directory / "venv", source)
        stamp.write_text(wanted, encoding="utf-8")
    if not _works(python, source):
        raise Failed(f"an ordinary user cannot run {python} in {source}")
    kernels = str(environment.directory / "share" / "jupyter")
    return Place(python, source, {**_variables(directory / "venv"), "JUPYTER_PATH": kernels})


def _variables(environment: Path) -> dict[str, str]:
    return {"PATH": f"{environment}/bin:{os.environ.get('PATH', os.defpath)}"}


def _directory() -> Path:
    """The second environment's directory, after removing those that nobody used for two weeks."""
    for old in BASE.glob(f"{PREFIX}*"):
        status = old.lstat()
        if status.st_uid == 0 and time.time() - status.st_mtime > UNUSED_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    directory = BASE / (PREFIX + hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12])
    if directory.exists() and (directory.is_symlink() or directory.stat().st_uid != 0):
        raise Failed(f"{directory} does not belong to root")
    directory.mkdir(mode=0o755, exist_ok=True)
    os.utime(directory)
    return directory


def _make(environment: Environment, directory: Path, source: Path) -> None:
    base = next((path for path in pythons() if _can([path, "-c", "import venv"])), None)
    if base is None:
        raise Failed("no Python here is open to every user; as root: apt-get install python3 python3-venv")
    shutil.rmtree(directory, ignore_errors=True)
    python = str(directory / "bin" / "python")
    packages = Path(_ask(environment.python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    with stage(f"environment for ordinary users in {shown(directory)}"):
        run_quietly([base, "-m", "venv", "--without-pip", str(directory)], what="python -m venv")
        version = "import sys; print(sys.version_info[:2])"
        if _readable(packages) and _ask(python, version) == _ask(environment.python, version):
            own = Path(_ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
            line = f"import site; site.addsitedir({str(packages)!r})\n"  # the same version: the packages can be shared
            (own / "first-environment.pth").write_text(line, encoding="utf-8")
            return
    install(python, source)


def _copy(target: Path) -> Path:
    """The files that git tracks or would track, afresh in a directory that everybody can read."""
    listed = run_quietly(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], what="git ls-files"
    ).split("\0")
    shutil.rmtree(target, ignore_errors=True)
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
            (target / name).chmod(0o755 if (ROOT / name).stat().st_mode & stat.S_IXUSR else 0o644)
    return target


def _readable(path: Path) -> bool:
    """Whether everybody can list it (``nobody`` is asked, so that every directory above counts)."""
    return _can([_plain_python(), "-c", f"import os; os.listdir({str(path)!r})"])


def _works(python: str, source: Path) -> bool:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pytest, hypothesis, msgspec, jupyter_containers.errors"
    return _can([python, "-c", code, str(source)])


def _plain_python() -> str:
    found = next((path for path in pythons() if _can([path, "-c", ""])), None)
    return found or sys.executable


def _can(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _ask(python: str, code: str) -> str:
    return run_quietly([python, "-c", code], what=python).strip()
