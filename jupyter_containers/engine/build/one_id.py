"""Steps of a build where there is one id: programs that change ids and owners are told that they did.

Package managers make files for groups and drop to users that a user namespace with a single id does not have, and give
up when the kernel refuses. Nothing is lost by telling them otherwise, but the owners: all files are root's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from jupyter_containers.linux import seccomp_default

if TYPE_CHECKING:
    from collections.abc import Collection

PRETENDED: Final = (
    *("chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32"),
    *("setgroups", "setgroups32", "setuid", "setuid32", "setgid", "setgid32", "setreuid", "setreuid32"),
    *("setregid", "setregid32", "setresuid", "setresuid32", "setresgid", "setresgid32"),
)
"""The system calls that end well and do nothing: error number 0 (seccomp(2), SECCOMP_RET_ERRNO)."""

APT_SETTINGS: Final = ("/dev/pipes/apt.conf", b'APT::Sandbox::User "root";\n')
"""apt looks whether it has become another user; it need not. APT_CONFIG names this file (apt.conf(5))."""


def profile(capabilities: Collection[str], kernel: tuple[int, int], machine: str) -> str:
    """The default filter with those calls pretended, as ``--security-opt seccomp=`` takes it."""
    rules = seccomp_default.docker_profile(capabilities, kernel, arch=machine)
    pretended = {"names": list(PRETENDED), "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    return json.dumps({**rules, "syscalls": [pretended, *rules["syscalls"]]})
