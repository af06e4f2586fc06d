"""Real containers: user namespaces, interfaces, cgroup mounts, seccomp, descriptors, and killing at any instant."""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import StartFailed
from jupyter_containers.linux import namespaces
from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.runtime import handle, lifecycle
from jupyter_containers.runtime.spawner import Spawner
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.oci.runtime_spec import Spec
    from jupyter_containers.runtime.protocol import Interface, LaunchRequest

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    with Spawner() as started:
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return rootfs.make(tmp_path / "root")


def request_for(spec: Spec, tmp_path: Path, **more: object) -> LaunchRequest:
    return {"id": "test", "spec": spec, "run_dir": str(tmp_path / "run"), **more}  # type: ignore[typeddict-item]


def output(spawner: Spawner, request: LaunchRequest) -> str:
    read, write = os.pipe()
    try:
        with spawner.launch(request, None, write, write) as process:
            os.close(write)
            write = -1
            data = b""
            while chunk := os.read(read, 65536):
                data += chunk
            assert process.wait(20) is not None
            return data.decode()
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


@pytest.mark.root
def test_a_user_namespace_of_the_containers_own(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    for directory in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        directory.chmod(0o711)
    spec = rootfs.spec(root, "sh", "-c", "cat /proc/self/uid_map; id -u; echo > /dev/null && echo null; touch /etc/x")
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
    spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 1000}]
    for name in ("proc", "dev", "sys"):
        (root / name).mkdir()
    lines = output(spawner, request_for(spec, tmp_path)).splitlines()
    assert lines[0].split() == ["0", "200000", "1000"]
    assert lines[1:3] == ["0", "null"]
    assert "denied" in lines[3]


def attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def veth(host: str, inside: str) -> tuple[bytes, int]:
    """RTM_NEWLINK of a pair whose other end is made in the namespace of a pid, and the offset of that pid."""
    link = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    peer = link + attribute(3, inside.encode() + b"\0") + attribute(19, b"PID!")
    info = attribute(1, b"veth") + attribute(2, attribute(1, peer))
    body = link + attribute(3, host.encode() + b"\0") + attribute(18, info)
    message = struct.pack("=IHHII", 16 + len(body), 16, 0x600, 1, 0) + body
    return message, message.index(b"PID!")


@pytest.mark.root
def test_an_interface_is_made_on_both_sides(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    name = f"jct{os.getpid()}"
    up = struct.pack("=IHHII", 32, 16, 0, 1, 0) + struct.pack("=BxHiII", 0, 0, 2, 1, 1)
    interface: Interface = {"name": "eth0", "host": [veth(name, "eth0")], "inside": [up]}
    spec = rootfs.spec(root, "ip", "-o", "link")
    lines = output(spawner, request_for(spec, tmp_path, interfaces=[interface])).splitlines()
    assert "lo: <LOOPBACK,UP" in lines[0]
    assert "eth0@" in lines[1]
    assert ",UP" in lines[1]
    deadline = time.monotonic() + 10
    while os.path.exists(f"/sys/class/net/{name}"):  # the namespace takes it along, a little later
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_refused_interface_names_the_step(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    wrong: Interface = {
        "name": "eth0",
        "host": [(struct.pack("=IHHIIBxHiII", 32, 16, 0, 1, 0, 0, 0, 99999999, 1, 1), -1)],
        "inside": [],
    }
    with pytest.raises(StartFailed, match="network message 0") as caught:
        output(spawner, request_for(rootfs.spec(root, "true"), tmp_path, interfaces=[wrong]))
    assert caught.value.step == "network"
    assert os.listdir(tmp_path / "run") == []


def test_a_joined_network_namespace_is_the_same(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    with spawner.launch(request_for(rootfs.spec(root, "sleep", "60"), tmp_path)) as first:
        other = rootfs.spec(root, "readlink", "/proc/self/ns/net")
        for namespace in other["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/proc/{first.pid}/ns/net"
        if spawner.id_map.kind == "host":
            (tmp_path / "2/run").mkdir(parents=True)
            assert output(spawner, request_for(other, tmp_path / "2")).strip() == os.readlink(
                f"/proc/{first.pid}/ns/net"
            )
        first.kill()
        first.wait(10)


def test_a_filter_takes_a_call_away(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    number = {"x86_64": 83, "aarch64": 34}[os.uname().machine]  # mkdir, mkdirat
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),  # load the number
            (0x15, 0, 1, number),
            (0x06, 0, 0, 0x00050000 | 13),  # EACCES
            (0x06, 0, 0, 0x7FFF0000),
        )
    )
    spec = rootfs.spec(root, "sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/x || echo refused")
    for user in (None, "0:0"):
        for no_new_privs in (False, True):
            spec["process"]["noNewPrivileges"] = no_new_privs
            out = output(spawner, request_for(spec, tmp_path, seccomp=program, user=user))
            assert "Seccomp:\t2" in out
            assert "refused" in out


@pytest.mark.root
def test_a_filter_for_an_ordinary_user_of_the_container(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    allow = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
    spec = rootfs.spec(root, "grep", "-E", "Seccomp:|CapPrm|NoNewPrivs", "/proc/self/status")
    out = output(spawner, request_for(spec, tmp_path, seccomp=allow, user="alice")).split()
    assert out == ["CapPrm:", "0000000000000000", "NoNewPrivs:", "0", "Seccomp:", "2"]


def test_ambient_capabilities_reach_an_ordinary_program(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    if spawner.id_map.kind == "single":
        pytest.skip("needs a second user id")
    spec = rootfs.spec(root, "grep", "CapEff", "/proc/self/status")
    for kind in ("inheritable", "ambient"):
        spec["process"]["capabilities"][kind] = ["CAP_NET_BIND_SERVICE"]
    assert output(spawner, request_for(spec, tmp_path, user="1000")).split() == ["CapEff:", f"{1 << 10:016x}"]


@pytest.mark.root
def test_the_containers_cgroups_can_be_seen_and_not_changed(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    host = CgroupHost.detect()
    plan = host.plan(f"test-see-{os.getpid()}", {"pids": {"limit": 33}})
    if plan is None:
        pytest.skip("no cgroup can be used")
    script = (
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null;"
        "(echo 1 > /sys/fs/cgroup/x) 2>/dev/null || echo ro"
    )
    spec = rootfs.spec(root, "sh", "-c", script)
    spec["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "nodev"]}
    )
    lines = output(spawner, request_for(spec, tmp_path, cgroup=plan)).splitlines()
    assert lines[0] == "33"
    assert lines[-1] == "ro"


def test_no_descriptor_leaks_over_many_execs(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    with spawner.launch(request_for(rootfs.spec(root, "sleep", "60"), tmp_path)) as process:
        record = lifecycle.read_record(str(tmp_path / "run"))
        assert record is not None

        def count() -> int:
            time.sleep(0.1)
            return len(os.listdir(f"/proc/{record['monitor']['pid']}/fd"))

        counts = []
        for _ in range(2):
            for number in range(10):
                spec = rootfs.spec("", "true")["process"]
                spec["terminal"] = bool(number % 2)
                null = os.open("/dev/null", os.O_RDWR)
                with handle.execute(str(tmp_path / "run"), {"process": spec}, null, null, null) as executed:
                    os.close(null)
                    assert executed.wait(10) is not None
            if spawner.id_map.kind == "host":
                counts.append(count())
        assert len(set(counts)) <= 1
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("seed", range(12))
def test_killing_the_monitor_at_any_instant_leaves_nothing(root: Path, tmp_path: Path, seed: int) -> None:
    """The start is cut off after a random while; whatever there was then is gone soon."""
    from threading import Thread

    chance = random.Random(seed)
    with Spawner() as spawner:
        spawner.start()
        before = children(spawner.pid)
        started: list[object] = []

        def launch() -> None:
            try:
                with spawner.launch(request_for(rootfs.spec(root, "sleep", "60"), tmp_path)) as process:
                    started.append(process.wait(20))
            except StartFailed as error:
                started.append(error)

        thread = Thread(target=launch)
        thread.start()
        time.sleep(chance.uniform(0, 0.03))
        for pid in children(spawner.pid) | before:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        thread.join(30)
        assert started
    deadline = time.monotonic() + 10
    while left := [pid for pid in processes() if "sleep\00060" in command(pid) and mounted_on(pid, root)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def children(pid: int) -> set[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and namespaces.start_time(int(name))]


def command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def mounted_on(pid: int, root: Path) -> bool:
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
            return str(root) in file.readline()
    except OSError:
        return False
