from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import Unsupported
from jupyter_containers.linux import cgroup_figures, cgroups
from jupyter_containers.linux.cgroup_files import PARENT
from jupyter_containers.linux.cgroup_hierarchies import hierarchies, own_paths, topmost_writable
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.linux.cgroup_limits import (
    refused_by_v1,
    refused_by_v2,
    v1_writes,
    v2_writes,
    weight_of_shares,
)
from jupyter_containers.linux.device_filter import compile_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.oci.runtime_spec import DeviceCgroup, Resources

HOST = CgroupHost.detect()
MIB = 1 << 20


def needs(*controllers: str) -> pytest.MarkDecorator:
    missing = [HOST.why_not(name) for name in controllers if name not in HOST.bases]
    return pytest.mark.skipif(bool(missing), reason=f"needs cgroup v1 that we may write to: {missing}")


@pytest.fixture
def made() -> Iterator[list[CgroupPlan]]:
    plans: list[CgroupPlan] = []
    yield plans
    for plan in plans:
        cgroups.kill(plan)
        cgroups.remove(plan)


def make(made: list[CgroupPlan], resources: Resources | None = None) -> CgroupPlan:
    plan = HOST.plan(f"test-{os.getpid()}-{time.monotonic_ns()}", resources)
    assert plan is not None
    made.append(plan)
    cgroups.create(plan)
    return plan


def enter(plan: CgroupPlan) -> None:
    cgroups.enter(cgroups.open_tasks(plan))
    if plan["unified"]:
        Path(plan["unified"], "cgroup.procs").write_text("0", encoding="ascii")


def sleeping(plan: CgroupPlan) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], preexec_fn=partial(enter, plan))  # noqa: PLW1509 - no thread runs here


def run_in(plan: CgroupPlan, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=partial(enter, plan),
    )


# -- limits as files -------------------------------------------------------------------------------------------------


def test_limits_of_version_1() -> None:
    writes = v1_writes(
        {
            "memory": {
                "limit": 64 * MIB,
                "swap": 128 * MIB,
                "reservation": MIB,
                "swappiness": 0,
                "disableOOMKiller": True,
            },
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 100},
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
                {"allow": True, "type": "c", "major": 136, "access": "rwm"},
            ],
        }
    )
    assert writes == [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "1048576"),
        ("memory", "memory.swappiness", "0"),
        ("memory", "memory.oom_control", "1"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpuset", "cpuset.cpus", "0-1"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "100"),
        ("devices", "devices.deny", "a"),
        ("devices", "devices.allow", "c 1:3 rw"),
        ("devices", "devices.allow", "c 136:* rwm"),
    ]


def test_limits_of_version_2() -> None:
    writes = v2_writes(
        {
            "memory": {"limit": 64 * MIB, "swap": 80 * MIB, "reservation": MIB},
            "cpu": {"shares": 1024, "quota": 50_000},
            "pids": {"limit": 0},
            "unified": {"memory.high": "1000"},
        }
    )
    assert writes == [
        ("memory", "memory.max", "67108864"),
        ("memory", "memory.swap.max", str(16 * MIB)),
        ("memory", "memory.low", "1048576"),
        ("cpu", "cpu.weight", "100"),
        ("cpu", "cpu.max", "50000 100000"),
        ("pids", "pids.max", "max"),
        ("memory", "memory.high", "1000"),
    ]
    assert v2_writes({"memory": {"limit": -1, "swap": -1}}) == [
        ("memory", "memory.max", "max"),
        ("memory", "memory.swap.max", "max"),
    ]


REST: Resources = {
    "memory": {"kernel": MIB, "kernelTCP": 2 * MIB, "useHierarchy": True, "limit": 0},
    "cpu": {"burst": 5, "realtimePeriod": 7, "realtimeRuntime": 6, "idle": 1, "shares": 3},
    "blockIO": {
        "weight": 1000,
        "leafWeight": 20,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 30}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
    "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}},
    "unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2"},
}


def test_the_other_limits_of_version_1() -> None:
    assert v1_writes(REST) == [
        ("memory", "memory.use_hierarchy", "1"),
        ("memory", "memory.kmem.limit_in_bytes", "1048576"),
        ("memory", "memory.kmem.tcp.limit_in_bytes", "2097152"),
        ("cpu", "cpu.shares", "3"),
        ("cpu", "cpu.cfs_burst_us", "5"),
        ("cpu", "cpu.rt_period_us", "7"),
        ("cpu", "cpu.rt_runtime_us", "6"),
        ("cpu", "cpu.idle", "1"),
        ("blkio", "blkio.bfq.weight|blkio.weight", "1000"),
        ("blkio", "blkio.leaf_weight", "20"),
        ("blkio", "blkio.bfq.weight_device|blkio.weight_device", "8:0 10"),
        ("blkio", "blkio.leaf_weight_device", "8:0 30"),
        ("blkio", "blkio.throttle.read_bps_device", "8:0 600"),
        ("blkio", "blkio.throttle.write_iops_device", "8:16 0"),
        ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes|hugetlb.2MB.limit_in_bytes", "9"),
        ("net_cls", "net_cls.classid", "1048577"),
        ("net_prio", "net_prio.ifpriomap", "eth0 5"),
        ("rdma", "rdma.max", "mlx5_1 hca_handle=3 hca_object=10"),
    ]


def test_the_other_limits_of_version_2() -> None:
    assert v2_writes(REST) == [
        ("cpu", "cpu.idle", "1"),
        ("cpu", "cpu.max.burst", "5"),
        ("io", "io.bfq.weight|io.weight", "1000|default 10000"),
        ("io", "io.bfq.weight|io.weight", "8:0 10|8:0 1"),
        ("io", "io.max", "8:0 rbps=600"),
        ("io", "io.max", "8:16 wiops=max"),
        ("hugetlb", "hugetlb.2MB.rsvd.max|hugetlb.2MB.max", "9"),
        ("rdma", "rdma.max", "mlx5_1 hca_handle=3 hca_object=10"),
        ("io", "io.max", "8:0 rbps=1"),
        ("io", "io.max", "8:16 wbps=2"),
    ]
    assert [controller for controller, _why in refused_by_v2(REST)] == ["memory", "cpu", "blkio"]


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ([(False, "a", -1, -1), (True, "c", 10, -1), (False, "c", 10, 229)], True),
        ([(False, "a", -1, -1), (True, "c", 10, 229), (False, "c", 10, 229)], False),
        ([(False, "a", -1, -1), (True, "c", 10, -1), (False, "b", 10, 229)], False),
        ([(False, "c", -1, 229), (True, "c", 10, 229)], True),
        ([(False, "c", 10, 229), (True, "c", 10, -1), (False, "a", -1, -1), (True, "c", 1, 3)], True),
        ([(True, "c", 10, -1), (True, "a", -1, -1), (True, "c", 10, 229)], False),
    ],
)
def test_device_rules_that_version_1_would_not_apply_are_found(
    rules: list[tuple[bool, str, int, int]], *, refused: bool
) -> None:
    given = [
        {"allow": allow, "type": kind, "major": major, "minor": minor, "access": "rw"}
        for allow, kind, major, minor in rules
    ]
    assert bool(refused_by_v1(cast("list[DeviceCgroup]", given))) is refused


def test_a_limit_goes_to_the_first_file_there_is(tmp_path: Path) -> None:
    (tmp_path / "io.weight").write_text("")
    writes = [(f"{tmp_path}/io.bfq.weight|io.weight", "500|default 4950")]
    plan: CgroupPlan = {"name": "x", "dirs": {}, "unified": "", "writes": writes, "device_program": b""}
    cgroups.apply(plan)
    assert (tmp_path / "io.weight").read_text() == "default 4950"
    plan["writes"] = [(f"{tmp_path}/a|b", "1")]
    with pytest.raises(OSError, match="this kernel has no such limit"):
        cgroups.apply(plan)


def test_a_limit_below_what_is_used_is_refused_before_the_kernel_kills(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("1000\n")
    plan: CgroupPlan = {"name": "x", "dirs": {}, "unified": str(tmp_path), "writes": [], "device_program": b""}
    cgroups.check_usage(plan, 1000)
    cgroups.check_usage(plan, -1)
    with pytest.raises(OSError, match="1000 bytes are used"):
        cgroups.check_usage(plan, 999)


def test_weights_meet_where_the_versions_define_them() -> None:
    assert [weight_of_shares(shares) for shares in (0, 2, 1024, 262_144, 1 << 30)] == [1, 1, 100, 10_000, 10_000]


@given(st.integers(0, 300_000), st.integers(0, 300_000))
def test_more_shares_never_weigh_less(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= weight_of_shares(low) <= weight_of_shares(high) <= 10_000


# -- detection -------------------------------------------------------------------------------------------------------


def test_mountinfo_and_own_paths() -> None:
    text = (
        "30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "32 23 0:28 / /proc rw - proc proc rw\n"
        "33 23 0:29 /docker/x /a\\040b ro - cgroup cgroup rw,memory\n"
    )
    assert hierarchies(text) == [
        ("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", {"rw", "cpu", "cpuacct"}),
        ("/", "/sys/fs/cgroup/unified", "cgroup2", {"rw"}),
        ("/docker/x", "/a b", "cgroup", {"rw", "memory"}),
    ]
    assert own_paths("4:memory:/process_api/x\n3:cpu,cpuacct:/\n0::/user.slice\n") == {
        "memory": "/process_api/x",
        "cpu": "/",
        "cpuacct": "/",
        "": "/user.slice",
    }


def tree(base: Path, *names: str) -> None:
    for name in names:
        (base / name).mkdir(parents=True, exist_ok=True)
        (base / name / "cgroup.procs").write_text("")


def test_the_topmost_writable_directory_is_chosen(tmp_path: Path) -> None:
    tree(tmp_path, ".", "user", "user/session")
    assert topmost_writable(str(tmp_path), "/", "/user/session") == str(tmp_path)
    (tmp_path / "cgroup.procs").unlink()
    assert topmost_writable(str(tmp_path), "/", "/user/session") == f"{tmp_path}/user"
    (tmp_path / "user" / "cgroup.procs").unlink()
    assert topmost_writable(str(tmp_path), "/", "/user/session") == f"{tmp_path}/user/session"
    assert not topmost_writable(str(tmp_path), "/", "/user")


def test_a_path_outside_of_what_is_mounted_is_looked_up_below_the_mounted_root(tmp_path: Path) -> None:
    tree(tmp_path, "inner")
    assert topmost_writable(str(tmp_path), "/docker/x", "/docker/x/inner") == f"{tmp_path}/inner"


def fake_v2(base: Path, controllers: str = "memory cpu pids io") -> CgroupHost:
    (base / "cgroup.controllers").write_text(controllers)
    (base / "cgroup.subtree_control").write_text("")
    (base / PARENT).mkdir()
    (base / PARENT / "cgroup.subtree_control").write_text("")
    return CgroupHost("v2", {}, str(base), controllers.split())


def test_a_plan_for_version_2_hands_its_controllers_down(tmp_path: Path) -> None:
    host = fake_v2(tmp_path)
    plan = host.plan("c1", {"memory": {"limit": MIB}, "cpu": {"shares": 1024}})
    assert plan is not None
    assert plan["unified"] == f"{tmp_path}/{PARENT}/c1"
    assert plan["writes"] == [(f"{plan['unified']}/memory.max", str(MIB)), (f"{plan['unified']}/cpu.weight", "100")]
    assert marshal.loads(marshal.dumps(dict(plan))) == plan
    assert "+" in (tmp_path / "cgroup.subtree_control").read_text()
    assert "+" in (tmp_path / PARENT / "cgroup.subtree_control").read_text()


def test_a_limit_that_cannot_be_set_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    host = fake_v2(tmp_path, "memory")
    with pytest.raises(Unsupported, match=r"a limit of pids cannot be set: .* does not offer the pids controller"):
        host.plan("c1", {"pids": {"limit": 5}})
    with pytest.raises(Unsupported, match="swappiness"):
        host.plan("c1", {"memory": {"limit": MIB, "swappiness": 3}})
    nowhere = CgroupHost("none", {}, reasons={"": "no cgroup hierarchy is mounted"})
    with pytest.raises(Unsupported, match="a limit of memory cannot be set: no cgroup hierarchy is mounted"):
        nowhere.plan("c1", {"memory": {"limit": MIB}})
    with pytest.raises(Unsupported, match=r"cgroup v2"):
        nowhere.plan("c1", {"unified": {"memory.high": "1"}})
    assert nowhere.plan("c1") is None
    assert nowhere.plan("c1", {"memory": {}}) is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_name_is_one_path_component(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        HOST.plan(name)


def test_statistics_of_version_2(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
        "memory.current": "5000\n",
        "memory.stat": "anon 1000\ninactive_file 3000\n",
        "memory.peak": "9000\n",
        "memory.max": "max\n",
        "pids.current": "3\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=1 rios=1\n",
        "memory.events": "low 0\noom 1\noom_kill 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    plan: CgroupPlan = {"name": "x", "dirs": {}, "unified": str(tmp_path), "writes": [], "device_program": b""}
    assert cgroup_figures.stats(plan) == {
        "cpu": 1_500_000,
        "cpu_user": 1_000_000,
        "cpu_system": 500_000,
        "memory": 2000,
        "memory_peak": 9000,
        "pids": 3,
        "io_read": 15,
        "io_write": 21,
    }
    assert cgroups.oom_kills(plan) == 2


def test_what_is_removed_already_is_no_error(tmp_path: Path) -> None:
    plan: CgroupPlan = {
        "name": "x",
        "dirs": {"memory": f"{tmp_path}/gone"},
        "unified": f"{tmp_path}/gone2",
        "writes": [],
        "device_program": b"",
    }
    cgroups.remove(plan)
    assert cgroups.processes(plan) == []
    assert cgroup_figures.stats(plan) == {}
    assert cgroups.oom_kills(plan) == 0


def test_the_small_processes_import_little() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import jupyter_containers.linux; before = set(sys.modules); "
        "import jupyter_containers.linux.cgroups; print(sorted(set(sys.modules) - before))"
    )
    root = cast("Any", cgroups).__file__.rpartition("/jupyter_containers/")[0]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, root], check=True, capture_output=True, text=True)
    heavy = [
        "errors",
        "cgroup_limits",
        "cgroup_hierarchies",
        "'enum'",
        "'dataclasses'",
        "'typing'",
        "'pathlib'",
        "'re'",
    ]
    assert not [name for name in heavy if name in done.stdout]


# -- the kernel ------------------------------------------------------------------------------------------------------


@needs("memory")
def test_a_process_that_takes_too_much_memory_is_killed_and_counted(made: list[CgroupPlan]) -> None:
    plan = make(made, {"memory": {"limit": 48 * MIB, "swap": 48 * MIB}})
    assert cgroups.oom_kills(plan) == 0
    done = run_in(plan, "x = bytearray(200 << 20)")
    assert done.returncode == -signal.SIGKILL
    assert cgroups.oom_kills(plan) == 1
    stats = cgroup_figures.stats(plan)
    assert stats["memory_limit"] == 48 * MIB
    assert 40 * MIB < stats["memory_peak"] <= 48 * MIB
    assert stats["cpu"] > 0


@needs("pids")
def test_the_number_of_processes_is_limited(made: list[CgroupPlan]) -> None:
    plan = make(made, {"pids": {"limit": 3}})
    code = (
        "import os\nfor n in range(9):\n  try:\n    if os.fork() == 0: os.read(0, 1); os._exit(0)\n"
        "  except OSError as e: print(n, e.errno); break"
    )
    done = run_in(plan, code)
    assert done.stdout.split() == ["2", "11"]


@needs("devices")
def test_devices_that_are_not_allowed_cannot_be_opened(made: list[CgroupPlan]) -> None:
    rules: Resources = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        ]
    }
    plan = make(made, rules)
    code = (
        "import os\nfor name in ('null', 'zero'):\n  try: os.open('/dev/' + name, os.O_RDONLY); print('ok')\n"
        "  except PermissionError: print('EPERM')"
    )
    assert run_in(plan, code).stdout.split() == ["ok", "EPERM"]


@needs("freezer", "cpuset", "cpu")
def test_freezing_counting_and_killing(made: list[CgroupPlan]) -> None:
    plan = make(made, {"cpu": {"cpus": "0", "quota": 50_000, "period": 100_000}})
    with sleeping(plan) as child:
        assert cgroups.processes(plan) == [child.pid]
        assert os.sched_getaffinity(child.pid) == {0}
        assert cgroups.freeze(plan, frozen=True)
        assert cgroup_figures.stats(plan)["pids"] == 1
        cgroups.kill(plan)
        assert child.wait(10) == -signal.SIGKILL
    assert cgroups.processes(plan) == []


@needs("pids")
def test_limits_of_a_running_container_change(made: list[CgroupPlan]) -> None:
    plan = make(made, {"memory": {"limit": 48 * MIB, "swap": 48 * MIB}})
    larger = HOST.plan(plan["name"], {"memory": {"limit": 96 * MIB, "swap": 96 * MIB}})
    assert larger is not None
    cgroups.apply(larger)
    assert cgroup_figures.stats(plan)["memory_limit"] == 96 * MIB
    smaller = HOST.plan(plan["name"], {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
    assert smaller is not None
    cgroups.apply(smaller)
    assert cgroup_figures.stats(plan)["memory_limit"] == 32 * MIB


@needs("pids")
def test_what_a_crash_leaves_is_found_by_name_and_removed(made: list[CgroupPlan]) -> None:
    plan = make(made)
    os.mkdir(f"{plan['dirs']['pids']}/made-inside")
    assert plan["name"] in HOST.existing()
    found = HOST.find(plan["name"])
    assert found["dirs"] == plan["dirs"]
    cgroups.remove(found)
    assert plan["name"] not in HOST.existing()
    assert not any(os.path.exists(path) for path in plan["dirs"].values())


@pytest.mark.root
@pytest.mark.skipif(not HOST.unified, reason="no cgroup v2 that we may write to")
def test_version_2_freezes_kills_and_is_entered_by_descriptor() -> None:
    path = f"{HOST.unified}/{PARENT}-test-{os.getpid()}"
    plan: CgroupPlan = {"name": "x", "dirs": {}, "unified": path, "writes": [], "device_program": b""}
    cgroups.create(plan)
    try:
        with sleeping(plan) as child:
            assert cgroups.processes(plan) == [child.pid]
            assert cgroups.freeze(plan, frozen=True)
            assert cgroups.freeze(plan, frozen=False)
            cgroups.kill(plan)
            assert child.wait(10) == -signal.SIGKILL
        descriptor = cgroups.open_unified(plan)
        assert os.fstat(descriptor).st_ino == os.stat(path).st_ino
        os.close(descriptor)
    finally:
        cgroups.remove(plan)
    assert not os.path.exists(path)


@pytest.mark.root
@pytest.mark.skipif(not HOST.unified, reason="no cgroup v2 that we may write to")
def test_version_2_asks_a_program_about_devices() -> None:
    path = f"{HOST.unified}/{PARENT}-test-devices-{os.getpid()}"
    program = compile_rules(
        [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "access": "m"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
        ]
    )
    plan: CgroupPlan = {"name": "x", "dirs": {}, "unified": path, "writes": [], "device_program": program}
    cgroups.create(plan)
    try:
        code = (
            "import os\nfor name, mode in (('null', 2), ('zero', 0), ('zero', 1), ('urandom', 0)):\n"
            "  try: os.open('/dev/' + name, mode); print('ok')\n  except PermissionError: print('EPERM')"
        )
        assert run_in(plan, code).stdout.split() == ["ok", "ok", "EPERM", "EPERM"]
    finally:
        cgroups.remove(plan)


@pytest.mark.root
def test_device_rules_of_a_host_with_version_2_are_planned_as_a_program(tmp_path: Path) -> None:
    host = fake_v2(tmp_path)
    rules: Resources = {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 9}}
    plan = host.plan("c1", rules)
    assert plan is not None
    assert plan["device_program"] == compile_rules(rules["devices"])
    assert [path.rpartition("/")[2] for path, _text in plan["writes"]] == ["pids.max"]
    assert host.can_limit("devices")


def test_without_privileges_device_rules_have_nothing_to_forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    nowhere = CgroupHost("none", {})
    assert nowhere.plan("c1", {"devices": [{"allow": False, "access": "rwm"}]}) is None


def test_a_busy_cgroup_is_reported_after_a_while(monkeypatch: pytest.MonkeyPatch, made: list[CgroupPlan]) -> None:
    if "pids" not in HOST.bases:
        pytest.skip(HOST.why_not("pids"))
    plan = make(made)
    monkeypatch.setattr(cgroups, "_PATIENCE", 0.05)
    with sleeping(plan) as child:
        with pytest.raises(OSError, match="busy"):
            cgroups.remove(plan)
        child.kill()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (CgroupHost("none", {}, reasons={"memory": "not writable", "": "not writable"}), "boot with cgroup v2"),
        (CgroupHost("none", {}, reasons={"": "/sys/fs/cgroup is not writable for uid 1000"}), "Delegate=yes"),
        (CgroupHost("v2", {}, "/sys/fs/cgroup/mine", ("pids",)), "Delegate=yes"),
        (CgroupHost("none", {}, reasons={"": "no cgroup hierarchy is mounted"}), ""),
    ],
)
def test_what_an_ordinary_user_can_do_for_limits(host: CgroupHost, words: str) -> None:
    assert words in host.remedy
    assert bool(words) == bool(host.remedy)
