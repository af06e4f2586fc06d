"""HTML whose meaning survives without style sheets and scripts: what GitHub, nbconvert and e-mail leave of a page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from jupyter_containers.commands import humane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Jupyter aligns table cells to the right; text reads better from the left.
_LEFT = ' style="text-align:left"'


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: frozenset[str] = frozenset()
) -> str:
    """A table with a caption and headers for both directions; the first column heads its row.

    Cells are HTML already; caption and header are text. Columns named in ``numbers`` are aligned to the right.
    """
    align = ["" if name in numbers else _LEFT for name in header]
    head = "".join(f'<th scope="col"{style}>{words(name)}</th>' for name, style in zip(header, align, strict=True))
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td{style}>{cell}</td>" for cell, style in zip(rest, align[1:], strict=True))
        lines.append(f'<tr><th scope="row"{align[0]}>{first}</th>{cells}</tr>')
    return (
        f"<table><caption>{words(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def words(text: str) -> str:
    """Text from anywhere: markup is none, and what would move a cursor or turn the direction of writing is spelled."""
    return escape(humane.visible(text))


def code(text: str) -> str:
    """The same in a fixed-width font."""
    return f"<code>{words(text)}</code>"


def folded(summary: str, inner: str, *, opened: bool = False) -> str:
    """A part that can be unfolded; both are HTML."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>{inner}</details>"


def block(text: str) -> str:
    """What a program printed, without the colours and cursor movements of terminals."""
    return f"<pre>{escape(humane.printed(text))}</pre>"


def bar(value: int, total: int, words: str) -> str:
    """A progress bar with the same in words, for those who do not see it."""
    return f'<progress value="{value}" max="{max(total, 1)}">{escape(words)}</progress> {escape(words)}'
