"""Is a document a ``config.json``? Types, ranges, names and what must go together, each error with its path.

For configurations that others have written: those of the runtime command. What the small processes rely on is checked
once more where it is done.

Source: OCI runtime specification 1.3: config.md, config-linux.md, and the JSON schemas beside them.
"""

from __future__ import annotations

from jupyter_containers.oci.schema import array, boolean, choice, fail, mapping, record, text, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from jupyter_containers.oci.runtime_spec import Mount, Process, Resources, Spec

_DIGITS, _LETTERS = frozenset("0123456789"), frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _is_version(word: str) -> bool:
    """SemVer 2.0.0: three numbers without leading zeros, and words after ``-`` and ``+``."""
    rest, plus, build = word.partition("+")
    core, dash, before = rest.partition("-")
    numbers = core.split(".")
    right = len(numbers) == 3 and all(_only(part, _DIGITS) and str(int(part)) == part for part in numbers)  # noqa: PLR2004
    return right and all(
        not given or all(part.replace("-", "a").isalnum() and part.isascii() for part in words.split("."))
        for given, words in ((dash, before), (plus, build))
    )


def _is_page_size(word: str) -> bool:
    number, unit = word[:-2], word[-2:]
    return unit in {"KB", "MB", "GB"} and _only(number, _DIGITS) and number[0] != "0"


def _is_limit(word: str) -> bool:
    return word.startswith("RLIMIT_") and _only(word[7:], _LETTERS)


def _only(word: str, letters: frozenset[str]) -> bool:
    """Whether a word is of these letters, and of one at least."""
    return bool(word) and letters.issuperset(word)


_INT32 = whole(-(2**31), 2**31 - 1)
_UINT16 = whole(0, 2**16 - 1)
_UINT32 = whole(0, 2**32 - 1)
_INT64 = whole(-(2**63), 2**63 - 1)
_UINT64 = whole(0, 2**64 - 1)
_ID = whole(0, 2**32 - 2)
_STRING = text()
_STRINGS = array(_STRING)
_PATH = text(bool, "a path")
_ABSOLUTE = text(lambda word: word.startswith("/"), "an absolute path")
_LIST = text((_DIGITS | set(", -")).issuperset, "a list of numbers such as 0-3,7")

_MAPPINGS = array(
    record({"containerID": _UINT32, "hostID": _UINT32, "size": _UINT32}, "containerID", "hostID", "size"),
)

_PROCESS = record(
    {
        "terminal": boolean,
        "consoleSize": record({"height": _UINT16, "width": _UINT16}, "height", "width"),
        "cwd": _ABSOLUTE,
        "env": _STRINGS,
        "args": array(_STRING, least=1),
        "user": record({"uid": _ID, "gid": _ID, "umask": whole(0, 0o7777), "additionalGids": array(_ID)}),
        "capabilities": record(
            dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), _STRINGS),
        ),
        "rlimits": array(
            record(
                {"type": text(_is_limit, "the name of a limit"), "soft": _UINT64, "hard": _UINT64},
                "type",
                "soft",
                "hard",
            )
        ),
        "noNewPrivileges": boolean,
        "oomScoreAdj": whole(-1000, 1000),
        "apparmorProfile": _STRING,
        "selinuxLabel": _STRING,
        "scheduler": record(
            {
                "policy": _STRING,
                "nice": _INT32,
                "priority": _INT32,
                "flags": _STRINGS,
                "runtime": _UINT64,
                "deadline": _UINT64,
                "period": _UINT64,
            },
            "policy",
        ),
        "ioPriority": record({"class": _STRING, "priority": _INT32}, "class"),
        "execCPUAffinity": record({"initial": _LIST, "final": _LIST}),
    },
    "cwd",
)

_HOOKS = array(record({"path": _ABSOLUTE, "args": _STRINGS, "env": _STRINGS, "timeout": whole(1, 2**31)}, "path"))

_MOUNT = record(
    {
        "destination": _PATH,
        "type": _STRING,
        "source": _STRING,
        "options": _STRINGS,
        "uidMappings": _MAPPINGS,
        "gidMappings": _MAPPINGS,
    },
    "destination",
)

_DEVICE = record(
    {
        "type": choice("cbup"),
        "path": _ABSOLUTE,
        "major": _INT64,
        "minor": _INT64,
        "fileMode": whole(0, 0o177777),  # some callers leave the type of file in
        "uid": _ID,
        "gid": _ID,
    },
    "type",
    "path",
)

_NUMBERED = {"major": _INT64, "minor": _INT64}
_THROTTLE = array(record({**_NUMBERED, "rate": _UINT64}, "major", "minor", "rate"))

_RESOURCES = record(
    {
        "memory": record(
            {
                **dict.fromkeys(("limit", "reservation", "swap", "kernel", "kernelTCP"), whole(-1, 2**63 - 1)),
                "swappiness": whole(0, 100),
                **dict.fromkeys(("disableOOMKiller", "useHierarchy", "checkBeforeUpdate"), boolean),
            }
        ),
        "cpu": record(
            {
                **dict.fromkeys(("shares", "burst", "period", "realtimePeriod"), _UINT64),
                **dict.fromkeys(("quota", "realtimeRuntime"), _INT64),
                "cpus": _LIST,
                "mems": _LIST,
                "idle": whole(0, 1),
            }
        ),
        "pids": record({"limit": _INT64}, "limit"),
        "blockIO": record(
            {
                "weight": _UINT16,
                "leafWeight": _UINT16,
                "weightDevice": array(
                    record({**_NUMBERED, "weight": _UINT16, "leafWeight": _UINT16}, "major", "minor")
                ),
                **dict.fromkeys(
                    (
                        "throttleReadBpsDevice",
                        "throttleWriteBpsDevice",
                        "throttleReadIOPSDevice",
                        "throttleWriteIOPSDevice",
                    ),
                    _THROTTLE,
                ),
            }
        ),
        "hugepageLimits": array(
            record({"pageSize": text(_is_page_size, "a size such as 2MB"), "limit": _UINT64}, "pageSize", "limit")
        ),
        "network": record(
            {
                "classID": _UINT32,
                "priorities": array(record({"name": _STRING, "priority": _UINT32}, "name", "priority")),
            }
        ),
        "rdma": mapping(record({"hcaHandles": _UINT32, "hcaObjects": _UINT32})),
        "devices": array(
            record(
                {
                    "allow": boolean,
                    "type": choice(("a", "b", "c", "u", "")),
                    "major": _INT64,
                    "minor": _INT64,
                    "access": text(frozenset("rwm").issuperset, "made of r, w and m"),
                },
                "allow",
            )
        ),
        "unified": mapping(_STRING),
    }
)

_SYSCALL_ARG = record({"index": _UINT32, "value": _UINT64, "valueTwo": _UINT64, "op": _STRING}, "index", "value", "op")
_SECCOMP = record(
    {
        "defaultAction": _STRING,
        "defaultErrnoRet": _UINT32,
        "architectures": _STRINGS,
        "flags": _STRINGS,
        "listenerPath": _STRING,
        "listenerMetadata": _STRING,
        "syscalls": array(
            record(
                {
                    "names": array(_STRING, least=1),
                    "action": _STRING,
                    "errnoRet": _UINT32,
                    "args": array(_SYSCALL_ARG),
                },
                "names",
                "action",
            )
        ),
    },
    "defaultAction",
)

_LINUX = record(
    {
        "namespaces": array(record({"type": _STRING, "path": _STRING}, "type")),
        "uidMappings": _MAPPINGS,
        "gidMappings": _MAPPINGS,
        "timeOffsets": mapping(record({"secs": _INT64, "nanosecs": _UINT32})),
        "devices": array(_DEVICE),
        "netDevices": mapping(record({"name": _STRING})),
        "cgroupsPath": _STRING,
        "resources": _RESOURCES,
        "rootfsPropagation": _STRING,
        "seccomp": _SECCOMP,
        "sysctl": mapping(_STRING),
        "maskedPaths": array(_ABSOLUTE),
        "readonlyPaths": array(_ABSOLUTE),
        "mountLabel": _STRING,
        "personality": record({"domain": _STRING, "flags": _STRINGS}, "domain"),
        "memoryPolicy": record({"mode": _STRING, "nodes": _LIST, "flags": _STRINGS}, "mode"),
        "intelRdt": record({}),
    }
)

_SPEC = record(
    {
        "ociVersion": text(_is_version, "a version of the form 1.2.3 (semver.org)"),
        "root": record({"path": _PATH, "readonly": boolean}, "path"),
        "mounts": array(_MOUNT),
        "process": _PROCESS,
        "hostname": _STRING,
        "domainname": _STRING,
        "hooks": record(
            dict.fromkeys(
                ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"), _HOOKS
            )
        ),
        "annotations": mapping(_STRING),
        "linux": _LINUX,
    },
    "ociVersion",
    "root",
)

CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def _ignore(_warning: str) -> None:
    return


def validate(document: object, capabilities: Collection[str], warn: Callable[[str], None] = _ignore) -> Spec:
    """The configuration a document holds, without its nulls.

    Parameters
    ----------
    document
        What config.json holds, parsed.
    capabilities
        The names of those the kernel has; others are left out.
    warn
        Called with what the specification says to warn of: capabilities that cannot be had.

    Raises
    ------
    InvalidInput
        One sentence that begins with the path of the field.
    """
    spec: Spec = _SPEC(document, "")
    if spec["ociVersion"].partition(".")[0] != "1":
        raise fail("ociVersion", f"{spec['ociVersion']} is not compatible with version 1")
    if "process" in spec:
        _check_process(spec["process"], capabilities, warn)
    linux: Any = spec.get("linux", {})
    if "resources" in linux:
        _check_resources(linux["resources"], "linux.resources")
    for number, device in enumerate(linux.get("devices", [])):
        if device["type"] != "p" and not {"major", "minor"} <= device.keys():
            raise fail(f"linux.devices[{number}]", "needs a major and a minor number")
    if "seccomp" in linux:
        _check_seccomp(linux["seccomp"])
    has_user = any(namespace["type"] == "user" for namespace in linux.get("namespaces", []))
    for field in ("uidMappings", "gidMappings"):
        if linux.get(field) and not has_user:
            raise fail(f"linux.{field}", "a mapping needs a user namespace")
    return spec


def validate_process(document: object, capabilities: Collection[str], warn: Callable[[str], None] = _ignore) -> Process:
    """The process of an exec that a document holds (``exec --process``); see :func:`validate`."""
    process: Process = _PROCESS(document, "process")
    _check_process(process, capabilities, warn)
    return process


def validate_resources(document: object) -> Resources:
    """The limits a document holds (``update --resources``); see :func:`validate`."""
    resources: Resources = _RESOURCES(document, "resources")
    _check_resources(resources, "resources")
    return resources


def resolve(spec: Spec, bundle: str) -> Spec:
    """The configuration with its paths made absolute: those of the root and of bind mounts may be of the bundle."""
    found = spec.copy()
    found["root"] = {**spec["root"], "path": _join(bundle, spec["root"]["path"])}
    mounts: list[Mount] = []
    for mount in spec.get("mounts", []):
        source = mount.get("source", "")
        if source and {"bind", "rbind"} & {mount.get("type", ""), *mount.get("options", [])}:
            mounts.append({**mount, "source": _join(bundle, source)})
        else:
            mounts.append(mount)
    found["mounts"] = mounts
    return found


def _join(bundle: str, path: str) -> str:
    return path if path.startswith("/") else f"{bundle.rstrip('/')}/{path}"


def _check_process(process: Process, capabilities: Collection[str], warn: Callable[[str], None]) -> None:
    if "args" not in process:
        raise fail("process.args", "is missing")
    sets: Any = process.get("capabilities", {})
    for name in CAPABILITY_SETS:
        for capability in list(sets.get(name, [])):
            if capability not in capabilities:
                warn(f"process.capabilities.{name}: {capability} is not known here and is left out")
                sets[name].remove(capability)
    for capability in sets.get("ambient", []):
        if not all(capability in sets.get(name, []) for name in ("permitted", "inheritable")):
            warn(f"process.capabilities.ambient: {capability} is not permitted and inheritable too and is left out")
    seen = set()
    for number, limit in enumerate(process.get("rlimits", [])):
        if limit["type"] in seen:
            raise fail(f"process.rlimits[{number}].type", f"{limit['type']} is given twice")
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            raise fail(f"process.rlimits[{number}].soft", f"{limit['soft']} is above the hard limit {limit['hard']}")


def _check_resources(resources: Resources, path: str) -> None:
    cpu = resources.get("cpu", {})
    quota, burst = cpu.get("quota", 0), cpu.get("burst", 0)
    if burst > quota > 0:
        raise fail(f"{path}.cpu.burst", f"{burst} is above the quota {quota}")
    for name, limits in resources.get("rdma", {}).items():
        if not limits.keys() & {"hcaHandles", "hcaObjects"}:
            raise fail(f"{path}.rdma.{name}", "needs hcaHandles or hcaObjects")
    for number, device in enumerate(resources.get("blockIO", {}).get("weightDevice", [])):
        if not device.keys() & {"weight", "leafWeight"}:
            raise fail(f"{path}.blockIO.weightDevice[{number}]", "needs weight or leafWeight")


def _check_seccomp(seccomp: dict[str, Any]) -> None:
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        raise fail("linux.seccomp.listenerMetadata", "needs a listenerPath")
