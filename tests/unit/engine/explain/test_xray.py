from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.explain.xray import cgroup, facts, network, sentences, text
from jupyter_containers.linux import process_look
from jupyter_containers.linux.seccomp import compile_filter
from jupyter_containers.linux.seccomp_answers import NOTABLE, answer
from jupyter_containers.linux.seccomp_default import docker_profile

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.linux.process_look import Look

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100580A	0003	0	0	0	00000000	0	0	0
eth0	0000580A	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth1	0000590A	00000000	0001	0	0	7	0000FFFF	0	0	0
"""
TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.88.0.2
        /32 host LOCAL
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 10.88.0.2
        /32 host LOCAL
     |-- 10.89.3.4
        /32 host LOCAL
     |-- 10.88.0.255
        /32 link BROADCAST
"""
DEVICES = (
    "Inter-|   Receive\n face |bytes\n"
    "    lo: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n"
    "  eth0: 480 6 0 0 0 0 0 0 426 5 0 0 0 0 0 0\n"
    "  eth1: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
ADDRESSES6 = "fe8000000000000008630afffe580002 02 40 20 80     eth0\n"
NOBODY = "0" * 32


def route6(destination: str, length: str, gateway: str, metric: str, flags: str, name: str) -> str:
    """A line of ``/proc/net/ipv6_route``."""
    return f"{destination:0<32} {length} {NOBODY} 00 {gateway:0<32} {metric} 00000001 00000000 {flags}     {name}\n"


ROUTES6 = (
    route6("fe80", "40", "", "00000100", "00000001", "eth0")
    + route6("", "00", f"fd{'0' * 29}1", "00000400", "00000003", "eth0")
    + route6(f"{'0' * 31}1", "80", "", "00000000", "80200001", "lo")
    + route6("ff", "08", "", "00000100", "00000001", "eth0")
)


def look(**texts: str) -> Look:
    return {"namespaces": {}, "texts": texts, "descriptors": 3, "refused": {}}


def test_addresses_go_with_the_interface_whose_link_they_are_on() -> None:
    files = {"net/route": ROUTES, "net/fib_trie": TRIE, "net/dev": DEVICES, "net/if_inet6": ADDRESSES6}
    lo, first, second = network.interfaces(look(**files))
    assert (lo.addresses, lo.received, lo.sent) == (("127.0.0.1/8",), 1, 2)
    assert (first.addresses, first.received, first.sent) == (("10.88.0.2/24", "fe80::863:aff:fe58:2/64"), 480, 426)
    assert second.addresses == ("10.89.3.4/16",)


def test_routes_of_both_versions_without_those_of_the_kernel_itself() -> None:
    found = network.routes(look(**{"net/route": ROUTES, "net/ipv6_route": ROUTES6}))
    assert [(each.destination, each.gateway, each.interface, each.metric) for each in found] == [
        ("default", "10.88.0.1", "eth0", 0),
        ("10.88.0.0/24", "", "eth0", 0),
        ("10.89.0.0/16", "", "eth1", 7),
        ("fe80::/64", "", "eth0", 256),
        ("default", "fd00::1", "eth0", 1024),
    ]


@pytest.mark.parametrize(
    ("inside", "outside", "count", "words"),
    [
        (0, 0, facts.ALL_IDS, "every user inside is the same outside: root is root"),
        (0, 1000, 1, "root inside is user 1000 outside"),
        (5, 1000, 1, "user 5 inside is user 1000 outside"),
        (1, 100000, 65536, "users 1 to 65536 inside are 100000 to 165535 outside"),
        (0, 100000, 10, "root inside is user 100000 outside; users 0 to 9 inside are 100000 to 100009 outside"),
    ],
)
def test_ids_in_words(inside: int, outside: int, count: int, words: str) -> None:
    assert facts.id_words("user", inside, outside, count) == words


def test_ids_outside_have_one_inside_or_none() -> None:
    ranges = facts.ids(look(uid_map="0 1000 1\n1 100000 65536\n", gid_map="0 0 1\n"))
    assert facts.inside(ranges, "user", 1000) == 0
    assert facts.inside(ranges, "user", 100005) == 6
    assert facts.inside(ranges, "user", 7) is None
    assert facts.inside(ranges, "group", 1000) is None


@pytest.mark.parametrize(
    ("tags", "word"),
    [("", "private"), ("shared:3 ", "shared"), ("master:3 ", "slave"), ("shared:2 master:3 ", "shared and slave"),
     ("unbindable ", "unbindable")],
)  # fmt: skip
def test_a_line_of_mountinfo(tags: str, word: str) -> None:
    text = rf"36 35 98:0 /mnt\0401 /a\040b\134 rw,noatime {tags}- ext3 /dev/\040root rw,errors=continue"
    (line,) = facts.mount_lines(text)
    assert (line.mount_id, line.parent_id, line.root, line.target) == (36, 35, "/mnt 1", "/a b\\")
    assert (line.propagation, line.type, line.source) == (word, "ext3", "/dev/ root")
    assert line.super_options == "rw,errors=continue"


def test_limits_and_counters_of_version_2(tmp_path: Path) -> None:
    for name, content in {
        "memory.max": "67108864\n",
        "memory.swap.max": "max\n",
        "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n",
        "cpu.max": "50000 100000\n",
        "cpu.stat": "usage_usec 1500000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 250000\n",
        "pids.max": "50\n",
        "io.stat": "254:0 rbytes=4096 wbytes=10 rios=1 wios=1\n254:16 rbytes=1 wbytes=0\n",
        "io.max": "254:0 rbps=1048576 wbps=max riops=max wiops=20\n",
    }.items():
        (tmp_path / name).write_text(content, encoding="ascii")
    plan = {"name": "x", "dirs": {}, "unified": str(tmp_path), "writes": [], "device_program": b""}
    found = {each.name: each for each in cgroup.figures(plan, sentences.shown)}  # type: ignore[arg-type]  # its form
    assert (found["memory limit"].value, found["memory limit"].text) == (67108864, "64 MiB")
    assert (found["swap limit"].value, found["swap limit"].text) == (None, "no limit")
    assert found["times the limit was hit"].value == 7
    assert found["processes killed: out of memory"].value == 1
    assert found["CPU time per real time"].value == 0.5
    assert found["time it was throttled"].value == pytest.approx(0.25)
    assert (found["CPU time"].value, found["CPU time"].unit) == (1.5, "seconds")
    assert found["periods in which it was throttled"].value == 4
    assert found["bytes read"].value == 4097
    assert found["bytes read a second (254:0)"].text == "1 MiB"
    assert found["writes a second (254:0)"].value == 20
    assert "bytes written a second (254:0)" not in found
    (tmp_path / "cpu.max").write_text("max 100000\n", encoding="ascii")
    found = {each.name: each for each in cgroup.figures(plan, sentences.shown)}  # type: ignore[arg-type]  # its form
    assert found["CPU time per real time"].text == "no limit"
    assert cgroup.figures(None, sentences.shown) == []


def test_what_the_default_filter_answers() -> None:
    from jupyter_containers.linux.capabilities import DOCKER_DEFAULT

    program = compile_filter(docker_profile(DOCKER_DEFAULT, (6, 1), arch="x86_64"), arch="x86_64")
    said = {call: answer(program, call, arguments, machine="x86_64") for call, arguments, _ in NOTABLE[:10]}
    assert said["mount"] == "EPERM"
    assert said["clone3"] == "ENOSYS"
    assert said["chroot"] == "allowed"
    assert answer(program, "clone", (0x11,), machine="x86_64") == "allowed"
    assert answer(program, "clone", (0x10000011,), machine="x86_64") == "EPERM"
    assert answer(program, "iopl", machine="aarch64") is None
    assert answer(b"", "mount", machine="x86_64") == "allowed"


def test_what_a_filter_does_in_words() -> None:
    for action, words in (
        ("SCMP_ACT_KILL_PROCESS", "the process is killed"),
        ("SCMP_ACT_LOG", "allowed, and logged"),
        ("SCMP_ACT_TRAP", "the process gets a signal"),
    ):
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": action}]}
        program = compile_filter(profile, arch="x86_64")  # type: ignore[arg-type]  # its form
        assert answer(program, "mount", machine="x86_64") == words


def test_text_is_made_visible() -> None:
    assert text.visible("plain ünïcode") == "plain ünïcode"
    assert text.visible("a\x1b[31m\n\udc80") == r"a\x1b[31m\x0a\x80"


def test_a_process_looks_at_itself() -> None:
    found = process_look.take("/proc/self")
    assert found["namespaces"]["mount"]
    assert facts.status(found["texts"]["status"])["Pid"]
    gone = process_look.take("/proc/0")
    assert not gone["namespaces"]
    assert gone["refused"]["status"]
