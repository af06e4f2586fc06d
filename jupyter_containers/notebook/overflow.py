"""Output of a cell that is too much for a notebook: its beginning and its end are shown, the middle is left out.

The beginning goes to the cell's streams as it comes. From then on one display shows the end, a few times a second, so
that neither the browser nor the saved file grows with what a container prints.
"""

from __future__ import annotations

import time
import uuid
from html import escape
from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.notebook import markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.notebook.progress import Publish

TAIL = 32 * 1024
INTERVAL = 0.25
_SWITCH = 100


class Overflow:
    """Passes ``limit`` characters on to ``write(stream, text)``, then shows the last ones. Not thread-safe.

    ``where`` says where all of it can be read; set it before :meth:`close`.
    """

    def __init__(self, write: Callable[[str, str], object], publish: Publish, limit: int) -> None:
        self.where = ""
        self._write = write
        self._publish = publish
        self._left, self._last = limit, ""
        self._tail = ""
        self._characters, self._lines = 0, 0
        self._display_id = uuid.uuid4().hex
        self._shown, self._drawn = False, 0.0

    def add(self, stream: str, text: str) -> None:
        """Take text of a stream."""
        if stream != self._last:
            # Each change of the stream is an output of its own in the saved file.
            self._last, self._left = stream, self._left - _SWITCH
        if self._left > 0:
            head, text = self._cut(text)
            self._left -= len(head)
            self._write(stream, head)
            if text:
                self._left = 0
        if not text:
            return
        self._characters += len(text)
        self._lines += text.count("\n")
        self._tail = (self._tail + text)[-2 * TAIL :] if len(text) < TAIL else text[-2 * TAIL :]
        if time.monotonic() - self._drawn >= INTERVAL:
            self._draw(final=False)

    def _cut(self, text: str) -> tuple[str, str]:
        """What may still be passed on, up to the end of a line, and the rest."""
        if len(text) <= self._left:
            return text, ""
        end = text.rfind("\n", 0, self._left) + 1 or self._left
        return text[:end], text[end:]

    def close(self) -> None:
        """Everything came: draw the end, with where the rest is. Idempotent."""
        if self._characters:
            self._draw(final=True)
        self._characters = 0

    def _draw(self, *, final: bool) -> None:
        self._drawn = time.monotonic()
        kept = self._tail[-TAIL:]
        if len(kept) < self._characters:
            kept = kept[kept.find("\n") + 1 :]
        omitted, lines = self._characters - len(kept), self._lines - kept.count("\n")
        note = f"… {lines} lines ({humane.size(omitted)}) are left out here" if omitted else "…"
        if final and omitted and self.where:
            note += f"; {self.where}"
        plain = f"{note}\n{kept}"
        html = f"<p>{escape(note)}</p>{markup.block(kept)}"
        self._publish({"text/plain": plain, "text/html": html}, self._display_id, self._shown)
        self._shown = True
