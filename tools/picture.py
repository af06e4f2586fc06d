"""The picture in the README: ``python -m tools.picture`` after ``./dev demo``, with Chromium installed.

The first cells of the executed notebook, as JupyterLab's own export shows them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter

from tools.course import NOTEBOOK
from tools.environment import ROOT
from tools.packages import find
from tools.stages import Failed, complain, run_quietly

PICTURE = ROOT / "docs" / "images" / "first-container.png"
SHOWN = (
    "%%container build -t nb01-hello --build-arg",
    "%container run --rm nb01-hello",
    "limited",
    "%container images",
)
WIDTH, HEIGHT = 1000, 1170


def chosen(notebook: Any) -> Any:
    """A notebook of the cells that the picture shows."""
    shown = [cell for cell in notebook.cells if cell.cell_type == "code" and any(part in cell.source for part in SHOWN)]
    return nbformat.v4.new_notebook(cells=shown, metadata=notebook.metadata)


def main() -> int:
    """Make the picture."""
    source = ROOT / "demo-output" / NOTEBOOK.name
    browser = find("chromium") or find("chromium-browser") or find("google-chrome")
    if browser is None or not source.exists():
        complain("picture: run ./dev demo first, and install chromium")
        return 1
    body, _resources = HTMLExporter(exclude_input_prompt=True).from_notebook_node(
        chosen(nbformat.read(source, as_version=4))
    )
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "page.html"
        page.write_text(body, encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
        ]
        window = [f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={directory}/profile", f"--screenshot={PICTURE}"]
        try:
            run_quietly([browser, *options, *window, page.as_uri()], what="chromium", timeout=120)
        except Failed as error:
            complain(str(error))
            return 1
    print(PICTURE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
