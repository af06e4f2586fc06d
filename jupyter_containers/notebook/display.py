"""How the engine's values look in a notebook: semantic HTML, and text for terminals.

The formatters are registered with IPython by the names of the types, so that neither the engine knows HTML nor
registering imports the engine.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_containers.commands import humane, tables
from jupyter_containers.notebook import markup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.commands.results import HostReport
    from jupyter_containers.engine import Container, Image
    from jupyter_containers.engine.views import EngineInfo, RunResult

_OUTPUT_LIMIT = 64 * 1024


class _Printer(Protocol):
    """The part of IPython's pretty printer that is used here."""

    def text(self, text: str) -> None:
        """Write text."""


def run_summary(result: RunResult) -> str:
    """One line: ``exit status 0, 310 ms, 2.1MB memory``."""
    parts = [result.cause or "exit status 0", humane.milliseconds(result.usage.wall_seconds)]
    if result.usage.cpu_seconds is not None:
        parts.append(f"{humane.milliseconds(result.usage.cpu_seconds)} CPU")
    if result.usage.memory_peak is not None:
        parts.append(f"{humane.size(result.usage.memory_peak)} memory")
    return ", ".join(parts)


def run_text(result: RunResult) -> str:
    """A RunResult in a terminal."""
    return f"RunResult({run_summary(result)}: {' '.join(result.command) or result.image})"


def run_html(result: RunResult) -> str:
    """A RunResult: the summary, with the output folded away, for it stood above when it was printed."""
    mark = "✓" if result.exit_code == 0 else "✗"
    summary = f"{mark} {escape(run_summary(result))} {markup.code(' '.join(result.command) or result.image)}"
    outputs = [
        f"<p>{name}</p>{markup.block(text[-_OUTPUT_LIMIT:])}"
        for name, text in (("Standard output", result.stdout), ("Standard error", result.stderr))
        if text
    ]
    return markup.folded(summary, "".join(outputs)) if outputs else f"<p>{summary}</p>"


def _definitions(caption: str, values: Mapping[str, str]) -> str:
    rows = [(escape(name), value) for name, value in values.items() if value]
    return markup.table(caption, ("Property", "Value"), rows)


def info_html(values: EngineInfo) -> str:
    """``info`` as a table."""
    lines = (line.partition(": ") for line in tables.info(values))
    return _definitions("Engine", {name: escape(value) for name, _, value in lines})


def report_html(report: HostReport) -> str:
    """``doctor`` as a table: what works, in words, and the remedy where it does not."""
    rows = [
        (
            escape(finding.feature),
            "✓ works" if finding.ok else "✗ missing",
            escape(finding.detail),
            markup.code(finding.remedy) if finding.remedy and not finding.ok else "",
        )
        for finding in report.findings
    ]
    head = f"<p><strong>{escape(report.rung)}</strong>: {escape(report.summary)}</p>"
    return head + markup.table("What this host allows", ("Feature", "State", "Detail", "Remedy"), rows)


def report_text(report: HostReport) -> str:
    """``doctor`` in a terminal."""
    return "\n".join(tables.report(report))


def info_text(values: EngineInfo) -> str:
    """``info`` in a terminal."""
    return "\n".join(tables.info(values))


def image_html(image: Image) -> str:
    """An image: what it is, and how it was built where a build made it just now."""
    return _definitions(
        f"Image {image.name}",
        {
            "Names": ", ".join(markup.code(name) for name in image.names),
            "Id": markup.code(humane.short_id(image.id)),
            "Digest": markup.code(image.digest),
            "Created": image.created.strftime("%Y-%m-%d %H:%M:%S UTC") if image.created else "",
            "Size": humane.size(image.size),
            "Platform": escape(image.platform),
            "Command": markup.code(" ".join(image.command)) if image.command else "",
            "Labels": ", ".join(markup.code(f"{key}={value}") for key, value in image.labels.items()),
        },
    )


def image_text(image: Image) -> str:
    """An image in a terminal."""
    return f"Image({', '.join(image.names) or '<none>'}: {humane.short_id(image.id)}, {humane.size(image.size)})"


def container_html(container: Container) -> str:
    """A container: how to find it. What it does now is asked with ``ps``."""
    values = {"Id": markup.code(container.short_id), "Image": markup.code(container.image)}
    return _definitions(f"Container {container.name}", values)


def container_text(container: Container) -> str:
    """A container in a terminal."""
    return f"Container({container.name}: {container.short_id}, {container.image})"


_VIEWS = "jupyter_containers.engine.views"
_TYPES: tuple[tuple[str, str, Callable[[Any], str], Callable[[Any], str]], ...] = (
    (_VIEWS, "RunResult", run_html, run_text),
    (_VIEWS, "EngineInfo", info_html, info_text),
    ("jupyter_containers.linux.probe", "HostReport", report_html, report_text),
    ("jupyter_containers.engine.images", "Image", image_html, image_text),
    ("jupyter_containers.engine.containers", "Container", container_html, container_text),
)


def _plain(text: Callable[[Any], str]) -> Callable[[Any, _Printer, bool], None]:
    def write(value: Any, printer: _Printer, _cycle: bool) -> None:
        printer.text(text(value))

    return write


def _formatters(shell: InteractiveShell) -> Mapping[str, Any]:
    found = shell.display_formatter
    return found.formatters if found is not None else {}


def register(shell: InteractiveShell) -> None:
    """Teach a shell's formatters the types of the engine."""
    formatters = _formatters(shell)
    for module, name, html, text in _TYPES:
        formatters["text/html"].for_type_by_name(module, name, html)
        formatters["text/plain"].for_type_by_name(module, name, _plain(text))


def unregister(shell: InteractiveShell) -> None:
    """Make a shell's formatters forget them."""
    formatters = _formatters(shell)
    for module, name, _html, _text in _TYPES:
        formatters["text/html"].pop(f"{module}.{name}", None)
        formatters["text/plain"].pop(f"{module}.{name}", None)
