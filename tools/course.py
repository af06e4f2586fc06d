"""``./dev demo`` and ``./dev lab``: the first notebook of the course, run; the whole course, opened."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tools.environment import ROOT, cache, output, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.environment import Environment

NOTEBOOK = ROOT / "notebooks" / "01-first-container.ipynb"


def demo(environment: Environment) -> int:
    """Execute the notebook in a kernel of its own, print what it shows, keep it with its outputs and as a page."""
    target = output("demo-output")
    command = [environment.python, "-m", "tools.execute", str(NOTEBOOK), str(target)]
    done = subprocess.run(command, cwd=ROOT, env=environment.variables(**_own_settings()), check=False)
    if done.returncode == 0:
        print(f"to open it in JupyterLab: ./dev lab   (or the page {shown(target / NOTEBOOK.stem)}.html in a browser)")
    return done.returncode


def lab(environment: Environment, arguments: Sequence[str]) -> int:
    """JupyterLab on the first notebook, executed where the demo has run, with copies of the others beside it."""
    target = output("demo-output") / NOTEBOOK.name
    for source in (*NOTEBOOK.parent.glob("*.ipynb"), *NOTEBOOK.parent.glob("figures/*")):
        copy = target.parent / source.relative_to(NOTEBOOK.parent)
        if not copy.exists():  # what somebody has written into a copy stays
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, copy)
    command = [environment.tool("jupyter"), "lab", f"--ServerApp.root_dir={target.parent}", *arguments, target.name]
    if os.geteuid() == 0:
        command.insert(2, "--allow-root")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        command.insert(2, "--no-browser")
    os.chdir(target.parent)
    os.execve(command[0], command, environment.variables())


def _own_settings() -> dict[str, str]:
    """The user's own Jupyter and IPython settings are left out: the demo shows the same everywhere."""
    base = cache() / "jupyter"
    ipython = base / "ipython"
    ipython.mkdir(parents=True, exist_ok=True)
    return {
        "IPYTHONDIR": str(ipython),
        "JUPYTER_CONFIG_DIR": str(base / "config"),
        "JUPYTER_DATA_DIR": str(base / "data"),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "JUPYTER_PLATFORM_DIRS": "1",
    }
