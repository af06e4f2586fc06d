"""config-linux.md, "Seccomp": actions, operators, architectures, flags, and the agent that is asked."""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.harness import Bundle, Runtime

ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}.get(os.uname().machine, [])


def filtered(bundle: Bundle, *rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> None:
    """Give the container a filter."""
    bundle.linux["seccomp"] = {
        "defaultAction": default,
        "architectures": ARCHITECTURES,
        "syscalls": list(rules),
        **more,
    }


def rule(action: str, *names: str, **more: object) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


@pytest.mark.clause("config-linux.md", "Seccomp", "ERRNO answers with errnoRet, with EPERM where there is none")
@pytest.mark.parametrize(("more", "text"), [({}, "not permitted"), ({"errnoRet": 13}, "denied")])
def test_errno(runtime: Runtime, bundle: Bundle, more: dict[str, int], text: str) -> None:
    filtered(bundle, rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat", **more))
    bundle.script("mkdir /tmp/x 2>&1; echo on")
    first, last = runtime.run(bundle).lines()
    assert text in first.lower()
    assert last == "on"


@pytest.mark.clause("config-linux.md", "Seccomp", "defaultAction and defaultErrnoRet are for calls no rule names")
def test_the_default_action(runtime: Runtime, bundle: Bundle) -> None:
    # what runtimes and a static busybox call
    names = """
    arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 execve exit exit_group
    faccessat faccessat2 fchdir fchown fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid getgid
    getpgrp getpid getppid getrandom gettid gettimeofday getuid ioctl kill lseek lstat madvise mmap mprotect
    mremap munmap nanosleep newfstatat open openat openat2 pipe pipe2 poll ppoll prctl pread64 prlimit64 read
    readlink readlinkat readv recvmsg rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity
    sched_yield sendmsg set_robust_list set_tid_address setgid setgroups setresgid setresuid setsid setuid
    sigaltstack stat statfs statx tgkill umask uname vfork wait4 waitid write writev epoll_create1 epoll_ctl
    epoll_pwait eventfd2 getpgid setpgid
    """
    filtered(bundle, rule("SCMP_ACT_ALLOW", *names.split()), default="SCMP_ACT_ERRNO", defaultErrnoRet=28)
    bundle.script("mkdir /tmp/x 2>&1; echo on")
    first, last = runtime.run(bundle).lines()
    assert "no space left" in first.lower()
    assert last == "on"


@pytest.mark.clause("config-linux.md", "Seccomp", "KILL, KILL_THREAD, KILL_PROCESS and TRAP end the program by SIGSYS")
@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_kill(runtime: Runtime, bundle: Bundle, action: str) -> None:
    filtered(bundle, rule(action, "mkdir", "mkdirat"))
    bundle.script("mkdir /tmp/x 2>/dev/null; echo $?")
    assert runtime.run(bundle).lines()[-1:] == [str(128 + 31)]


@pytest.mark.clause("config-linux.md", "Seccomp", "LOG lets a call through; TRACE without a tracer answers ENOSYS")
@pytest.mark.parametrize(
    ("action", "status"), [("SCMP_ACT_LOG", "0"), ("SCMP_ACT_ALLOW", "0"), ("SCMP_ACT_TRACE", "1")]
)
def test_log_and_trace(runtime: Runtime, bundle: Bundle, action: str, status: str) -> None:
    filtered(bundle, rule(action, "mkdir", "mkdirat"))
    bundle.script("mkdir /tmp/x 2>/dev/null; echo $?")
    assert runtime.run(bundle).lines() == [status]


@pytest.mark.clause("config-linux.md", "Seccomp", "an action, operator, architecture or flag that is none is an error")
@pytest.mark.parametrize(
    "change",
    [
        {"defaultAction": "SCMP_ACT_MAYBE"},
        {"architectures": ["SCMP_ARCH_Z80"]},
        {"flags": ["SECCOMP_FILTER_FLAG_SLOW"]},
        {"syscalls": [rule("SCMP_ACT_SHRUG", "mkdir")]},
        {"syscalls": [rule("SCMP_ACT_ERRNO", "mkdir", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}])]},
    ],
)
def test_what_is_unknown_is_an_error(runtime: Runtime, bundle: Bundle, change: dict[str, Any]) -> None:
    filtered(bundle)
    bundle.linux["seccomp"].update(change)
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Seccomp", "an errno for an action that takes none is an error")
@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"])
@pytest.mark.deviates(runc="1.1 ignores it")
def test_an_errno_where_none_is_taken_is_an_error(runtime: Runtime, bundle: Bundle, action: str) -> None:
    filtered(bundle, rule(action, "mkdir", errnoRet=5))
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config-linux.md", "Seccomp", "a rule names at least one call")
@pytest.mark.deviates(runc="1.1 takes it", crun="1.8 takes it")
def test_a_rule_without_names_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    filtered(bundle, {"names": [], "action": "SCMP_ACT_ALLOW"})
    assert runtime.run(bundle).status != 0


# The mode of chmod is compared: the second argument of chmod(2), the third of fchmodat(2), which C libraries differ in.
@pytest.mark.clause("config-linux.md", "Seccomp", "arguments are compared by all operators")
@pytest.mark.parametrize(
    ("op", "value", "second", "denied"),
    [
        ("SCMP_CMP_NE", 0o600, 0, [0o500, 0o700]),
        ("SCMP_CMP_LT", 0o600, 0, [0o500]),
        ("SCMP_CMP_LE", 0o600, 0, [0o500, 0o600]),
        ("SCMP_CMP_EQ", 0o600, 0, [0o600]),
        ("SCMP_CMP_GE", 0o600, 0, [0o600, 0o700]),
        ("SCMP_CMP_GT", 0o600, 0, [0o700]),
        ("SCMP_CMP_MASKED_EQ", 0o200, 0o200, [0o600, 0o700]),
    ],
)
def test_operators(runtime: Runtime, bundle: Bundle, op: str, value: int, second: int, denied: list[int]) -> None:
    filtered(
        bundle,
        *(
            rule("SCMP_ACT_ERRNO", name, args=[{"index": index, "value": value, "valueTwo": second, "op": op}])
            for name, index in (("chmod", 1), ("fchmodat", 2), ("fchmodat2", 2))
        ),
    )
    bundle.script("touch /tmp/x; for mode in 500 600 700; do chmod $mode /tmp/x 2>/dev/null || echo $mode; done; true")
    assert runtime.run(bundle).lines() == [f"{mode:o}" for mode in denied]


@pytest.mark.clause("config-linux.md", "Seccomp", "all conditions of a rule must hold")
def test_conditions_are_joined(runtime: Runtime, bundle: Bundle) -> None:
    equal = "SCMP_CMP_EQ"
    # socket(AF_INET, SOCK_DGRAM): neither alone
    conditions = [{"index": 0, "value": 2, "op": equal}, {"index": 1, "value": 1, "valueTwo": 0, "op": equal}]
    filtered(bundle, rule("SCMP_ACT_ERRNO", "socket", errnoRet=28, args=conditions))
    bundle.script("wget -O- http://127.0.0.1:1/ 2>&1 | grep -c 'No space'; ip -o link | wc -l")
    assert runtime.run(bundle).lines() == ["1", "1"]


@pytest.mark.clause("config-linux.md", "Seccomp", "flags go to seccomp(2)")
@pytest.mark.parametrize("flag", ["TSYNC", "LOG", "SPEC_ALLOW"])
@pytest.mark.deviates(runc="1.1 has none")
def test_flags(runtime: Runtime, bundle: Bundle, flag: str) -> None:
    filtered(bundle, rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat"), flags=[f"SECCOMP_FILTER_FLAG_{flag}"])
    bundle.script("grep -E 'Seccomp:|Store_Bypass' /proc/self/status")
    lines = dict(line.split(":", 1) for line in runtime.run(bundle).lines())
    assert lines["Seccomp"].strip() == "2"


# -- the agent -------------------------------------------------------------------------------------------------------


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[socket.socket]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.settimeout(30)
    listening.bind(str(tmp_path / "agent"))
    listening.listen()
    with listening:
        yield listening


def asked(bundle: Bundle, agent: socket.socket, **more: str) -> None:
    filtered(
        bundle,
        rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat"),
        listenerPath=agent.getsockname(),
        **more,
    )


def greet(agent: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The one message of a connection, and the descriptors that came with its first part."""
    connection, _ = agent.accept()
    with connection:
        connection.settimeout(30)
        data, ancillary, _flags, _address = connection.recvmsg(1 << 16, socket.CMSG_LEN(16))
        numbers = array.array("i")
        for _level, _kind, content in ancillary:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
        while more := connection.recv(1 << 16):
            data += more
    return json.loads(data), list(numbers)


def answer(listener: int, error: int) -> int:
    """Wait for a call to be asked about and answer it with an error; the pid that made it."""
    received = bytearray(80)
    fcntl.ioctl(listener, 0xC0502100, received)  # SECCOMP_IOCTL_NOTIF_RECV
    call, pid = struct.unpack_from("=QI", received)
    fcntl.ioctl(listener, 0xC0182101, struct.pack("=QqiI", call, 0, -error, 0))  # SECCOMP_IOCTL_NOTIF_SEND
    return int(pid)


@pytest.mark.root
@pytest.mark.clause(
    "config-linux.md", "The Container Process State", "the agent is sent state, metadata and descriptor"
)
@pytest.mark.deviates(crun="1.8.1 is built with a libseccomp that has no notifications")
def test_the_agent_is_told_and_asked(runtime: Runtime, bundle: Bundle, agent: socket.socket) -> None:
    bundle.spec["annotations"] = {"key": "value"}
    asked(bundle, agent, listenerMetadata="some data")
    bundle.script("mkdir /tmp/x 2>/tmp/said; echo $? >> /tmp/said")
    container = runtime.create(bundle)
    message, descriptors = greet(agent)
    try:
        assert message["fds"] == ["seccompFd"]
        assert message["metadata"] == "some data"
        assert message["ociVersion"].startswith("1.")
        state = message["state"]
        assert (state["id"], state["status"], state["bundle"]) == (container, "creating", str(bundle.path))
        assert state["annotations"]["key"] == "value"
        assert message["pid"] == state["pid"] == runtime.state(container)["pid"]
        assert runtime.start(container).status == 0
        answer(descriptors[0], 28)
        runtime.wait(container)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    said = (bundle.root / "tmp/said").read_text()
    assert "No space left" in said
    assert said.endswith("1\n")


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Seccomp", "it is an error if the agent cannot be reached")
def test_an_agent_that_is_not_there_is_an_error(
    runtime: Runtime, bundle: Bundle, agent: socket.socket, tmp_path: Path
) -> None:
    asked(bundle, agent)
    bundle.linux["seccomp"]["listenerPath"] = str(tmp_path / "nobody")
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "nobody" in ran.stderr


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "Seccomp", "listenerPath is ignored where no call is asked about")
@pytest.mark.deviates(crun="1.8 connects all the same")
def test_an_agent_nobody_asks_is_ignored(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    filtered(bundle, rule("SCMP_ACT_ERRNO", "mkdir"), listenerPath=str(tmp_path / "nobody"))
    assert runtime.run(bundle).status == 0


@pytest.mark.clause("config-linux.md", "Seccomp", "listenerMetadata without listenerPath is an error")
@pytest.mark.deviates(runc="1.1 ignores it", crun="1.8 ignores it")
def test_metadata_for_nobody_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    filtered(bundle, rule("SCMP_ACT_ERRNO", "mkdir"), listenerMetadata="x")
    assert runtime.run(bundle).status != 0


@pytest.mark.root
@pytest.mark.clause("config-linux.md", "The Container Process State", "an exec has a connection of its own")
@pytest.mark.only_ours  # runc 1.1 does not get past the filter
def test_the_agent_is_asked_about_an_exec(runtime: Runtime, bundle: Bundle, agent: socket.socket) -> None:
    asked(bundle, agent)
    bundle.process["args"] = ["sleep", "60"]
    container = runtime.create(bundle)
    _message, descriptors = greet(agent)
    assert runtime.start(container).status == 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runtime.call, "exec", container, "mkdir", "/tmp/x")
        message, more = greet(agent)
        descriptors += more
        answer(more[0], 28)
        ran = running.result()
    for descriptor in descriptors:
        os.close(descriptor)
    assert message["state"]["status"] == "running"
    assert message["pid"] != message["state"]["pid"] == runtime.state(container)["pid"]
    assert ran.status == 1
    assert "No space left" in ran.stderr
