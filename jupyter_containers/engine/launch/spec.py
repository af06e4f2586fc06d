"""From options to the runtime specification: Docker's defaults, capability set, mounts and masks.

Sources: OCI runtime specification 1.3 (config.md, config-linux.md); Docker Engine's default specification for what is
mounted, masked and allowed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.engine.launch import limits, namespaces
from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import InvalidInput
from jupyter_containers.oci import RUNTIME_SPEC_VERSION
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.launch.devices import HostDevice
    from jupyter_containers.engine.launch.isolation import Sandboxing
    from jupyter_containers.engine.launch.namespaces import NamespaceSetup
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.oci.runtime_spec import Linux, Mount, Process, Spec

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM = 64 * 2**20


@dataclass(frozen=True, slots=True)
class SpecInput:
    """Everything a specification is made from, all decided beforehand.

    ``root`` is an empty directory on which the root file system is mounted, in the container's mount namespace alone.
    ``setup`` None stands for the namespaces that the options name without those of other containers.
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
    extra_mounts: Sequence[Mount] = ()
    devices: Sequence[HostDevice] = ()
    setup: NamespaceSetup | None = None


def make_spec(given: SpecInput) -> Spec:
    """The container's ``config.json``."""
    options = given.options
    setup = given.setup or namespaces.setup(options, given.network)
    spec: Spec = {
        "ociVersion": RUNTIME_SPEC_VERSION,
        "process": _process(given),
        "root": {"path": given.root, "readonly": options.read_only},
        "mounts": [
            *_system_mounts(given, setup),
            *_device_mounts(given, setup),
            *given.extra_mounts,
        ],
        "linux": _linux(given, setup),
    }
    if setup.has("uts"):
        spec["hostname"] = given.hostname
        if options.domainname:
            spec["domainname"] = options.domainname
    if options.annotation:
        spec["annotations"] = dict(text.partition("=")[::2] for text in options.annotation)
    return spec


def _process(given: SpecInput) -> Process:
    names = given.sandboxing.capabilities
    process: Process = {
        "terminal": given.options.tty,
        "args": list(given.args),
        "env": list(given.env),
        "cwd": given.cwd,
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": given.sandboxing.no_new_privileges,
        "rlimits": limits.rlimits(given.options.ulimit),
    }
    if given.sandboxing.apparmor:
        process["apparmorProfile"] = given.sandboxing.apparmor
    if given.options.oom_score_adj is not None:
        process["oomScoreAdj"] = given.options.oom_score_adj
    return process


def _system_mounts(given: SpecInput, setup: NamespaceSetup) -> list[Mount]:
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
    cgroups = "rw" if given.sandboxing.writable_cgroups else "ro"
    mounts: list[Mount] = [
        setup.proc
        or {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
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
            "options": ["nosuid", "noexec", "nodev", "relatime", cgroups],
        },
    ]
    # A user namespace may only bind the host's queues, where they are mounted at all.
    bound = given.options.ipc == namespaces.HOST and (given.rootless or bool(setup.uids))
    if given.options.ipc != "none" and not (bound and not os.path.isdir("/dev/mqueue")):
        mounts.append(
            {
                "destination": "/dev/mqueue",
                "type": "mqueue",
                "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"],
            }
        )
    if setup.shm is not None:
        mounts.append(setup.shm)
    elif setup.own_shm:
        mounts.append(
            {
                "destination": "/dev/shm",  # noqa: S108 - a mount point, not a file name
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={shm}"],
            }
        )
    return mounts


def _device_mounts(given: SpecInput, setup: NamespaceSetup) -> list[Mount]:
    """Devices where no node can be made of them: in a user namespace."""
    return [device.mount for device in given.devices] if given.rootless or setup.uids else []


def _linux(given: SpecInput, setup: NamespaceSetup) -> Linux:
    linux: Linux = {
        "namespaces": list(setup.namespaces),
        "resources": limits.make_resources(given.options, given.devices),
        "cgroupsPath": given.cgroups_path,
        "maskedPaths": list(given.sandboxing.masked),
        "readonlyPaths": list(given.sandboxing.readonly),
        "sysctl": _sysctls(given, setup),
    }
    if setup.uids:
        linux["uidMappings"] = list(setup.uids)
        linux["gidMappings"] = list(setup.gids)
    if given.devices and not given.rootless and not setup.uids:
        linux["devices"] = [device.node for device in given.devices]
    return linux


def _sysctls(given: SpecInput, setup: NamespaceSetup) -> dict[str, str]:
    """Docker's parameters of a network namespace of the container's own, and those asked for, which win."""
    values: dict[str, str] = {}
    if {"type": "network"} in setup.namespaces and not given.sandboxing.privileged:
        values["net.ipv4.ip_unprivileged_port_start"] = "0"
        if not given.rootless and not setup.uids:
            values["net.ipv4.ping_group_range"] = "0 2147483647"
    for text in given.options.sysctl:
        name, _, value = text.partition("=")
        values[name] = value
    return values
