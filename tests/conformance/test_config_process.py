"""config.md, "Process", "User" and what they say about the program: how it starts, and as whom."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.harness import Bundle, Runtime

NET_ADMIN, CHOWN, KILL = 1 << 12, 1 << 0, 1 << 5


def status_of(lines: list[str]) -> dict[str, str]:
    """Lines of /proc/self/status as a dictionary."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.mark.clause("config.md", "Process", "the program runs with its arguments and environment in its cwd")
def test_program_environment_and_directory(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process.update(args=["sh", "-c", 'echo "$0 $1 $NAME"; pwd', "a b", "c"], cwd="/home/alice")
    bundle.process["env"].append("NAME=value")
    assert runtime.run(bundle).lines() == ["a b c value", "/home/alice"]


@pytest.mark.deviates(crun="1.8 takes a relative path as one below the root")
@pytest.mark.clause("config.md", "Process", "cwd must be an absolute path")
def test_a_relative_working_directory_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["cwd"] = "home"
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "Process", "args has at least one entry")
def test_no_arguments_are_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = []
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "Process", "the first argument is looked up as execvp does, in PATH")
def test_the_program_is_looked_up_in_the_path(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process.update(args=["id", "-u"], env=["PATH=/nowhere:/bin"])
    assert runtime.run(bundle).lines() == ["0"]


@pytest.mark.clause("config.md", "Process", "the first argument is looked up as execvp does, in PATH")
def test_a_program_that_is_not_there_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["args"] = ["/no/such/program"]
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "no such file" in ran.stderr.lower()


@pytest.mark.clause("config.md", "Process", "consoleSize is ignored without a terminal")
def test_console_size_without_a_terminal_is_ignored(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process.update(args=["sh", "-c", "tty; true"], consoleSize={"height": 10, "width": 20})
    assert runtime.run(bundle).lines() == ["not a tty"]


# -- rlimits ---------------------------------------------------------------------------------------------------------


@pytest.mark.clause("config.md", "POSIX process", "getrlimit gives the soft and the hard limit as configured")
def test_resource_limits(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 4096 * 1024, "hard": 2**64 - 1},
    ]
    bundle.script("grep -E 'open files|core file|stack' /proc/self/limits")
    found = {line[:20].strip(): line[20:].split()[-3:-1] for line in runtime.run(bundle).lines()}
    assert found["Max open files"] == ["77", "99"]
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max stack size"] == [str(4096 * 1024), "unlimited"]


@pytest.mark.clause("config.md", "POSIX process", "a limit that is none of the kernel's is an error")
def test_an_unknown_limit_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_HAPPINESS", "soft": 1, "hard": 1}]
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "POSIX process", "two limits of the same type are an error")
@pytest.mark.deviates(runc="1.1 takes the last one")
def test_a_limit_given_twice_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9}] * 2
    assert runtime.run(bundle).status != 0


# -- user ------------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.clause("config.md", "POSIX-platform User", "uid, gid and additional groups are those in the container")
def test_user_and_groups(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 77]}
    bundle.script("id -u; id -g; grep Groups: /proc/self/status")
    lines = runtime.run(bundle).lines()
    assert lines[:2] == ["1000", "1001"]
    assert set(lines[2].split()[1:]) - {"1001"} == {"5", "77"}


@pytest.mark.clause("config.md", "POSIX-platform User", "umask is that of the program")
def test_umask(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["user"]["umask"] = 0o027
    bundle.script("umask; touch /tmp/x; stat -c %a /tmp/x")
    assert runtime.run(bundle).lines() == ["0027", "640"]


# -- Linux -----------------------------------------------------------------------------------------------------------


@pytest.mark.clause("config.md", "Linux Process", "each of the five capability sets is as configured")
def test_the_five_capability_sets(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    bundle.process["user"] = {"uid": 0, "gid": 0}
    bundle.script("grep Cap /proc/self/status")
    sets = {key: int(value, 16) for key, value in status_of(runtime.run(bundle).lines()).items()}
    assert sets["CapBnd"] == CHOWN | KILL | NET_ADMIN
    assert sets["CapInh"] == sets["CapAmb"] == KILL
    # root gains at execve what the bounding set leaves (capabilities(7)), whatever the sets before it were
    assert sets["CapPrm"] == CHOWN | KILL | NET_ADMIN


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux Process", "each of the five capability sets is as configured")
def test_ambient_capabilities_reach_an_ordinary_user(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    names = ["CAP_NET_ADMIN"]
    bundle.process["capabilities"] = dict.fromkeys(
        ("bounding", "permitted", "effective", "inheritable", "ambient"), names
    )
    bundle.script("grep Cap /proc/self/status")
    sets = {key: int(value, 16) for key, value in status_of(runtime.run(bundle).lines()).items()}
    assert sets == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), NET_ADMIN)


@pytest.mark.clause("config.md", "Linux Process", "a capability that cannot be had is warned of, and is no error")
@pytest.mark.deviates(crun="1.8 refuses it")
def test_an_unknown_capability_is_warned_of(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["capabilities"]["bounding"].append("CAP_FLY")
    ran = runtime.run(bundle)
    assert ran.status == 0
    assert "CAP_FLY" in ran.stderr


@pytest.mark.clause("config.md", "Linux Process", "noNewPrivileges is set when it is asked for, and only then")
@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(runtime: Runtime, bundle: Bundle, *, wanted: bool) -> None:
    bundle.process["noNewPrivileges"] = wanted
    bundle.script("grep NoNewPrivs /proc/self/status")
    assert status_of(runtime.run(bundle).lines()) == {"NoNewPrivs": str(int(wanted))}


@pytest.mark.clause("config.md", "Linux Process", "oomScoreAdj is written when it is given")
def test_oom_score(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 321
    bundle.script("cat /proc/self/oom_score_adj")
    assert runtime.run(bundle).lines() == ["321"]


@pytest.mark.clause("config.md", "Linux Process", "oom_score_adj is left alone when it is not given")
def test_no_oom_score(runtime: Runtime, bundle: Bundle) -> None:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        own = file.read().strip()
    bundle.script("cat /proc/self/oom_score_adj")
    assert runtime.run(bundle).lines() == [own]


@pytest.mark.clause("config.md", "Linux Process", "scheduler: policy, nice, flags")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 lacks the field")
def test_scheduler(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    # the shell that reads its own line: fields 19 (nice) and 41 (policy) of stat, after the name
    bundle.script("read a b c rest < /proc/self/stat; set -- $rest; echo ${16} ${38}")
    assert runtime.run(bundle).lines() == ["5 3"]


@pytest.mark.clause("config.md", "Linux Process", "scheduler: a policy that is none of the kernel's is an error")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 lacks the field")
def test_an_unknown_scheduler_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_SLOW"}
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert "SCHED_SLOW" in ran.stderr


@pytest.mark.clause("config.md", "Linux Process", "ioPriority: class and priority")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 lacks the field")
def test_io_priority(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    (bundle.root / "bin/ionice").symlink_to("busybox")
    bundle.script("ionice -p $$")
    assert runtime.run(bundle).lines() == ["best-effort: prio 6"]


@pytest.mark.clause("config.md", "Linux Process", "an AppArmor profile is an error where AppArmor is not active")
@pytest.mark.skipif(os.path.exists("/sys/kernel/security/apparmor"), reason="AppArmor is active on this host")
def test_apparmor_where_it_is_not(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["apparmorProfile"] = "docker-default"
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "Linux Process", "an SELinux label is an error where SELinux is not active")
@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="SELinux is active on this host")
def test_selinux_where_it_is_not(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0"
    assert runtime.run(bundle).status != 0


@pytest.mark.only_ours
@pytest.mark.root
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
@pytest.mark.clause(
    "config.md", "Linux Process", "execCPUAffinity: the CPUs of an exec; not of the container's process"
)
@pytest.mark.parametrize(("affinity", "shown"), [({"initial": "0", "final": "1"}, "1"), ({"final": "0"}, "0")])
def test_affinity_of_an_exec(
    runtime: Runtime, bundle: Bundle, tmp_path: Path, affinity: dict[str, str], shown: str
) -> None:
    bundle.script("grep Cpus_allowed_list /proc/self/status > /tmp/own; exec sleep 60")
    bundle.process["execCPUAffinity"] = affinity
    container = runtime.create(bundle)
    assert runtime.start(container).status == 0
    command = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status; cat /tmp/own"]
    process = {**bundle.process, "args": command}
    (tmp_path / "process.json").write_text(json.dumps(process))
    ran = runtime.call("exec", "--process", str(tmp_path / "process.json"), container)
    lines = [line.split()[-1] for line in ran.lines()]
    assert lines[0] == shown
    assert lines[1] != shown


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux Process", "scheduler: runtime, deadline and period of SCHED_DEADLINE")
@pytest.mark.deviates(runc="1.1 does not know the field", crun="1.8 lacks the field")
def test_a_deadline(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {
        "policy": "SCHED_DEADLINE",
        "runtime": 10_000_000,
        "deadline": 100_000_000,
        "period": 100_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    }
    bundle.script("read a b c rest < /proc/self/stat; set -- $rest; echo ${38}")
    assert runtime.run(bundle).lines() == ["6"]


@pytest.mark.clause("config.md", "Process", "a terminal is the process's, of the size that consoleSize says")
@pytest.mark.clause("config-linux.md", "Default Devices", "/dev/console is the terminal")
def test_a_terminal(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.process.update(terminal=True, consoleSize={"height": 33, "width": 77})
    bundle.script("(tty; stty size; tty < /dev/console; stat -c %F /dev/console) > /tmp/said 2>&1")
    path = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        listening.settimeout(30)
        container = runtime.create(bundle, "--console-socket", path)
        connection, _ = listening.accept()
        with connection:
            _data, descriptors, _flags, _address = socket.recv_fds(connection, 4096, 1)
    try:
        assert runtime.start(container).status == 0
        runtime.wait(container)
    finally:
        os.close(descriptors[0])
    lines = (bundle.root / "tmp/said").read_text().splitlines()
    assert lines[:2] == ["/dev/pts/0", "33 77"]
    assert lines[3] == "character special file"
