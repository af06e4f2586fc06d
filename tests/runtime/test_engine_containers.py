"""Containers by the engine, for real: isolation, limits, exit statuses, output, what stays and what goes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Container, Engine, RunOptions, RunResult
from jupyter_containers.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerRunning,
    EngineError,
    ImageInUse,
    ImageNotFound,
    NameInUse,
    StartFailed,
    Unsupported,
)
from jupyter_containers.events import Event, Output
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def run(engine: Engine, command: list[str], **keywords: object) -> RunResult:
    """A foreground container that is removed afterwards."""
    options = RunOptions.of({"remove": True, "network": "none", **keywords})
    result = engine.containers.run("starter", command, options=options)
    assert isinstance(result, RunResult)
    return result


def shell(engine: Engine, script: str, **keywords: object) -> RunResult:
    return run(engine, ["/bin/sh", "-c", script], **keywords)


def test_output_exit_status_and_usage_come_back(engine: Engine) -> None:
    result = shell(engine, "echo out; echo err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert result.cause == "exit status 3"
    assert 0 < result.usage.wall_seconds < 30
    assert engine.containers.list(all=True) == []


def test_an_image_is_run_as_the_object_that_a_build_gave(engine: Engine) -> None:
    """The very image, also when its name is another one's by now."""
    first = engine.images.build(dockerfile='FROM starter\nCMD ["echo", "first"]\n', tag="built")
    made = engine.containers.create(first, network="none")
    assert made.image == "built:latest"
    engine.containers.remove(made.id)
    engine.images.build(dockerfile='FROM starter\nCMD ["echo", "second"]\n', tag="built")
    result = engine.containers.run(first, remove=True, network="none")
    assert isinstance(result, RunResult)
    assert result.stdout == "first\n"


def test_output_is_told_while_it_runs(engine: Engine) -> None:
    seen: list[tuple[float, Event]] = []
    options = RunOptions(remove=True, network="none")
    engine.containers.run(
        "starter",
        ["/bin/sh", "-c", "echo a; sleep 0.5; echo b"],
        options=options,
        sink=lambda event: seen.append((time.monotonic(), event)),
    )
    outputs = [(moment, event.data) for moment, event in seen if isinstance(event, Output)]
    assert [data for _moment, data in outputs] == [b"a\n", b"b\n"]
    assert outputs[1][0] - outputs[0][0] > 0.3


def test_a_container_sees_itself_alone(engine: Engine) -> None:
    script = "hostname; echo $$; ls /proc | grep -c '^[0-9]'; ls /sys/class/net; id -u; pwd"
    name, pid, processes, *rest = shell(engine, script).stdout.split()
    assert name != os.uname().nodename
    assert pid == "1"
    assert int(processes) <= 4
    assert rest == ["lo", "0", "/"]
    namespaces = shell(engine, "for n in mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$n; done").stdout.split()
    host = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid", "uts", "ipc", "net", "cgroup")]
    assert not set(namespaces) & set(host)


def test_the_kernels_dangerous_corners_are_masked(engine: Engine) -> None:
    script = """
    cat /proc/kcore | wc -c; echo x > /proc/sysrq-trigger; echo "sysrq $?"
    echo 1 > /proc/sys/kernel/domainname; echo "sys $?"
    mount -t tmpfs tmpfs /mnt; echo "mount $?"; unshare -m true; echo "unshare $?"
    grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status
    """
    text = shell(engine, script).stdout
    assert text.splitlines()[0].strip() == "0"
    for line in ("sysrq 1", "sys 1"):
        assert line in text
    assert "mount 0" not in text
    assert "unshare 0" not in text
    assert "CapEff:\t00000000a80425fb" in text
    assert "Seccomp:\t2" in text


def test_capabilities_can_be_dropped_and_new_privileges_forbidden(engine: Engine) -> None:
    text = shell(
        engine,
        "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status",
        cap_drop="ALL",
        cap_add="CHOWN",
        security_opt="no-new-privileges",
    ).stdout
    assert "CapEff:\t0000000000000001" in text
    assert "CapBnd:\t0000000000000001" in text
    assert "NoNewPrivs:\t1" in text


def test_a_read_only_root_keeps_its_temporary_places(engine: Engine) -> None:
    text = shell(
        engine, "touch /x; echo $?; touch /tmp/y; echo $?; touch /dev/shm/z; echo $?", read_only=True, tmpfs="/tmp"
    ).stdout
    assert text.split() == ["1", "0", "0"]


def test_memory_above_the_limit_ends_it_and_says_so(engine: Engine) -> None:
    result = shell(engine, "head -c 200m /dev/zero | tail | wc -c; exit 7", memory="24m", entrypoint="")
    if not result.oom_killed:
        pytest.fail(f"{result}")
    killed = run(engine, ["tail", "/dev/zero"], memory="24m")
    assert killed.exit_code == 137
    assert killed.oom_killed
    assert killed.cause == "killed: out of memory (limit 24 MiB)"


@pytest.mark.root
def test_a_limit_of_processes_holds(engine: Engine) -> None:
    text = shell(engine, "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait; echo all", pids_limit=5)
    assert "all" not in text.stdout
    assert text.exit_code != 0


@pytest.mark.rootless
def test_limits_that_cannot_be_set_are_refused(engine: Engine) -> None:
    if engine.info().cgroup != "none" and engine.doctor().finding("cgroups").ok:
        pytest.skip("this user can set limits here")
    with pytest.raises(Unsupported, match="pids"):
        shell(engine, "true", pids_limit=5)


def test_what_it_reads_is_what_it_is_given(engine: Engine) -> None:
    options = RunOptions(remove=True, network="none", interactive=True)
    for source in (b"one\ntwo\n", io.BytesIO(b"one\ntwo\n")):
        result = engine.containers.run("starter", ["cat"], options=options, stdin=source)
        assert isinstance(result, RunResult)
        assert result.stdout == "one\ntwo\n"
    assert run(engine, ["cat"]).stdout == ""


def test_a_missing_program_a_directory_and_no_permission(engine: Engine) -> None:
    with pytest.raises(CommandNotFound, match='"nothere": executable file not found') as missing:
        run(engine, ["nothere"])
    assert missing.value.exit_code == 127
    assert "PATH" in str(missing.value.hint)
    with pytest.raises(CommandNotExecutable) as denied:
        run(engine, ["/etc/passwd"])
    assert denied.value.exit_code == 126
    assert "chmod +x" in str(denied.value.hint)
    with pytest.raises(StartFailed, match="unable to find user nobodyhere") as unknown:
        run(engine, ["true"], user="nobodyhere")
    assert "--user 1000:1000" in str(unknown.value.hint)
    assert engine.containers.list(all=True) == []


def test_user_directory_and_environment(engine: Engine) -> None:
    result = shell(engine, "pwd; echo $A-$B-$HOME", workdir="/new/place", env={"A": "1", "B": "x y"})
    assert result.stdout == "/new/place\n1-x y-/root\n"


def test_a_host_directory_is_mounted_read_write_or_read_only(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("here\n")
    text = shell(engine, "cat /d/in; echo made > /d/out", volume=f"{tmp_path}:/d").stdout
    assert text == "here\n"
    assert (tmp_path / "out").read_text() == "made\n"
    refused = shell(engine, "touch /d/no", volume=f"{tmp_path}:/d:ro")
    assert refused.exit_code == 1
    assert "Read-only" in refused.stderr
    (tmp_path / "out").unlink()


def test_names_are_unique_and_found_by_prefix(engine: Engine) -> None:
    first = engine.containers.run("starter", ["true"], name="one", network="none")
    assert isinstance(first, RunResult)
    with pytest.raises(NameInUse):
        engine.containers.run("starter", ["true"], name="one", network="none")
    assert engine.containers.get(first.container_id[:8]).name == "one"
    with pytest.raises(ImageInUse):
        engine.images.remove("starter")
    engine.containers.remove("one")
    with pytest.raises(ContainerNotFound):
        engine.containers.get("one")


def test_an_unknown_image_is_said_to_be_unknown(engine: Engine) -> None:
    with pytest.raises(ImageNotFound, match="no such image"):
        engine.containers.run("not-here", ["true"], pull="never")


def test_a_detached_container_is_listed_entered_logged_and_stopped(engine: Engine) -> None:
    script = 'trap "echo bye; exit 5" TERM; echo hello; while true; do sleep 0.1; done'
    container = engine.containers.run("starter", ["/bin/sh", "-c", script], name="bg", detach=True, network="none")
    assert isinstance(container, Container)
    wait_until(lambda: any(entry.data == b"hello\n" for entry in engine.containers.logs("bg")), what="hello")
    (row,) = engine.containers.list()
    assert (row.name, row.state, row.pid is not None) == ("bg", "running", True)
    inside = engine.containers.exec("bg", ["/bin/sh", "-c", "echo $X; hostname; exit 4"], env={"X": "y"})
    assert isinstance(inside, RunResult)
    assert (inside.exit_code, inside.stdout) == (4, f"y\n{container.id[:12]}\n")
    with pytest.raises(CommandNotFound):
        engine.containers.exec("bg", ["nothere"])
    with pytest.raises(ContainerRunning):
        engine.containers.remove("bg")
    engine.containers.stop("bg", time=5)
    (row,) = engine.containers.list(all=True)
    assert (row.state, row.exit_code) == ("exited", 5)
    assert [entry.data for entry in engine.containers.logs("bg")] == [b"hello\n", b"bye\n"]
    assert [entry.data for entry in engine.containers.logs("bg", tail=1)] == [b"bye\n"]
    assert engine.containers.wait("bg") == 5
    with pytest.raises(ContainerNotRunning):
        engine.containers.exec("bg", ["true"])
    engine.containers.stop("bg")
    engine.containers.remove("bg")


def test_what_ignores_the_request_is_killed_after_the_grace(engine: Engine) -> None:
    engine.containers.run("starter", ["sleep", "60"], name="deaf", detach=True, network="none")
    begun = time.monotonic()
    engine.containers.stop("deaf", time=1)
    assert 0.9 < time.monotonic() - begun < 8
    (row,) = engine.containers.list(all=True)
    assert row.exit_code == 137


def test_a_detached_container_outlives_its_engine(engine: Engine, store_root: Path) -> None:
    with Engine(store_root) as other:
        other.containers.run("starter", ["sleep", "60"], name="long", detach=True, network="none")
    (row,) = engine.containers.list()
    assert row.name == "long"
    engine.containers.kill("long")
    assert engine.containers.wait("long") == 137


def test_following_the_log_ends_with_the_container(engine: Engine) -> None:
    engine.containers.run(
        "starter",
        ["/bin/sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"],
        name="follow",
        detach=True,
        network="none",
    )
    assert b"".join(entry.data for entry in engine.containers.logs("follow", follow=True)) == b"1\n2\n3\n"


def test_many_lines_arrive_whole_and_in_order(engine: Engine) -> None:
    result = shell(engine, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    assert result.stdout == "".join(f"line {number}\n" for number in range(20000))


def test_several_at_once(engine: Engine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: shell(engine, f"echo {number}"), range(24)))
    assert [result.stdout for result in results] == [f"{number}\n" for number in range(24)]


def test_no_descriptor_of_the_engine_is_open_inside(engine: Engine) -> None:
    assert shell(engine, "ls /proc/self/fd | tr '\\n' ' '").stdout.split() == ["0", "1", "2", "3"]  # 3 is ls's own


@pytest.mark.parametrize(
    "keywords",
    [{"memory": "1k"}, {"memory": "lots"}, {"cpus": -1}, {"volume": "x"}, {"volume": "a/b:/x"},
     {"cap_add": "NO_SUCH"}, {"security_opt": "what=ever"}, {"ulimit": "nofile"},
     {"network": "nosuchnet"}, {"env": "=x"}],
)  # fmt: skip
def test_bad_options_are_refused_and_leave_nothing(engine: Engine, keywords: dict[str, str]) -> None:
    with pytest.raises(EngineError):
        run(engine, ["true"], **keywords)
    assert engine.containers.list(all=True) == []


def test_an_image_whose_documents_were_lost_is_listed_and_can_be_removed(engine: Engine, store_root: Path) -> None:
    engine.images.pull("starter")
    for blob in (store_root / "content/blobs/sha256").iterdir():
        blob.unlink()
    with Engine(store_root) as fresh:
        (row,) = fresh.images.list()
        assert (row.repository, row.created, row.size) == ("starter", None, 0)
        assert fresh.images.remove("starter")[0] == "Untagged: starter:latest"
        assert fresh.images.list() == []


@pytest.mark.root
def test_a_full_disk_fails_the_program_and_not_its_monitor(tmp_path: Path) -> None:
    # In a mount namespace of its own: the small disk goes with the last process in it.
    script = f"""
    mount -t tmpfs -o size=8m none {tmp_path} || exit 99
    export JUPYTER_CONTAINERS_ROOT={tmp_path}
    run="{sys.executable} -m jupyter_containers"
    $run pull -q starter
    $run run --name one starter sh -c 'yes > /x; yes > /y; exit 5'; echo "ended $?"
    $run ps -a | grep -o 'Exited (.)'
    $run run -d starter true; echo "again $?"
    $run rm -f one; echo "removed $?"
    $run run --rm starter echo fine
    """
    ended = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert "ended 5\nExited (5)\n" in ended.stdout, ended
    assert "removed 0\nfine\n" in ended.stdout, ended
    assert "Traceback" not in ended.stderr
