"""Where this user's store is, and where its run-time files go.

``JUPYTER_CONTAINERS_ROOT`` moves everything below one directory. Without it root uses ``/var/lib/jupyter-containers``
and ``/run/jupyter-containers``, another user the XDG base directories.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_containers.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "jupyter-containers"
ROOT_VARIABLE = "JUPYTER_CONTAINERS_ROOT"


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one store: ``root`` survives a reboot, ``run`` need not."""

    root: Path
    run: Path

    @property
    def content(self) -> Path:
        """The OCI image layout with all blobs."""
        return self.root / "content"

    @property
    def containers(self) -> Path:
        """One directory a container: writable layer, log, exit record."""
        return self.root / "containers"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "state.sqlite"

    @property
    def build_cache(self) -> Path:
        """The SQLite file of the build cache."""
        return self.root / "build-cache.sqlite"

    @property
    def running(self) -> Path:
        """One directory a running container: monitor record, control socket."""
        return self.run / "containers"

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
    if os.geteuid() == 0:
        return Paths(Path("/var/lib") / NAME, Path("/run") / NAME)
    home = Path(env.get("HOME") or "/nonexistent")
    data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    runtime = env.get("XDG_RUNTIME_DIR")
    run = Path(runtime) / NAME if runtime and os.access(runtime, os.W_OK) else data / NAME / "run"
    return Paths(data / NAME, run)
