"""What a container's process may do: user and groups, capabilities, no_new_privs, seccomp.

The order matters: :func:`become`, then :func:`restrict`, then execve.
Sources: capabilities(7), credentials(7), seccomp(2).
"""

from __future__ import annotations

import os

from jupyter_containers.linux import capabilities, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Process
    from jupyter_containers.runtime.identity import Identity

_EPERM, _EINVAL, _ENOSYS, _EDQUOT = 1, 22, 38, 122

_OVERFLOW = 65534
"""What an id looks like that a user namespace does not have (user_namespaces(7), "Unmapped user and group IDs")."""

#: Read once: in the container /proc may not be there to ask.
LAST = capabilities.last_cap()


class CredentialError(Exception):
    """The user or a capability cannot be had here; the text says why."""


def _mask(names: list[str]) -> int:
    """The bit mask of capability names the kernel knows; those of newer kernels are left out, as Docker does."""
    bits = 0
    for name in names:
        number = capabilities.NUMBERS.get(name)
        if number is None:
            raise CredentialError(f"unknown capability {name}")
        if number <= LAST:
            bits |= 1 << number
    return bits


def _drop_bounding(keep: int) -> None:
    for number in range(LAST + 1):
        if not keep >> number & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def _become(identity: Identity, may_setgroups: bool) -> None:
    try:
        if may_setgroups:
            os.setgroups(identity.groups)
        elif identity.groups:
            raise CredentialError("supplementary groups cannot be set with a single mapped id (setgroups is denied)")
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        if error.errno == _EINVAL:
            raise CredentialError(
                f"user {identity.uid}:{identity.gid} does not exist here: no id of the host is mapped to it"
            ) from None
        raise


def be_somebody() -> None:
    """Become root of this user namespace, unless this process has ids there already.

    One without could make no file. Its capabilities do not depend on it.
    """
    if os.getgid() == _OVERFLOW:
        os.setresgid(0, 0, 0)
    if os.getuid() == _OVERFLOW:
        os.setresuid(0, 0, 0)


def leave_keyring(*, again: bool = True) -> None:
    """Let go of the session keyring of whoever started the container, with the keys it gives access to.

    Where the starter has done so already (``again``), a user without a quota of keys left stays in its empty one.
    """
    try:
        syscalls.join_session_keyring()
    except OSError as error:
        if error.errno not in {_ENOSYS, _EPERM} and not (again and error.errno == _EDQUOT):
            raise


def may_setgroups() -> bool:
    """Whether setgroups(2) is allowed in this user namespace (user_namespaces(7), /proc/<pid>/setgroups)."""
    try:
        descriptor = os.open("/proc/self/setgroups", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return os.read(descriptor, 16).strip() != b"deny"
    finally:
        os.close(descriptor)


def become(process: Process, identity: Identity, *, setgroups: bool) -> None:
    """Cut the bounding set, while CAP_SETPCAP is there, and change the user, keeping the permitted set over it.

    Clears the signal asked for by PR_SET_PDEATHSIG.
    """
    sets = process.get("capabilities")
    if sets is not None:
        _drop_bounding(_mask(sets.get("bounding", [])))
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    _become(identity, setgroups)


def load_filter(process: Process, identity: Identity, program: bytes, flags: int = 0) -> int:
    """Load a filter; a descriptor for its notifications where the flags ask for one.

    A filter needs CAP_SYS_ADMIN where no_new_privs is not wanted, so it is loaded before the sets are cut.
    """
    no_new_privs = process.get("noNewPrivileges", False)
    if no_new_privs:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if process.get("capabilities") is not None and identity.uid != 0 and not no_new_privs:
        _regain_effective()
    return syscalls.load_seccomp(program, flags)


def restrict(process: Process, identity: Identity, seccomp: bytes, flags: int = 0) -> None:
    """Load the filter and give up all capabilities but those asked for; nothing but execve should follow.

    capget, capset, prctl and execve pass through the filter. Capabilities not given at all are left alone.
    """
    sets = process.get("capabilities")
    if process.get("noNewPrivileges", False):
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if seccomp:
        load_filter(process, identity, seccomp, flags)
    if sets is not None:
        both = _cut_sets(sets.get("effective", []), sets.get("permitted", []), sets.get("inheritable", []))
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        ambient = _mask(sets.get("ambient", [])) & both
        for number in range(ambient.bit_length()):
            if ambient >> number & 1:
                syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)


def _regain_effective() -> None:
    """Make the permitted CAP_SYS_ADMIN effective again: leaving uid 0 cleared the effective set."""
    bit = 1 << capabilities.NUMBERS["CAP_SYS_ADMIN"]
    syscalls.capset(bit, syscalls.permitted_capabilities(), 0)


def _cut_sets(effective: list[str], allowed: list[str], inheritable: list[str]) -> int:
    """Cut the three sets; returns what is both permitted and inheritable, and so can be ambient (capabilities(7))."""
    have = syscalls.permitted_capabilities()
    keep, pass_on = _mask(allowed) & have, _mask(inheritable) & have
    syscalls.capset(_mask(effective) & keep, keep, pass_on)
    return keep & pass_on
