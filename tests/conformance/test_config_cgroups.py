"""config-linux.md, "Control groups": where a container's cgroups are, and its limits as files of cgroup version 1.

This needs a host with version 1. The files of version 2 are those of tests/unit/linux/test_cgroups.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.linux.cgroup_hierarchies import hierarchies

if TYPE_CHECKING:
    from tests.conformance.harness import Bundle, Runtime

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory"), reason="needs cgroup version 1"),
]
MIB = 1 << 20


def directory(pid: int, controller: str) -> Path:
    """The cgroup of a process for a controller of version 1."""
    for root, mount_point, kind, options in hierarchies(Path("/proc/self/mountinfo").read_text()):
        if kind == "cgroup" and controller in options:
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                _number, names, path = line.split(":", 2)
                if controller in names.split(","):
                    return Path(mount_point) / path.removeprefix(root).lstrip("/")
    pytest.skip(f"there is no controller {controller} of cgroup version 1")


def limited(runtime: Runtime, bundle: Bundle, resources: dict[str, Any], *files: str) -> list[str]:
    """What files of a created container's cgroups hold."""
    bundle.linux["resources"] = resources
    pid = runtime.state(runtime.create(bundle))["pid"]
    return [(directory(pid, file.partition(".")[0]) / file).read_text().strip() for file in files]


@pytest.mark.clause("config-linux.md", "Cgroups Path", "an absolute path is one below the cgroup mount point")
def test_an_absolute_path(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/jc-conformance-{os.getpid()}-at/inner"
    pid = runtime.state(runtime.create(bundle))["pid"]
    assert str(directory(pid, "memory")).endswith(f"/memory{bundle.linux['cgroupsPath']}")


@pytest.mark.clause("config-linux.md", "Cgroups Path", "the same path is the same place")
def test_the_same_path_is_the_same_place(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"jc-conformance-{os.getpid()}-relative"
    places = []
    for _ in range(2):
        container = runtime.create(bundle)
        places.append(directory(runtime.state(container)["pid"], "memory"))
        runtime.delete(container, force=True)
    assert places[0] == places[1]
    assert bundle.linux["cgroupsPath"] in str(places[0])


@pytest.mark.only_ours
@pytest.mark.clause("config-linux.md", "Cgroups Path", "a path that is invalid is an error")
@pytest.mark.parametrize("path", ["/../../etc", "/"])
def test_a_path_that_leads_out_is_an_error(runtime: Runtime, bundle: Bundle, path: str) -> None:
    bundle.linux["cgroupsPath"] = path
    assert runtime.run(bundle).status != 0


@pytest.mark.clause(
    "config-linux.md", "Control groups", "the container's process is in its cgroups, and they go with it"
)
def test_the_cgroup_goes_with_the_container(runtime: Runtime, bundle: Bundle) -> None:
    container = runtime.create(bundle)
    place = directory(runtime.state(container)["pid"], "memory")
    assert str(runtime.state(container)["pid"]) in (place / "cgroup.procs").read_text().split()
    runtime.delete(container, force=True)
    assert not place.exists()


@pytest.mark.clause("config-linux.md", "Memory", "limit, reservation, swap, swappiness, kernelTCP")
@pytest.mark.deviates(runc="1.1 ignores limits of kernel memory")
def test_memory(runtime: Runtime, bundle: Bundle) -> None:
    memory = {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB, "swappiness": 7, "kernelTCP": 8 * MIB}
    files = ["limit_in_bytes", "soft_limit_in_bytes", "memsw.limit_in_bytes", "swappiness", "kmem.tcp.limit_in_bytes"]
    found = limited(runtime, bundle, {"memory": memory}, *(f"memory.{file}" for file in files))
    assert found == [str(memory[key]) for key in ("limit", "reservation", "swap", "swappiness", "kernelTCP")]


@pytest.mark.clause("config-linux.md", "Memory", "-1 is no limit")
def test_unlimited_memory(runtime: Runtime, bundle: Bundle) -> None:
    (found,) = limited(runtime, bundle, {"memory": {"limit": -1, "swap": -1}}, "memory.limit_in_bytes")
    assert int(found) > 1 << 60


@pytest.mark.clause("config-linux.md", "Memory", "disableOOMKiller")
def test_the_oom_killer_is_disabled(runtime: Runtime, bundle: Bundle) -> None:
    resources = {"memory": {"limit": 64 * MIB, "disableOOMKiller": True}}
    (found,) = limited(runtime, bundle, resources, "memory.oom_control")
    assert "oom_kill_disable 1" in found.splitlines()


@pytest.mark.clause("config-linux.md", "CPU", "shares, quota, period, cpus, mems")
def test_cpu(runtime: Runtime, bundle: Bundle) -> None:
    cpu = {"shares": 512, "quota": 50_000, "period": 200_000, "cpus": "0", "mems": "0"}
    files = ["cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.cpus", "cpuset.mems"]
    assert limited(runtime, bundle, {"cpu": cpu}, *files) == ["512", "50000", "200000", "0", "0"]


@pytest.mark.clause("config-linux.md", "CPU", "burst and idle")
@pytest.mark.deviates(runc="1.1 does not know them", crun="1.8 does not know burst")
@pytest.mark.parametrize(
    ("cpu", "file", "shown"),
    [
        ({"quota": 50_000, "burst": 20_000}, "cpu.cfs_burst_us", "20000"),
        ({"idle": 1}, "cpu.idle", "1"),
    ],
)
def test_burst_and_idle(runtime: Runtime, bundle: Bundle, cpu: dict[str, int], file: str, shown: str) -> None:
    assert limited(runtime, bundle, {"cpu": cpu}, file) == [shown]


@pytest.mark.clause("config-linux.md", "CPU", "a burst above the quota is an error")
@pytest.mark.deviates(runc="1.1 does not know it", crun="1.8 does not know it")
def test_a_burst_above_the_quota_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"cpu": {"quota": 10_000, "burst": 20_000}}
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "CPU", "realtimeRuntime and realtimePeriod")
def test_real_time(runtime: Runtime, bundle: Bundle) -> None:
    if not os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        pytest.skip("this kernel does not limit the time of real-time processes")
    bundle.linux["cgroupsPath"] = f"/jc-conformance-{os.getpid()}-rt"  # what is not at the top has no time to give
    cpu = {"realtimePeriod": 500_000, "realtimeRuntime": 10_000}
    found = limited(runtime, bundle, {"cpu": cpu}, "cpu.rt_period_us", "cpu.rt_runtime_us")
    assert found == ["500000", "10000"]


@pytest.mark.clause("config-linux.md", "PIDs", "limit, and -1 for none")
@pytest.mark.parametrize(("limit", "shown"), [(77, "77"), (-1, "max")])
@pytest.mark.deviates(crun="1.8 writes -1 as it is")
def test_pids(runtime: Runtime, bundle: Bundle, limit: int, shown: str) -> None:
    assert limited(runtime, bundle, {"pids": {"limit": limit}}, "pids.max") == [shown]


def disk() -> tuple[int, int]:
    """A whole disk of this host."""
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram")):
            major, minor = Path(f"/sys/block/{name}/dev").read_text().strip().split(":")
            return int(major), int(minor)
    pytest.skip("there is no disk")


@pytest.mark.clause("config-linux.md", "Block IO", "weight, by the file of the scheduler the kernel has")
@pytest.mark.deviates(crun="1.8 knows the file of CFQ only")
def test_block_weight(runtime: Runtime, bundle: Bundle) -> None:
    (found,) = limited(runtime, bundle, {"blockIO": {"weight": 300}}, "blkio.bfq.weight")
    assert found.split()[-1] == "300"


@pytest.mark.clause("config-linux.md", "Block IO", "limits of bytes and operations per second for a device")
def test_throttling(runtime: Runtime, bundle: Bundle) -> None:
    major, minor = disk()
    device = {"major": major, "minor": minor}
    keys = ["throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"]
    block = {key: [{**device, "rate": 1_000_000 + number}] for number, key in enumerate(keys)}
    files = [f"blkio.throttle.{name}_device" for name in ("read_bps", "write_bps", "read_iops", "write_iops")]
    found = limited(runtime, bundle, {"blockIO": block}, *files)
    assert found == [f"{major}:{minor} {1_000_000 + number}" for number in range(4)]


@pytest.mark.only_ours
@pytest.mark.clause("config-linux.md", "Control groups", "a limit that cannot be had is an error that names it")
@pytest.mark.parametrize(
    ("resources", "word", "controller"),
    [
        ({"network": {"classID": 1048577}}, "net_cls", "net_cls"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "net_prio", "net_prio"),
        ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, "rdma", "rdma"),
        ({"unified": {"memory.high": "1"}}, "cgroup v", ""),
        ({"unified": {"weather.max": "1"}}, "unified", ""),
        ({"blockIO": {"leafWeight": 10}}, "leaf_weight", ""),
    ],
)
def test_a_limit_that_cannot_be_had_is_an_error(
    runtime: Runtime, bundle: Bundle, resources: dict[str, Any], word: str, controller: str
) -> None:
    if controller and os.path.exists(f"/sys/fs/cgroup/{controller}/tasks"):
        pytest.skip(f"this host has the controller {controller}")
    bundle.linux["resources"] = resources
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert word in ran.stderr


@pytest.mark.only_ours
@pytest.mark.clause("config-linux.md", "Huge page limits", "what is reserved of a size of page is limited")
def test_huge_pages(runtime: Runtime, bundle: Bundle) -> None:
    if "hugetlb" not in Path("/sys/fs/cgroup/unified/cgroup.controllers").read_text().split():
        pytest.skip("needs the controller hugetlb on version 2, beside version 1")
    bundle.linux["resources"] = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    pid = runtime.state(runtime.create(bundle))["pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].partition("::")[2]
    assert Path(f"/sys/fs/cgroup/unified{path}/hugetlb.2MB.rsvd.max").read_text() == f"{4 * MIB}\n"


@pytest.mark.only_ours
@pytest.mark.clause("config-linux.md", "Unified", "files of version 2 are written, with the controller they need")
def test_files_of_version_2(runtime: Runtime, bundle: Bundle) -> None:
    if "hugetlb" not in Path("/sys/fs/cgroup/unified/cgroup.controllers").read_text().split():
        pytest.skip("needs the controller hugetlb on version 2, beside version 1")
    bundle.linux["resources"] = {"unified": {"hugetlb.2MB.max": "2097152", "cgroup.max.depth": "3"}}
    pid = runtime.state(runtime.create(bundle))["pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].partition("::")[2]
    directory = Path(f"/sys/fs/cgroup/unified{path}")
    found = [(directory / name).read_text().strip() for name in ("hugetlb.2MB.max", "cgroup.max.depth")]
    assert found == ["2097152", "3"]


@pytest.mark.clause("config-linux.md", "RDMA", "an entry has hcaHandles or hcaObjects")
@pytest.mark.deviates(crun="1.8 does not know the field")
def test_an_rdma_entry_without_limits_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"rdma": {"mlx5_1": {}}}
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Allowed Device list", "entries are applied in the order listed")
def test_the_order_of_device_rules(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"path": f"/dev/{name}", "type": "c", "major": 10, "minor": minor, "fileMode": 0o666}
        for name, minor in (("one", 229), ("two", 200))
    ]
    bundle.linux["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
            {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        ]
    }
    bundle.script("for name in one two; do (: < /dev/$name) 2>&1 | grep -q 'not permitted' && echo $name; done; true")
    assert runtime.run(bundle).lines() == ["one"]


@pytest.mark.only_ours
@pytest.mark.clause(
    "config-linux.md", "Allowed Device list", "entries that version 1 cannot apply in order are an error"
)
def test_rules_that_version_1_cannot_express_are_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {
        "devices": [
            {"allow": True, "type": "c", "major": 10, "access": "rw"},
            {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        ]
    }
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "c 10:229" in ran.stderr


@pytest.mark.clause("config-linux.md", "Allowed Device list", "entries are applied in the order listed")
def test_a_device_that_is_not_allowed_cannot_be_opened(runtime: Runtime, bundle: Bundle) -> None:
    major, minor = disk()
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    bundle.script(f"mknod /tmp/disk b {major} {minor} && head -c 1 /tmp/disk; echo; head -c 1 /dev/zero | wc -c")
    assert runtime.run(bundle).lines() == ["", "1"]


@pytest.mark.clause("config-linux.md", "Control groups", "limits of a running container can be changed")
def test_limits_are_updated(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = ["sleep", "60"]
    bundle.linux["resources"] = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "pids": {"limit": 9}}
    container = runtime.create(bundle)
    assert runtime.start(container).status == 0
    pid = runtime.state(container)["pid"]
    change = '{"memory": {"limit": 134217728, "swap": 134217728}, "cpu": {"shares": 700}}'
    ran = runtime.call("update", "--resources", "-", container, stdin=change)
    assert ran.status == 0, ran.stderr
    assert (directory(pid, "memory") / "memory.limit_in_bytes").read_text() == "134217728\n"
    assert (directory(pid, "cpu") / "cpu.shares").read_text() == "700\n"
    assert (directory(pid, "pids") / "pids.max").read_text() == "9\n"
