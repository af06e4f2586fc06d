"""The files of a container or a volume: directories, text, small downloads. Only looked at, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import InvalidInput
from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live.base import Live, module

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine.files.browsing import Directory

MOST_NAMES = 500
MOST_TEXT = 256 * 1024
MOST_DOWNLOAD = 8 * 2**20


class Files(Live):
    """See the module. ``name`` is that of a container, or of a volume when ``volume``."""

    _esm = module("files")

    def __init__(self, engine: Callable[[], Engine], name: str, path: str = "/", *, volume: bool = False) -> None:
        self._of: Any = engine().volumes if volume else engine().containers
        self._name = self._of.get(name).name
        self._path = path
        title = f"Volume {self._name}" if volume else f"Files of {self._name}"
        super().__init__(engine, lambda: static.directory(title, self._list(path)))
        self._title = title

    def _list(self, path: str, skip: int = 0) -> Directory:
        found: Directory = self._of.list_files(self._name, path, skip=skip, limit=MOST_NAMES)
        return found

    def greet(self, view: str) -> None:
        """Where it begins."""
        self.tell("title", view=view, text=self._title, path=self._path)

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:  # noqa: ARG002 - the base's
        """A directory, the beginning of a file as text, a file to download."""
        view, path = content.get("view"), str(content.get("path"))
        if kind == "follow":  # a link, to a directory or to something else
            try:
                self._list(path)
                kind = "list"
            except InvalidInput:
                kind = "view"
        if kind == "list":
            found = self._list(path, max(0, int(content.get("skip") or 0)))
            rows = [
                {
                    "name": each.name,
                    "mode": each.mode,
                    "size": each.size,
                    "modified": f"{each.modified:%Y-%m-%d %H:%M}",
                    "target": each.target,
                }
                for each in found.entries
            ]
            self.tell("directory", view=view, path=found.path, total=found.total, rows=rows)
        elif kind == "view":
            data: bytes = self._of.read_file(self._name, path, limit=MOST_TEXT, partly=True)
            binary = b"\0" in data
            text = "" if binary else data.decode(errors="replace")
            self.tell("text", view=view, path=path, text=text, binary=binary, partly=len(data) == MOST_TEXT)
        elif kind == "download":
            data = self._of.read_file(self._name, path, limit=MOST_DOWNLOAD)
            self.tell("file", view=view, path=path, buffers=[data])
