"""Run a notebook in a real kernel: ``python -m tools.execute [--no-page] NOTEBOOK DIRECTORY``.

Cell by cell it prints what was run and what came out, as text; the notebook with its outputs and an HTML page go to
the directory. A cell that fails ends the run; what came before is kept. Without the page it takes two seconds less.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RULE = 100


class Narrator:
    """Prints the course of a notebook while it runs."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._begin = 0.0

    def before(self, cell: Any, cell_index: int) -> None:  # noqa: ARG002 - nbclient's hook
        """A cell begins: prose is printed, code announced."""
        if cell.cell_type == "markdown":
            print(f"\n{plain(cell.source)}\n", flush=True)
        elif cell.cell_type == "code":
            self._begin = time.monotonic()
            print(indent(cell.source, "  In │ "), flush=True)

    def after(self, cell: Any, cell_index: int, execute_reply: Any) -> None:  # noqa: ARG002 - nbclient's hook
        """A cell ended: its outputs and the time it took."""
        for text in map(text_of, cell.outputs):
            if text:
                print(indent(text, " Out │ "))
        self.done += 1
        seconds = time.monotonic() - self._begin
        print(f"  ── cell {self.done} of {self.total}, {seconds * 1000:.0f} ms ".ljust(_RULE, "─"), flush=True)


def plain(markdown: str) -> str:
    """Markdown without its signs, good enough to read in a terminal."""
    text = re.sub(r"^#+ *(.*)$", lambda match: f"{match[1]}\n{'=' * len(match[1])}", markdown, flags=re.MULTILINE)
    return re.sub(r"\*\*(.+?)\*\*", r"\1", text)


def indent(text: str, prefix: str) -> str:
    """Every line behind a prefix."""
    return "\n".join(prefix + line for line in text.rstrip().splitlines())


def text_of(output: Any) -> str:
    """What a terminal can show of an output."""
    if output.output_type == "stream":
        text = output.text
    elif output.output_type == "error":
        text = "\n".join(output.traceback)
    else:
        text = output.data.get("text/plain", "")
    return _ESCAPES.sub("", "".join(text)).rstrip()


def execute(source: Path, directory: Path, *, page: bool = True) -> int:
    """Run it, write ``<name>.ipynb`` and (``page``) ``<name>.html``; 0 when every cell ran."""
    notebook: Any = nbformat.read(source, as_version=4)
    narrator = Narrator(sum(cell.cell_type == "code" for cell in notebook.cells))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of every kernel that it uses local TCP
        coalesce_streams=True,  # a program's lines are one text, whatever the pieces they came in
        resources={"metadata": {"path": str(directory)}},
        on_cell_start=narrator.before,
        on_cell_executed=narrator.after,
    )
    status = 0
    try:
        asyncio.run(client.async_execute())
    except CellExecutionError as error:
        print(f"cell {narrator.done} failed: {error.ename}: {_ESCAPES.sub('', error.evalue)}", file=sys.stderr)
        status = 1
    except DeadKernelError as error:
        print(f"the kernel ended: {error}", file=sys.stderr)
        status = 1
    target = directory / source.name
    nbformat.write(notebook, target)
    print(f"\nwritten: {target}")
    if page:
        html = target.with_suffix(".html")
        html.write_text(_html(notebook, source.parent), encoding="utf-8")
        print(f"         {html}")
    return status


def _html(notebook: Any, beside: Path) -> str:
    """The page, with the pictures that lie beside the notebook in it."""
    from nbconvert import HTMLExporter  # noqa: PLC0415 - half a second that the first cell need not wait for

    body, _resources = HTMLExporter(embed_images=True).from_notebook_node(
        notebook, resources={"metadata": {"name": notebook_title(notebook), "path": str(beside)}}
    )
    return str(body)


def notebook_title(notebook: Any) -> str:
    """The first heading."""
    headings = (re.match(r"# (.*)", cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    return next((found[1] for found in headings if found), "Notebook")


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    page = "--no-page" not in arguments
    source, directory = (Path(each) for each in arguments if each != "--no-page")
    directory.mkdir(parents=True, exist_ok=True)
    return execute(source, directory, page=page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
