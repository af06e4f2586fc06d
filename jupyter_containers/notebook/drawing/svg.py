"""Pictures as SVG elements that stand in a page.

They keep to what survives everywhere: attributes only, no style sheet, no script, no reference to anything outside.
Lines and letters have the colour of the text around them (``currentColor``), so that they are seen on a dark page and
on a light one; fills are half transparent. Nothing is said by colour alone. Each picture has a title and a description,
which a screen reader reads in its place (SVG Accessibility API Mappings; ARIA role ``img``).
"""

from __future__ import annotations

import hashlib
from html import escape
from typing import TYPE_CHECKING, Final, Literal

from jupyter_containers.commands import humane

if TYPE_CHECKING:
    from collections.abc import Iterable

GREEN: Final = "#2f9e62"
ORANGE: Final = "#e08a1e"
RED: Final = "#d6453d"
BLUE: Final = "#3b82c4"
GREY: Final = "#8a8a8a"
LETTER: Final = 0.602
"""The width of a letter of a fixed-width font, of its size."""
_DASHES: Final = "4 3"

Anchor = Literal["start", "middle", "end"]


class Picture:
    """Elements that are put in one after the other, in pixels from the upper left corner."""

    def __init__(self, title: str, description: str, *, width: float = 0, height: float = 0) -> None:
        self.title, self.description = title, description
        self._parts: list[str] = []
        self._width, self._height = width, height

    def _reach(self, x: float, y: float) -> None:
        self._width, self._height = max(self._width, x), max(self._height, y)

    def box(  # noqa: PLR0913 - what a box has
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "none",
        opacity: float = 0.2,
        dashed: bool = False,
        line: float = 1,
        tip: str = "",
    ) -> None:
        """A rectangle; ``line`` is how thick its border is, ``tip`` is shown by a pointer that rests on it."""
        border = f'stroke="currentColor" stroke-width="{line:g}"' if line else 'stroke="none"'
        self._add(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{fill}" '
            f'fill-opacity="{opacity:g}" {border}{_dashes(dashed=dashed)}',
            "rect",
            tip,
        )
        self._reach(x + width + line, y + height + line)

    def circle(
        self, x: float, y: float, radius: float, *, fill: str = "none", dashed: bool = False, tip: str = ""
    ) -> None:
        """A circle around a point."""
        self._add(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}" fill-opacity="0.45" '
            f'stroke="currentColor" stroke-width="1.2"{_dashes(dashed=dashed)}',
            "circle",
            tip,
        )
        self._reach(x + radius + 1, y + radius + 1)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        anchor: Anchor = "start",
        bold: bool = False,
        fixed: bool = False,
        faint: bool = False,
    ) -> None:
        """One line of text; ``y`` is where its letters stand. ``fixed``: in a font of fixed width."""
        shown = humane.visible(text)
        attributes = [
            f'x="{x:g}" y="{y:g}" font-size="{size:g}" font-family="{"monospace" if fixed else "sans-serif"}"',
            'fill="currentColor"',
            *([f'text-anchor="{anchor}"'] if anchor != "start" else []),
            *(['font-weight="bold"'] if bold else []),
            *(['fill-opacity="0.75"'] if faint else []),
        ]
        self._parts.append(f"<text {' '.join(attributes)}>{escape(shown)}</text>")
        if anchor == "start":
            self._reach(x + measure(shown, size), y + size / 2)

    def path(
        self,
        commands: str,
        *,
        colour: str = "currentColor",
        line: float = 1.2,
        dashed: bool = False,
        pattern: str = "",
        tip: str = "",
    ) -> None:
        """A line along SVG's path commands; its ends must lie within the picture. ``pattern``: as its dashes are."""
        dashes = f' stroke-dasharray="{pattern}"' if pattern else _dashes(dashed=dashed)
        self._add(
            f'<path d="{commands}" fill="none" stroke="{colour}" stroke-width="{line:g}"{dashes}',
            "path",
            tip,
        )

    def polyline(self, points: Iterable[tuple[float, float]], *, colour: str, line: float = 1.5) -> None:
        """A line through points."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="{line:g}"/>')

    def _add(self, start: str, name: str, tip: str) -> None:
        inner = f"<title>{escape(humane.visible(tip))}</title>" if tip else ""
        self._parts.append(f"{start}>{inner}</{name}>" if inner else f"{start}/>")

    def svg(self) -> str:
        """The element."""
        body = "".join(self._parts)
        title, description = escape(humane.visible(self.title)), escape(humane.visible(self.description))
        mark = hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:10]
        width, height = round(self._width + 2), round(self._height + 2)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t{mark} d{mark}" '
            f'width="{width}" height="{height}" viewBox="-1 -1 {width} {height}" style="max-width:100%;height:auto">'
            f'<title id="t{mark}">{title}</title><desc id="d{mark}">{description}</desc>{body}</svg>'
        )


def measure(text: str, size: float) -> float:
    """How wide a text is at most, in pixels."""
    return len(text) * size * LETTER


def _dashes(*, dashed: bool) -> str:
    return f' stroke-dasharray="{_DASHES}"' if dashed else ""
