"""Rarely used fields of a configuration: scheduling, personality, memory policy, security labels, time offsets.

Imported only where one of them is given. Checks raise :class:`SpecError` with the path of the field; what the running
kernel does not have is refused by name.

Sources: OCI runtime specification 1.3, config.md "Linux Process" and config-linux.md; apparmor(7), selinux(8),
time_namespaces(7).
"""

from __future__ import annotations

import os
from errno import EINVAL, EPERM

from jupyter_containers.linux import namespaces as ns
from jupyter_containers.linux import scheduling, syscalls
from jupyter_containers.runtime.plan import Namespaces, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.oci.runtime_spec import (
        CpuAffinity,
        Linux,
        MemoryPolicy,
        Mount,
        NetDevice,
        Process,
        Scheduler,
        TimeOffset,
    )

_REAL_TIME = {"SCHED_FIFO", "SCHED_RR"}
_NICE = {"SCHED_OTHER", "SCHED_BATCH"}
_CLAMPS = {"SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"}
_LARGEST_IO_PRIORITY = 7
_CLOCKS = ("monotonic", "boottime")
_BILLION = 1_000_000_000
_IFNAMSIZ = 16
_LABELLED = {"tmpfs", "devpts"}
_NODELESS = {"MPOL_DEFAULT", "MPOL_LOCAL"}


# -- checks ----------------------------------------------------------------------------------------------------------


def check_process(process: Process) -> None:
    """Check the rare fields of ``process``."""
    if "scheduler" in process:
        _check_scheduler(process["scheduler"])
    if "ioPriority" in process:
        priority = process["ioPriority"]
        if priority.get("class") not in scheduling.IO_CLASSES:
            raise SpecError(f"process.ioPriority.class: {priority.get('class')!r} is no class")
        if not 0 <= priority.get("priority", 0) <= _LARGEST_IO_PRIORITY:
            raise SpecError(f"process.ioPriority.priority: {priority['priority']} is not from 0 to 7")
    for key in ("initial", "final"):
        text = process.get("execCPUAffinity", {}).get(key)
        if text:
            _list(str(text), f"process.execCPUAffinity.{key}")
    if process.get("apparmorProfile") and not has_apparmor():
        raise SpecError("process.apparmorProfile: AppArmor is not active on this host")
    if process.get("selinuxLabel") and not has_selinux():
        raise SpecError("process.selinuxLabel: SELinux is not active on this host")


def _check_scheduler(scheduler: Scheduler) -> None:
    policy = scheduler.get("policy", "")
    where = "process.scheduler"
    if policy not in scheduling.POLICIES:
        raise SpecError(f"{where}.policy: {policy!r} is no policy")
    if policy == "SCHED_ISO":
        raise SpecError(f"{where}.policy: the kernel reserves SCHED_ISO and does not have it")
    for number, flag in enumerate(scheduler.get("flags") or []):
        if flag not in scheduling.FLAGS:
            raise SpecError(f"{where}.flags[{number}]: {flag!r} is no flag")
        if flag in _CLAMPS:
            raise SpecError(f"{where}.flags[{number}]: {flag} needs values the specification has no field for")
    least, most = -20, 19
    if not least <= scheduler.get("nice", 0) <= most:
        raise SpecError(f"{where}.nice: {scheduler['nice']} is not from -20 to 19")
    if scheduler.get("priority", 0) and policy not in _REAL_TIME:
        raise SpecError(f"{where}.priority: only SCHED_FIFO and SCHED_RR have one")
    if scheduler.get("nice", 0) and policy not in _NICE:
        raise SpecError(f"{where}.nice: only SCHED_OTHER and SCHED_BATCH have one")
    for key in ("runtime", "deadline", "period"):
        if scheduler.get(key) and policy != "SCHED_DEADLINE":
            raise SpecError(f"{where}.{key}: only SCHED_DEADLINE has one")


def check_linux(linux: Linux, namespaces: Namespaces) -> None:
    """Check the rare fields of ``linux``."""
    if linux.get("intelRdt") is not None:
        raise SpecError("linux.intelRdt: resource directory technology (resctrl) is not supported")
    personality = linux.get("personality")
    if personality is not None:
        if personality.get("domain") not in scheduling.DOMAINS:
            raise SpecError(f"linux.personality.domain: {personality.get('domain')!r} is not LINUX or LINUX32")
        if personality.get("flags"):
            raise SpecError("linux.personality.flags: the specification has no flags")
    if linux.get("mountLabel") and not has_selinux():
        raise SpecError("linux.mountLabel: SELinux is not active on this host")
    if linux.get("memoryPolicy"):
        _check_memory_policy(linux["memoryPolicy"])
    offsets = linux.get("timeOffsets")
    if offsets:
        _check_offsets(offsets, namespaces)
    if linux.get("netDevices"):
        _check_net_devices(linux["netDevices"], namespaces)


def _check_net_devices(devices: Mapping[str, NetDevice], namespaces: Namespaces) -> None:
    if not namespaces.has("network"):
        raise SpecError("linux.netDevices: interfaces can move only to a network namespace of the container's own")
    for name, device in devices.items():
        for text in (name, device.get("name") or name):
            fits = 0 < len(os.fsencode(text)) < _IFNAMSIZ and text not in {".", ".."}
            if not fits or any(letter in "/:" or letter.isspace() for letter in text):
                raise SpecError(f"linux.netDevices.{name}: {text!r} is no name of an interface")


def _check_memory_policy(policy: MemoryPolicy) -> None:
    where = "linux.memoryPolicy"
    mode = policy.get("mode", "")
    if mode not in scheduling.MEMORY_MODES:
        raise SpecError(f"{where}.mode: {mode!r} is no mode")
    for number, flag in enumerate(policy.get("flags") or []):
        if flag not in scheduling.MEMORY_FLAGS:
            raise SpecError(f"{where}.flags[{number}]: {flag!r} is no flag")
    nodes = policy.get("nodes", "")
    if bool(nodes) == (mode in _NODELESS) and mode != "MPOL_PREFERRED":
        raise SpecError(f"{where}.nodes: {mode} {'takes no' if nodes else 'needs'} nodes")
    if nodes:
        _list(nodes, f"{where}.nodes")


def _check_offsets(offsets: Mapping[str, TimeOffset], namespaces: Namespaces) -> None:
    for clock, offset in offsets.items():
        if clock not in _CLOCKS:
            raise SpecError(f"linux.timeOffsets: {clock!r} is no clock of a time namespace")
        if not 0 <= offset.get("nanosecs", 0) < _BILLION:
            raise SpecError(f"linux.timeOffsets.{clock}.nanosecs: not less than a second")
    if not namespaces.time:
        raise SpecError("linux.timeOffsets: offsets need a time namespace made for the container")


def _list(text: str, where: str) -> set[int]:
    try:
        return scheduling.parse_list(text)
    except ValueError:
        raise SpecError(f"{where}: {text!r} is no list of numbers such as 0-3,7") from None


def has_apparmor() -> bool:
    """Whether the kernel confines programs by AppArmor."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().startswith("Y")
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether SELinux is active: its file system is mounted then."""
    return os.path.exists("/sys/fs/selinux/enforce")


# -- what is done ----------------------------------------------------------------------------------------------------


def apply_process(process: Process, labels: int = -1) -> None:
    """Scheduling and priority of input and output of the calling process; security labels of the next program.

    ``labels`` is a descriptor of the host's /proc/self/attr: the container's /proc may be missing or a sham.
    """
    if labels >= 0:
        _label_next_program(process, labels)
    scheduler = process.get("scheduler")
    if scheduler:
        flags = sum(scheduling.FLAGS[flag] for flag in set(scheduler.get("flags") or []))
        with _Naming(f"process.scheduler: {scheduler['policy']}"):
            scheduling.set_scheduler(
                scheduling.POLICIES[scheduler["policy"]],
                flags,
                nice=scheduler.get("nice", 0),
                priority=scheduler.get("priority", 0),
                deadline=(scheduler.get("runtime", 0), scheduler.get("deadline", 0), scheduler.get("period", 0)),
            )
    priority = process.get("ioPriority")
    if priority:
        with _Naming(f"process.ioPriority: {priority['class']}"):
            scheduling.set_io_priority(scheduling.IO_CLASSES[priority["class"]], priority.get("priority", 0))


def apply_affinity(affinity: CpuAffinity, key: str) -> None:
    """The CPUs of an exec, before (``initial``) or after (``final``) it entered the cgroup."""
    text = affinity.get(key)
    if text:
        with _Naming(f"process.execCPUAffinity.{key}: {text}"):
            scheduling.set_affinity(_list(str(text), f"process.execCPUAffinity.{key}"))


def apply_linux(linux: Linux) -> None:
    """Execution domain and memory policy of the calling process."""
    personality = linux.get("personality")
    if personality:
        with _Naming("linux.personality"):
            scheduling.set_personality(scheduling.DOMAINS[personality["domain"]])
    policy = linux.get("memoryPolicy")
    if policy:
        mode = scheduling.MEMORY_MODES[policy["mode"]]
        mode |= sum(scheduling.MEMORY_FLAGS[flag] for flag in set(policy.get("flags") or []))
        nodes = _list(policy["nodes"], "linux.memoryPolicy.nodes") if policy.get("nodes") else set()
        with _Naming(f"linux.memoryPolicy: {policy['mode']}"):
            scheduling.set_memory_policy(mode, nodes)


def _label_next_program(process: Process, attributes: int) -> None:
    """Have the next program run under an AppArmor profile or an SELinux label.

    The kernel wants the file opened and written with the same credentials (proc(5), /proc/<pid>/attr).
    """
    profile, label = process.get("apparmorProfile"), process.get("selinuxLabel")
    for file, text in (("apparmor/exec", f"exec {profile}" if profile else ""), ("exec", label or "")):
        if not text:
            continue
        with _Naming(f"security label {text!r}"):
            descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC, dir_fd=attributes)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)


def labelled(mount: Mount, label: str) -> Mount:
    """A mount with the SELinux label its files are to have, where its file system takes one."""
    if mount.get("type") not in _LABELLED:
        return mount
    return {**mount, "options": [*mount.get("options", []), f'context="{label}"']}


def make_time_namespace(offsets: Mapping[str, TimeOffset]) -> None:
    """Have the children of this process born in a new time namespace with its offsets."""
    syscalls.unshare(syscalls.CLONE_NEWTIME)
    lines = [f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n" for clock, offset in offsets.items()]
    if lines:
        with _Naming("linux.timeOffsets"):
            ns.write_file("/proc/self/timens_offsets", "".join(lines).encode())


class _Naming:
    """Put the field into an error of the kernel, and what EINVAL and EPERM most likely mean."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __enter__(self) -> None:
        """Nothing to do yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, OSError):
            return
        reason = os.strerror(error.errno or 0).lower()
        if error.errno == EPERM:
            reason = "this user may not (operation not permitted)"
        elif error.errno == EINVAL:
            reason = "the kernel does not take it (invalid argument)"
        raise OSError(error.errno, f"{self._field}: {reason}") from None
