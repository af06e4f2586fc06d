"""How images, containers, networks, volumes and results look: HTML whose meaning needs no style sheet, and text.

What comes out of images and containers (names, labels, commands, output) is shown, never obeyed: see ``markup``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jupyter_containers.commands import humane
from jupyter_containers.notebook import markup
from jupyter_containers.notebook.drawing import build_graph, layer_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.build.ledger import BuildRecord
    from jupyter_containers.build.options import BuildResult
    from jupyter_containers.engine import Container, Image
    from jupyter_containers.engine.files.image_files import ImageFiles
    from jupyter_containers.engine.views import ContainerSummary, NetworkSummary, RunResult, VolumeSummary
    from jupyter_containers.engine.volumes import Volume

_OUTPUT_LIMIT = 64 * 1024
_TITLE = 80


def definitions(caption: str, values: Mapping[str, str]) -> str:
    """A table of properties; the values are HTML, and those that are empty are left out."""
    rows = [(markup.words(name), value) for name, value in values.items() if value]
    return markup.table(caption, ("Property", "Value"), rows)


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def _codes(values: Mapping[str, str] | tuple[str, ...]) -> str:
    texts = [f"{key}={value}" for key, value in values.items()] if not isinstance(values, tuple) else list(values)
    return ", ".join(markup.code(text) for text in texts)


# -- results ---------------------------------------------------------------------------------------------------------


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
    return humane.visible(f"RunResult({run_summary(result)}: {' '.join(result.command) or result.image})")


def run_html(result: RunResult) -> str:
    """A RunResult: the summary, with the output folded away, for it stood above when it was printed."""
    mark = "✓" if result.exit_code == 0 else "✗"
    summary = f"{mark} {markup.words(run_summary(result))} {markup.code(' '.join(result.command) or result.image)}"
    outputs = [
        f"<p>{name}{_cut(text)}</p>{markup.block(text[-_OUTPUT_LIMIT:])}"
        for name, text in (("Standard output", result.stdout), ("Standard error", result.stderr))
        if text
    ]
    return markup.folded(summary, "".join(outputs)) if outputs else f"<p>{summary}</p>"


def _cut(text: str) -> str:
    left_out = len(text) - _OUTPUT_LIMIT
    return f", without the first {left_out} characters" if left_out > 0 else ""


def build_text(result: BuildResult) -> str:
    """A BuildResult in a terminal: its steps by stage."""
    return build_graph.text(build_graph.BuildGraph.of_result(result))


def build_html(result: BuildResult) -> str:
    """A BuildResult: its graph, and the same as a table."""
    return graph_html(build_graph.BuildGraph.of_result(result))


def record_text(record: BuildRecord) -> str:
    """A build that is remembered, in a terminal."""
    return build_graph.text(build_graph.BuildGraph.of_record(record))


def record_html(record: BuildRecord) -> str:
    """A build that is remembered."""
    failed = f"<p>✗ {markup.words(record.error)}</p>" if record.error else ""
    return failed + graph_html(build_graph.BuildGraph.of_record(record))


def graph_html(graph: build_graph.BuildGraph) -> str:
    """The graph of a build, and the same as a table."""
    return build_graph.picture(graph) + markup.folded("The steps as a table", _steps(graph))


def _steps(graph: build_graph.BuildGraph) -> str:
    rows = [
        (
            str(step.line),
            markup.words(step.stage),
            markup.code(humane.shorten(step.text, _TITLE)),
            f"{build_graph.MARKS[step.status]} {step.status}",
            markup.words(step.reason),
            humane.seconds(step.seconds) if step.status != "skipped" else "",
        )
        for step in graph.steps
    ]
    header = ("Line", "Stage", "Instruction", "Verdict", "Why", "Time")
    return markup.table(f"Build of {graph.name}: {graph.summary()}", header, rows)


# -- images and containers -------------------------------------------------------------------------------------------


def image_html(image: Image) -> str:
    """An image: what it is, and how it was built where a build made it just now."""
    table = definitions(
        f"Image {image.name}",
        {
            "Names": _codes(image.names),
            "Id": markup.code(humane.short_id(image.id)),
            "Digest": markup.code(image.digest),
            "Created": _moment(image.created),
            "Size": humane.size(image.size),
            "Platform": markup.words(image.platform),
            "Command": markup.code(" ".join(image.command)) if image.command else "",
            "Labels": _codes(image.labels),
        },
    )
    if image.build is None:
        return table
    graph = build_graph.BuildGraph.of_result(image.build)
    return table + markup.folded(f"Build: {markup.words(graph.summary())}", graph_html(graph))


def image_text(image: Image) -> str:
    """An image in a terminal."""
    names = ", ".join(image.names) or "<none>"
    return humane.visible(f"Image({names}: {humane.short_id(image.id)}, {humane.size(image.size)})")


def container_html(container: Container, found: ContainerSummary | None = None) -> str:
    """A container: how to find it, and what it is doing at this moment where that is ``found``."""
    values = {"Id": markup.code(container.short_id), "Image": markup.code(container.image)}
    if found is None:
        return definitions(f"Container {container.name}", values)
    return definitions(f"Container {found.name}, as of {_moment(datetime.now(UTC))}", values | _state(found))


def summary_html(found: ContainerSummary) -> str:
    """A row of ``ps`` by itself."""
    values = {"Id": markup.code(humane.short_id(found.id)), "Image": markup.code(found.image)}
    return definitions(f"Container {found.name}", values | _state(found))


def _state(found: ContainerSummary) -> dict[str, str]:
    return {
        "State": markup.words(
            found.status if found.status.lower() == found.state else f"{found.state}: {found.status}"
        ),
        "Command": markup.code(found.command),
        "Created": _moment(found.created),
        "Started": _moment(found.started),
        "Ended": _moment(found.finished),
        "Health": markup.words(found.health),
        "Process": str(found.pid or ""),
        "Networks": _codes(tuple(found.networks)),
        "Address": markup.code(found.address) if found.address else "",
        "Ports": markup.words(found.ports),
        "Mounts": _codes(tuple(f"{target} from {source}" for target, source in found.mounts.items())),
        "Memory limit": humane.size(found.memory_limit) if found.memory_limit else "",
        "Labels": _codes(found.labels),
    }


def container_text(container: Container, found: ContainerSummary | None = None) -> str:
    """A container in a terminal."""
    state = f", {found.status}" if found else ""
    return humane.visible(f"Container({container.name}: {container.short_id}, {container.image}{state})")


def summary_text(found: ContainerSummary) -> str:
    """A row of ``ps`` in a terminal."""
    return humane.visible(f"Container({found.name}: {humane.short_id(found.id)}, {found.image}, {found.status})")


def files_html(found: ImageFiles) -> str:
    """The files of an image by layer."""
    return f"<p>{markup.words(f'{found.image}: {layer_tree.summary(found)}')}</p>{layer_tree.html(found)}"


def files_text(found: ImageFiles) -> str:
    """The same in a terminal: a line for each layer."""
    lines = [f"Files of {found.image}: {layer_tree.summary(found)}"]
    lines += [f"  {layer_tree.heading(each)}: {humane.shorten(each.created_by, _TITLE)}" for each in found.layers]
    return "\n".join(map(humane.visible, lines))


# -- networks and volumes --------------------------------------------------------------------------------------------


def network_html(network: NetworkSummary) -> str:
    """A network."""
    return definitions(
        f"Network {network.name}",
        {
            "Id": markup.code(humane.short_id(network.id)),
            "Driver": markup.words(network.driver),
            "Subnet": markup.words(" and ".join(filter(None, (network.subnet, network.subnet6)))),
            "Gateway": markup.words(network.gateway),
            "Internal": "yes: nothing leaves it" if network.internal else "",
            "Containers": str(network.containers),
            "Created": _moment(network.created),
            "Labels": _codes(network.labels),
        },
    )


def network_text(network: NetworkSummary) -> str:
    """A network in a terminal."""
    subnet = f", {network.subnet}" if network.subnet else ""
    return humane.visible(f"Network({network.name}: {humane.short_id(network.id)}, {network.driver}{subnet})")


def volume_html(volume: Volume) -> str:
    """A volume."""
    return definitions(f"Volume {humane.shorten(volume.name, _TITLE)}", {"Directory": markup.code(volume.mountpoint)})


def volume_text(volume: Volume) -> str:
    """A volume in a terminal."""
    return humane.visible(f"Volume({volume.name}: {volume.mountpoint})")


def volume_summary_html(volume: VolumeSummary) -> str:
    """A row of ``volume ls`` by itself."""
    return definitions(
        f"Volume {humane.shorten(volume.name, _TITLE)}",
        {
            "Driver": markup.words(volume.driver),
            "Size": "" if volume.size is None else humane.size(volume.size),
            "Containers": _codes(volume.containers),
            "Created": _moment(volume.created),
            "Directory": markup.code(volume.mountpoint),
            "Options": _codes(volume.options),
            "Labels": _codes(volume.labels),
        },
    )


def volume_summary_text(volume: VolumeSummary) -> str:
    """A row of ``volume ls`` in a terminal."""
    size = "" if volume.size is None else f", {humane.size(volume.size)}"
    return humane.visible(f"Volume({volume.name}: {volume.mountpoint}{size})")
