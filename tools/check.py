"""``./dev check``: style, formatting, types and import contracts, all at once."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tools.environment import ROOT, cache
from tools.stages import note

if TYPE_CHECKING:
    from tools.environment import Environment


def check(environment: Environment) -> int:
    """Run every check to its end; 0 when all are clean. Each prints one line, and what it found."""
    commands = {
        "ruff check": [environment.tool("ruff"), "check", "--quiet", "--output-format=concise", "."],
        "ruff format": [environment.tool("ruff"), "format", "--quiet", "--diff", "."],
        "mypy": [environment.tool("mypy")],
        "import contracts": [environment.tool("lint-imports")],
    }
    variables = environment.variables(**_caches())
    with ThreadPoolExecutor(len(commands)) as pool:
        results = list(pool.map(lambda item: (item[0], *_run(item[1], variables)), commands.items()))
    for name, status, output, seconds in results:
        note(f"{name} ... {'ok' if status == 0 else 'FAILED'}, {seconds:.1f} s")
        if status != 0:
            note(output.rstrip())
    failed = sum(status != 0 for _name, status, _output, _seconds in results)
    note(f"{len(results) - failed} of {len(results)} checks are clean")
    return 1 if failed else 0


def _caches() -> dict[str, str]:
    """Where the tools keep what they know, when the checkout cannot be written."""
    if os.access(ROOT, os.W_OK):
        return {}
    return {"MYPY_CACHE_DIR": str(cache() / "mypy"), "RUFF_CACHE_DIR": str(cache() / "ruff")}


def _run(command: list[str], variables: dict[str, str]) -> tuple[int, str, float]:
    begin = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, time.monotonic() - begin
