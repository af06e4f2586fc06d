"""The file tree of a container: its mounts in words, its layers, the paths that are hidden or read-only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from jupyter_containers.engine.explain.xray.text import visible
from jupyter_containers.engine.explain.xray.views import CoveredPath, Layer, Mount
from jupyter_containers.errors import NotFound
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.explain.xray.facts import MountLine
    from jupyter_containers.engine.launch.isolation import Sandboxing
    from jupyter_containers.engine.launch.mounts import MountPoint
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord

_KERNEL: Final = {
    "proc": "the kernel's view of the processes of this pid namespace",
    "sysfs": "the kernel's view of devices, and of this network namespace",
    "devpts": "terminals of the container's own",
    "mqueue": "the message queues of this ipc namespace",
    "cgroup": "the container's control group",
    "cgroup2": "the container's control group",
    "tmpfs": "memory",
}
_PLACES: Final = {
    "/dev": "devices of the container's own, in memory",
    **dict.fromkeys(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"), "written by the engine, in memory"),
}


def mounts(lines: Sequence[MountLine], record: ContainerRecord, covered: Sequence[CoveredPath]) -> list[Mount]:
    """What is mounted where, in the kernel's order."""
    points = {point.target: point for point in record.mounts}
    hidden = {each.path: each for each in covered if each.holds}
    return [
        Mount(
            target=visible(line.target),
            type=line.type,
            what=_what(line, points, hidden, record),
            source=visible(line.source),
            root=visible(line.root),
            options=visible(line.options),
            propagation=line.propagation,
            read_only="ro" in {*line.options.split(","), *line.super_options.split(",")},
            mount_id=line.mount_id,
            parent_id=line.parent_id,
        )
        for line in lines
    ]


def _what(
    line: MountLine, points: dict[str, MountPoint], hidden: dict[str, CoveredPath], record: ContainerRecord
) -> str:
    if line.target == "/":
        return _root(line, len(record.chains))
    if line.target in points:
        return of_point(points[line.target])
    if line.target in hidden:
        each = hidden[line.target]
        return f"hidden: {each.how}" if each.kind == "masked" else "the same files, read-only"
    if line.target.startswith("/dev/") and line.type == "devtmpfs":
        return "a device of the host"
    return _PLACES.get(line.target) or _KERNEL.get(line.type, line.type)


def _root(line: MountLine, count: int) -> str:
    if line.type != "overlay":
        return "a copy of the image, with what the container writes"
    return f"{count} layer{'s' if count != 1 else ''} of the image, read-only, below what the container writes"


def of_point(point: MountPoint) -> str:
    """A mount that was asked for, in words."""
    kind = "anonymous volume" if point.anonymous else point.kind
    words = {"bind": "a directory or file of the host", "tmpfs": "memory, empty at the start"}.get(point.kind, kind)
    name = "" if point.anonymous else point.source
    return visible(f"{words}: {name}" if name else words)


def planned(record: ContainerRecord) -> list[Mount]:
    """The mounts a container that does not run is going to have, as far as they were asked for."""
    return [
        Mount(
            target=visible(point.target),
            type=point.kind,
            what=of_point(point),
            source=visible(point.source),
            root="",
            options=visible(",".join(point.options)),
            propagation=point.propagation,
            read_only=point.read_only,
            mount_id=0,
            parent_id=0,
        )
        for point in record.mounts
    ]


def stack(parts: Parts, record: ContainerRecord) -> list[Layer]:
    """The layers of its image, bottom first, and the directory it writes to."""
    made_by: dict[str, str] = {}
    try:
        model = parts.library.read(parts.library.find(record.image_id))
    except NotFound:  # its image was untagged or replaced: the layers are kept as long as it is
        model = None
    if model is not None:
        steps = [step for step in model.history if step.layer is not None]
        made_by = {str(layer.chain_id): step.created_by for layer, step in zip(model.layers, steps, strict=False)}
    found = []
    for place, chain in enumerate(record.chains):
        info = parts.snapshotter.info(Digest(chain))
        directory = parts.snapshotter.layer_dirs([Digest(chain)])[0] if info else ""
        size = info.bytes if info else None
        found.append(Layer(place, chain, size, visible(made_by.get(chain, "")), str(directory)))
    upper = parts.paths.containers / record.id / "upper"
    written = "what the container writes" if os.path.lexists(upper) else "what the container will write"
    return [*found, Layer(len(found), "", None, written, str(upper))]


def covered(sandboxing: Sandboxing, lines: Sequence[MountLine] | None) -> list[CoveredPath]:
    """The paths that are to be hidden and read-only, and whether they are, by what is mounted there."""
    found = []
    asked: list[tuple[str, Literal["masked", "read-only"]]] = [(path, "masked") for path in sandboxing.masked]
    asked += [(path, "read-only") for path in sandboxing.readonly]
    on = {line.target: line for line in lines or ()}
    for path, kind in asked:
        if lines is None:
            found.append(CoveredPath(path, kind, None, "at its start"))
        elif path in on:
            found.append(CoveredPath(path, kind, *_held(kind, on[path])))
        elif path.startswith(("/proc/", "/sys/")) and not os.path.lexists(path):
            found.append(CoveredPath(path, kind, None, "this kernel has no such path"))
        else:
            found.append(CoveredPath(path, kind, False, "nothing is mounted there"))
    return found


def _held(kind: str, line: MountLine) -> tuple[bool, str]:
    read_only = "ro" in line.options.split(",")
    if kind == "read-only":
        return read_only, "mounted over itself, read-only" if read_only else "mounted, and writable"
    if line.type == "tmpfs" and not line.root.endswith("/null"):
        return True, "an empty directory is mounted over it"
    return line.root.endswith("/null"), "/dev/null is mounted over it"
