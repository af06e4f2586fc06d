"""Registers with IPython how the engine's values look.

By the names of the types, so that neither the engine knows HTML nor registering imports the engine.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_containers.commands import tables
from jupyter_containers.errors import EngineError
from jupyter_containers.notebook import markup, objects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.commands.results import HostReport
    from jupyter_containers.engine import Container
    from jupyter_containers.engine.container.history import StatsHistory
    from jupyter_containers.engine.explain.xray import Xray
    from jupyter_containers.engine.network.topology import Topology
    from jupyter_containers.engine.views import ContainerSummary, EngineInfo
    from jupyter_containers.notebook.session import Session


class _Printer(Protocol):
    """The part of IPython's pretty printer that is used here."""

    def text(self, text: str) -> None:
        """Write text."""


def info_html(values: EngineInfo) -> str:
    """``info`` as a table."""
    lines = (line.partition(": ") for line in tables.info(values))
    return objects.definitions("Engine", {name: markup.words(value) for name, _, value in lines})


def report_html(report: HostReport) -> str:
    """``doctor`` as a table: what works, in words, and the remedy where it does not."""
    rows = [
        (
            markup.words(finding.feature),
            "✓ works" if finding.ok else "✗ missing",
            markup.words(finding.detail),
            markup.code(finding.remedy) if finding.remedy and not finding.ok else "",
        )
        for finding in report.findings
    ]
    head = f"<p><strong>{markup.words(report.rung)}</strong>: {markup.words(report.summary)}</p>"
    return head + markup.table("What this host allows", ("Feature", "State", "Detail", "Remedy"), rows)


def report_text(report: HostReport) -> str:
    """``doctor`` in a terminal."""
    return "\n".join(tables.report(report))


def info_text(values: EngineInfo) -> str:
    """``info`` in a terminal."""
    return "\n".join(tables.info(values))


def xray_html(xray: Xray) -> str:
    """An x-ray: sentences, and its tables folded away."""
    from jupyter_containers.commands.xray import page  # noqa: PLC0415 - seldom shown
    from jupyter_containers.notebook.pages import Page  # noqa: PLC0415 - the same

    return Page(page(xray))._repr_html_()


def xray_text(xray: Xray) -> str:
    """An x-ray in a terminal."""
    from jupyter_containers.commands.xray import page  # noqa: PLC0415 - seldom shown

    return "\n".join(tables.page(page(xray), datetime.now(UTC)))


def topology_html(found: Topology) -> str:
    """Networks as they are: a picture, and its tables folded away."""
    from jupyter_containers.commands.network_graph import page  # noqa: PLC0415 - seldom shown
    from jupyter_containers.notebook.pages import Page  # noqa: PLC0415 - the same

    return Page(page(found))._repr_html_()


def topology_text(found: Topology) -> str:
    """Networks as they are, in a terminal."""
    from jupyter_containers.commands.network_graph import page  # noqa: PLC0415 - seldom shown

    return "\n".join(tables.page(page(found), datetime.now(UTC)))


def history_html(history: StatsHistory) -> str:
    """What containers used: plots and a table."""
    from jupyter_containers.notebook.drawing import stats_plot  # noqa: PLC0415 - seldom shown

    return f"<p>{markup.words(_span(history))}</p>{stats_plot.html(history.rows)}"


def history_text(history: StatsHistory) -> str:
    """What containers used, in a terminal."""
    from jupyter_containers.notebook.drawing import stats_plot  # noqa: PLC0415 - seldom shown

    return f"{_span(history)}\n{stats_plot.text(history.rows)}"


def _span(history: StatsHistory) -> str:
    """``StatsHistory: 60 of at most 3600 moments, one each 1 s, goes on``."""
    state = "goes on" if history.running else "stopped"
    trouble = f": {history.problem.message}" if history.problem else ""
    kept = f"{len(history)} of at most {history.keep} moments, one each {history.interval:g} s"
    return f"StatsHistory: {kept}, {state}{trouble}"


_VIEWS = "jupyter_containers.engine.views"
_TYPES: tuple[tuple[str, str, Callable[[Any], str], Callable[[Any], str]], ...] = (
    ("jupyter_containers.engine.explain.xray.views", "Xray", xray_html, xray_text),
    ("jupyter_containers.engine.network.topology", "Topology", topology_html, topology_text),
    ("jupyter_containers.engine.container.history", "StatsHistory", history_html, history_text),
    (_VIEWS, "RunResult", objects.run_html, objects.run_text),
    (_VIEWS, "EngineInfo", info_html, info_text),
    (_VIEWS, "ContainerSummary", objects.summary_html, objects.summary_text),
    (_VIEWS, "NetworkSummary", objects.network_html, objects.network_text),
    (_VIEWS, "VolumeSummary", objects.volume_summary_html, objects.volume_summary_text),
    ("jupyter_containers.linux.probe", "HostReport", report_html, report_text),
    ("jupyter_containers.engine.images", "Image", objects.image_html, objects.image_text),
    ("jupyter_containers.engine.files.image_files", "ImageFiles", objects.files_html, objects.files_text),
    ("jupyter_containers.engine.volumes", "Volume", objects.volume_html, objects.volume_text),
    ("jupyter_containers.build.options", "BuildResult", objects.build_html, objects.build_text),
    ("jupyter_containers.build.ledger", "BuildRecord", objects.record_html, objects.record_text),
)
_CONTAINER = (_VIEWS, "Container")


def _look(session: Session, container: Container) -> ContainerSummary | None:
    """What a container is doing now; None where this session's engine does not know it."""
    if session.started:
        with suppress(EngineError, OSError):  # it is shown as it was known
            return next((row for row in session.engine().containers.list(all=True) if row.id == container.id), None)
    return None


def _plain(text: Callable[[Any], str]) -> Callable[[Any, _Printer, bool], None]:
    def write(value: Any, printer: _Printer, _cycle: bool) -> None:
        printer.text(text(value))

    return write


def _formatters(shell: InteractiveShell) -> Mapping[str, Any]:
    found = shell.display_formatter
    return found.formatters if found is not None else {}


def register(shell: InteractiveShell, session: Session) -> None:
    """Teach a shell's formatters the types of the engine; what a container is doing is asked of the session's."""
    formatters = _formatters(shell)

    def html_of(container: Container) -> str:
        return objects.container_html(container, _look(session, container))

    def text_of(container: Container) -> str:
        return objects.container_text(container, _look(session, container))

    for module, name, html, text in (*_TYPES, (*_CONTAINER, html_of, text_of)):
        formatters["text/html"].for_type_by_name(module, name, html)
        formatters["text/plain"].for_type_by_name(module, name, _plain(text))


def unregister(shell: InteractiveShell) -> None:
    """Make a shell's formatters forget them."""
    formatters = _formatters(shell)
    for module, name in (*((module, name) for module, name, *_ in _TYPES), _CONTAINER):
        formatters["text/html"].pop(f"{module}.{name}", None)
        formatters["text/plain"].pop(f"{module}.{name}", None)
