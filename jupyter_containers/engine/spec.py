"""From options to the runtime specification: Docker's defaults, capability set, mounts and masks.

Sources: OCI runtime specification 1.3 (config.md, config-linux.md); Docker Engine's default specification for what is
mounted, masked and allowed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import InvalidInput, NotFound, Unsupported
from jupyter_containers.linux import capabilities
from jupyter_containers.oci.runtime_spec import SPEC_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.oci.runtime_spec import (
        DeviceCgroup,
        Linux,
        Mount,
        Namespace,
        Process,
        Resources,
        Rlimit,
        Spec,
    )

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD = 100_000
DEFAULT_SHM = 64 * 2**20

MASKED_PATHS = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

# The nodes of /dev that every container has, and terminals (Docker's default device rules).
_DEVICE_NUMBERS = (
    ("c", 1, 3),
    ("c", 1, 5),
    ("c", 1, 7),
    ("c", 1, 8),
    ("c", 1, 9),
    ("c", 5, 0),
    ("c", 5, 1),
    ("c", 5, 2),
)
_TERMINALS = ("c", 136)


@dataclass(frozen=True, slots=True)
class Sandboxing:
    """What ``--security-opt``, ``--cap-add`` and ``--privileged`` come to."""

    capabilities: list[str]
    seccomp: bool
    no_new_privileges: bool
    masked: bool
    privileged: bool


def sandboxing(options: RunOptions, *, guards_devices: bool = True) -> Sandboxing:
    """Read the options that say how isolated a container is.

    Where devices cannot be guarded by rules, a container must not be able to make a device node: it loses CAP_MKNOD.

    Raises
    ------
    InvalidInput, Unsupported
        for a capability or a security option that is unknown or not available here.
    """
    seccomp, no_new_privileges, masked = True, False, True
    for option in options.security_opt:
        key, _, value = option.replace(":", "=", 1).partition("=")
        match key, value:
            case "seccomp", "unconfined":
                seccomp = False
            case "seccomp", "builtin":
                seccomp = True
            case "no-new-privileges", "" | "true":
                no_new_privileges = True
            case "no-new-privileges", "false":
                no_new_privileges = False
            case "systempaths", "unconfined":
                masked = False
            case _:
                raise Unsupported(
                    f"security option {option!r} is not supported",
                    hint="use seccomp=unconfined|builtin, no-new-privileges[=true|false] or systempaths=unconfined",
                )
    if options.privileged:
        return Sandboxing(
            list(capabilities.known_here()),
            seccomp=False,
            no_new_privileges=no_new_privileges,
            masked=False,
            privileged=True,
        )
    granted = capabilities.parse_add_drop(options.cap_add, options.cap_drop)
    if not guards_devices:
        granted = [name for name in granted if name != "CAP_MKNOD"]
    return Sandboxing(granted, seccomp, no_new_privileges, masked, privileged=False)


@dataclass(frozen=True, slots=True)
class SpecInput:
    """Everything a specification is made from, all decided beforehand.

    ``root`` is an empty directory on which the root file system is mounted, in the container's mount namespace alone;
    ``files`` maps a place in the container to the engine's file that is bound there (hosts, resolv.conf, hostname).
    """

    args: Sequence[str]
    env: Sequence[str]
    cwd: str
    hostname: str
    network: str
    sandboxing: Sandboxing
    options: RunOptions
    rootless: bool
    cgroups_path: str
    root: str
    files: Mapping[str, str] = field(default_factory=dict)
    extra_mounts: Sequence[Mount] = ()


def make_spec(given: SpecInput) -> Spec:
    """The container's ``config.json``."""
    options = given.options
    return {
        "ociVersion": SPEC_VERSION,
        "process": _process(given),
        "root": {"path": given.root, "readonly": options.read_only},
        "hostname": given.hostname,
        "mounts": [*_system_mounts(given), *given.extra_mounts, *_option_mounts(options), *_file_mounts(given)],
        "linux": _linux(given),
    }


def _process(given: SpecInput) -> Process:
    names = given.sandboxing.capabilities
    return {
        "terminal": given.options.tty,
        "args": list(given.args),
        "env": list(given.env),
        "cwd": given.cwd,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": given.sandboxing.no_new_privileges,
        "rlimits": [_rlimit(text) for text in given.options.ulimit],
    }


def _rlimit(text: str) -> Rlimit:
    name, equals, value = text.partition("=")
    soft, _, hard = value.partition(":")
    try:
        low, high = int(soft), int(hard or soft)
    except ValueError:
        low, high = 0, -1
    if not equals or not name.isalpha() or high < low:
        raise InvalidInput(f"invalid ulimit {text!r}", hint="write it as nofile=1024 or nofile=1024:2048")
    return {"type": f"RLIMIT_{name.upper()}", "soft": low, "hard": high}


def _system_mounts(given: SpecInput) -> list[Mount]:
    shm = DEFAULT_SHM if given.options.shm_size is None else parse_bytes(given.options.shm_size, what="shm size")
    if shm < 0:
        raise InvalidInput(f"the size of /dev/shm cannot be {given.options.shm_size}")
    read = "rw" if given.sandboxing.privileged else "ro"
    sys: Mount = {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", read],
    }
    if given.rootless and given.network == "host":
        # The kernel lets only the owner of the network namespace mount a sysfs.
        sys = {
            "destination": "/sys",
            "type": "none",
            "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        }
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        sys,
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", read],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev/shm",  # noqa: S108 - a mount point, not a file name
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={shm}"],
        },
    ]


def _option_mounts(options: RunOptions) -> list[Mount]:
    mounts = [*(_bind(text) for text in options.volume), *(_tmpfs(text) for text in options.tmpfs)]
    taken: set[str] = set()
    for mount in mounts:
        place = mount["destination"]
        if place in {"/", "/proc"} or place.startswith("/proc/"):
            raise InvalidInput(f"nothing can be mounted on {place} of a container", hint="choose another directory")
        if place in taken:
            raise InvalidInput(f"two mounts on {place} of the container", hint="leave one of them out")
        taken.add(place)
    return mounts


def _place(path: str) -> str:
    """An absolute path in a container, in the one way of writing it."""
    return "/" + os.path.normpath(path).lstrip("/")


def _bind(text: str) -> Mount:
    source, _, rest = text.partition(":")
    destination, _, flags = rest.partition(":")
    if not source or not destination:
        raise InvalidInput(f"invalid volume {text!r}", hint="write it as /host/path:/container/path[:ro]")
    if not destination.startswith("/"):
        raise InvalidInput(f"invalid volume {text!r}: the path in the container must be absolute")
    if not source.startswith(("/", ".", "~")):
        raise Unsupported(
            f"invalid volume {text!r}: named volumes are not supported yet",
            hint="give a path of the host, such as ./data:/data",
        )
    path = os.path.abspath(os.path.expanduser(source))
    known = {
        "ro",
        "rw",
        "z",
        "Z",
        "rprivate",
        "private",
        "rslave",
        "slave",
        "rshared",
        "shared",
        "cached",
        "delegated",
        "consistent",
    }
    names = [flag for flag in flags.split(",") if flag]
    if unknown := set(names) - known:
        raise InvalidInput(f"invalid volume {text!r}: unknown option {min(unknown)!r}")
    if not os.path.lexists(path):
        try:
            os.makedirs(path)
        except OSError as error:
            raise NotFound(f"the volume's path {path} does not exist and cannot be made: {error.strerror}") from error
    propagation = next((name for name in names if name.endswith(("private", "slave", "shared"))), "rprivate")
    return {
        "destination": _place(destination),
        "type": "none",
        "source": path,
        "options": ["rbind", propagation, "ro" if "ro" in names else "rw"],
    }


def _tmpfs(text: str) -> Mount:
    destination, _, flags = text.partition(":")
    if not destination.startswith("/"):
        raise InvalidInput(f"invalid tmpfs {text!r}: the path must be absolute")
    given = [flag for flag in flags.split(",") if flag]
    return {
        "destination": _place(destination),
        "type": "tmpfs",
        "source": "tmpfs",
        "options": given or ["nosuid", "nodev", "noexec"],
    }


def _file_mounts(given: SpecInput) -> list[Mount]:
    taken = {text.split(":")[1] for text in given.options.volume if ":" in text}
    return [
        {"destination": place, "type": "none", "source": source, "options": ["rbind", "rprivate"]}
        for place, source in given.files.items()
        if place not in taken
    ]


def _linux(given: SpecInput) -> Linux:
    kinds: list[Namespace] = [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "cgroup"}]
    if given.network != "host":
        kinds.append({"type": "network"})
    linux: Linux = {
        "namespaces": kinds,
        "resources": make_resources(given.options, privileged=given.sandboxing.privileged),
        "cgroupsPath": given.cgroups_path,
    }
    if given.sandboxing.masked:
        linux["maskedPaths"] = MASKED_PATHS
        linux["readonlyPaths"] = READONLY_PATHS
    if given.network != "host" and not given.sandboxing.privileged:
        linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
        if not given.rootless:
            linux["sysctl"]["net.ipv4.ping_group_range"] = "0 2147483647"
    return linux


def make_resources(options: RunOptions, *, privileged: bool = False) -> Resources:
    """The limits, in the specification's units.

    Raises
    ------
    InvalidInput
        for a limit below what a container can live with.
    """
    resources: Resources = {"devices": _device_rules(privileged=privileged)}
    if options.memory is not None:
        limit = parse_bytes(options.memory, what="memory limit")
        if 0 < limit < 6 * 2**20:
            raise InvalidInput(f"the memory limit {options.memory!r} is too small", hint="the least is 6m")
        swap = limit if options.memory_swap is None else parse_bytes(options.memory_swap, what="memory-swap limit")
        if 0 <= swap < limit:
            raise InvalidInput("the memory-swap limit must not be smaller than the memory limit")
        if limit:
            resources["memory"] = {"limit": limit, "swap": swap}
    cpu_shares = options.cpu_shares
    if options.cpus is not None:
        resources["cpu"] = {"quota": int(options.cpus * CPU_PERIOD), "period": CPU_PERIOD}
    if cpu_shares is not None:
        resources.setdefault("cpu", {})["shares"] = cpu_shares
    if options.pids_limit is not None and options.pids_limit > 0:
        resources["pids"] = {"limit": options.pids_limit}
    return resources


def _device_rules(*, privileged: bool) -> list[DeviceCgroup]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[DeviceCgroup] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    rules += [
        {"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"}
        for kind, major, minor in _DEVICE_NUMBERS
    ]
    rules.append({"allow": True, "type": _TERMINALS[0], "major": _TERMINALS[1], "access": "rwm"})
    return rules
