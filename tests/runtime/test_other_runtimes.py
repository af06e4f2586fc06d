"""The engine has another OCI runtime make a container when it is told to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from jupyter_containers import Container, RunResult
from jupyter_containers.errors import CommandNotExecutable, CommandNotFound, NotFound, StartFailed, Unsupported
from jupyter_containers.linux import namespaces
from tests.conformance import harness
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.engine import Engine


def output(result: object) -> str:
    assert isinstance(result, RunResult)
    return result.stdout


@pytest.fixture(params=["runc", "crun", harness.OURS])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if os.geteuid() != 0:
        pytest.skip("other runtimes need root")
    if name == harness.OURS:
        (program, *rest) = harness.ours()
        if rest:
            pytest.skip(f"{name} is not installed")
        return program
    if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.mark.peer
def test_output_status_user_and_limits(engine: Engine, runtime: str) -> None:
    script = "id -un; cat /etc/hostname; cat /etc/hosts >&2; touch /made; exit 0"
    result = engine.containers.run(
        "starter", ["sh", "-c", script], remove=True, runtime=runtime, hostname="other", memory="64m", user="root"
    )
    assert output(result) == "root\nother\n"
    assert isinstance(result, RunResult)
    assert "other" in result.stderr


@pytest.mark.peer
def test_isolation_is_that_of_the_configuration(engine: Engine, runtime: str) -> None:
    script = "grep -E 'CapEff|^Seccomp:' /proc/self/status; touch /x 2>&1 || true"
    result = engine.containers.run(
        "starter", ["sh", "-c", script], remove=True, runtime=runtime, cap_drop=["ALL"], read_only=True
    )
    lines = [line.split() for line in output(result).splitlines()]
    assert lines[:2] == [["CapEff:", "0000000000000000"], ["Seccomp:", "2"]]
    assert "Read-only file system" in output(result)


@pytest.mark.peer
def test_a_bridge_network_reaches_the_container(engine: Engine, runtime: str) -> None:
    result = engine.containers.run("starter", ["ip", "-4", "addr", "show", "eth0"], remove=True, runtime=runtime)
    assert "inet 10." in output(result)


@pytest.mark.peer
def test_a_terminal(engine: Engine, runtime: str) -> None:
    result = engine.containers.run("starter", ["tty"], remove=True, runtime=runtime, tty=True)
    assert output(result).strip() == "/dev/pts/0"


@pytest.mark.peer
def test_what_cannot_be_run_is_told_apart(engine: Engine, runtime: str) -> None:
    with pytest.raises(CommandNotFound, match="no-such-program"):
        engine.containers.run("starter", ["no-such-program"], remove=True, runtime=runtime)
    with pytest.raises(CommandNotExecutable):
        engine.containers.run("starter", ["/etc"], remove=True, runtime=runtime)


@pytest.mark.peer
def test_a_detached_container_is_entered_stopped_and_started_again(engine: Engine, runtime: str) -> None:
    name = "by-another"
    engine.containers.run("starter", ["sleep", "600"], detach=True, name=name, runtime=runtime)
    assert output(engine.containers.exec(name, ["sh", "-c", "touch /kept; echo inside"])) == "inside\n"
    engine.containers.kill(name)
    engine.containers.wait(name)
    engine.containers.start(name)
    assert output(engine.containers.exec(name, ["ls", "/kept"])) == "/kept\n"
    engine.containers.remove(name, force=True)


@pytest.mark.peer
def test_a_killed_monitor_leaves_nothing_of_its_runtime(engine: Engine, runtime: str, store_root: Path) -> None:
    made = engine.containers.run("starter", ["sleep", "600"], detach=True, name="by-another", runtime=runtime)
    assert isinstance(made, Container)
    record = json.loads((store_root / "containers" / made.id / "monitor.json").read_text())
    os.kill(record["monitor"]["pid"], signal.SIGKILL)
    wait_until(lambda: namespaces.start_time(record["monitor"]["pid"]) == 0, what="its end")
    engine.containers.remove("by-another")
    assert namespaces.start_time(record["init"]["pid"]) == 0
    # the fixture of the engine sees to it that no control group is left, in whatever hierarchy


@pytest.mark.root
def test_what_another_runtime_cannot_have_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(NotFound, match="no runtime 'no-such-runtime'"):
        engine.containers.create("starter", ["true"], runtime="no-such-runtime")
    with pytest.raises(Unsupported, match=r"--init cannot be had with --runtime sh"):
        engine.containers.create("starter", ["true"], runtime="sh", init=True)


@pytest.mark.rootless
def test_another_runtime_needs_root(engine: Engine) -> None:
    with pytest.raises(Unsupported, match=r"--runtime sh needs root"):
        engine.containers.create("starter", ["true"], runtime="sh")


def test_the_own_runtime_has_a_name(engine: Engine) -> None:
    assert output(engine.containers.run("starter", ["echo", "own"], remove=True, runtime="own")) == "own\n"


# Makes a process in the container's cgroup, does not say which it is, and takes nothing back.
_CARELESS = """#!%s
import json, os, subprocess, sys
if "create" in sys.argv:
    with open("config.json") as file:
        place = json.load(file)["linux"]["cgroupsPath"]
    base = next(base for base in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup") if os.path.isdir(base))
    os.makedirs(base + place)
    with open(base + place + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    open("pid", "w").close()
"""


@pytest.mark.root
def test_what_a_careless_runtime_leaves_is_ended(engine: Engine, tmp_path: Path) -> None:
    program = tmp_path / "careless"
    program.write_text(_CARELESS % sys.executable)
    program.chmod(0o755)
    with pytest.raises(StartFailed, match="the runtime does not say which process it has made"):
        engine.containers.run("starter", ["true"], remove=True, runtime=str(program), network="none")
    # the fixture of the engine sees to it that process, monitor and control group are gone
