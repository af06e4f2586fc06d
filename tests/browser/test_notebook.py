"""The first notebook of the course, as a person runs it in JupyterLab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.conftest import Notebook

pytestmark = pytest.mark.root

FIRST = Path(__file__).parents[2] / "notebooks" / "01-first-container.ipynb"
HEIGHT = 690


def test_the_first_notebook_runs_from_top_to_bottom(
    open_notebook: Callable[..., Notebook], picture: Callable[..., Path]
) -> None:
    cells = nbformat.read(FIRST, as_version=4).cells
    notebook = open_notebook(*cells, name=FIRST.name)
    notebook.run()
    saved = notebook.save()
    errors = [
        (cell.source, output.evalue)
        for cell in saved.cells
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type == "error"
    ]
    assert errors == []
    notebook.page.set_viewport_size({"width": 1100, "height": HEIGHT})
    notebook.show("An image")
    picture("first-notebook")
    notebook.page.set_viewport_size({"width": 1100, "height": 760})
