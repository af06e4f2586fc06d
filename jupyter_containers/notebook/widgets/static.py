"""What a widget is in a saved notebook, an export or without anywidget: a table as of now, in HTML and in text."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.notebook import display, markup, objects
from jupyter_containers.notebook.drawing import build_graph
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.files.browsing import Directory
    from jupyter_containers.engine.files.image_files import ImageFiles
    from jupyter_containers.notebook.drawing.build_graph import BuildGraph

_LINES = 50


@dataclass(frozen=True, slots=True)
class Static:
    """HTML and text of the same."""

    html: str
    text: str

    def _repr_mimebundle_(self, **_more: object) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    @classmethod
    def of_text(cls, text: str) -> Static:
        """Text, which is its own HTML."""
        return cls(f"<p>{escape(text)}</p>", text)

    def with_sentence(self, sentence: str) -> Static:
        """The same with a sentence below."""
        return Static(f"{self.html}<p>{escape(sentence)}</p>", f"{self.text}\n{sentence}")


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Static:
    """A table whose title says when it was made."""
    caption = f"{title}, {datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
    html = markup.table(caption, header, [[escape(cell) for cell in row] for row in rows])
    widths = [max(len(name), *(len(row[at]) for row in rows)) if rows else len(name) for at, name in enumerate(header)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return Static(html, "\n".join([caption, *lines]))


def containers(engine: Engine) -> Static:
    """All containers."""
    rows = [(each.name, each.state, each.image, each.status, each.ports) for each in engine.containers.list(all=True)]
    return table("Containers", ("Name", "State", "Image", "Status", "Ports"), rows)


def log(engine: Engine, name: str) -> Static:
    """The last lines that a container printed."""
    said = b"".join(entry.data for entry in engine.containers.logs(name, tail=_LINES)).decode(errors="replace")
    title = f"Log of {name}, the last lines"
    return Static(f"<p>{escape(title)}</p>{markup.block(said)}", f"{title}\n{said}")


def figures(engine: Engine, names: Sequence[str]) -> Static:
    """What containers use now."""
    rows = [
        (
            row.name,
            "" if row.cpu_percent is None else f"{row.cpu_percent:.1f} %",
            "" if row.memory is None else humane.size(row.memory),
        )
        for rows in engine.containers.stats(*names, interval=0.1, count=1)
        for row in rows
    ]
    return table("What containers use", ("Name", "CPU", "Memory"), rows)


def networks(engine: Engine, names: Sequence[str] = ()) -> Static:
    """The networks as they are: a picture and its tables, or a tree in letters."""
    found = engine.networks.topology(*names)
    return Static(display.topology_html(found), display.topology_text(found))


def layers(found: ImageFiles) -> Static:
    """The layers of an image and their files."""
    return Static(objects.files_html(found), objects.files_text(found))


def build(graph: BuildGraph, words: str) -> Static:
    """A build so far, and how it stands."""
    text = f"{build_graph.text(graph)}\n{words}"
    return Static(f"{objects.graph_html(graph)}<p>{markup.words(words)}</p>", text)


def directory(title: str, found: Directory) -> Static:
    """What is in a directory."""
    rows = [(each.name, each.mode, humane.size(each.size), each.target) for each in found.entries[:_LINES]]
    return table(f"{title}: {found.path}, {found.total} names", ("Name", "Mode", "Size", "Link to"), rows)
