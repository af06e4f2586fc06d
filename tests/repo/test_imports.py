"""The layers of the architecture hold: the contracts of ``pyproject.toml``, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("runtime", "monitor", "linux")


def test_import_contracts_are_kept() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    if not program.exists():
        pytest.skip("import-linter is not installed in this environment")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def modules(package: str) -> list[Path]:
    single = ROOT / "jupyter_containers" / f"{package}.py"
    return [single] if single.exists() else sorted((ROOT / "jupyter_containers" / package).rglob("*.py"))


@pytest.mark.parametrize("package", SMALL)
def test_small_processes_import_the_standard_library_only(package: str) -> None:
    foreign = []
    assert modules(package)
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            tops = {name.split(".")[0] for name in names}
            foreign += [f"{path.name}: {top}" for top in tops - {"jupyter_containers", *sys.stdlib_module_names}]
    assert foreign == []


def imported_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_next_to_nothing() -> None:
    heavy = {"IPython", "pandas", "ipywidgets", "asyncio", "sqlite3", "urllib3", "pyroute2", "msgspec", "numpy"}
    assert imported_by("import jupyter_containers") & heavy == set()


def test_loading_the_extension_leaves_pandas_for_later() -> None:
    assert "pandas" not in imported_by("import jupyter_containers.notebook")


def test_the_command_line_leaves_the_notebook_out() -> None:
    heavy = {"IPython", "pandas", "ipywidgets", "numpy"}
    assert imported_by("import jupyter_containers.cli") & heavy == set()


RUN_NEEDS_NONE_OF = (
    "asyncio",
    "concurrent.futures",
    "email",
    "jupyter_containers.build",
    "jupyter_containers.engine.builds",
    "jupyter_containers.engine.images",
    "jupyter_containers.engine.networks",
    "jupyter_containers.images.starter",
    "jupyter_containers.layers.apply",
    "jupyter_containers.layers.copying",
    "jupyter_containers.layers.diff",
    "jupyter_containers.layers.pack",
    "jupyter_containers.layers.tar",
    "jupyter_containers.linux.probe",
    "jupyter_containers.registry",
    "jupyter_containers.snapshots.copy",
    "tempfile",
    "urllib3",
    "urllib.request",
)


def test_the_engine_loads_only_what_running_a_container_needs() -> None:
    loaded = imported_by("import jupyter_containers.cli; from jupyter_containers.engine import Engine")
    assert "jupyter_containers.engine.containers" in loaded
    assert [name for name in sorted(loaded) if name.startswith(RUN_NEEDS_NONE_OF)] == []


def test_it_imports_without_the_dynamic_loader_of_another_system() -> None:
    """On macOS and Windows the package imports, and says what it cannot do when asked for it."""
    modules = "jupyter_containers, jupyter_containers.oci.names"
    code = f"import sys; sys.platform = 'darwin'; import {modules}; print('imported')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr
