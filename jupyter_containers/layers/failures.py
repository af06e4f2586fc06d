"""From the kernel's error numbers to typed errors."""

from __future__ import annotations

import errno

from jupyter_containers.errors import EngineError, NotFound, PermissionDenied, SystemFailure


def failure(error: OSError, doing: str) -> EngineError:
    """The typed error for a system call that failed while ``doing`` (``"extracting etc/passwd"``)."""
    reason = f"{doing}: {error.strerror or error}"
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return PermissionDenied(reason)
        case errno.ENOENT:
            return NotFound(reason)
        case errno.ENOSPC | errno.EDQUOT:
            return SystemFailure(reason, hint="free some space: remove images and build cache that are not needed")
        case errno.EMFILE | errno.ENFILE:
            return SystemFailure(reason, hint="raise the limit of open files (ulimit -n)")
        case _:
            return SystemFailure(reason)
