"""Widgets: live views of containers, for notebooks with anywidget. Without it each is a table as of now.

::

    from jupyter_containers.notebook import widgets

    widgets.dashboard()
    widgets.logs("web")
"""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jupyter_containers.commands import results
from jupyter_containers.engine import CancelToken
from jupyter_containers.engine.views import Exec
from jupyter_containers.errors import UsageError
from jupyter_containers.events import ignore
from jupyter_containers.notebook.widgets import static

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.commands.results import Result
    from jupyter_containers.engine import Engine, Image
    from jupyter_containers.events import EventSink
    from jupyter_containers.notebook.widgets.live.terminal import WidgetConsole

    BuildWork = Callable[[EventSink, Callable[[Callable[[], None]], None]], Image]

__all__ = ["build", "dashboard", "files", "layers", "logs", "networks", "run_form", "stats", "terminal"]

_MISSING = "Live views need anywidget: pip install 'ipycontainers[widgets]', then restart the kernel."


def available() -> bool:
    """Whether there is what live widgets need."""
    return find_spec("anywidget") is not None


def build(path: Any = None, *, engine: Callable[[], Engine] | None = None, **keywords: Any) -> Image:
    """Build an image and show its graph meanwhile; ``path`` and ``keywords`` are those of ``engine.images.build``."""
    engine = engine or _engine()

    def work(sink: EventSink, on_stop: Callable[[Callable[[], None]], None]) -> Image:
        cancel = CancelToken()
        on_stop(cancel.cancel)
        return engine().images.build(path, sink=sink, cancel=cancel, **keywords)

    return show_build(engine, str(keywords.get("tag") or path or "an image"), work)


def show_build(engine: Callable[[], Engine], title: str, work: BuildWork) -> Image:
    """Do a build, which is given where its events go and whom to tell how it is stopped, and show its graph."""
    if not available():
        return work(ignore, lambda _stop: None)
    from jupyter_containers.notebook.widgets.live.build import Build  # noqa: PLC0415 - anywidget is optional

    return Build(engine, title).run(work)


def dashboard(*, engine: Callable[[], Engine] | None = None) -> Any:
    """All containers, with start, stop, remove, logs and exec; up to date while it is looked at."""
    engine = engine or _engine()
    if not available():
        return static.containers(engine()).with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.dashboard import Dashboard  # noqa: PLC0415 - anywidget is optional

    return Dashboard(engine)


def logs(
    name: str,
    *,
    tail: int | None = None,
    since: str | None = None,
    until: str | None = None,
    engine: Callable[[], Engine] | None = None,
) -> Any:
    """The log of a container as it grows, with a search; at first its last lines, ``tail`` of them.

    ``since`` and ``until`` are moments as :meth:`~jupyter_containers.engine.containers.Containers.logs` takes them.
    """
    engine = engine or _engine()
    if not available():
        return static.log(engine(), name).with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.log_viewer import LogViewer  # noqa: PLC0415 - anywidget is optional

    return LogViewer(engine, name, tail=tail, since=since, until=until)


def stats(*names: str, interval: float = 1.0, engine: Callable[[], Engine] | None = None) -> Any:
    """Plots of what containers use, every ``interval`` seconds; without names of all that run."""
    engine = engine or _engine()
    if not available():
        return static.figures(engine(), names).with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.figures import Figures  # noqa: PLC0415 - anywidget is optional

    return Figures(engine, names, interval=interval)


def files(name: str, path: str = "/", *, volume: bool = False, engine: Callable[[], Engine] | None = None) -> Any:
    """The files of a container, or of a volume: directories, text, small downloads."""
    engine = engine or _engine()
    if not available():
        parts = engine().volumes if volume else engine().containers
        found = parts.list_files(name, path)
        return static.directory(f"Files of {name}", found).with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.files import Files  # noqa: PLC0415 - anywidget is optional

    return Files(engine, name, path, volume=volume)


def layers(image: str, *, engine: Callable[[], Engine] | None = None) -> Any:
    """The layers of an image: the files of each as a tree, what is carried in vain, and what made them."""
    engine = engine or _engine()
    if not available():
        return static.layers(engine().images.files(image)).with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.layers import Layers  # noqa: PLC0415 - anywidget is optional

    return Layers(engine, image)


def networks(*names: str, engine: Callable[[], Engine] | None = None) -> Any:
    """The networks as they are, drawn anew when something changes; without names all of them."""
    engine = engine or _engine()
    if not available():
        return static.networks(engine(), names).with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.networks import Networks  # noqa: PLC0415 - anywidget is optional

    return Networks(engine, names)


def run_form(*words: str, engine: Callable[[], Engine] | None = None) -> Any:
    """A form that runs a container; ``words`` are what stands after ``run`` at first."""
    engine = engine or _engine()
    if not available():
        return static.Static.of_text("A form for run").with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.run_form import RunForm  # noqa: PLC0415 - anywidget is optional

    return RunForm(engine, words)


def terminal(
    name: str, command: Sequence[str] = ("sh",), *, engine: Callable[[], Engine] | None = None, **keywords: Any
) -> Any:
    """A terminal with a command in a running container; ``keywords`` are those of ``engine.containers.exec``."""
    engine = engine or _engine()

    def work(sink: EventSink, console: WidgetConsole) -> Result:
        result = engine().containers.exec(name, command, stdin=b"", sink=sink, console=console, tty=True, **keywords)
        return results.Lines(()) if isinstance(result, Exec) else results.Ran(result, "exec")

    return open_terminal(engine, f"exec -it {name} {shlex.join(command)}", work)


def open_terminal(engine: Callable[[], Engine], title: str, work: Callable[[EventSink, WidgetConsole], Result]) -> Any:
    """A terminal for a verb, which is given where its output goes and the console."""
    if not available():
        return static.Static.of_text(f"{title}: a terminal").with_sentence(_MISSING)
    from jupyter_containers.notebook.widgets.live.terminal import Terminal  # noqa: PLC0415 - anywidget is optional

    return Terminal(engine, title, work)


def _engine() -> Callable[[], Engine]:
    """That of the magics, which a kernel has one of."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415 - on use

    from jupyter_containers.notebook import load, session_of  # noqa: PLC0415 - the same

    shell = get_ipython()
    if shell is None:
        raise UsageError("there is no notebook here", hint="give the engine: engine=lambda: Engine()")
    load(shell)
    return session_of(shell).engine
