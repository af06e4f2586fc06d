"""config-linux.md: namespaces, id mappings, time offsets, devices, protections, sysctl, personality, propagation."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conformance.test_config_mounts import mapping, own_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.harness import Bundle, Runtime

FILES = {"pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup", "user": "user"}


# -- default file systems and devices --------------------------------------------------------------------------------


@pytest.mark.clause("config-linux.md", "Default Filesystems", "/proc, /sys, /dev/pts and /dev/shm are there")
def test_default_file_systems(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = ["cat", "/proc/self/mountinfo"]
    lines = [line.partition(" - ") for line in runtime.run(bundle).lines()]
    found = {before.split()[4]: after.split()[0] for before, _, after in lines}
    wanted = {"/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"}
    assert wanted.items() <= found.items()


@pytest.mark.clause("config-linux.md", "Default Devices", "null, zero, full, random, urandom, tty and ptmx are there")
def test_default_devices(runtime: Runtime, bundle: Bundle) -> None:
    names = ["null", "zero", "full", "random", "urandom", "tty"]
    bundle.script(f"cd /dev; stat -c '%n %t:%T %A' {' '.join(names)}; readlink -f ptmx; echo x > null && echo written")
    lines = runtime.run(bundle).lines()
    numbers = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]
    assert lines[:6] == [f"{name} {number} crw-rw-rw-" for name, number in zip(names, numbers, strict=True)]
    assert lines[6:] == ["/dev/pts/ptmx", "written"]


@pytest.mark.clause("config-linux.md", "Default Devices", "the links of /dev to the descriptors are there")
def test_links_to_descriptors(runtime: Runtime, bundle: Bundle) -> None:
    bundle.script("cd /dev; for name in fd stdin stdout stderr; do readlink $name; done")
    assert runtime.run(bundle).lines() == ["/proc/self/fd", *(f"/proc/self/fd/{number}" for number in range(3))]


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Devices", "devices of all types are there, with mode, owner and group")
def test_devices(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/elsewhere/deep", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666},
    ]
    bundle.script("stat -c '%n %F %t:%T %a %u:%g' /dev/fuse /dev/block /dev/pipe /elsewhere/deep")
    assert runtime.run(bundle).lines() == [
        "/dev/fuse character special file a:e5 640 7:8",
        "/dev/block block special file 7:0 600 0:0",
        "/dev/pipe fifo 0:0 622 0:0",
        "/elsewhere/deep character special file 1:5 666 0:0",
    ]


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Devices", "another file in the place of a device is an error")
@pytest.mark.deviates(runc="1.1 leaves the file there", crun="1.8 leaves the file there")
def test_a_file_in_the_place_of_a_device_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.root / "taken").touch()
    bundle.linux["devices"] = [{"path": "/taken", "type": "c", "major": 10, "minor": 229}]
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Devices", "major and minor are required unless it is a pipe")
@pytest.mark.deviates(runc="1.1 takes them to be 0", crun="1.8 takes them to be 0")
def test_a_device_without_numbers_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["devices"] = [{"path": "/dev/x", "type": "c"}]
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Devices", "a type that is none of c, b, u and p is an error")
@pytest.mark.deviates(crun="1.8 takes it for a character device")
def test_a_device_of_an_unknown_type_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["devices"] = [{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]
    assert runtime.run(bundle).status != 0


# -- namespaces ------------------------------------------------------------------------------------------------------


def own(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{FILES[kind]}")


@pytest.mark.clause("config-linux.md", "Namespaces", "a namespace without a path is made")
@pytest.mark.parametrize("kind", ["pid", "network", "mount", "ipc", "uts", "cgroup"])
def test_a_namespace_is_made(runtime: Runtime, bundle: Bundle, kind: str) -> None:
    bundle.process["args"] = ["readlink", f"/proc/self/ns/{FILES[kind]}"]
    assert runtime.run(bundle).lines() != [own(kind)]


@pytest.mark.clause("config-linux.md", "Namespaces", "a namespace that is not listed is the runtime's own")
@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid", "user"])
def test_a_namespace_is_inherited(runtime: Runtime, bundle: Bundle, kind: str) -> None:
    if os.geteuid() and kind in {"pid", "network", "user"}:
        pytest.skip("an ordinary user cannot mount /proc and /sys of these")
    bundle.without_namespace(kind)
    if kind == "ipc" and os.geteuid():  # only its owner may mount the queues of the host's namespace
        bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount.get("type") != "mqueue"]
    if kind == "uts":
        del bundle.spec["hostname"]
    if kind == "pid":
        bundle.linux.update(readonlyPaths=[], maskedPaths=[])
    bundle.process["args"] = ["readlink", f"/proc/self/ns/{FILES[kind]}"]
    assert runtime.run(bundle).lines() == [own(kind)]


@pytest.fixture
def holder() -> Iterator[int]:
    """The pid of a process in namespaces of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make namespaces beside the container")
    process = subprocess.Popen(
        ["unshare", "-niuCpf", "sh", "-c", "hostname holder; echo; exec sleep 60"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        child = int(file.read())
    try:
        yield child
    finally:
        os.kill(child, 9)
        process.wait()
        process.stdout.close()


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Namespaces", "the process is in the namespace at the path given")
@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid"])
def test_a_namespace_is_joined(runtime: Runtime, bundle: Bundle, holder: int, kind: str) -> None:
    path = f"/proc/{holder}/ns/{FILES[kind]}"
    bundle.namespace(kind, path)
    if kind == "uts":
        del bundle.spec["hostname"]
    bundle.process["args"] = ["readlink", f"/proc/self/ns/{FILES[kind]}"]
    assert runtime.run(bundle).lines() == [os.readlink(path)]


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Namespaces", "the process is in the namespace at the path given")
def test_a_user_namespace_is_made_and_others_are_joined(runtime: Runtime, bundle: Bundle, holder: int) -> None:
    own_ids(bundle)
    del bundle.spec["hostname"]
    bundle.namespace("uts", f"/proc/{holder}/ns/uts")
    bundle.script("hostname; cat /proc/self/uid_map")
    name, mapped = runtime.run(bundle).lines()
    assert name == "holder"
    assert mapped.split() == ["0", "200000", "1000"]


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Namespaces", "the process is in the namespace at the path given")
def test_a_user_namespace_is_joined_with_its_others(runtime: Runtime, bundle: Bundle) -> None:
    others = ("user", "pid", "network", "ipc", "uts")
    process = subprocess.Popen(["unshare", "-Uniupf", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            child = int(file.read())
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as out:
                out.write("0 200000 1000\n")
        own_ids(bundle)
        if runtime.ours:
            del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
        del bundle.spec["hostname"]
        for kind in others:
            bundle.namespace(kind, f"/proc/{child}/ns/{FILES[kind]}")
        names = " ".join(f"/proc/self/ns/{FILES[kind]}" for kind in others)
        bundle.script(f"for name in {names}; do readlink $name; done; id -u")
        wanted = [os.readlink(f"/proc/{child}/ns/{FILES[kind]}") for kind in others]
        assert runtime.run(bundle).lines() == [*wanted, "0"]
    finally:
        os.kill(child, 9)
        process.wait()
        process.stdout.close()


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Namespaces", "a path that is no namespace of the type is an error")
@pytest.mark.parametrize("path", ["/proc/self/ns/ipc", "/etc/passwd", "/no/such/file"])
def test_a_path_of_another_type_is_an_error(runtime: Runtime, bundle: Bundle, path: str) -> None:
    bundle.namespace("network", path)
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Namespaces", "a path is absolute")
def test_a_relative_namespace_path_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.namespace("network", "proc/self/ns/net")
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Namespaces", "two namespaces of the same type are an error")
@pytest.mark.deviates(crun="1.8 takes the last one")
def test_a_namespace_given_twice_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "ipc"})
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Namespaces", "an unknown type is an error")
def test_an_unknown_namespace_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "weather"})
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "User namespace mappings", "the mappings are those of the user namespace")
@pytest.mark.root
def test_id_mappings(runtime: Runtime, bundle: Bundle) -> None:
    own_ids(bundle)
    bundle.linux["gidMappings"] = [*mapping(200000, 10), {"containerID": 10, "hostID": 300000, "size": 5}]
    bundle.script("cat /proc/self/uid_map /proc/self/gid_map; touch /made && stat -c %u:%g /made; id -u")
    lines = [line.split() for line in runtime.run(bundle).lines()]
    assert lines == [["0", "200000", "1000"], ["0", "200000", "10"], ["10", "300000", "5"], ["0:0"], ["0"]]
    assert (bundle.root / "made").stat().st_uid == 200000


@pytest.mark.clause("config-linux.md", "User namespace mappings", "mappings without a user namespace are an error")
@pytest.mark.deviates(runc="1.1 ignores them", crun="1.8 makes the namespace")
def test_mappings_without_a_user_namespace_are_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = mapping(200000)
    assert runtime.run(bundle).status != 0


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Offset for Time Namespace", "the clocks are ahead by the offsets")
@pytest.mark.deviates(runc="1.1 has no time namespaces", crun="1.8 fails on this kernel")
def test_time_offsets(runtime: Runtime, bundle: Bundle) -> None:
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 500_000_000}, "monotonic": {"secs": 1000, "nanosecs": 5}}
    bundle.script("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time")
    (bundle.root / "bin/cut").symlink_to("busybox")
    uptime, *offsets, name = runtime.run(bundle).lines()
    assert int(uptime) > 500_000_000
    assert [line.split() for line in offsets] == [["monotonic", "1000", "5"], ["boottime", "500000000", "0"]]
    assert name != os.readlink("/proc/self/ns/time")


# -- protections -----------------------------------------------------------------------------------------------------


@pytest.mark.clause("config-linux.md", "Masked Paths", "what is masked cannot be read, be it a file or a directory")
def test_masked_paths(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.root / "secret").write_text("secret")
    (bundle.root / "secrets").mkdir()
    (bundle.root / "secrets/file").write_text("secret")
    bundle.linux["maskedPaths"] = ["/secret", "/secrets", "/not/there"]
    bundle.script("cat /secret; ls /secrets; touch /secrets/new 2>/dev/null || echo closed")
    assert runtime.run(bundle).lines() == ["closed"]


@pytest.mark.clause("config-linux.md", "Readonly Paths", "what is read-only cannot be written")
def test_readonly_paths(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.root / "fixed").mkdir()
    (bundle.root / "fixed/file").write_text("content")
    bundle.linux["readonlyPaths"] = ["/fixed", "/not/there", "/proc/sys"]
    bundle.script(
        "cat /fixed/file; echo; touch /fixed/x || echo closed; echo 1 > /proc/sys/net/core/somaxconn || echo closed"
    )
    assert runtime.run(bundle).lines() == ["content", "closed", "closed"]


@pytest.mark.clause("config-linux.md", "Masked Paths", "the paths are absolute")
@pytest.mark.deviates(runc="1.1 takes them as they are", crun="1.8 takes them as they are")
@pytest.mark.parametrize("field", ["maskedPaths", "readonlyPaths"])
def test_a_relative_protected_path_is_an_error(runtime: Runtime, bundle: Bundle, field: str) -> None:
    bundle.linux[field] = ["proc/kcore"]
    assert runtime.run(bundle).status != 0


# -- sysctl, personality, memory policy ------------------------------------------------------------------------------


@pytest.mark.clause("config-linux.md", "Sysctl", "kernel parameters of the container's namespaces are set")
def test_sysctl(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {
        "net.core.somaxconn": "256",
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "65536",
        "net/ipv4/conf/all/forwarding": "1",
    }
    bundle.script("cd /proc/sys; cat net/core/somaxconn net/ipv4/ip_forward kernel/msgmax")
    assert runtime.run(bundle).lines() == ["256", "1", "65536"]


@pytest.mark.clause("config-linux.md", "Sysctl", "a parameter that would change the host is an error")
@pytest.mark.parametrize("name", ["vm.swappiness", "kernel.pid_max", "net.ipv4/../../vm/swappiness"])
def test_a_parameter_of_the_host_is_an_error(runtime: Runtime, bundle: Bundle, name: str) -> None:
    with open("/proc/sys/vm/swappiness", encoding="ascii") as file:
        value = file.read().strip()
    bundle.linux["sysctl"] = {name: value}
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Sysctl", "a parameter that would change the host is an error")
def test_a_network_parameter_of_the_hosts_network_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.without_namespace("network")
    bundle.linux["sysctl"] = {"net.core.somaxconn": "4096"}
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Personality", "LINUX32 makes uname show a 32-bit machine")
@pytest.mark.deviates(runc="1.1 does not know the field")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="looks for the name of a 32-bit PC")
def test_personality(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["personality"] = {"domain": "LINUX32"}
    bundle.process["args"] = ["uname", "-m"]
    assert runtime.run(bundle).lines() == ["i686"]


@pytest.mark.clause("config-linux.md", "Personality", "a domain that is none, and any flag, is an error")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 takes flags")
@pytest.mark.parametrize("value", [{"domain": "BSD"}, {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}])
def test_an_unknown_personality_is_an_error(runtime: Runtime, bundle: Bundle, value: object) -> None:
    bundle.linux["personality"] = value
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Memory policy", "the program's memory is on the nodes of the policy")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 does not know the field")
def test_memory_policy(runtime: Runtime, bundle: Bundle) -> None:
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("this kernel has no memory policies")
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    bundle.process["args"] = ["head", "-n", "1", "/proc/self/numa_maps"]
    assert "bind=static:0" in runtime.run(bundle).lines()[0]


@pytest.mark.clause("config-linux.md", "Memory policy", "a mode, flag or set of nodes that is not valid is an error")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 does not know the field")
@pytest.mark.parametrize("value", [{"mode": "MPOL_HERE"}, {"mode": "MPOL_BIND"}, {"mode": "MPOL_BIND", "nodes": "999"}])
def test_a_memory_policy_that_is_none_is_an_error(runtime: Runtime, bundle: Bundle, value: object) -> None:
    bundle.linux["memoryPolicy"] = value
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "IntelRdt", "without a resctrl file system it is an error")
@pytest.mark.deviates(crun="1.8 does not know the field")
@pytest.mark.skipif(os.path.exists("/sys/fs/resctrl/schemata"), reason="resctrl is mounted on this host")
def test_intel_rdt_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["intelRdt"] = {"closID": "group", "l3CacheSchema": "L3:0=7f0"}
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "intelrdt" in ran.stderr.lower()


@pytest.mark.clause("config-linux.md", "Mount Label", "it is an error where SELinux is not active")
@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="SELinux is active on this host")
@pytest.mark.deviates(crun="1.8 ignores it")
def test_a_mount_label_where_there_is_no_selinux_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["mountLabel"] = "system_u:object_r:container_file_t:s0"
    assert runtime.run(bundle).status != 0


# -- propagation of the root -----------------------------------------------------------------------------------------


@pytest.mark.clause("config-linux.md", "Rootfs Mount Propagation", "shared, slave, private and unbindable")
@pytest.mark.parametrize(("name", "shown"), [("shared", "shared:"), ("private", ""), ("unbindable", "unbindable")])
@pytest.mark.deviates(runc="1.1 cannot pivot to such a root")
def test_propagation_of_the_root(runtime: Runtime, bundle: Bundle, name: str, shown: str) -> None:
    bundle.linux["rootfsPropagation"] = name
    bundle.script("grep ' / / \\| /[^ ]* / ' /proc/self/mountinfo")
    fields = next(line for line in runtime.run(bundle).lines() if line.split()[4] == "/").partition(" - ")[0].split()
    optional = [field.rstrip("0123456789") for field in fields[6:] if not field.startswith("master:")]
    assert optional == ([shown] if shown else [])


@pytest.mark.clause("config-linux.md", "Rootfs Mount Propagation", "shared, slave, private and unbindable")
@pytest.mark.deviates(crun="1.8 takes it for an option of a mount")
def test_an_unknown_propagation_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["rootfsPropagation"] = "upwards"
    assert runtime.run(bundle).status != 0


@pytest.mark.only_ours
@pytest.mark.clause("config-linux.md", "Namespaces", "(refused here) a mount namespace that is the runtime's or joined")
@pytest.mark.parametrize("path", [None, "/proc/self/ns/mnt"])
def test_a_mount_namespace_of_others_is_refused(runtime: Runtime, bundle: Bundle, path: str | None) -> None:
    bundle.without_namespace("mount")
    if path:
        bundle.namespace("mount", path)
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "linux.namespaces: a container needs a mount namespace of its own" in ran.stderr
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert str(bundle.path) not in file.read()
