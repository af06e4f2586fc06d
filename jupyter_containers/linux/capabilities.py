"""Linux capabilities: names, numbers and Docker's defaults.

Source: capabilities(7); linux/capability.h up to Linux 6.1; docs.docker.com "Runtime privilege and Linux capabilities".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES = """
CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER
CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
CAP_CHECKPOINT_RESTORE
"""
NAMES: tuple[str, ...] = tuple(_NAMES.split())
"""The names in the order of their numbers, ``CAP_CHOWN`` being 0."""

NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}

_DOCKER_DEFAULT = """
CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE CAP_NET_RAW
CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT
"""
DOCKER_DEFAULT: tuple[str, ...] = tuple(_DOCKER_DEFAULT.split())
"""What a container has unless it is told otherwise."""

_ALL = "ALL"


def last_cap() -> int:
    """The highest capability number the running kernel knows (``/proc/sys/kernel/cap_last_cap``).

    Where that file cannot be read, the highest one of :data:`NAMES`.
    """
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb", buffering=0) as file:
            return int(file.read())
    except (OSError, ValueError):
        return len(NAMES) - 1


def known_here() -> tuple[str, ...]:
    """The capabilities that both this table and the running kernel know, in the order of their numbers."""
    return NAMES[: last_cap() + 1]


def normalize(name: str) -> str:
    """The full name, such as ``CAP_NET_ADMIN`` for ``net_admin``; ``ALL`` stays.

    Raises :exc:`~jupyter_containers.errors.InvalidInput` for a name that no capability has.
    """
    upper = name.strip().upper()
    if upper == _ALL:
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full in NUMBERS:
        return full
    from difflib import get_close_matches  # noqa: PLC0415 - only when something is wrong

    from jupyter_containers.errors import InvalidInput  # noqa: PLC0415 - the small processes do not need it

    near = get_close_matches(full, NAMES, n=1)
    hint = f"Did you mean {near[0].removeprefix('CAP_')}?" if near else "capabilities(7) lists the names, plus ALL."
    raise InvalidInput(f"there is no capability {name!r}", hint=hint)


def parse_add_drop(add: Iterable[str], drop: Iterable[str]) -> list[str]:
    """The capabilities of a container for Docker's ``--cap-add`` and ``--cap-drop``, in the order of their numbers.

    Names are taken in either case, with or without ``CAP_``. A name wins over ``ALL``: ``add ALL, drop X`` is all but
    X; ``drop ALL, add X`` is X alone. A name in both lists is dropped. ``add ALL`` means what this kernel knows.

    Raises :exc:`~jupyter_containers.errors.InvalidInput` for an unknown name.
    """
    added = {normalize(name) for name in add}
    dropped = {normalize(name) for name in drop}
    if _ALL in added:
        chosen = set(known_here())
    elif _ALL in dropped:
        chosen = set()
    else:
        chosen = set(DOCKER_DEFAULT)
    chosen = (chosen | added) - dropped - {_ALL}
    if _ALL in added and _ALL in dropped:
        chosen = added - dropped - {_ALL}
    return sorted(chosen, key=NUMBERS.__getitem__)


def numbers_of(names: Iterable[str]) -> list[int]:
    """The numbers of capabilities given by their full names, ascending.

    Raises :exc:`~jupyter_containers.errors.InvalidInput` for an unknown name.
    """
    return sorted(NUMBERS[normalize(name)] for name in names)
