"""Limits: Docker's rules and texts, and what becomes of those a host cannot set."""

from __future__ import annotations

import os

import pytest

from jupyter_containers.engine.launch import limits
from jupyter_containers.engine.launch.limits import make_resources, rlimits
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import EngineError, InvalidInput, NotFound, Unsupported
from jupyter_containers.linux.cgroup_host import CgroupHost

MIB = 2**20


@pytest.mark.parametrize(
    ("keywords", "kind", "expected"),
    [
        ({"memory": "64m"}, "memory", {"limit": 64 * MIB, "swap": 128 * MIB}),
        ({"memory": "64m", "memory_swap": "64m"}, "memory", {"limit": 64 * MIB, "swap": 64 * MIB}),
        ({"memory": "64m", "memory_swap": -1}, "memory", {"limit": 64 * MIB, "swap": -1}),
        ({"memory": "64m", "memory_swap": 0}, "memory", {"limit": 64 * MIB, "swap": 128 * MIB}),
        ({"memory_reservation": "32m"}, "memory", {"reservation": 32 * MIB}),
        ({"memory_swappiness": 0, "oom_kill_disable": True}, "memory", {"swappiness": 0, "disableOOMKiller": True}),
        ({"memory_swappiness": -1}, "memory", None),
        ({"cpus": 0.5}, "cpu", {"quota": 50_000, "period": 100_000}),
        ({"cpu_period": 50_000, "cpu_quota": 25_000}, "cpu", {"quota": 25_000, "period": 50_000}),
        ({"cpu_quota": -1, "cpu_shares": 2}, "cpu", {"quota": -1, "shares": 2}),
        ({"cpuset_cpus": "0", "cpuset_mems": "0"}, "cpu", {"cpus": "0", "mems": "0"}),
        ({"cpu_rt_period": 9, "cpu_rt_runtime": 5}, "cpu", {"realtimePeriod": 9, "realtimeRuntime": 5}),
        ({"pids_limit": 5}, "pids", {"limit": 5}),
        ({"pids_limit": -1}, "pids", None),
        ({"blkio_weight": 300}, "blockIO", {"weight": 300}),
    ],
)
def test_limits_in_the_units_of_the_specification(
    keywords: dict[str, object], kind: str, expected: dict[str, object] | None
) -> None:
    assert make_resources(RunOptions.of(keywords)).get(kind) == expected


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"memory": "5m"}, "too small"),
        ({"memory_reservation": "1m"}, "too small"),
        ({"memory": "64m", "memory_reservation": "65m"}, "must not be smaller than the memory reservation"),
        ({"memory": "64m", "memory_swap": "32m"}, "must not be smaller than the memory limit"),
        ({"memory_swap": "64m"}, "needs a memory limit"),
        ({"memory_swappiness": 101}, "valid memory swappiness range is 0-100"),
        ({"cpus": 1, "cpu_quota": 5000}, "conflicting options"),
        ({"cpus": 100_000}, "range of CPUs is from 0.01"),
        ({"cpu_period": 999}, "CPU period cannot be less than 1ms"),
        ({"cpu_period": 1_000_001}, "larger than 1s"),
        ({"cpu_quota": 999}, "CPU quota cannot be less than 1ms"),
        ({"cpu_shares": -1}, "value must be a positive integer"),
        ({"cpuset_cpus": "0-"}, "invalid list of CPUs"),
        ({"cpuset_cpus": "9999"}, "requested CPUs are not available - requested 9999"),
        ({"cpuset_mems": "9999"}, "requested memory nodes are not available"),
        ({"cpu_rt_period": 5, "cpu_rt_runtime": 6}, "cannot be higher than the real-time period"),
        ({"blkio_weight": 9}, "range of blkio weight is from 10 to 1000"),
        ({"device_read_bps": "/dev/null:1m"}, "is no block device"),
        ({"device_read_bps": "1m"}, "bad format for device-read-bps"),
    ],
)
def test_limits_that_make_no_sense_are_refused(keywords: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make_resources(RunOptions.of(keywords))


def test_what_linux_has_no_more_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="kernel memory"):
        make_resources(RunOptions(kernel_memory="64m"))
    with pytest.raises(NotFound, match="device-write-iops: /dev/nosuch: no such file"):
        make_resources(RunOptions(device_write_iops=("/dev/nosuch:5",)))


def test_block_devices_by_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    node = os.stat_result((0o060660, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(8, 16)})
    monkeypatch.setattr(os, "stat", lambda _path: node)
    found = make_resources(
        RunOptions(
            blkio_weight_device=("/dev/x:20",), device_read_bps=("/dev/x:1m",), device_write_iops=("/dev/x:100",)
        )
    )
    assert found["blockIO"] == {
        "weightDevice": [{"major": 8, "minor": 16, "weight": 20}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": MIB}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 100}],
    }
    with pytest.raises(InvalidInput, match="no whole number"):
        make_resources(RunOptions(device_read_iops=("/dev/x:1m",)))


def test_resource_limits_of_processes() -> None:
    assert rlimits(["nofile=1024", "nofile=10:20", "CORE=0", "memlock=-1", "nproc=5:-1"]) == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_MEMLOCK", "soft": -1, "hard": -1},
        {"type": "RLIMIT_NPROC", "soft": 5, "hard": -1},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("files=1", "invalid ulimit type: files"),
        ("nofile", "invalid ulimit 'nofile'"),
        ("nofile=", "invalid ulimit"),
        ("nofile=x", "invalid ulimit"),
        ("nofile=-2", "invalid ulimit"),
        ("nofile=5:4", "less than or equal to hard limit: 5 > 4"),
        ("nofile=-1:4", "less than or equal to hard limit: -1 > 4"),
    ],
)
def test_wrong_resource_limits_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        rlimits([text])


NOTHING = CgroupHost("none", {}, reasons={"": "no cgroup hierarchy is mounted"})


def test_limits_that_cannot_be_set_are_named_with_their_options() -> None:
    asked = make_resources(
        RunOptions(memory="64m", memory_reservation="32m", cpus=1, cpuset_cpus="0", pids_limit=5, blkio_weight=10)
    )
    missing = limits.missing(NOTHING, asked)
    assert {each.option for each in missing if each.option} == {
        "--memory-reservation", "a limit of CPU time (--cpus, --cpu-quota)", "--cpuset-cpus", "--pids-limit",
        "--blkio-weight",
    }  # fmt: skip
    left = limits.without(asked, missing)
    assert {key: value for key, value in left.items() if key != "devices"} == {"memory": {"limit": 64 * MIB}}
    assert asked["pids"] == {"limit": 5}, "what was asked for is not changed"


def test_swap_that_nobody_asked_for_is_left_out_quietly() -> None:
    (quiet,) = limits.missing(NOTHING, make_resources(RunOptions(memory="64m")))
    assert (quiet.field, quiet.option) == ("swap", "")
    (named,) = limits.missing(NOTHING, make_resources(RunOptions(memory="64m", memory_swap="64m")))
    assert named.option == "--memory-swap"


def test_what_only_the_first_version_has_is_missing_on_the_second() -> None:
    host = CgroupHost("v2", {}, "/sys/fs/cgroup", ("memory", "cpu", "io"))
    asked = make_resources(RunOptions(memory="64m", memory_swappiness=5, oom_kill_disable=True, blkio_weight=10))
    assert [each.field for each in limits.missing(host, asked)] == ["swappiness", "disableOOMKiller"]


def test_nothing_is_missing_where_everything_can_be_set(tmp_path: object) -> None:
    bases = dict.fromkeys(("memory", "cpu", "cpuset", "pids", "blkio"), str(tmp_path))
    for name in ("memory.memsw.limit_in_bytes", "cpu.rt_period_us", "cpu.rt_runtime_us", "blkio.weight"):
        with open(f"{tmp_path}/{name}", "w", encoding="ascii"):
            pass
    asked = make_resources(
        RunOptions(memory="64m", memory_swap="64m", cpu_rt_runtime=1, cpuset_cpus="0", blkio_weight=10, pids_limit=1)
    )
    assert limits.missing(CgroupHost("v1", bases), asked) == []
    os.unlink(f"{tmp_path}/cpu.rt_runtime_us")
    (gone,) = limits.missing(CgroupHost("v1", bases), asked)
    assert (gone.option, gone.why) == ("--cpu-rt-runtime", "this kernel has no cpu.rt_runtime_us")


@pytest.mark.parametrize("drop", [False, True])
def test_a_host_refuses_or_leaves_out(drop: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from pathlib import Path

    from jupyter_containers.engine.host import Host

    host = Host(Path(str(tmp_path)))
    monkeypatch.setitem(host.__dict__, "cgroups", NOTHING)
    asked = make_resources(RunOptions(pids_limit=5))
    if drop:
        assert host.check_limits(asked, drop=True) == [
            "--pids-limit cannot be set: no cgroup hierarchy is mounted; the container runs without it"
        ]
        assert host.plan_cgroup("x", asked, drop=True) == (None, 0)
        return
    with pytest.raises(EngineError, match="--pids-limit cannot be set: no cgroup hierarchy is mounted") as caught:
        host.check_limits(asked, drop=False)
    assert "--limits drop" in str(caught.value.hint)
