"""Starts one stage at a time: what each stage shows, and that nothing is left wherever one is given up."""

from __future__ import annotations

import gc
import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers import cli
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.table import find
from jupyter_containers.engine import Container, Engine, RunResult
from jupyter_containers.engine.explain.stepping import LAST, MEANINGS, NAMES, Stage, Stages
from jupyter_containers.errors import (
    CommandNotFound,
    Conflict,
    ImageNotFound,
    StartFailed,
    Unsupported,
    UsageError,
)
from jupyter_containers.events import Output
from jupyter_containers.notebook.stages import Stages as NotebookStages
from jupyter_containers.notebook.values import value_of
from jupyter_containers.runtime.watched import STAGES
from tests.support import leaks, rootfs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.events import Event

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")
HALTS = NAMES[:-1]


@pytest.fixture(scope="module")
def host(stores: Path) -> Iterator[Engine]:
    with Engine(stores / "step") as engine:
        engine.images.pull("starter")
        engine.containers.run("starter", ["true"], remove=True, network="none")  # what waits for the next one is there
        yield engine
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)


@pytest.fixture
def nothing_left(host: Engine) -> Iterator[None]:
    """No mount, container or monitor more than before. Those that wait for containers, in their cgroups, are no leak,
    and these have no network.
    """
    root = Path(host.info().root)
    before = leaks.take(root)
    yield
    assert host.containers.list(all=True) == []
    wait_until(lambda: not monitors(root), what="the end of the monitors")
    wait_until(lambda: leaks.take(root).mounts <= before.mounts, what="the end of the mounts")
    wait_until(lambda: not os.listdir(root / "containers"), what="the removal of directories")


def monitors(root: Path) -> list[str]:
    return os.listdir(root / "run" / "running") if (root / "run" / "running").is_dir() else []


def begun(host: Engine, *command: str, **options: Any) -> Stages:
    given = {"remove": True, "network": "none", **options}
    return host.containers.step("starter", list(command) or ["sleep", "600"], **given)


def until(stages: Stages, name: str) -> Stage:
    for stage in stages:
        if stage.name == name:
            return stage
    raise AssertionError(f"there was no stage {name}")


def gone(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] == "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return True


# -- what is seen ------------------------------------------------------------------------------------------------------


def test_every_stage_has_its_words() -> None:
    assert tuple(name for name, _ in STAGES) == NAMES
    assert tuple(MEANINGS) == NAMES


@pytest.mark.usefixtures("nothing_left")
def test_the_stages_of_a_start(host: Engine) -> None:
    with begun(host, cap_drop=["ALL"], cap_add=["KILL"]) as stages:
        seen = {stage.name: stage for stage in stages}
        assert tuple(seen) == NAMES
        assert [stage.number for stage in seen.values()] == list(range(1, len(NAMES) + 1))
        assert len({stage.pid for stage in seen.values()}) == 1
        spaces = {each.kind: each.relation for each in seen["namespaces"].xray.namespaces}
        assert spaces["mount"] == spaces["pid"] == spaces["network"] == "own"
        assert any(mount.target == "/proc" for mount in seen["namespaces"].xray.mounts)
        assert not any(mount.target.endswith("/etc/hosts") for mount in seen["namespaces"].xray.mounts)
        hosts = [mount.target for mount in seen["root file system"].xray.mounts if mount.target.endswith("/etc/hosts")]
        assert len(hosts) == 1
        assert hosts != ["/etc/hosts"]
        inside = {mount.target for mount in seen["pivot_root"].xray.mounts}
        assert {"/", "/proc", "/dev", "/etc/hosts"} <= inside
        assert str(host.info().root) not in " ".join(inside)
        assert [call.call for call in seen["pivot_root"].calls].count("pivot_root") == 1
        assert not seen["user"].xray.seccomp
        assert "no filter yet" in " ".join(seen["user"].xray.words)
        assert [call.call for call in seen["filter"].calls].count("seccomp") == 1
        assert dict(seen["filter"].xray.security)["seccomp"].startswith("a filter")
        assert {each.name for each in seen["pivot_root"].xray.capabilities if each.bounding} > {"CAP_KILL"}
        assert {each.name for each in seen["capabilities"].xray.capabilities if each.bounding} == {"CAP_KILL"}
        assert seen["program"].xray.state == "running"
        assert [task.command for task in seen["program"].xray.processes if task.role == "init"] == ["sleep 600"]
        assert stages.shown == list(seen.values())


def test_steps_are_told_once_and_in_order(host: Engine) -> None:
    stages = begun(host, "true")
    steps = [step for stage in stages for step in stage.steps]
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert {name for _stage, names in STAGES for name in names} == {
        step.name.replace(" ", "_") for step in steps if step.whose == "init"
    }
    assert isinstance(stages.finish(), RunResult)


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("nothing_left")
def test_finished_from_every_stage(host: Engine, name: str) -> None:
    stages = begun(host, "sh", "-c", "cat; exit 7", stdin=b"from the caller")
    until(stages, name)
    result = stages.finish()
    assert isinstance(result, RunResult)
    assert (result.exit_code, result.stdout_bytes) == (7, b"from the caller")
    assert stages.finish() is result
    stages.abort()
    assert list(stages) == []


def test_a_detached_one_goes_on(host: Engine) -> None:
    stages = begun(host, detach=True, remove=False, name="goes-on")
    next(stages)
    made = stages.finish()
    del stages
    gc.collect()
    try:
        assert isinstance(made, Container)
        assert host.containers.inspect("goes-on")["State"]["Running"]
    finally:
        host.containers.remove("goes-on", force=True)


@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("nothing_left")
def test_aborted_at_every_stage(host: Engine, name: str, remove: bool) -> None:
    stages = begun(host, remove=remove, volume=["/data"])
    stage = until(stages, name)
    stages.abort()
    assert stage.pid is None or gone(stage.pid)
    assert list(stages) == []
    with pytest.raises(Conflict):
        stages.finish()
    assert host.volumes.list() == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("nothing_left")
def test_forgotten_at_every_stage(host: Engine, name: str) -> None:
    stages = begun(host, remove=False)
    pid = until(stages, name).pid
    del stages
    gc.collect()
    assert pid is not None
    assert gone(pid)


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_closed_at_every_stage(stores: Path, host: Engine, name: str) -> None:
    with Engine(stores / "step") as other:
        stages = begun(other, remove=False, detach=True)
        pid = until(stages, name).pid
    assert pid is not None
    assert gone(pid)
    assert host.containers.list(all=True) == []
    stages.abort()


SCRIPT = """
import sys, time
from jupyter_containers.engine import Engine
engine = Engine(sys.argv[1])
stages = engine.containers.step("starter", ["sleep", "600"], network="none", remove=True, detach=sys.argv[2] == "user")
for stage in stages:
    if stage.name == sys.argv[2]:
        print(stage.pid, flush=True)
        if len(sys.argv) > 3:
            sys.exit(0)
        time.sleep(600)
"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("nothing_left")
def test_its_process_killed_at_every_stage(host: Engine, name: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(host.info().root), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    wait_until(lambda: gone(pid), what=f"the end of process {pid}")
    wait_until(lambda: host.containers.list(all=True) == [], what="the removal of the container")


@pytest.mark.usefixtures("nothing_left")
def test_what_a_kill_leaves_without_rm_is_a_container_that_was_not_started(host: Engine) -> None:
    script = SCRIPT.replace("remove=True", "name='left'")
    command = [sys.executable, "-c", script, str(host.info().root), "pivot_root"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    wait_until(lambda: gone(pid), what=f"the end of process {pid}")
    assert [(row.name, row.state) for row in host.containers.list(all=True)] == [("left", "created")]
    host.containers.start("left")
    host.containers.remove("left", force=True)


@pytest.mark.parametrize("name", ["namespaces", "pivot_root", "program"])
@pytest.mark.usefixtures("nothing_left")
def test_its_process_exits_without_a_word(host: Engine, name: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(host.info().root), name, "exit"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    assert gone(int(done.stdout))
    assert host.containers.list(all=True) == []


def monitor_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])


@pytest.mark.parametrize("whose", [lambda pid: pid, monitor_of], ids=["init", "monitor"])
@pytest.mark.parametrize("name", HALTS)
@pytest.mark.usefixtures("nothing_left")
def test_init_or_monitor_killed_at_every_stage(host: Engine, name: str, whose: Callable[[int], int]) -> None:
    stages = begun(host, remove=False)
    pid = until(stages, name).pid
    assert pid is not None
    os.kill(whose(pid), signal.SIGKILL)
    with pytest.raises(StartFailed):
        list(stages)
    with pytest.raises(StartFailed):
        stages.finish()
    wait_until(lambda: gone(pid), what=f"the end of process {pid}")


@pytest.mark.root
@pytest.mark.parametrize("name", ["namespaces", "network", "pivot_root", LAST])
def test_nothing_of_a_network_is_left(apart: None, engine: Engine, name: str) -> None:  # noqa: ARG001 - entered first
    engine.images.pull("starter")
    stages = engine.containers.step("starter", ["sleep", "600"], publish=["80"])
    stage = until(stages, name)
    if NAMES.index(name) >= NAMES.index("network"):
        assert any(each.name == "eth0" and each.addresses for each in stage.xray.interfaces)
    stages.abort()
    assert engine.containers.list(all=True) == []


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_left")
def test_errors_are_those_of_run(host: Engine) -> None:
    stages = begun(host, "/no/such/program")
    with pytest.raises(CommandNotFound):
        list(stages)
    with pytest.raises(CommandNotFound):
        stages.finish()
    with pytest.raises(ImageNotFound):
        host.containers.step("no-such-image-here", pull="never")


@pytest.mark.usefixtures("nothing_left")
def test_what_cannot_be_stepped_is_refused(host: Engine) -> None:
    with pytest.raises(Unsupported, match="terminal"):
        begun(host, tty=True)
    with pytest.raises(Unsupported, match="runc"):
        begun(host, runtime="runc")
    with host.explaining(), pytest.raises(UsageError):
        begun(host)


@pytest.mark.usefixtures("nothing_left")
def test_a_filter_that_refuses_a_halt_has_none_after_it(host: Engine, tmp_path: Path) -> None:
    profile = tmp_path / "strict.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getdents64"], "action": "SCMP_ACT_ERRNO"}]}',
        encoding="utf-8",
    )
    stages = begun(host, "true", security_opt=[f"seccomp={profile}"])
    assert [stage.name for stage in stages] == [name for name in NAMES if name not in {"filter", "capabilities"}]
    result = stages.finish()
    assert isinstance(result, RunResult)
    assert result.exit_code == 0


def test_other_starts_are_as_they_were(host: Engine) -> None:
    stages = begun(host)
    next(stages)
    result = host.containers.run("starter", ["echo", "meanwhile"], remove=True, network="none")
    stages.abort()
    assert isinstance(result, RunResult)
    assert result.stdout_bytes == b"meanwhile\n"


# -- in the front ends -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_left")
def test_on_the_command_line(host: Engine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JUPYTER_CONTAINERS_ROOT", str(host.info().root))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    words = ["run", "--step", "--rm", "--network", "none", "starter", "sh", "-c", "echo told; exit 3"]
    assert cli.main(words) == 3
    out = capfd.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("Stage ")] == [
        f"Stage {number} of {len(NAMES)}: {name}" for number, name in enumerate(NAMES, 1)
    ]
    assert "pivot_root" in out
    assert "told" in out.splitlines()
    assert cli.main(["run", "--step", "-i", "starter", "cat"]) == 125
    assert "--interactive does not go with --step" in capfd.readouterr().err
    assert cli.main(["run", "--step", "--rm", "--network", "none", "starter", "/none"]) == 127


@pytest.mark.parametrize(("answer", "status", "last"), [("q", 130, 3), ("", 0, len(NAMES))])
@pytest.mark.usefixtures("nothing_left")
def test_on_a_terminal_each_stage_waits(host: Engine, answer: str, status: int, last: int) -> None:
    ours, theirs = pty.openpty()
    words = ["run", "--step", "--rm", "--network", "none", "starter", "true"]
    with subprocess.Popen(
        [sys.executable, "-m", "jupyter_containers.cli", *words],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "JUPYTER_CONTAINERS_ROOT": str(host.info().root)},
        bufsize=0,
    ) as process:
        os.close(theirs)
        assert process.stderr is not None
        assert process.stdout is not None
        for stage in range(1, len(NAMES)):
            prompt = b""
            while not prompt.endswith(b"give it up "):
                piece = process.stderr.read(1)
                assert piece, prompt
                prompt += piece
            os.write(ours, f"{answer if stage == last else ''}\n".encode())
            if stage == last and answer:
                break
        out = process.stdout.read().decode()
        assert process.wait() == status
    os.close(ours)
    assert f"Stage {last} of" in out
    assert f"Stage {last + 1} of" not in out


@pytest.mark.usefixtures("nothing_left")
def test_in_a_notebook(host: Engine) -> None:
    command, rest = find(["run", "--step", "--rm", "--network", "none", "starter", "echo", "hi"], program="p")
    told: list[Event] = []
    result = command.handler(Context(lambda: host, told.append), parse(command, rest, program="p"))
    stages = value_of(result)
    assert isinstance(stages, NotebookStages)
    first = next(stages)
    assert first.title == f"Stage 1 of {len(NAMES)}: namespaces"
    assert "clone3" in set(first["calls"]["call"])
    assert set(first["namespaces"].index) >= {"mount", "pid"}
    pages = {page.title.partition(": ")[2]: page for page in stages}
    assert "/etc/hosts" in set(pages["pivot_root"]["new mounts"].index) | set(pages["pivot_root"]["mounts"].index)
    assert any("no filter yet" in line for line in first.words)
    assert not any("no filter yet" in line for line in pages["network"].words)
    assert repr(stages).count("done") == len(NAMES) - repr(stages).count("to come")
    assert "<table" in stages._repr_html_()
    assert stages.finish().stdout == "hi\n"
    assert not any(isinstance(event, Output) for event in told)


@pytest.mark.usefixtures("nothing_left")
def test_what_does_not_go_with_it_in_a_notebook(host: Engine) -> None:
    command, rest = find(["run", "--step", "starter"], program="p")
    context = Context(lambda: host, on_stop=lambda _stop: None)
    with pytest.raises(UsageError, match="--bg"):
        command.handler(context, parse(command, rest, program="p"))
