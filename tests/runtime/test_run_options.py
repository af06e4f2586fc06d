"""Options of run, seen from inside real containers: namespaces, devices, limits, init, profiles."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Container, Engine
from jupyter_containers.engine.launch import namespaces
from jupyter_containers.engine.views import RunResult
from jupyter_containers.errors import ContainerNotRunning, EngineError, StartFailed, Unsupported
from jupyter_containers.linux.cgroup_host import CgroupHost
from tests.support import leaks, rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")
ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def host(stores: Path) -> Iterator[Engine]:
    with Engine(stores / "options") as engine:
        yield engine
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)


def run(host: Engine, script: str, **options: object) -> RunResult:
    found = host.containers.run("starter", ["sh", "-c", script], remove=True, **options)  # type: ignore[arg-type]  # what a test gives
    assert isinstance(found, RunResult)
    return found


def output(host: Engine, script: str, **options: object) -> str:
    result = run(host, script, **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def web(host: Engine) -> Iterator[Container]:
    started = host.containers.run("starter", ["sleep", "600"], detach=True, name="web", ipc="shareable")
    assert isinstance(started, Container)
    yield started
    host.containers.remove("web", force=True)


# -- namespaces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "file"), [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroupns", "cgroup")])
def test_a_namespace_of_the_host(host: Engine, option: str, file: str) -> None:
    ours = os.readlink(f"/proc/self/ns/{file}")
    assert output(host, f"readlink /proc/self/ns/{file}", **{option: "host"}) == ours
    assert output(host, f"readlink /proc/self/ns/{file}") != ours


def test_the_processes_of_the_host_are_seen_and_its_own_end_with_it(host: Engine) -> None:
    own = f"sleep 600{os.getpid()}"
    assert output(host, f"cat /proc/{os.getpid()}/comm; {own} &", pid="host")
    assert not [line for line in output(host, "ps", pid="host").splitlines() if own in line]


def test_the_processes_and_the_memory_of_another_container(host: Engine, web: Container) -> None:
    assert "sleep 600" in output(host, "ps", pid=f"container:{web.name}")
    output(host, "echo shared > /dev/shm/x", ipc=f"container:{web.id[:12]}")
    seen = host.containers.exec("web", ["cat", "/dev/shm/x"])
    assert isinstance(seen, RunResult)
    assert seen.stdout == "shared\n"


def test_a_container_to_join_must_be_there_and_run(host: Engine, web: Container) -> None:
    with pytest.raises(EngineError, match="no such container: nosuch"):
        run(host, "true", pid="container:nosuch")
    host.containers.stop(web.id, time=0)
    with pytest.raises(ContainerNotRunning, match="cannot join the namespaces of web"):
        run(host, "true", ipc="container:web")


def test_no_shared_memory_at_all(host: Engine) -> None:
    assert output(host, "ls /dev", ipc="none").split() == [
        name for name in output(host, "ls /dev").split() if name not in {"shm", "mqueue"}
    ]


def test_the_host_name_is_the_hosts(host: Engine) -> None:
    assert output(host, "hostname", uts="host") == os.uname().nodename
    assert output(host, "hostname; cat /proc/sys/kernel/domainname", hostname="box", domainname="x.org").split() == [
        "box",
        "x.org",
    ]


@pytest.mark.rootless
def test_the_users_own_id_is_kept(host: Engine, tmp_path: Path) -> None:
    uid = os.getuid()
    (tmp_path / "mine").touch()
    found = output(
        host, "id -u; stat -c %u /data/mine; touch /data/new /inside", userns="keep-id", volume=f"{tmp_path}:/data"
    )
    assert found.split() == [str(uid), str(uid)]
    assert (tmp_path / "new").stat().st_uid == uid


@pytest.fixture
def subordinate(monkeypatch: pytest.MonkeyPatch) -> int:
    """The first of the ids that --userns remap finds."""
    monkeypatch.setattr(namespaces, "_ranges", lambda _path, _name: [(231_072, 65_536)])
    return 231_072


@pytest.mark.root
def test_the_root_of_a_remapped_container_is_nobody_on_the_host(host: Engine, subordinate: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").touch()
    script = "id -u; touch /made; chown 33:33 /made; stat -c %u /made /etc/passwd /data/file; sleep 600"
    options = {"userns": "remap", "volume": f"{tmp_path}:/data"}
    host.containers.run("starter", ["sh", "-c", script], detach=True, name="mapped", **options)  # type: ignore[arg-type]  # as above
    leaks.wait_until(lambda: "65534" in logged(host, "mapped"), what="the container's output")
    assert logged(host, "mapped").split() == ["0", "33", "0", "65534"]
    inspected = host.containers.inspect("mapped")
    with open(f"/proc/{inspected['State']['Pid']}/status", encoding="ascii") as file:
        assert f"Uid:\t{subordinate}\t" in file.read()
    seen = host.containers.exec("mapped", ["stat", "-c", "%u", "/made"])
    assert isinstance(seen, RunResult)
    assert seen.stdout.strip() == "33"
    upper = host._parts.paths.containers / inspected["Id"] / "upper"
    assert (upper / "made").stat().st_uid == 33, "on disk it is as it would be without"
    host.containers.remove("mapped", force=True)
    assert run(host, "echo x > /data/file", **options).exit_code == 1


def logged(host: Engine, name: str) -> str:
    return b"".join(entry.data for entry in host.containers.logs(name)).decode()


def test_a_container_is_restarted_after_an_exec(host: Engine) -> None:
    """The monitor must not end up in the pid namespace of the first run."""
    host.containers.run("starter", ["sleep", "600"], detach=True, name="again", restart="always")
    seen = host.containers.exec("again", ["true"])
    assert isinstance(seen, RunResult)
    first = host.containers.inspect("again")["State"]["Pid"]
    os.kill(first, 9)

    def restarted() -> bool:
        state = host.containers.inspect("again")["State"]
        return bool(state["Running"]) and state["Pid"] not in {0, first}

    leaks.wait_until(restarted, what="the restart")
    assert host.containers.inspect("again")["RestartCount"] == 1, "by the monitor, not by somebody who found it dead"
    seen = host.containers.exec("again", ["true"])
    assert isinstance(seen, RunResult)
    assert seen.exit_code == 0
    host.containers.remove("again", force=True)


# -- devices, kernel parameters --------------------------------------------------------------------------------------


def test_a_device_of_the_host_under_another_name(host: Engine) -> None:
    assert output(host, "head -c 3 /dev/sub/nought | od -An -tx1", device="/dev/zero:/dev/sub/nought").split() == [
        "00",
        "00",
        "00",
    ]


@pytest.mark.root
def test_a_device_is_opened_as_it_was_allowed(host: Engine) -> None:
    if not CgroupHost.detect().can_limit("devices"):
        pytest.skip("this host has no device controller")
    script = "[ -c /dev/kmsg ] || exit 0; (true < /dev/kmsg) && echo read; (true > /dev/kmsg) && echo write; true"
    if not os.path.exists("/dev/kmsg"):
        pytest.skip("this host has no /dev/kmsg")
    assert output(host, script).split() == []
    assert output(host, script, device="/dev/kmsg:w").split() == ["write"]
    made = "mknod /tmp/k c 1 11 && (true > /tmp/k) 2>/dev/null && echo write; true"
    assert output(host, made).split() == []
    assert output(host, made, device_cgroup_rule="c 1:11 w").split() == ["write"]


def test_kernel_parameters_of_its_namespaces_and_no_others(host: Engine) -> None:
    names = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "9000"}
    assert output(host, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", sysctl=names).split() == [
        "1",
        "9000",
    ]
    with pytest.raises(StartFailed, match=r"kernel\.panic is not kept per namespace"):
        run(host, "true", sysctl={"kernel.panic": "1"})


# -- what is masked, filtered, granted -------------------------------------------------------------------------------


def test_paths_are_masked_and_unmasked(host: Engine) -> None:
    script = "wc -c < /proc/timer_list; ls /etc | wc -l; (true > /proc/sys/kernel/domainname) 2>/dev/null && echo rw"
    assert run(host, script).stdout.split() == ["0", output(host, "ls /etc | wc -l")]
    found = run(host, script, security_opt=["mask=/etc", "unmask=/proc/sys"]).stdout.split()
    assert found[:2] == ["0", "0"]
    assert found[2:] == (["rw"] if ROOT else found[2:])


def test_a_profile_of_the_users_own(host: Engine, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    file.write_text(json.dumps(profile))
    started = host.containers.run("starter", ["sleep", "600"], detach=True, name="own", security_opt=f"seccomp={file}")
    assert isinstance(started, Container)
    file.unlink()
    seen = host.containers.exec("own", ["mkdir", "/x"])
    host.containers.remove("own", force=True)
    assert isinstance(seen, RunResult)
    assert "Permission denied" in seen.stderr
    assert run(host, "mkdir /x").exit_code == 0


def test_a_wrong_profile_is_refused_before_anything_is_made(host: Engine, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"defaultAction": "SCMP_ACT_NONSENSE"}')
    (tmp_path / "flag.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FLAG_X"]}')
    for file, words in (("bad", "SCMP_ACT_NONSENSE"), ("flag", "unknown flag 'SECCOMP_FLAG_X'")):
        with pytest.raises(EngineError, match=words):
            run(host, "true", security_opt=f"seccomp={tmp_path}/{file}.json", name="refused")
    assert "refused" not in {row.name for row in host.containers.list(all=True)}


def test_no_new_privileges(host: Engine) -> None:
    assert output(host, "grep NoNewPrivs /proc/self/status", security_opt="no-new-privileges").endswith("1")


@pytest.mark.root
def test_more_groups(host: Engine) -> None:
    assert output(host, "id -G", group_add=["5", "1234"]).split() == ["0", "5", "1234"]


def test_how_soon_it_is_killed(host: Engine) -> None:
    assert output(host, "cat /proc/self/oom_score_adj", oom_score_adj=700) == "700"


def test_resource_limits(host: Engine) -> None:
    assert output(host, "ulimit -Sn; ulimit -Hn; ulimit -c", ulimit=["nofile=100:200", "core=0"]).split() == [
        "100",
        "200",
        "0",
    ]


# -- init ------------------------------------------------------------------------------------------------------------


ORPHAN = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(0.3)
pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
states = [open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] for pid in pids]
print(states.count("Z"), os.getpid() == 1)
sys.exit(7)
"""


def test_an_init_reaps_and_hands_on_the_exit_status(host: Engine) -> None:
    command = ["python3", "-c", ORPHAN]
    found = [host.containers.run("starter-python", command, remove=True, init=init) for init in (True, False)]
    assert [(each.exit_code, each.stdout.split()) for each in found if isinstance(each, RunResult)] == [
        (7, ["0", "False"]),
        (7, ["1", "True"]),
    ], "without an init the zombie stays"


def test_an_init_shows_nothing_of_the_host(host: Engine) -> None:
    assert output(host, "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm", init=True).split() == ["init", "init"]


def test_an_init_passes_signals_on(host: Engine) -> None:
    """Pid 1 without a handler ignores SIGTERM; the program below an init is not pid 1."""
    host.containers.run("starter", ["sleep", "600"], detach=True, name="below", init=True)
    began = time.monotonic()
    host.containers.stop("below", time=60)
    assert time.monotonic() - began < 50
    assert host.containers.inspect("below")["State"]["ExitCode"] == 143
    host.containers.remove("below")


def test_an_init_says_what_cannot_be_executed(host: Engine) -> None:
    with pytest.raises(EngineError, match="executable file not found"):
        host.containers.run("starter", ["nosuch"], remove=True, init=True)


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(
    ("controller", "options", "file", "value"),
    [
        ("memory", {"memory": "64m"}, "memory/memory.limit_in_bytes", str(64 << 20)),
        ("memory", {"memory_reservation": "32m"}, "memory/memory.soft_limit_in_bytes", str(32 << 20)),
        ("memory", {"memory_swappiness": 10}, "memory/memory.swappiness", "10"),
        ("cpu", {"cpu_period": 50_000, "cpu_quota": 20_000}, "cpu/cpu.cfs_quota_us", "20000"),
        ("cpu", {"cpu_period": 50_000, "cpu_quota": 20_000}, "cpu/cpu.cfs_period_us", "50000"),
        ("cpu", {"cpu_shares": 100}, "cpu/cpu.shares", "100"),
        ("pids", {"pids_limit": 20}, "pids/pids.max", "20"),
        ("blkio", {"blkio_weight": 200}, "blkio/blkio.bfq.weight", "200"),
        ("cpuset", {"cpuset_cpus": "0"}, "cpuset/cpuset.cpus", "0"),
    ],
)
def test_a_limit_as_the_container_sees_it(
    host: Engine, controller: str, options: dict[str, object], file: str, value: str
) -> None:
    if controller not in CgroupHost.detect().bases:
        pytest.skip(f"this host has no {controller} controller of cgroup version 1")
    assert output(host, f"cat /sys/fs/cgroup/{file}", **options) == value


def test_a_limit_that_cannot_be_set_is_refused_or_left_out_on_demand(
    host: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = CgroupHost("none", {}, reasons={"": "no cgroup hierarchy is mounted"})
    monkeypatch.setitem(host._parts.host.__dict__, "cgroups", none)
    with pytest.raises(Unsupported, match="--pids-limit cannot be set: no cgroup hierarchy is mounted"):
        run(host, "true", pids_limit=5)
    result = run(host, "true", pids_limit=5, limits="drop")
    assert any("--pids-limit cannot be set" in notice for notice in result.notices)


@pytest.mark.root
def test_a_cgroup_above_the_containers(host: Engine, stores: Path) -> None:
    if not host._parts.host.cgroups.writable:
        pytest.skip("no cgroup can be made here")
    parent = f"jct-{os.getpid()}"

    root = Path("/sys/fs/cgroup")

    def parents() -> list[Path]:
        return [*root.glob(parent), *root.glob(f"*/{parent}")]

    def children() -> list[Path]:
        return [path / name for path in parents() for name in os.listdir(path) if (path / name).is_dir()]

    try:
        assert output(host, "cat /proc/self/cgroup; true", cgroup_parent=f"/{parent}/", cgroupns="host").count(parent)
        leaks.wait_until(lambda: children() == [], what="the end of the cgroup")
        made = host.containers.run("starter", ["sleep", "600"], detach=True, cgroup_parent=parent, pids_limit=50)
        assert isinstance(made, Container)
        host.containers.update(made.id, pids_limit=40)
        limits = {file.read_text().strip() for path in children() for file in path.glob("pids.max")}
        assert limits == {"40"}
        record = json.loads((stores / "options" / "containers" / made.id / "monitor.json").read_text())
        os.kill(record["monitor"]["pid"], signal.SIGKILL)
        leaks.wait_until(lambda: host.containers.list() == [], what="its end")
        host.containers.remove(made.id)
        assert children() == []
    finally:
        for path in parents():
            path.rmdir()


def test_nothing_is_left_of_a_start_that_fails(host: Engine, stores: Path) -> None:
    before = leaks.take(stores / "options")
    for options in (
        {"sysctl": {"kernel.panic": "1"}},
        {"device": "/dev/nosuch"},
        {"init": True, "user": "nobody-here"},
    ):
        with pytest.raises(EngineError):
            run(host, "true", **options)
    after = leaks.take(stores / "options")
    assert (after.mounts, after.processes) == (before.mounts, before.processes)
