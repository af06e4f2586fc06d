"""pandas takes half a second to import: it is not, before a table is asked for."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell(config=config)
shell.run_line_magic("load_ext", "jupyter_containers")
for line in ("--help", "volume create data", "ps -q", "volume inspect data", "ps --format json"):
    shell.display_formatter.format(shell.run_line_magic("container", line))
print("pandas" in sys.modules)
shell.run_line_magic("container", "ps")
print("pandas" in sys.modules)
"""


def test_pandas_is_not_imported_before_a_frame_is_asked_for(tmp_path: Path) -> None:
    environment = {"JUPYTER_CONTAINERS_ROOT": str(tmp_path / "store"), "IPYTHONDIR": str(tmp_path), "PATH": "/bin"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert ran.stdout.splitlines()[-2:] == ["False", "True"], ran.stderr
