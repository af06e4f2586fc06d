"""The virtual environment: found, made, and kept in step with ``pyproject.toml``.

It lies in ``.venv`` of the checkout; where the checkout cannot be written, in the user's cache. Nothing is done when
everything is in place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tools import packages
from tools.stages import Failed, note, run_quietly, stage

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65_534
_STAMP = ".dev-installed"
_PYTHONS = ("/usr/bin/python3", "python3", "python3.14", "python3.13", "python3.12", "python3.11")


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is ready for use."""

    directory: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.directory / "bin" / "python")

    def tool(self, name: str) -> str:
        """The path of a command that a package installed."""
        return str(self.directory / "bin" / name)

    def variables(self, **extra: str) -> dict[str, str]:
        """The process environment for its tools: they find each other by PATH."""
        path = f"{self.directory / 'bin'}:{os.environ.get('PATH', os.defpath)}"
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONHOME", "PYTHONPATH"}}
        return {**kept, "VIRTUAL_ENV": str(self.directory), "PATH": path, **extra}


def ensure() -> Environment:
    """The environment with the package (editable) and its development tools installed."""
    provide_home()
    directory = _place()
    environment = Environment(directory)
    if not _runs(environment.python):
        _create(directory)
    wanted = fingerprint(environment.python)
    stamp = directory / _STAMP
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        install(environment.python, ROOT)
        stamp.write_text(wanted, encoding="utf-8")
    return environment


def provide_home() -> None:
    """Many tools want a home they can write to: where there is none, one below the temporary directory."""
    home = os.environ.get("HOME", "")
    if home and os.path.isdir(home) and os.access(home, os.W_OK | os.X_OK):
        return
    private = Path(tempfile.gettempdir()) / f"jcdev-{os.geteuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    if status.st_uid != os.geteuid() or private.is_symlink():
        raise Failed(f"{private} belongs to somebody else; set HOME to a directory of your own")
    note(f"HOME is no directory that can be written: using {private}")
    os.environ["HOME"] = str(private)


def cache() -> Path:
    """Where things of this checkout are kept that cannot lie in it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ["HOME"]) / ".cache")
    return base / "jupyter-containers-dev" / hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12]


def output(name: str) -> Path:
    """A directory for what a verb writes: in the checkout, or in the cache where that cannot be written."""
    inside = ROOT / name
    usable = os.access(inside, os.W_OK) if inside.exists() else os.access(ROOT, os.W_OK)
    directory = inside if usable else cache() / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _place() -> Path:
    own = ROOT / ".venv"
    if own.exists():
        python = str(own / "bin" / "python")
        if os.access(own, os.W_OK):
            return own
        stamp = own / _STAMP  # somebody else's: good enough when it is complete
        if _runs(python) and stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint(python):
            return own
    elif os.access(ROOT, os.W_OK):
        return own
    return cache() / "venv"


def _runs(python: str) -> bool:
    """Whether it is there and new enough."""
    return _succeeds([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])


def _succeeds(command: list[str], *, user: int | None = None) -> bool:
    try:
        done = subprocess.run(
            command,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def fingerprint(python: str) -> str:
    """What the installation depends on."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    parts = [
        project["build-system"],
        project["project"],
        project["tool"].get("hatch"),
        str(ROOT),
        os.path.realpath(python),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def pythons() -> list[str]:
    """The interpreters of this machine that are new enough, each once.

    For root those that every user may run come first: then one environment serves the tests of ordinary users too.
    """
    found: dict[str, str] = {}
    for candidate in (sys.executable, *_PYTHONS):
        path = shutil.which(candidate)
        if path and _runs(path):
            found.setdefault(os.path.realpath(path), path)
    paths = list(found.values())
    if os.geteuid() == 0:
        paths.sort(key=lambda path: not _succeeds([path, "-c", ""], user=NOBODY))
    return paths


def _create(directory: Path) -> None:
    with stage(f"virtual environment in {shown(directory)}"):
        if (directory / "pyvenv.cfg").exists():
            shutil.rmtree(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        python = _with_ensurepip() or _after_installing_venv()
        if python:
            run_quietly([python, "-m", "venv", str(directory)], what="python -m venv")
            return
        python = next((path for path in pythons() if _succeeds([path, "-m", "pip", "--version"])), None)
        if python is None:
            raise Failed("Python cannot make virtual environments here; as root: apt-get install python3-venv")
        run_quietly([python, "-m", "venv", "--without-pip", str(directory)], what="python -m venv --without-pip")


def _with_ensurepip() -> str | None:
    return next(
        (path for path in pythons() if _succeeds([path, "-c", "import ensurepip, venv; ensurepip.version()"])), None
    )


def _after_installing_venv() -> str | None:
    """Debian keeps ``ensurepip`` in a package of its own; root can install it."""
    if os.geteuid() != 0:
        return None
    packages.install(["python3-venv"])
    return _with_ensurepip()


def install(python: str, source: Path, *, extra: str = "dev") -> None:
    """Install the package editable with an extra. A pip outside serves an environment that has none."""
    pip = [python, "-m", "pip"]
    if not _succeeds([*pip, "--version"]):
        outside = next((path for path in pythons() if _succeeds([path, "-m", "pip", "--version"])), None)
        if outside is None:
            raise Failed(
                f"{python} has no pip; as root: apt-get install python3-venv, then remove {Path(python).parents[1]}"
            )
        pip = [outside, "-m", "pip", "--python", python]
    options = ["--disable-pip-version-check", "--no-input", "--quiet"]
    variables = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    with stage("Python packages (a few minutes the first time)"):
        run_quietly([*pip, "install", *options, "--editable", f"{source}[{extra}]"], what="pip", env=variables)


def shown(path: Path) -> str:
    """A path as a person would type it from the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
