"""Which cgroup hierarchies there are and where in them we may write. Sources: cgroups(7), proc(5)."""

from __future__ import annotations

import os


def own_paths(text: str) -> dict[str, str]:
    """Our own cgroup for each controller, and for version 2 under the empty name (``/proc/self/cgroup``)."""
    own: dict[str, str] = {}
    for line in text.splitlines():
        _number, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def hierarchies(text: str) -> list[tuple[str, str, str, set[str]]]:
    """``(root, mount point, type, options)`` of every cgroup file system of mountinfo, the last mount on a place."""
    found: dict[str, tuple[str, str, str, set[str]]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _source, options) = before.split(), after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            mount_point = fields[4].encode().decode("unicode_escape")
            found[mount_point] = (fields[3], mount_point, kind, set(options.strip().split(",")))
    return list(found.values())


def topmost_writable(mount_point: str, root: str, own: str) -> str:
    """The first directory from the mount point down to our own cgroup where we may make cgroups and move processes."""
    relative = own.removeprefix(root.rstrip("/")) if own.startswith(root.rstrip("/") + "/") or own == root else own
    path = mount_point
    for part in ["", *relative.strip("/").split("/")]:
        path = f"{path}/{part}" if part else path
        if not os.path.isdir(path):
            return ""
        if os.access(path, os.W_OK | os.X_OK) and os.access(f"{path}/cgroup.procs", os.W_OK) and not _read_only(path):
            return path
    return ""


def _read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
