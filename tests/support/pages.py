"""HTML as a reader without style sheets and scripts has it, and as a screen reader does."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = frozenset({"br", "hr", "img", "input", "wbr"})
SVG = "{http://www.w3.org/2000/svg}"
FORBIDDEN = frozenset({"script", "style", "link", "iframe", "object", "embed", "foreignObject", "use", "image"})


@dataclass
class Tag:
    """An element that was opened, with its attributes and the text in it."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of some HTML in their order; :meth:`of` refuses what is not closed in order."""

    tags: list[Tag] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Tag] = []

    @classmethod
    def of(cls, html: str) -> Page:
        """Read HTML."""
        page = cls()
        page.feed(html)
        page.close()
        assert not page._open, f"not closed: {page._open}"
        return page

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        made = Tag(tag, dict(attrs))
        self.tags.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(Tag(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> without a beginning"
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            tag.text += data

    def all(self, name: str) -> list[Tag]:
        """The elements of that name."""
        return [tag for tag in self.tags if tag.name == name]

    def texts(self, name: str) -> list[str]:
        """Their texts."""
        return [tag.text for tag in self.all(name)]

    def check(self) -> None:
        """What holds for all that is shown: nothing is run or fetched, tables have captions and headers with scope."""
        for tag in self.tags:
            assert tag.name.lower() not in FORBIDDEN, tag
            for name, value in tag.attributes.items():
                assert not name.startswith("on"), tag
                assert name not in {"href", "src", "xlink:href", "class"}, tag
                assert "url(" not in (value or ""), tag
        assert len(self.all("caption")) == len(self.all("table"))
        assert all(text.strip() for text in self.texts("caption"))
        assert all(tag.attributes.get("scope") in {"row", "col"} for tag in self.all("th"))
        for tag in self.all("svg"):
            assert tag.attributes["role"] == "img"
            labels = str(tag.attributes["aria-labelledby"]).split()
            named = {each.attributes.get("id"): each.text for each in self.tags if each.name in {"title", "desc"}}
            assert all(named[label].strip() for label in labels), tag


def well_formed(html: str) -> str:
    """HTML that was checked: closed in order, accessible, with nothing in it that runs or is fetched."""
    Page.of(html).check()
    return html


def drawings(html: str) -> list[ET.Element]:
    """The pictures in some HTML, read as XML: what an SVG file would be."""
    parts = html.split("<svg")[1:]
    return [ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>") for part in parts]


def words(drawing: ET.Element) -> list[str]:
    """The texts in a picture."""
    return [element.text or "" for element in drawing.iter(f"{SVG}text")]
