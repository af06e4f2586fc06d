"""The files of control groups: what is read, written, made and removed there. Imports nothing that takes time."""

from __future__ import annotations

import os
from errno import EBUSY, ENODEV, ENOENT, ENOTDIR, EOPNOTSUPP, ESRCH
from time import monotonic, sleep

PARENT = "jupyter-containers"
"""The directory of all our containers in each hierarchy."""


def make(path: str) -> None:
    """Make a directory of ours; the parent of all of them too if it is not there."""
    for _ in range(2):
        try:
            os.mkdir(path, 0o755)
            return
        except FileExistsError:
            return
        except FileNotFoundError:
            parent = os.path.dirname(path)
            if os.path.basename(parent) != PARENT:
                raise
            make(parent)
            inherit_cpuset(parent)


def below(base: str, place: str, name: str) -> str:
    """The directory of a container: what ``cgroupsPath`` of its configuration asks for, or one of its name."""
    parts = [part for part in (place or name).split("/") if part not in {"", "."}]
    if ".." in parts or not parts:
        raise ValueError(f"not a path of a cgroup: {place!r}")
    return "/".join([base, *([] if place.startswith("/") else [PARENT]), *parts])


def make_parents(base: str, path: str) -> list[str]:
    """Make the directories between ``base`` and ``path``, both left out; they are returned from the top down."""
    parents: list[str] = []
    for part in path[len(base) + 1 :].split("/")[:-1]:
        parents.append(f"{parents[-1] if parents else base}/{part}")
        try:
            os.mkdir(parents[-1], 0o755)
        except FileExistsError:
            continue
        inherit_cpuset(parents[-1])
    return parents


def inherit_cpuset(path: str) -> None:
    """A new cpuset of version 1 is empty, and takes no process until it has CPUs and memory nodes."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if os.path.exists(f"{path}/{file}") and not read(f"{path}/{file}").strip():
            written(f"{path}/{file}", read(f"{os.path.dirname(path)}/{file}").strip())


def remove(path: str, deadline: float) -> None:
    """Remove a directory and those in it, waiting until ``deadline`` (of ``monotonic``) while it is busy."""
    while True:
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != EBUSY:
                raise
            children = _children(path)
            if not children and monotonic() >= deadline:
                raise
        for child in children:
            remove(f"{path}/{child}", deadline)
        if not children:
            sleep(0.002)


def _children(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def write(path: str, *texts: str) -> None:
    """Write texts, one after the other, to a file that exists; :exc:`OSError` has its name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for text in texts:
            os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def written(path: str, text: str) -> bool:
    """Write if the file is there."""
    try:
        write(path, text)
    except FileNotFoundError:
        return False
    return True


def read(path: str) -> str:
    """The text of a file, or nothing where it or its cgroup is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {ENOENT, ENOTDIR}:
            return ""
        raise
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError as error:
        # the cgroup was removed meanwhile, or io.stat and the like are switched off
        if error.errno not in {ENOENT, ESRCH, ENODEV, EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


def number(path: str) -> int | None:
    """The number a file holds, or None (no such file, ``max``)."""
    text = read(path).strip()
    return int(text) if text.isdigit() else None


def field(path: str, key: str) -> int | None:
    """A number from a file of lines ``key number``."""
    for line in read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return None
