from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any, cast

import pytest

from jupyter_containers.linux import syscalls
from jupyter_containers.runtime import plan
from tests.support import rootfs

if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Mount, Spec


def spec() -> Spec:
    return rootfs.spec("/root", "true")


def test_a_usual_configuration_is_fine() -> None:
    found = plan.validate(spec())
    assert found.create & syscalls.CLONE_NEWPID
    assert found.create & syscalls.CLONE_NEWNS
    assert found.late == syscalls.CLONE_NEWCGROUP
    assert found.has("network")
    assert not found.has("user")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s["process"].update(args=[]), "no command"),
        (lambda s: s["process"].update(args=["a\0b"]), "NUL"),
        (lambda s: s["process"].update(env=["NOVALUE"]), "NAME=value"),
        (lambda s: s["process"].update(env=["=x"]), "NAME=value"),
        (lambda s: s["process"].update(cwd="relative"), "process.cwd: not an absolute path"),
        (lambda s: s["mounts"].append({"type": "tmpfs"}), r"mounts\[6\].destination: a mount needs one"),
        (lambda s: s["mounts"].append({"destination": "/x", "type": "bind"}), r"mounts\[6\].source: .* no source"),
        (
            lambda s: s["mounts"].append({"destination": "/x", "type": "tmpfs", "options": ["idmap"]}),
            "id mapping needs",
        ),
        (
            lambda s: s["mounts"].append({"destination": "/x", "source": "/", "options": ["bind"], "uidMappings": [1]}),
            "given together",
        ),
        (lambda s: s["linux"].update(rootfsPropagation="upwards"), "not one of shared, slave"),
        (lambda s: s["linux"]["namespaces"].append({"type": "user"}), "linux.uidMappings: a user namespace needs"),
        (lambda s: s.update(domainname="x") or s["linux"]["namespaces"].pop(3), "needs a uts namespace"),
        (lambda s: s["process"].update(ioPriority={"class": "IOPRIO_CLASS_RT", "priority": 8}), "not from 0 to 7"),
        (lambda s: s["process"].update(scheduler={"policy": "SCHED_FAIR"}), "process.scheduler.policy: 'SCHED_FAIR'"),
        (
            lambda s: s["process"].update(scheduler={"policy": "SCHED_FIFO", "nice": 3}),
            "scheduler.nice: only SCHED_OTHER",
        ),
        (lambda s: s["process"].update(scheduler={"policy": "SCHED_OTHER", "priority": 3}), "scheduler.priority: only"),
        (
            lambda s: s["process"].update(scheduler={"policy": "SCHED_OTHER", "period": 3}),
            "period: only SCHED_DEADLINE",
        ),
        (lambda s: s["process"].update(execCPUAffinity={"final": "3-1"}), "final: '3-1' is no list"),
        (lambda s: s["linux"].update(intelRdt={}), "linux.intelRdt"),
        (lambda s: s["linux"].update(personality={"domain": "BSD"}), "linux.personality.domain"),
        (lambda s: s["linux"].update(memoryPolicy={"mode": "MPOL_BIND"}), "MPOL_BIND needs nodes"),
        (lambda s: s["linux"].update(memoryPolicy={"mode": "MPOL_LOCAL", "nodes": "0"}), "MPOL_LOCAL takes no nodes"),
        (lambda s: s["linux"].update(timeOffsets={"monotonic": {"secs": 1}}), "need a time namespace"),
        (lambda s: s["linux"].update(timeOffsets={"realtime": {"secs": 1}}), "no clock of a time namespace"),
        (lambda s: s["linux"].update(timeOffsets={"boottime": {"nanosecs": 10**9}}), "not less than a second"),
        (lambda s: s["linux"]["namespaces"].append({"type": "pid"}), "given twice"),
        (lambda s: s["linux"]["namespaces"].append({"type": "colour"}), "unknown namespace"),
        (lambda s: s["linux"].update(namespaces=[{"type": "pid"}]), "needs a mount namespace"),
        (lambda s: s["linux"].update(namespaces=[{"type": "mount"}]), "hostname: setting it needs a uts"),
        (lambda s: s["linux"].update(maskedPaths=["x"]), r"maskedPaths\[0\]: not an absolute path"),
        (lambda s: s["linux"].update(sysctl={"vm.swappiness": "1"}), "would change the host"),
        (lambda s: s["linux"].update(sysctl={"net.ipv4/../../kernel/panic": "1"}), "not the name"),
    ],
)
def test_what_cannot_be_done_is_refused(change: Any, text: str) -> None:
    wrong = spec()
    change(wrong)
    with pytest.raises(plan.SpecError, match=text):
        plan.validate(wrong)


def test_sysctls_need_the_namespace_they_are_kept_in() -> None:
    good = spec()
    good["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "net/ipv4/conf/eth0.1/forwarding": "1"}
    assert plan.validate(good).has("ipc")
    good["linux"]["namespaces"] = [{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}]
    with pytest.raises(plan.SpecError, match="network namespace of the container's own"):
        plan.validate(good)
    good["linux"]["namespaces"].append({"type": "network", "path": "/proc/1/ns/net"})
    assert plan.validate(good).join == [("network", "/proc/1/ns/net")]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_dots_and_slashes_of_kernel_parameters(key: str, path: str) -> None:
    assert plan.sysctl_path(key) == path


def test_user_namespaces_are_joined_first() -> None:
    both = spec()
    both["linux"]["namespaces"] = [
        {"type": "mount"},
        {"type": "uts"},
        {"type": "network", "path": "/n"},
        {"type": "user", "path": "/u"},
    ]
    assert [kind for kind, _path in plan.validate(both).join] == ["user", "network"]


def test_limits() -> None:
    known = {"RLIMIT_NOFILE": resource.RLIMIT_NOFILE, "RLIMIT_CORE": resource.RLIMIT_CORE}
    limited = spec()
    limited["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert plan.rlimits(limited, known) == [(resource.RLIMIT_NOFILE, 1, 2)]
    for hard, signed in ((2**63 - 1, 2**63 - 1), (2**63, -(2**63)), (2**64 - 1, resource.RLIM_INFINITY), (-1, -1)):
        limited["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 1, "hard": hard}]
        assert plan.rlimits(limited, known) == [(resource.RLIMIT_CORE, 1, signed)]
    for wrong, text in (
        ([{"type": "RLIMIT_X", "soft": 1, "hard": 2}], "unknown"),
        ([{"type": "RLIMIT_CORE", "soft": 3, "hard": 2}], "above"),
        ([{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}] * 2, "twice"),
    ):
        limited["process"]["rlimits"] = cast("Any", wrong)
        with pytest.raises(plan.SpecError, match=text):
            plan.rlimits(limited, known)


def test_devices_asked_for_replace_default_ones() -> None:
    with_devices = spec()
    with_devices["linux"]["devices"] = [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
    ]
    found = {device["path"]: device for device in plan.devices(with_devices)}
    assert found["/dev/null"]["fileMode"] == 0o600
    assert len(found) == len(plan.DEVICES) + 1
    with_devices["linux"]["devices"] = [{"path": "/dev/x", "type": "z"}]
    with pytest.raises(plan.SpecError, match="unknown type"):
        plan.devices(with_devices)


@pytest.mark.parametrize(
    ("mount", "bind"),
    [
        ({"destination": "/a", "type": "bind"}, True),
        ({"destination": "/a", "type": "none", "options": ["ro", "rbind"]}, True),
        ({"destination": "/a", "type": "tmpfs", "options": ["ro"]}, False),
    ],
)
def test_binds_are_known_by_type_or_option(mount: Mount, *, bind: bool) -> None:
    assert plan.is_bind(mount) is bind
