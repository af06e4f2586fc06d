"""What the loading of a system call filter needs besides the filter: flags, and who is asked about calls.

Sources: OCI runtime specification, config-linux.md "Seccomp"; seccomp(2), seccomp_unotify(2).
"""

from __future__ import annotations

from jupyter_containers.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.oci.runtime_spec import Seccomp

NOTIFY = "SCMP_ACT_NOTIFY"

_OWN_CALLS = ("sendmsg", "recvmsg")

# SECCOMP_FILTER_FLAG_*, seccomp(2)
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_TSYNC, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32


def notifies(profile: Seccomp) -> bool:
    """Whether a profile asks an agent about some calls."""
    rules = profile.get("syscalls") or []
    return profile.get("defaultAction") == NOTIFY or any(rule.get("action") == NOTIFY for rule in rules)


def load_options(profile: Seccomp) -> dict[str, Any]:
    """What besides the program a start needs to load the filter: ``seccomp_flags`` and ``seccomp_agent``.

    Raises
    ------
    InvalidInput
        The profile has an unknown flag, or one that does not go with the rest.
    """
    flags = 0
    for name in profile.get("flags") or []:
        if name not in FLAGS:
            raise InvalidInput(f"seccomp profile: unknown flag {name!r}")
        flags |= FLAGS[name]
    if profile.get("defaultAction") == NOTIFY:
        raise InvalidInput(f"seccomp profile: {NOTIFY} cannot be the default action")
    path = profile.get("listenerPath") or ""
    if not notifies(profile):
        if flags & _WAIT_KILLABLE:
            raise InvalidInput(f"seccomp profile: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for {NOTIFY} only")
        return {"seccomp_flags": flags}
    if not path:
        raise InvalidInput(f"seccomp profile: {NOTIFY} needs a listenerPath")
    for name in _OWN_CALLS:
        if _action_of(profile, name) not in {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG"}:
            raise InvalidInput(f"seccomp profile: with {NOTIFY}, {name} must be allowed: the runtime needs it")
    # the only thread there is needs no other brought along, and the kernel takes no listener with that flag
    flags = flags & ~_TSYNC | _NEW_LISTENER
    return {"seccomp_flags": flags, "seccomp_agent": {"path": path, "metadata": profile.get("listenerMetadata") or ""}}


def _action_of(profile: Seccomp, name: str) -> str:
    """What becomes of a call in the worst case: the first rule's action that is not to allow it, else the default."""
    for rule in profile.get("syscalls") or []:
        certain = rule.get("action") != "SCMP_ACT_ALLOW" or not rule.get("args")
        if certain and name in rule.get("names", []):
            return rule.get("action", "")
    return profile.get("defaultAction", "")
