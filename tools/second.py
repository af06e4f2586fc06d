"""A place where ordinary users can run the suites when root's checkout or interpreter is closed to them.

The interpreter of the environment may lie in root's home, and so may the checkout. Then a second environment is made
beside it or below ``/var/tmp`` from an interpreter that everybody may run, and the sources are copied for the run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tools.environment import NOBODY, ROOT, install, pythons, shown
from tools.stages import Failed, run_quietly, stage

if TYPE_CHECKING:
    from types import TracebackType

    from tools.environment import Environment

BASE = Path("/var/tmp")
PREFIX = "jupyter-containers-dev-"
UNUSED_SECONDS = 14 * 86_400


@dataclass(slots=True)
class Place:
    """What an ordinary user runs the suites with. As a context it removes the copied sources at its end."""

    python: str
    source: Path
    variables: dict[str, str] = field(default_factory=dict)
    copied: bool = False

    def __enter__(self) -> Self:
        """Nothing to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the copy."""
        if self.copied:
            shutil.rmtree(self.source, ignore_errors=True)


def provide(environment: Environment) -> Place:
    """The environment itself when everybody can use it, else a second one.

    Raises
    ------
    Failed
        when no interpreter of this machine is open to everybody.
    """
    source, copied = (ROOT, False) if _readable(ROOT) else (_copy(), True)
    variables = {"PATH": f"{environment.directory}/bin:{os.environ.get('PATH', os.defpath)}"}
    if not copied and _works(environment.python, source):
        return Place(environment.python, source, variables)
    directory = _directory()
    python = str(directory / "bin" / "python")
    variables = {"PATH": f"{directory}/bin:{os.environ.get('PATH', os.defpath)}"}
    kernels = environment.directory / "share" / "jupyter"
    place = Place(python, source, {**variables, "JUPYTER_PATH": str(kernels)}, copied)
    if not _works(python, source):
        _make(environment, directory, source)
    if not _works(python, source):
        place.__exit__(None, None, None)
        raise Failed(f"an ordinary user cannot run {python} in {source}")
    return place


def _directory() -> Path:
    """The second environment's directory, after removing those that nobody used for two weeks."""
    for old in BASE.glob(f"{PREFIX}*"):
        status = old.lstat()
        if status.st_uid == 0 and time.time() - status.st_mtime > UNUSED_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    directory = BASE / (PREFIX + hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12])
    if directory.exists() and (directory.is_symlink() or directory.stat().st_uid != 0):
        raise Failed(f"{directory} does not belong to root")
    if directory.exists():
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


def _copy() -> Path:
    """The files that git tracks or would track, in a directory that everybody can read."""
    listed = run_quietly(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], what="git ls-files"
    ).split("\0")
    target = Path(tempfile.mkdtemp(prefix="jcsrc", dir=BASE))
    target.chmod(0o755)
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
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
