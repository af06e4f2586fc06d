"""What this host allows this user, found out by trying, for ``doctor``.

The rungs of the isolation ladder, best first:

``root``
    real root: everything.
``rootless``
    a user namespace with subordinate ids: all users of an image exist.
``rootless-single-id``
    a user namespace with one id: every file belongs to the user, ``chown`` in a container is only recorded.
``images-only``
    no namespaces: images can be pulled, inspected and built as far as nothing has to run.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from errno import EACCES, EINVAL, ENOSPC, ENOSYS, EPERM
from typing import TYPE_CHECKING, Literal

from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.linux.namespaces import outer_ids, parse_subids, why_no_gain
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Rung = Literal["root", "rootless", "rootless-single-id", "images-only"]

_MINIMUM_KERNEL = (5, 11)
_NETWORK_FILE_SYSTEMS = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "afs", "orangefs"]
)
_FILTERED_MACHINES = ("x86_64", "aarch64")
_PATIENCE = 20.0  # seconds for all attempts, which take some 50 ms


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature: whether it works, what was seen, and the command that would lift what is missing."""

    feature: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """The rung this host and user are on, why (``summary``), and what was found, in the order of importance."""

    rung: Rung
    summary: str
    findings: tuple[Finding, ...]

    def finding(self, feature: str) -> Finding:
        """The finding about a feature. Raises :exc:`KeyError` for an unknown one."""
        for found in self.findings:
            if found.feature == feature:
                return found
        raise KeyError(feature)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the report is made of, gathered by :func:`gather`; the report itself is a pure function of it.

    ``attempts`` are the results of ``probe_attempts``: 0 or an errno, -1 where the attempt could not be made.
    ``outer_ids`` counts the ids of the user namespace this process is in, 0 in the first one. ``no_gain`` says why
    newuidmap cannot work though it is there.
    """

    uid: int
    user: str
    kernel: tuple[int, int]
    machine: str
    attempts: Mapping[str, int]
    subuids: int
    subgids: int
    cgroups: CgroupHost
    store: str
    store_type: str
    tools: Mapping[str, str | None] = field(default_factory=dict)
    tun: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    inside_container: bool = False
    outer_ids: int = 0
    no_gain: str = ""
    store_options: str = ""


def probe_host(store: str) -> HostReport:
    """Try out what containers need. Takes some 0.1 s, changes nothing, never raises for what is missing.

    Parameters
    ----------
    store
        The store's root directory, which need not exist yet.
    """
    return report(gather(store))


def gather(store: str) -> Facts:
    """Look at the host and make the attempts."""
    import pwd  # noqa: PLC0415 - not there on every platform

    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    place = _existing_ancestor(store)
    tools = ("newuidmap", "newgidmap", "pasta", "slirp4netns", "busybox", "nft")
    release = os.uname().release.split("-", maxsplit=1)[0].split(".")
    return Facts(
        uid=uid,
        user=user,
        kernel=(int(release[0]), int(release[1])),
        machine=platform.machine(),
        attempts=_attempts(place),
        subuids=_subordinate("/etc/subuid", user, uid),
        subgids=_subordinate("/etc/subgid", user, uid),
        cgroups=CgroupHost.detect(),
        store=store,
        store_type=_file_system(place)[0],
        store_options=_file_system(place)[1],
        outer_ids=outer_ids(),
        no_gain=_no_gain(shutil.which("newuidmap")),
        tools={name: shutil.which(name) for name in tools},
        tun=_tun(),
        sysctls={
            name: _text(f"/proc/sys/{name}")
            for name in (
                "user/max_user_namespaces",
                "kernel/unprivileged_userns_clone",
                "kernel/apparmor_restrict_unprivileged_userns",
            )
        },
        inside_container=os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"),
    )


def report(facts: Facts) -> HostReport:
    """The report on what was found."""
    rung, summary = _rung(facts)
    makers: list[Callable[[Facts], list[Finding]]] = [
        _kernel,
        _namespaces,
        _subids,
        _overlay,
        _cgroups,
        _seccomp,
        _network,
        _store,
        _busybox,
    ]
    return HostReport(rung, summary, tuple(found for make in makers for found in make(facts)))


# -- the rung --------------------------------------------------------------------------------------------------------


def _rung(facts: Facts) -> tuple[Rung, str]:
    tried = facts.attempts
    if _is_direct(facts) and not tried["proc"]:
        where = "containers run in the user namespace this process is in"
        if facts.outer_ids > 1:
            return "rootless", f"{where}, with its {facts.outer_ids} ids"
        if facts.outer_ids:
            return "rootless-single-id", f"{where}, with its one id"
        return "root", "containers run as root's, with all namespaces, limits and networks this host has"
    if not tried["userns"] and not tried["userns_namespaces"]:
        if not _subids_missing(facts):
            return "rootless", "containers run in a user namespace with subordinate ids"
        return "rootless-single-id", f"containers run in a user namespace with one id: {_subids_missing(facts)}"
    return "images-only", f"nothing can run in a container: {_why_no_userns(facts)[0]}"


def _is_direct(facts: Facts) -> bool:
    """Whether containers need no user namespace beside the one this process is in."""
    return facts.uid == 0 and not facts.attempts["namespaces"]


def _is_root(facts: Facts) -> bool:
    """Whether this is root of the machine."""
    return _is_direct(facts) and not facts.outer_ids


def _why_no_userns(facts: Facts) -> tuple[str, str]:
    """Why there are no user namespaces, and what would lift it."""
    code = facts.attempts["userns"] or facts.attempts["userns_namespaces"]
    if facts.sysctls.get("user/max_user_namespaces") == "0" or code == ENOSPC:
        return "user.max_user_namespaces allows none", "sudo sysctl -w user.max_user_namespaces=15000"
    if facts.sysctls.get("kernel/unprivileged_userns_clone") == "0" and facts.uid:
        return "kernel.unprivileged_userns_clone is 0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if facts.sysctls.get("kernel/apparmor_restrict_unprivileged_userns") == "1" and facts.uid:
        return (
            "AppArmor restricts unprivileged user namespaces",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if code in {EPERM, ENOSYS, EACCES}:
        place = "the container this runs in" if facts.inside_container else "a system call filter or a chroot"
        return (
            f"{place} forbids them ({_error(code)})",
            "docker run --security-opt seccomp=unconfined ... (for the container this runs in)",
        )
    if code == EINVAL:
        return "the kernel has none (CONFIG_USER_NS)", "boot a kernel with CONFIG_USER_NS=y"
    return f"unshare: {_error(code)}", ""


def _subids_missing(facts: Facts) -> str:
    if not facts.subuids or not facts.subgids:
        return f"{facts.user} has no subordinate ids"
    if not facts.tools.get("newuidmap") or not facts.tools.get("newgidmap"):
        return "newuidmap and newgidmap are not installed"
    return facts.no_gain


# -- findings --------------------------------------------------------------------------------------------------------


def _kernel(facts: Facts) -> list[Finding]:
    version = ".".join(map(str, facts.kernel))
    detail = f"Linux {version} on {facts.machine}"
    if facts.kernel < _MINIMUM_KERNEL:
        return [Finding("kernel", False, f"{detail}; 5.11 is the oldest that works", "install a newer kernel")]
    return [Finding("kernel", True, detail)]


def _namespaces(facts: Facts) -> list[Finding]:
    tried = facts.attempts
    found = []
    if tried["userns"] or tried["userns_namespaces"]:
        why, remedy = _why_no_userns(facts)
        found.append(Finding("user namespaces", False, why, remedy))
    else:
        found.append(Finding("user namespaces", True, "can be made, with all other namespaces in them"))
    direct = _is_direct(facts)
    code = tried["proc"] if direct else tried["userns_proc"]
    if code:
        detail = f"a new /proc cannot be mounted ({_error(code)}): parts of ours are covered, as in a container"
        remedy = "docker run --security-opt systempaths=unconfined ... (for the container this runs in)"
        found.append(Finding("mount /proc", False, detail, remedy))
    else:
        found.append(Finding("mount /proc", True, "a container sees its own processes only"))
    return found


def _subids(facts: Facts) -> list[Finding]:
    if _is_direct(facts):
        return []
    missing = _subids_missing(facts)
    if not missing:
        return [Finding("subordinate ids", True, f"{facts.subuids} uids and {facts.subgids} gids, by newuidmap")]
    remedy = "sudo apt-get install uidmap"
    if missing == facts.no_gain:
        remedy = "" if "no_new_privs" in missing else f"sudo chmod u+s {facts.tools.get('newuidmap')}"
    elif "installed" not in missing:
        ranges = "--add-subuids 100000-165535 --add-subgids 100000-165535"
        remedy = f"sudo usermod {ranges} {facts.user}"
    return [Finding("subordinate ids", False, missing, remedy)]


def _overlay(facts: Facts) -> list[Finding]:
    direct = _is_root(facts)
    code = facts.attempts["overlay"] if direct else facts.attempts["userns_overlay"]
    how = "" if direct else " in a user namespace (userxattr)"
    if code:
        detail = f"cannot be mounted{how} on {facts.store_type} ({_error(code)}): root file systems are copied instead"
        return [Finding("overlay", False, detail, "export JUPYTER_CONTAINERS_ROOT=/a/directory/on/ext4/or/xfs")]
    return [Finding("overlay", True, f"layers are shared{how}, on {facts.store_type}")]


def _cgroups(facts: Facts) -> list[Finding]:
    host = facts.cgroups
    wanted = ("memory", "cpu", "pids")
    missing = [name for name in wanted if not host.can_limit(name)]
    names = ", ".join(name for name in wanted if name not in missing)
    remedy = f"run as root, or {host.remedy}" if facts.uid and host.remedy else "run as root"
    if not missing:
        return [Finding("cgroup limits", True, f"{names} (cgroup {host.version})")]
    why = host.why_not(missing[0])
    detail = f"no limit of {', '.join(missing)}: {why}" + (f"; {names} can be limited" if names else "")
    return [Finding("cgroup limits", False, detail, remedy)]


def _seccomp(facts: Facts) -> list[Finding]:
    if facts.attempts["seccomp"]:
        return [
            Finding(
                "seccomp",
                False,
                f"the kernel takes no filters ({_error(facts.attempts['seccomp'])})",
                "boot a kernel with CONFIG_SECCOMP_FILTER=y",
            )
        ]
    if facts.machine not in _FILTERED_MACHINES:
        return [Finding("seccomp", False, f"no filter can be made for {facts.machine}")]
    return [Finding("seccomp", True, "Docker's default profile is loaded into containers")]


def _network(facts: Facts) -> list[Finding]:
    if _is_root(facts):
        code = facts.attempts["nftables"]
        if code:
            detail = f"the kernel answers {_error(code)}: containers have no bridge network"
            return [Finding("nftables", False, detail, "sudo modprobe nf_tables")]
        return [Finding("nftables", True, "containers are on a bridge with address translation")]
    found = []
    if facts.tun:
        detail = f"/dev/net/tun cannot be opened ({_error(facts.tun)}): containers reach each other only"
        found.append(Finding("/dev/net/tun", False, detail, "sudo chmod 666 /dev/net/tun"))
    else:
        found.append(Finding("/dev/net/tun", True, "can be opened"))
    helper = facts.tools.get("pasta") or facts.tools.get("slirp4netns")
    if helper:
        found.append(Finding("rootless network", True, helper))
    else:
        detail = "neither pasta nor slirp4netns is installed"
        found.append(Finding("rootless network", False, detail, "sudo apt-get install passt"))
    return found


def _store(facts: Facts) -> list[Finding]:
    kind = facts.store_type
    if kind in _NETWORK_FILE_SYSTEMS or kind.startswith("fuse."):
        detail = f"{facts.store} is on {kind}, where neither the database nor an overlay can be kept"
        return [Finding("store", False, detail, f"export JUPYTER_CONTAINERS_ROOT=/var/tmp/containers-{facts.user}")]
    if "noexec" in facts.store_options.split(","):
        detail = f"{facts.store} is on a file system mounted noexec: no program of an image could be run"
        return [Finding("store", False, detail, f"export JUPYTER_CONTAINERS_ROOT=/var/tmp/containers-{facts.user}")]
    return [Finding("store", True, f"{facts.store} on {kind}")]


def _busybox(facts: Facts) -> list[Finding]:
    path = facts.tools.get("busybox")
    if path:
        return [Finding("busybox", True, f"{path}, for an image that needs no download")]
    detail = "no static busybox for an image that needs no download"
    return [Finding("busybox", False, detail, "sudo apt-get install busybox-static")]


def _error(code: int) -> str:
    return os.strerror(code) if code > 0 else "the attempt failed"


# -- looking ---------------------------------------------------------------------------------------------------------


_ATTEMPTS = (
    "userns",
    "userns_namespaces",
    "userns_proc",
    "userns_overlay",
    "namespaces",
    "proc",
    "overlay",
    "seccomp",
    "nftables",
)


def _attempts(place: str) -> dict[str, int]:
    """Run ``probe_attempts`` on the file system of the store, or on that of the temporary directory."""
    script = os.path.join(os.path.dirname(__file__), "probe_attempts.py")
    unknown = dict.fromkeys(_ATTEMPTS, -1)
    where = place if os.access(place, os.W_OK | os.X_OK) else None
    try:
        with tempfile.TemporaryDirectory(prefix=".jupyter-containers-probe-", dir=where) as directory:
            done = subprocess.run(
                [sys.executable, "-I", "-S", script, directory],
                check=True,
                capture_output=True,
                timeout=_PATIENCE,
                start_new_session=True,
            )
        results: dict[str, int] = json.loads(done.stdout)
        return unknown | results
    except (OSError, subprocess.SubprocessError, ValueError):
        return unknown  # every -1 is shown as an attempt that failed


def _existing_ancestor(path: str) -> str:
    current = os.path.abspath(path)
    while not os.path.isdir(current):
        current = os.path.dirname(current)
    return current


def _no_gain(program: str | None) -> str:
    return why_no_gain(program) if program and os.geteuid() else ""


def _file_system(path: str) -> tuple[str, str]:
    """Type and mount options of the file system a path is on, by its device number (proc_pid_mountinfo(5))."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kind, options = "unknown", ""
    for line in _text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            kind, options = after.split()[0], before.split()[5]
    return kind, options


def _subordinate(path: str, user: str, uid: int) -> int:
    """How many ids a file such as /etc/subuid gives to a user."""
    return sum(count for _first, count in parse_subids(_text(path), name=user, number=uid))


def _tun() -> int:
    """0 if /dev/net/tun can be opened, else the errno."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return error.errno or -1
    return 0


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
