"""A profile file for ``--security-opt seccomp=FILE``: read, checked, and decided for one container.

Two forms are read: Docker's, with conditions on capabilities, the kernel and the machine (``includes``, ``excludes``,
``archMap``), and that of the runtime specification. What is not understood is refused, since a filter that means
something else than its author thought is worse than none.

Sources: the ``seccomp`` package of moby/profiles (``Generate``); OCI runtime specification, config-linux.md, "Seccomp".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection

    from jupyter_containers.oci.runtime_spec import Seccomp, SyscallArg, SyscallRule

_PROFILE_KEYS = frozenset(
    "defaultAction defaultErrnoRet architectures archMap flags syscalls listenerPath listenerMetadata".split()  # noqa: SIM905 - a list of names reads best as prose
)
_RULE_KEYS = frozenset("name names action errnoRet args includes excludes comment".split())  # noqa: SIM905 - the same
_CONDITION_KEYS = frozenset({"caps", "arches", "minKernel"})
_ARGUMENT_KEYS = frozenset({"index", "value", "valueTwo", "op"})
# The names Go gives to machines, which conditions use.
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_OWN = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
_LARGEST = (1 << 64) - 1


def load(text: str, capabilities: Collection[str], kernel: tuple[int, int], *, arch: str) -> Seccomp:
    """The filter of a profile's text for a container.

    Parameters
    ----------
    capabilities
        The container's bounding set.
    kernel
        The running kernel's version.
    arch
        The machine as uname(2) names it.

    Raises
    ------
    InvalidInput
        naming the field that is wrong.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _wrong(f"it is no JSON: {error}") from error
    _object(document, "the profile", _PROFILE_KEYS)
    if document.get("architectures") and document.get("archMap"):
        raise _wrong("use either 'architectures' or 'archMap'")
    profile: Seccomp = {
        "defaultAction": _text(document, "defaultAction", "the profile"),
        "architectures": _architectures(document, arch),
        "syscalls": [
            _rule(rule, f"syscalls[{at}]")
            for at, rule in enumerate(_list(document, "syscalls", "the profile"))
            if _applies(rule, f"syscalls[{at}]", frozenset(capabilities), kernel, arch)
        ],
    }
    if document.get("defaultErrnoRet") is not None:
        profile["defaultErrnoRet"] = _number(document, "defaultErrnoRet", "the profile")
    if flags := _texts(document, "flags", "the profile"):
        profile["flags"] = flags
    for key in ("listenerPath", "listenerMetadata"):
        if document.get(key):
            raise _wrong(f"{key} is not supported for containers of the engine")
    return profile


def _architectures(document: dict[str, Any], arch: str) -> list[str]:
    if document.get("architectures"):
        return _texts(document, "architectures", "the profile")
    for at, entry in enumerate(_list(document, "archMap", "the profile")):
        where = f"archMap[{at}]"
        _object(entry, where, frozenset({"architecture", "subArchitectures"}))
        if _text(entry, "architecture", where) == _OWN.get(arch):
            return [entry["architecture"], *_texts(entry, "subArchitectures", where)]
    return []


def _applies(rule: object, where: str, capabilities: frozenset[str], kernel: tuple[int, int], arch: str) -> bool:
    """Whether a rule's conditions hold for a container."""
    found = _object(rule, where, _RULE_KEYS)
    machine = _GO_NAMES.get(arch, arch)
    includes, excludes = found.get("includes") or {}, found.get("excludes") or {}
    for key, conditions in (("includes", includes), ("excludes", excludes)):
        _object(conditions, f"{where}.{key}", _CONDITION_KEYS)
    inside, outside = f"{where}.includes", f"{where}.excludes"
    wanted = _texts(includes, "arches", inside)
    return not (
        (wanted and machine not in wanted)
        or not capabilities.issuperset(_texts(includes, "caps", inside))
        or kernel < _version(includes, inside)
        or machine in _texts(excludes, "arches", outside)
        or capabilities.intersection(_texts(excludes, "caps", outside))
        or (excludes.get("minKernel") and kernel >= _version(excludes, outside))
    )


def _version(conditions: dict[str, Any], where: str) -> tuple[int, int]:
    text = conditions.get("minKernel") or "0.0"
    parts = str(text).split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):  # noqa: PLR2004 - version and patch level
        raise _wrong(f"{where}.minKernel is no version: {text!r}")
    return int(parts[0]), int(parts[1])


def _rule(rule: dict[str, Any], where: str) -> SyscallRule:
    if bool(rule.get("name")) == bool(rule.get("names")):
        raise _wrong(f"{where} needs one of 'name' and 'names'")
    names = [_text(rule, "name", where)] if rule.get("name") else _texts(rule, "names", where)
    made: SyscallRule = {"names": names, "action": _text(rule, "action", where)}
    if rule.get("errnoRet") is not None:
        made["errnoRet"] = _number(rule, "errnoRet", where)
    if args := _list(rule, "args", where):
        made["args"] = [_argument(argument, f"{where}.args[{at}]") for at, argument in enumerate(args)]
    return made


def _argument(argument: object, where: str) -> SyscallArg:
    found = _object(argument, where, _ARGUMENT_KEYS)
    made: SyscallArg = {
        "index": _number(found, "index", where),
        "value": _number(found, "value", where),
        "op": _text(found, "op", where),
    }
    if found.get("valueTwo") is not None:
        made["valueTwo"] = _number(found, "valueTwo", where)
    return made


def _wrong(why: str) -> InvalidInput:
    return InvalidInput(f"seccomp profile: {why}")


def _object(value: object, where: str, keys: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(f"{where} is no object")
    if unknown := set(value) - keys:
        raise _wrong(f"{where} has the unknown key {min(unknown)!r}")
    return cast("dict[str, Any]", value)


def _list(holder: dict[str, Any], key: str, where: str) -> list[Any]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(f"{where}: {key} is no list")
    return value


def _texts(holder: dict[str, Any], key: str, where: str) -> list[str]:
    found = _list(holder, key, where)
    if not all(isinstance(value, str) for value in found):
        raise _wrong(f"{where}: {key} holds something else than texts")
    return found


def _text(holder: dict[str, Any], key: str, where: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(f"{where} needs {key}, a text")
    return value


def _number(holder: dict[str, Any], key: str, where: str) -> int:
    value = holder.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise _wrong(f"{where} needs {key}, a whole number from 0 on")
    return value
