"""What init and the monitor report, as exceptions with advice."""

from __future__ import annotations

from errno import EACCES, EAGAIN, ENOMEM, ENOSPC, ENOSYS, EPERM, EROFS
from typing import TYPE_CHECKING

from jupyter_containers.errors import CommandNotExecutable, CommandNotFound, StartFailed

if TYPE_CHECKING:
    from jupyter_containers.runtime.protocol import Failure

_BY_STEP = {
    ("namespaces", ENOSPC): "The host's limit of namespaces is reached: raise the sysctls below user.max_*_namespaces.",
    ("namespaces", EPERM): "Run as root, or where user namespaces are allowed (jupyter-container doctor says why not).",
    ("root file system", EPERM): "This host does not let this user mount: see jupyter-container doctor.",
    ("mounts", EPERM): "An outer container may hide parts of /proc or /sys, which forbids mounting new ones: see "
    "jupyter-container doctor.",
    ("working directory", EROFS): "Make the directory in the image, or leave out --read-only.",
    ("oom score", EACCES): "Lowering the score needs CAP_SYS_RESOURCE: leave the option out.",
}
_BY_STEP_ALONE = {
    "lookup user": "The image's /etc/passwd and /etc/group know no such name: add it in the Dockerfile (useradd, "
    "adduser), or give numbers, as in --user 1000:1000.",
}
_BY_ERRNO = {
    EAGAIN: "The limit of processes is reached (ulimit -u, pids cgroup).",
    ENOMEM: "The host is short of memory.",
    ENOSYS: "The kernel is older than 5.12, or a seccomp filter of an outer container forbids the call.",
}
_NOT_FOUND = (
    "A name is looked for in the image's PATH, a path in the image: is it installed there, and is the interpreter "
    "that its first line (#!) names?"
)
_NOT_EXECUTABLE = (
    "It must be a file that may be executed (chmod +x), and a program for this machine or a script that begins with "
    "#! and an interpreter."
)


def exception(failure: Failure) -> StartFailed:
    """The exception for a failure."""
    step, errno, detail = failure["step"], failure["errno"], failure["detail"]
    if failure["what"] == "command-not-found":
        return CommandNotFound(detail, step=step, errno=errno, hint=_NOT_FOUND)
    if failure["what"] == "command-not-executable":
        return CommandNotExecutable(detail, step=step, errno=errno, hint=_NOT_EXECUTABLE)
    hint = _BY_STEP.get((step, errno)) or _BY_STEP_ALONE.get(step) or _BY_ERRNO.get(errno)
    return StartFailed(f"cannot start the container ({step}): {detail}", step=step, errno=errno, hint=hint)


def no_user_namespace(errno: int, detail: str) -> StartFailed:
    """Why unshare(CLONE_NEWUSER) failed, and what would lift it."""
    hints = {
        ENOSPC: "Raise the sysctl user.max_user_namespaces (0 forbids them).",
        EPERM: "Allow them: sysctl kernel.unprivileged_userns_clone=1 (Debian) or "
        "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container, by its seccomp profile.",
        ENOSYS: "The kernel was built without user namespaces, or a seccomp profile hides them.",
    }
    return StartFailed(
        f"an ordinary user's containers need a user namespace, which the kernel refused: {detail}",
        step="user namespace",
        errno=errno,
        hint=hints.get(errno),
    )
