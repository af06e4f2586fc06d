"""``features``, ``spec`` and ``--version``: what this runtime is; and the operations it does not have."""

from __future__ import annotations

import json
import os
import sys

from jupyter_containers.linux import capabilities, mount, namespaces, seccomp
from jupyter_containers.oci import RUNTIME_SPEC_VERSION
from jupyter_containers.oci_runtime.bundle import CONFIG
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.oci_runtime.options import PROGRAM
from jupyter_containers.runtime import hooks
from jupyter_containers.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.oci_runtime.main import Context

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = [
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
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def version() -> int:
    """Print the versions of this program and of the specification, in runc's form."""
    sys.stdout.write(f"{PROGRAM} version {__version__}\nspec: {RUNTIME_SPEC_VERSION}\n")
    return 0


def refuse(context: Context) -> int:
    """Say that there are no checkpoints. Raises :exc:`CommandError`."""
    raise CommandError(
        f"{context.operation} is not supported: processes cannot be saved (it would need CRIU); "
        "stop the container and keep its file system instead"
    )


def features(_context: Context) -> int:
    """Print what of the specification is done, as its features.md and features-linux.md have it."""
    known = [name for name, number in capabilities.NUMBERS.items() if number <= capabilities.last_cap()]
    document: dict[str, Any] = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": RUNTIME_SPEC_VERSION,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(mount.known_options()),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": known,
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {"enabled": True, **seccomp.features()},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {f"{PROGRAM}.version": __version__},
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def template(context: Context) -> int:
    """Write a ``config.json`` to begin with."""
    directory = context.options.value("bundle", ".")
    path = f"{directory}/{CONFIG}"
    spec = _template(rootless="rootless" in context.options.switches)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(spec, indent="\t") + "\n")
    except FileExistsError:
        raise CommandError(f"file {path} exists: remove it first") from None
    return 0


def _template(*, rootless: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "ociVersion": RUNTIME_SPEC_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "container",
        "mounts": _mounts(rootless=rootless),
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }
    if rootless:
        linux = spec["linux"]
        linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "network"] + [{"type": "user"}]
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    else:
        spec["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return spec


def _mounts(*, rootless: bool) -> list[dict[str, Any]]:
    closed = ["nosuid", "noexec", "nodev"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *([] if rootless else ["gid=5"])]
    view: dict[str, Any] = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*closed, "ro"]}
    if rootless:
        view = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", *closed, "ro"]}
    shared = {"type": "tmpfs", "source": "shm", "options": [*closed, "mode=1777", "size=65536k"]}
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": terminals},
        {"destination": "/dev/shm", **shared},  # noqa: S108 - a mount point, not a file name
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": closed},
        view,
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*closed, "relatime", "ro"]},
    ]
