from __future__ import annotations

import json
import platform
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.linux.seccomp import compile_filter
from jupyter_containers.linux.seccomp_default import docker_profile
from jupyter_containers.linux.syscall_table import numbers

SPECIFICATION = Path(__file__).resolve().parents[3].parent / "shared/specs/seccomp/default.json"
GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
MACHINE_NAMES = {
    "x86_64": set(numbers("x86_64")) | set(numbers("i386")) | set(numbers("x32")),
    "aarch64": set(numbers("aarch64")),
}


def applies(rule: dict[str, Any], capabilities: frozenset[str], kernel: tuple[int, int], machine: str) -> bool:
    """Whether moby takes an entry into the filter of a container."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if "minKernel" in includes and kernel < tuple(map(int, includes["minKernel"].split("."))):
        return False
    if "arches" in includes and GO_NAMES[machine] not in includes["arches"]:
        return False
    if GO_NAMES[machine] in excludes.get("arches", []):
        return False
    if not capabilities.issuperset(includes.get("caps", [])):
        return False
    return not capabilities.intersection(excludes.get("caps", []))


def meaning(rules: list[dict[str, Any]], names: set[str]) -> dict[str, set[tuple[Any, ...]]]:
    """For each call the alternatives there are: (action, error number, conditions)."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for rule in rules:
        args = tuple((arg["index"], arg["value"], arg.get("valueTwo", 0), arg["op"]) for arg in rule.get("args") or [])
        for name in names.intersection(rule["names"]):
            found.setdefault(name, set()).add((rule["action"], rule.get("errnoRet"), args))
    return found


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="moby's default.json is not beside this repository")
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_profile_means_what_mobys_file_says(machine: str) -> None:
    document = json.loads(SPECIFICATION.read_text(encoding="utf-8"))
    relevant = sorted({cap for rule in document["syscalls"] for cap in (rule.get("includes") or {}).get("caps", [])})
    assert len(relevant) > 10
    sets = [frozenset(some) for size in (0, 1, 2, len(relevant)) for some in combinations(relevant, size)]
    for kernel in ((4, 7), (4, 8), (6, 18)):
        for capabilities in sets:
            ours = docker_profile(capabilities, kernel, arch=machine)
            theirs = [rule for rule in document["syscalls"] if applies(rule, capabilities, kernel, machine)]
            names = MACHINE_NAMES[machine]
            own_rules: list[dict[str, Any]] = [dict(rule) for rule in ours["syscalls"]]
            assert meaning(own_rules, names) == meaning(theirs, names), capabilities
            assert (ours["defaultAction"], ours["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", document["defaultErrnoRet"])


def test_no_capability_opens_what_docker_never_allows() -> None:
    names = {name for rule in docker_profile((), (6, 1))["syscalls"] for name in rule["names"]}
    assert not names & {"keyctl", "add_key", "request_key", "kexec_load", "userfaultfd", "mount", "setns", "bpf"}
    opened = {name for rule in docker_profile(("CAP_SYS_ADMIN",), (6, 1))["syscalls"] for name in rule["names"]}
    assert {"mount", "setns", "bpf", "clone3"} <= opened
    assert not opened & {"keyctl", "kexec_load", "userfaultfd"}


LOAD = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
program = bytes.fromhex(sys.argv[1])
code = ctypes.create_string_buffer(program, len(program))
class Fprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
fprog = Fprog(len(program) // 8, ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(fprog), 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
numbers = dict(item.split("=") for item in sys.argv[2:])
for name, number in numbers.items():
    print(name, call(int(number), *((0x10000000,) if name == "unshare" else (0, 0, 0, 0, 0))))
print("getpid", "ok" if os.getpid() else "none")
try:
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
except OSError as error:
    print("AF_ALG", errno.errorcode[error.errno])
socket.socket(socket.AF_UNIX).close()
"""


@pytest.mark.skipif(platform.machine() not in GO_NAMES, reason="no filter is made for this machine")
def test_the_kernel_takes_the_filter_and_answers_by_it() -> None:
    machine = platform.machine()
    program = compile_filter(docker_profile((), (6, 1), arch=machine), arch=machine)
    table = numbers(machine)
    asked = [f"{name}={table[name]}" for name in ("mount", "keyctl", "unshare", "clone3", "add_key", "getuid")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOAD, program.hex(), *asked], check=True, capture_output=True, text=True
    )
    answers = dict(line.split() for line in done.stdout.splitlines())
    assert answers == {
        "mount": "EPERM",
        "keyctl": "EPERM",
        "unshare": "EPERM",
        "clone3": "ENOSYS",
        "add_key": "EPERM",
        "getuid": "ok",
        "getpid": "ok",
        "AF_ALG": "EPERM",
    }
