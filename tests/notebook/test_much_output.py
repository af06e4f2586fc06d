"""A container that prints 100,000 lines: the saved notebook stays small, and says where all of it is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

CELLS = (
    "%load_ext jupyter_containers",
    "%container run --network none --name chatty starter sh -c 'seq 100000; seq 100000 | sed s/^/error:/ >&2';",
    "%container logs chatty",
    "%container -o r run --rm --network none starter seq 100000",
    "print(r.stdout.count('\\n'))",
    "%%container build --network none\nFROM starter\nRUN seq 100000\nRUN seq 100000 >&2",
    "%%container build --progress plain --no-cache --network none\nFROM starter\nRUN seq 100000",
    "%container rm chatty",
)


def test_the_saved_notebook_stays_small(store_root: Path, no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - set and checked around it
    monkeypatch.setitem(os.environ, "JUPYTER_CONTAINERS_ROOT", str(store_root))
    book: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nbclient.NotebookClient(book, timeout=200, kernel_name="python3").execute()
    sizes = [len(json.dumps(cell)) for cell in book.cells]
    assert max(sizes) < 400_000, sizes
    assert sum(sizes) < 1_000_000, sizes
    run = json.dumps(book.cells[1].outputs)
    assert "%container logs chatty shows all of it" in run
    assert "error:100000" in run
    assert next(each.text for each in book.cells[1].outputs if each.output_type == "stream").startswith("1\n2\n3\n")
    assert "r.stdout has all of it" in json.dumps(book.cells[3].outputs)
    assert book.cells[4].outputs[0]["text"] == "100000\n"
    assert "characters before this are not kept" in json.dumps(book.cells[5].outputs)
