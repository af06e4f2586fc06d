"""The base of all widgets: who looks at one, what it is told, a thread that follows something meanwhile.

A message of a page is a dictionary with ``kind`` and the ``view`` it comes from; what is sent has a ``kind`` too. Every
page that shows a widget says ``hello``, gives signs of life and says ``bye``: a widget nobody looks at does nothing and
sends nothing. Messages arrive in any thread (JupyterLab sends them by subshells, so that they come while a cell runs),
so each request is served by a thread of its own and what is shared has a lock.
"""

from __future__ import annotations

import atexit
import contextvars
import functools
import threading
import time
import weakref
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

import anywidget
from IPython.display import publish_display_data

from jupyter_containers.errors import EngineError
from jupyter_containers.notebook.widgets.live.feeds import quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_containers.engine import Engine
    from jupyter_containers.notebook.widgets.static import Static

PATIENCE = 120.0
"""Seconds after which a page that gives no sign of life is gone; browsers slow hidden pages to one a minute."""
BEAT = 5.0
"""Seconds between two messages at most: a page takes a kernel that says nothing for gone."""
_MOST_REQUESTS = 16

_over = threading.Event()
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def module(*names: str) -> str:
    """The text of a widget's module: what all share, then its own parts."""
    return "\n".join(text(f"{name}.js") for name in ("common", *names))


@functools.cache
def text(name: str) -> str:
    """A file of the package's folder ``web``."""
    return (
        resources.files("jupyter_containers.notebook.widgets")
        .joinpath("web", *name.split("/"))
        .read_text(encoding="utf-8")
    )


@atexit.register
def _end() -> None:
    """The kernel ends: let the threads see it before the engine is closed."""
    _over.set()
    for thread in tuple(_threads):
        thread.join(2.0)


class Live(anywidget.AnyWidget):
    """See the module. A subclass serves requests in :meth:`answer` and follows something in :meth:`follow`."""

    _css = text("style.css")

    def __init__(self, engine: Callable[[], Engine], static: Callable[[], Static]) -> None:
        super().__init__()
        self.engine = engine
        self._static = static
        self._views: dict[str, float] = {}
        self._guard = threading.RLock()
        self._following: threading.Thread | None = None
        self._beating: threading.Thread | None = None
        self._again = False
        self._places = threading.BoundedSemaphore(_MOST_REQUESTS)
        self.on_msg(self._receive)
        # ipykernel 7.4 hands what a page says on a channel to the shell that last spoke on it, which is the one that
        # runs cells. Without this it goes to the subshell that the page chose, past the running cell.
        if getattr(self.comm, "_reply_subshell_for", None) is not None:
            self.comm._reply_subshell_for = None  # noqa: SLF001 - there is no public way

    # -- what it is for a page that has no scripts ----------------------------------------------------------------

    def _ipython_display_(self, **_more: Any) -> None:
        """The static form as one output, the live view as the next one, whose page side hides the first.

        They are two because JupyterLab shows "model not found" in the place of a live view, and nothing else of the
        same output, when a notebook is opened again without the kernel that it belongs to.
        """
        self._show_static(update=False)
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        view = {**data, "text/plain": "The live view needs its kernel; what it showed at first is above."}
        publish_display_data(view, metadata)  # type: ignore[no-untyped-call]  # IPython's

    def refresh_static(self) -> None:
        """Put the static form as it is now in the place of the one that was shown."""
        self._show_static(update=True)

    def _show_static(self, *, update: bool) -> None:
        static = self._static()
        html = f'<div data-jc-static="{self.model_id}">{static.html}</div>'
        place = {"display_id": f"jc-static-{self.model_id}"}
        bundle = {"text/html": html, "text/plain": static.text}
        publish_display_data(bundle, transient=place, update=update)  # type: ignore[no-untyped-call]  # IPython's

    # -- messages -------------------------------------------------------------------------------------------------

    def tell(self, kind: str, *, buffers: Sequence[bytes] | None = None, **content: Any) -> None:
        """Send a message to the pages that show this widget."""
        self.send({"kind": kind, **content}, buffers=list(buffers) if buffers else None)

    def _receive(self, _widget: object, content: Any, buffers: list[memoryview]) -> None:
        kind, view = str(content.get("kind")), str(content.get("view"))
        with self._guard:
            if kind == "bye":
                self._views.pop(view, None)
                return
            new = view not in self._views
            self._views[view] = time.monotonic()
        if new or kind == "hello":
            self.begin(self._greet, view)
        if kind not in {"hello", "ping"}:
            self.heard(kind, content, [bytes(each) for each in buffers])

    def heard(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:
        """A request came. It is answered in a thread of its own, unless a subclass knows better."""
        self.begin(self._serve, kind, content, buffers)

    def _serve(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:
        if not self._places.acquire(blocking=False):
            self.tell("problem", text="too much at once", hint="wait a moment and try again")
            return
        try:
            self.answer(kind, content, buffers)
        except EngineError as error:
            self.tell("failed", id=content.get("id"), text=error.message, hint=error.hint or "")
        finally:
            self._places.release()

    def begin(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Do something in a thread, in a copy of this context: the kernel knows by it what its messages belong to."""
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(work, *arguments), daemon=True)
        _threads.add(thread)
        thread.start()
        return thread

    @contextmanager
    def helped_by(self, *works: Callable[[Callable[[], bool]], None]) -> Iterator[None]:
        """Do something in threads beside the follower, which are told whether it goes on: a page that leaves and
        comes again at once is none of their business.

        What ends with an error, since the store is in the way, is done again: the follower tells what is wrong.
        """
        over = threading.Event()

        def goes_on() -> bool:
            return not over.is_set() and not _over.is_set()

        helpers = [self.begin(quietly, functools.partial(work, goes_on), goes_on) for work in works]
        try:
            yield
        finally:
            over.set()
            for helper in helpers:
                helper.join()

    # -- what a subclass does ---------------------------------------------------------------------------------------

    def answer(self, kind: str, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Serve a request; an EngineError is told to the page."""

    def greet(self, view: str) -> None:
        """Send a page that has just come what it needs to be up to date."""

    def follow(self) -> None:
        """Send what changes, as long as :attr:`watched`; called anew when another page has come meanwhile."""

    # -- the follower -----------------------------------------------------------------------------------------------

    @property
    def watched(self) -> bool:
        """Whether a page shows this widget, in a kernel that goes on."""
        if _over.is_set():
            return False
        oldest = time.monotonic() - PATIENCE
        with self._guard:
            return any(seen > oldest for seen in self._views.values())

    def _greet(self, view: str) -> None:
        self.tell("beat", view=view)
        try:
            self.greet(view)
        except EngineError as error:
            self.tell("problem", view=view, text=error.message, hint=error.hint or "")
        with self._guard:
            self._again = True
            if self._following is None:
                self._following = self.begin(self._follow)
            if self._beating is None:
                self._beating = self.begin(self._beat)

    def _beat(self) -> None:
        while not _over.wait(BEAT):
            with self._guard:
                if not self.watched:
                    self._beating = None
                    return
            self.tell("beat")

    def _follow(self) -> None:
        while True:
            with self._guard:
                if not self._again:
                    self._following = None
                    return
                self._again = False
            try:
                self.follow()
            except EngineError as error:
                self.tell("problem", text=error.message, hint=error.hint or "")
