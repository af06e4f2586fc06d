"""Where this user's store is, and where its run-time files go.

``JUPYTER_CONTAINERS_ROOT`` moves everything below one directory. Without it root uses ``/var/lib/jupyter-containers``
and ``/run/jupyter-containers``, another user the XDG base directories.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput, PermissionDenied
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "jupyter-containers"
ROOT_VARIABLE = "JUPYTER_CONTAINERS_ROOT"
CACHE_VARIABLE = "JUPYTER_CONTAINERS_BUILD_CACHE"
CACHE_SHARE, CACHE_LEAST = 10, 2 << 30


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one store: ``root`` survives a reboot, ``run`` need not."""

    root: Path
    run: Path
    content: Path = field(init=False)
    """The OCI image layout with all blobs."""
    containers: Path = field(init=False)
    """One directory a container: writable layer, log, exit record."""
    database: Path = field(init=False)
    """The SQLite file."""
    build_cache: Path = field(init=False)
    """The SQLite file of the build cache."""
    running: Path = field(init=False)
    """One directory a running container: control socket."""
    mountpoint: Path = field(init=False)
    """An empty directory, on which each container has its root file system in a mount namespace of its own."""

    def __post_init__(self) -> None:
        """Put the places together once: they are asked for all the time."""
        for name, place in (
            ("content", self.root / "content"),
            ("containers", self.root / "containers"),
            ("database", self.root / "state.sqlite"),
            ("build_cache", self.root / "build-cache.sqlite"),
            ("running", self.run / "containers"),
            ("mountpoint", self.run / "rootfs"),
        ):
            object.__setattr__(self, name, place)

    def ensure(self) -> None:
        """Make both directories, private to this user: layers hold set-user-id programs that nobody else may reach.

        Raises
        ------
        PermissionDenied
            when one cannot be made, or belongs to somebody else.
        """
        for directory in (self.root, self.run):
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise PermissionDenied(
                    f"cannot make the store's directory {directory}: {error.strerror}",
                    hint=f"set {ROOT_VARIABLE} to a directory you may write to",
                ) from error
            status = directory.stat()
            if status.st_uid != os.geteuid() and os.geteuid() != 0:
                raise PermissionDenied(
                    f"the store's directory {directory} belongs to uid {status.st_uid}",
                    hint=f"set {ROOT_VARIABLE} to a directory of your own",
                )
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                directory.chmod(0o700)


def find_paths(root: str | os.PathLike[str] | None = None, environment: Mapping[str, str] | None = None) -> Paths:
    """The store to use: ``root`` if given, else what the environment says, else this user's default."""
    env = os.environ if environment is None else environment
    chosen = os.fspath(root) if root is not None else env.get(ROOT_VARIABLE)
    if chosen:
        base = Path(os.path.abspath(os.path.expanduser(chosen)))
        return Paths(base, base / "run")
    if os.geteuid() == 0 and os.access("/var/lib", os.W_OK):  # the root of a user namespace may not
        return Paths(Path("/var/lib") / NAME, Path("/run") / NAME)
    home = Path(env.get("HOME") or "/nonexistent")
    data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    runtime = env.get("XDG_RUNTIME_DIR")
    run = Path(runtime) / NAME if runtime and os.access(runtime, os.W_OK) else data / NAME / "run"
    return Paths(data / NAME, run)


def build_cache_limit(root: Path, environment: Mapping[str, str] | None = None) -> int | None:
    """The bytes that the build cache of a store may take; None: no limit.

    ``JUPYTER_CONTAINERS_BUILD_CACHE`` says it: bytes, or powers of 1024 with ``k``, ``m``, ``g`` or ``t``, or
    ``unlimited``. Without it a tenth of the file system, but 2 GiB at least.

    Raises
    ------
    InvalidInput
        when it is no size.
    """
    text = (os.environ if environment is None else environment).get(CACHE_VARIABLE, "").strip().lower()
    if not text:
        disk = os.statvfs(root)
        return max(CACHE_LEAST, disk.f_blocks * disk.f_frsize // CACHE_SHARE)
    if text == "unlimited":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)i?b?", text)
    if match is None:
        raise InvalidInput(f"{CACHE_VARIABLE} is {text!r}, which is no size", hint="write it as 20g, or as unlimited")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))
