"""``--explain`` of real starts, builds and other verbs: what the runtime wrote down, compared with what there is."""

from __future__ import annotations

import os
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers import cli
from jupyter_containers.engine import Container, Engine
from jupyter_containers.engine.explain.explaining import Story
from jupyter_containers.engine.launch.watching import by
from jupyter_containers.errors import CommandNotFound
from jupyter_containers.events import ignore
from jupyter_containers.runtime.init import Init
from tests.support import rootfs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")
FLAGS = {
    "CLONE_NEWNS": "mount",
    "CLONE_NEWPID": "pid",
    "CLONE_NEWNET": "network",
    "CLONE_NEWIPC": "ipc",
    "CLONE_NEWUTS": "uts",
    "CLONE_NEWCGROUP": "cgroup",
    "CLONE_NEWUSER": "user",
}


@pytest.fixture(scope="module")
def host(stores: Path) -> Iterator[Engine]:
    with Engine(stores / "explain") as engine:
        engine.images.pull("starter")
        yield engine
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)


def told(host: Engine, *command: str, **options: Any) -> Story:
    story = Story(ignore)
    with by(story):
        host.containers.run("starter", list(command), **{"remove": True, "network": "none", **options})
    return story


def test_the_steps_of_a_start_with_their_calls(host: Engine) -> None:
    story = told(host, "true", cap_drop=["ALL"], cap_add=["NET_RAW"])
    steps, calls = story.steps(), story.calls()
    names = [step.name for step in steps]
    init = Init.__new__(Init)
    usual = [step.__name__.replace("_", " ") for step in [*init.first_steps(), init.await_request, *init.steps()]]
    done = [step.name for step in steps if step.whose == "init"]
    assert [name for name in done if name not in {"detach", "load filter"}] == usual
    assert names.index("clone") < names.index("root file system") < names.index("enter root") < names.index("execute")
    assert steps[0].at == 0
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert all(step.took is not None and step.took >= 0 for step in steps[:-1])
    assert steps[-1].took is None
    assert all(step.words for step in steps)
    made = [call.call for call in calls]
    assert made.count("pivot_root") == 1
    assert made[-1] == "execve"
    dropped = [call for call in calls if call.arguments.startswith("PR_CAPBSET_DROP")]
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    assert len(dropped) == last
    assert "PR_CAPBSET_DROP, CAP_NET_RAW" not in [call.arguments for call in dropped]
    filters = [call for call in calls if call.call == "seccomp"]
    assert [call.step_name for call in filters] == ["load filter"]
    assert any(call.call == "mount" and call.arguments.startswith("proc, ") for call in calls)


def test_the_flags_of_the_clone_are_the_namespaces_it_has(host: Engine) -> None:
    story = told(host, "sleep", "600", detach=True, name="cloned", remove=False, uts="host")
    try:
        flags = {flag for call in story.calls() for flag in re.findall(r"CLONE_NEW\w+", call.arguments)}
        own = {space.kind for space in host.containers.xray("cloned").namespaces if space.relation == "own"}
        made = {FLAGS[flag] for flag in flags}
        assert made | {"user"} == own | {"user"}  # an ordinary user's is made once for all
        assert "uts" not in made
    finally:
        host.containers.remove("cloned", force=True)


def test_a_start_that_fails_is_told_up_to_there(host: Engine) -> None:
    with host.explaining() as story, pytest.raises(CommandNotFound):
        host.containers.run("starter", ["/nothing"], remove=True, network="none")
    assert story.steps()[-1].name == "execute"
    assert [call.error for call in story.calls() if call.call == "execve"][-1] == "ENOENT"


def test_nothing_of_a_secret_is_told(host: Engine) -> None:
    story = told(host, "echo", "s3cret-argument", env=["TOKEN=s3cret-value"])
    assert "s3cret" not in str(story.starts)


def test_only_what_is_asked_for_is_watched(host: Engine) -> None:
    """Before and after it a start is like any other, in a process that does nothing else for it."""
    story = Story(ignore)
    host.containers.run("starter", ["true"], remove=True, network="none")
    with by(story):
        pass
    host.containers.run("starter", ["true"], remove=True, network="none")
    assert story.steps() == ()
    watched = told(host, "true")
    assert watched.steps()
    after = host.containers.run("starter", ["sh", "-c", "exit 3"], remove=True, network="none")
    assert not isinstance(after, Container)
    assert after.exit_code == 3


def test_a_container_that_a_policy_starts_again_is_watched_once(host: Engine) -> None:
    story = told(host, "sh", "-c", "exit 1", name="again", restart="on-failure:1", detach=True, remove=False)
    try:
        wait_until(lambda: host.containers.inspect("again")["State"]["Status"] == "exited", what="its end")
        assert host.containers.inspect("again")["RestartCount"] == 1
        assert [step.name for step in story.steps()].count("execute") == 1
    finally:
        host.containers.remove("again", force=True)


@pytest.mark.root
def test_a_bridge_is_told_too(apart: None, engine: Engine) -> None:  # noqa: ARG001 - entered before the engine is made
    engine.images.pull("starter")
    story = Story(ignore)
    with by(story):
        engine.containers.run("starter", ["true"], remove=True)
    sent = [call.step_name for call in story.calls() if call.call == "sendmsg"]
    assert {"connect", "interfaces"} <= set(sent)


def line(*words: str) -> tuple[int, str]:
    out = StringIO()
    with redirect_stdout(out):
        status = cli.main(list(words))
    return status, out.getvalue()


def test_on_the_command_line(no_leaks: None, tmp_path: Path) -> None:  # noqa: ARG001 - checks afterwards
    status, text = line("--explain", "run", "--rm", "--network", "none", "starter", "sh", "-c", "exit 7")
    assert status == 7
    assert "Docker: docker run --rm --network=none starter sh -c 'exit 7'" in text
    assert "pivot_root" in text
    (tmp_path / "Dockerfile").write_text("FROM starter\nRUN true\n", encoding="utf-8")
    status, text = line("--explain", "build", "--progress", "plain", "-t", "x", str(tmp_path))
    assert status == 0
    assert "RUN true" in text
    status, text = line("--explain", "rm", "nobody")
    assert status == 1
    assert "Docker: docker rm nobody" in text
    status, text = line("--explain", "ps")
    assert status == 0
    assert "Explained: ps" in text
    assert os.environ["JUPYTER_CONTAINERS_ROOT"]
