"""Which OCI runtime makes a container: this package's own, or another one's command (crun, runc) when one is named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.errors import NotFound, Unsupported

if TYPE_CHECKING:
    from jupyter_containers.engine.options import RunOptions

OWN = "own"
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"
_HINT = "Leave --runtime out, or leave that option out."


def find(options: RunOptions, *, rootless: bool) -> str:
    """The path of the runtime's program; empty for this package's own.

    Raises
    ------
    NotFound
        There is no such program.
    Unsupported
        It cannot be had together with another option, or by this user.
    """
    name = options.runtime
    if not name or name == OWN:
        return ""
    import shutil  # noqa: PLC0415 - only for another runtime

    program = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
    if program is None:
        raise NotFound(f"there is no runtime {name!r} here", hint=f"Install it, or leave --runtime out ({OWN}).")
    if rootless:
        raise Unsupported(f"--runtime {name} needs root: other runtimes do not know this user's namespace")
    for option, given in (("--init", options.init), ("--userns", bool(options.userns))):
        if given:
            raise Unsupported(f"{option} cannot be had with --runtime {name}", hint=_HINT)
    return os.path.abspath(program)
