"""The arguments of a system call as text, as the man pages of section 2 name them."""

from __future__ import annotations

import os

from jupyter_containers.linux import capabilities, mount, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_NAMESPACES = {value: name for name, value in vars(syscalls).items() if name.startswith("CLONE_")}
_MOUNT_FLAGS = {value: name for name, value in vars(mount).items() if name.startswith("MS_")}
_ATTRIBUTES = {
    value: name for name, value in vars(mount).items() if name.startswith("MOUNT_ATTR_") and name != "MOUNT_ATTR__ATIME"
}
_PRCTL = {value: name for name, value in vars(syscalls).items() if name.startswith(("PR_SET_", "PR_CAP")) and value > 0}
_PRCTL.pop(syscalls.PR_CAP_AMBIENT_RAISE, None)
_PRCTL |= {syscalls.PR_SET_DUMPABLE: "PR_SET_DUMPABLE", syscalls.PR_CAP_AMBIENT: "PR_CAP_AMBIENT"}
_SECCOMP = 8


def describe(name: str, arguments: Sequence[Any]) -> str:
    """What a call is given. Numbers of descriptors are left out where a path says more."""
    found = _DESCRIBED.get(name)
    return (
        found(arguments) if found else ", ".join(_plain(each) for each in arguments if each is not None and each != 0)
    )


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return os.fsdecode(value)
    return str(value) if isinstance(value, int) else "..."


def flags(value: int, names: dict[int, str]) -> str:
    """A bit mask by the names of its bits."""
    found = [name for bit, name in names.items() if bit and value & bit == bit]
    rest = value & ~sum(bit for bit in names if value & bit == bit)
    return " | ".join([*found, *([hex(rest)] if rest else [])]) or "0"


def _mount(arguments: Sequence[Any]) -> str:
    source, target, kind, bits, data = arguments[:5]
    parts = [_plain(each) for each in (source, target, kind) if each]
    return ", ".join([*parts, flags(bits, _MOUNT_FLAGS), *([_plain(data)] if data else [])])


def _prctl(arguments: Sequence[Any]) -> str:
    option, first = arguments[:2]
    name = _PRCTL.get(option, str(option))
    if name == "PR_CAPBSET_DROP" and isinstance(first, int) and first < len(capabilities.NAMES):
        return f"{name}, {capabilities.NAMES[first]}"
    return f"{name}, {_plain(first)}"


def _capset(arguments: Sequence[Any]) -> str:
    data = arguments[1]
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, 24, 4)]
    effective, permitted = (words[at] | words[at + 3] << 32 for at in (0, 1))
    count = effective.bit_count()
    return f"{count} effective, {permitted.bit_count()} permitted"


def _seccomp(arguments: Sequence[Any]) -> str:
    return f"SECCOMP_SET_MODE_FILTER, {arguments[2][0]} instructions"


def _attributes(arguments: Sequence[Any]) -> str:
    data = arguments[3]
    on, off, propagation = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8, 16))
    parts = [f"set {flags(on, _ATTRIBUTES)}"] if on else []
    parts += [f"clear {flags(off, _ATTRIBUTES)}"] if off else []
    parts += [flags(propagation, _MOUNT_FLAGS)] if propagation else []
    return ", ".join(parts) or "nothing"


def _pathed(arguments: Sequence[Any]) -> str:
    return ", ".join(_plain(each) for each in arguments if isinstance(each, bytes) and each) or "by descriptor"


def _namespaces(position: int) -> Any:
    return lambda arguments: flags(arguments[position], _NAMESPACES)


_DESCRIBED = {
    "clone3": lambda arguments: flags(arguments[0][0], _NAMESPACES),
    "clone": lambda arguments: flags(arguments[0] & ~0xFF, _NAMESPACES),
    "unshare": _namespaces(0),
    "setns": _namespaces(1),
    "mount": _mount,
    "umount2": lambda arguments: f"{_plain(arguments[0])}, {'MNT_DETACH' if arguments[1] else '0'}",
    "prctl": _prctl,
    "capset": _capset,
    "capget": lambda _arguments: "",
    "seccomp": _seccomp,
    "mount_setattr": _attributes,
    "openat2": _pathed,
    "open_tree": _pathed,
    "move_mount": _pathed,
    "pivot_root": _pathed,
    "fsopen": _pathed,
    "fsconfig": _pathed,
    "fsmount": lambda arguments: flags(arguments[2], _ATTRIBUTES),
}
