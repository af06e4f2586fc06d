"""What a step of a build left can be opened: after a failure, and after a build that went well."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.build.ledger import STATES_KEPT
from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.engine.build import debugging
from jupyter_containers.errors import DockerfileError, InvalidInput, NotFound, StepFailed
from jupyter_containers.events import Notice
from tests.runtime.test_build_language import build
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.events import Event

FAILING = """\
FROM starter AS other
RUN echo unused
FROM starter
ARG SIZE=3
ENV NAME=ann
WORKDIR /job
RUN echo good > good
RUN --mount=type=cache,target=/c --mount=type=bind,target=/src --mount=type=tmpfs,target=/t \\
    --mount=type=secret,id=s echo half > half; echo cached > /c/x; rm good; exit 3
RUN echo never
"""


def run(engine: Engine, command: str, **options: object) -> str:
    result = engine.builds.debug(["sh", "-c", command], **options)  # type: ignore[arg-type]  # a test's own
    assert isinstance(result, RunResult)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def blobs(root: Path) -> int:
    return sum(1 for path in (root / "content").rglob("*") if path.is_file() and len(path.name) == 64)


def test_what_a_failed_step_left_can_be_opened(engine: Engine, tmp_path: Path, store_root: Path) -> None:
    (tmp_path / "f").write_text("context")
    with pytest.raises(StepFailed) as caught:
        build(engine, FAILING, tmp_path, secret={"s": "not kept"})
    assert "builder debug" in caught.value.lines()[-1]
    events: list[Event] = []
    before = blobs(store_root)
    seen = run(engine, "pwd; ls; echo $NAME $SIZE; cat half /c/x /src/f; touch /t/y", sink=events.append)
    assert seen == "/job\nhalf\nann 3\nhalf\ncached\ncontext"
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "/run/secrets/s is not mounted: a secret is not kept"
    ]
    assert engine.builds.left() == ["D /job/good", "W /job/half"]
    record = engine.builds.steps(caught.value.build_id)
    assert [step.status for step in record.steps] == [
        *("skipped", "skipped", "miss", "miss", "miss"),
        *("failed", "skipped"),
    ]
    assert record.steps[-1].reason == "a step failed before it"
    assert run(engine, "ls", step=5) == "good\n"
    with pytest.raises(InvalidInput, match="was not built"):
        engine.builds.debug(["true"], step=7)
    assert "not kept" not in repr(record)
    assert engine.images.list(all=True) == [row for row in engine.images.list(all=True) if row.repository]
    assert engine.containers.list(all=True) == []
    assert blobs(store_root) == before


def test_a_step_of_any_build_can_be_opened(engine: Engine) -> None:
    text = (
        "FROM starter AS one\nRUN echo 1 > /1\nFROM one\nRUN echo 2 > /2\nRUN --mount=from=one,target=/m cp /m/1 /3\n"
    )
    image = build(engine, text, tag="made")
    assert run(engine, "cat /1 /2 /3 /m/1", build=image) == "1\n2\n1\n1\n"
    assert run(engine, "ls / | grep '[123]'", build="made", step=2) == "1\n"
    build(engine, "FROM starter\nRUN echo other > /other\n")
    assert "other" in run(engine, "ls /")
    again = build(engine, text, tag="made")
    assert again.build is not None
    assert image.build is not None
    assert again.build.id == image.build.id
    assert "other" not in run(engine, "ls /")


def test_what_a_copy_would_have_copied_to_can_be_opened(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(DockerfileError) as caught:
        build(engine, "FROM starter\nRUN mkdir /here\nCOPY missing /here/\n", tmp_path)
    assert caught.value.hint is not None
    assert "builder debug" in caught.value.hint
    assert run(engine, "ls -d /here") == "/here\n"
    assert engine.builds.left() == []


def test_what_failed_steps_left_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONTAINERS_BUILD_CACHE", "8m")
    with pytest.raises(StepFailed):
        build(engine, "FROM starter\nRUN head -c 3000000 /dev/zero > /large; false\n")
    assert engine.builds.left() == []
    monkeypatch.delenv("JUPYTER_CONTAINERS_BUILD_CACHE")
    for number in range(STATES_KEPT + 1):
        with pytest.raises(StepFailed):
            build(engine, f"FROM starter\nRUN echo {number} > /n; false\n")
    records = engine.builds.history()
    assert len(records) == STATES_KEPT + 2
    assert run(engine, "cat /n", build=records[-3].id) == "1\n"
    engine.images.remove("starter", force=True)  # which clears up
    with pytest.raises(NotFound, match="removed from the store"):
        engine.builds.debug(["true"], build=records[-2].id)
    engine.builds.prune()
    with pytest.raises(NotFound, match="no build"):
        engine.builds.debug(["true"])


def test_what_a_killed_shell_leaves_is_swept(engine: Engine, store_root: Path) -> None:
    build(engine, "FROM starter\nRUN echo 1 > /1\n", tag="made")
    before = engine.images.list(all=True)
    code = (
        "import os, sys\nfrom jupyter_containers.engine import Engine\n"
        "with Engine(sys.argv[1]) as engine:\n"
        "    engine.builds.debug(['sh', '-c', 'echo up; sleep 60'], sink=lambda event: os.kill(os.getpid(), 9))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(store_root)], check=False, timeout=60)
    assert ended.returncode == -9
    wait_until(lambda: not engine.containers.list())
    for row in engine.containers.list(all=True):
        engine.containers.remove(row.id, force=True)
    assert len(engine.images.list(all=True)) == len(before) + 1
    debugging.sweep(engine._parts)
    assert len(engine.images.list(all=True)) == len(before) + 1
    debugging.sweep(engine._parts, age=0)
    assert engine.images.list(all=True) == before


def test_a_shell_after_a_failed_build_on_the_command_line(engine: Engine, tmp_path: Path, store_root: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM starter\nRUN echo half > /half; exit 3\n")
    build(engine, "FROM starter\n")
    command = [sys.executable, "-m", "jupyter_containers", "build", "--debug", "--network=none", str(tmp_path)]
    ended = subprocess.run(
        command,
        input="cat /half; exit 7\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "JUPYTER_CONTAINERS_ROOT": str(store_root)},
    )
    assert ended.stdout == "half\n"
    assert ended.returncode == 1
    assert "RUN ended with exit status 3" in ended.stderr
