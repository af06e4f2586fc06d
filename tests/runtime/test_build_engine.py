"""Builds by the engine, for real: commands run in containers, layers are stacked by the snapshotter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.build import steps
from jupyter_containers.engine import Engine, Image, RunOptions, RunResult
from jupyter_containers.errors import RegistryUnavailable, StepFailed
from jupyter_containers.events import StepOutput
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from jupyter_containers.events import Event

APP = """\
FROM starter
ARG VERSION=1
ENV GREETING=hello
WORKDIR /app
COPY app.sh .
RUN echo "$GREETING $VERSION" > made; sh app.sh >> made
COPY . /context/
CMD ["cat", "/app/made"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "app.sh").write_text("pwd; ls /app")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("x")
    return tmp_path


def build(engine: Engine, text: str, context: Path | None = None, **options: object) -> Image:
    return engine.images.build(context, dockerfile=text, network="none", **options)  # type: ignore[arg-type]  # a test's own


def cached(image: Image) -> dict[str, str]:
    assert image.build is not None
    return {step.text: "CACHED" if step.cached else step.verdict.reason for step in image.build.steps}


def half_made(root: Path) -> list[str]:
    return [entry.name for entry in os.scandir(root / "scratch") if entry.is_dir()]


def output(engine: Engine, image: Image, *command: str) -> str:
    result = engine.containers.run(str(image.id), list(command), options=RunOptions(remove=True, network="none"))
    assert isinstance(result, RunResult)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_built_image_runs(engine: Engine, context: Path) -> None:
    image = build(engine, APP, context, tag="app")
    assert output(engine, image) == "hello 1\n/app\napp.sh\nmade\n"
    assert output(engine, image, "cat", "/context/data/x") == "x"


def test_only_what_changed_is_built_again(engine: Engine, context: Path) -> None:
    first = build(engine, APP, context)
    assert "CACHED" not in list(cached(first).values())[1:]
    again = build(engine, APP, context)
    assert set(cached(again).values()) == {"CACHED"}
    assert again.id == first.id
    (context / "data" / "x").write_text("y")
    changed = build(engine, APP, context)
    assert cached(changed)['RUN echo "$GREETING $VERSION" > made; sh app.sh >> made'] == "CACHED"
    assert cached(changed)["COPY . /context/"] == "file changed: data/x (content)"
    assert output(engine, changed, "cat", "/context/data/x") == "y"


def test_two_stores_build_the_same_image(engine: Engine, context: Path, store_root: Path) -> None:
    first = build(engine, APP, context)
    with Engine(store_root.with_name(f"{store_root.name}-2")) as other:
        second = build(other, APP, context)
    assert (first.id, first.digest) == (second.id, second.digest)


def test_a_large_layer_is_the_same_as_a_small_one(
    engine: Engine, context: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (context / "data" / "big").write_bytes(os.urandom(3_000_000))
    text = "FROM starter\nCOPY . /context/\nRUN cat /context/data/big | wc -c > /count\n"
    small = build(engine, text, context)
    with Engine(store_root.parent / "other") as second:
        monkeypatch.setattr(steps, "LARGE", 0)
        large = build(second, text, context)
        assert large.id == small.id
        assert output(second, large, "cat", "/count").strip() == "3000000"


def test_a_large_layer_of_which_one_file_changed_shares_the_others(
    engine: Engine, context: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "LARGE", 0)
    (context / "data" / "stays").write_bytes(os.urandom(3_000_000))
    text = "FROM starter\nCOPY . /context/\n"
    first = build(engine, text, context, tag="app")
    (context / "data" / "x").write_text("changed")
    second = build(engine, text, context, tag="app")
    with Engine(store_root.parent / "other") as other:
        assert build(other, text, context).id == second.id
    assert output(engine, second, "cat", "/context/data/x") == "changed"
    assert output(engine, second, "stat", "-c", "%h", "/context/data/stays", "/context/data/x") == "2\n1\n"
    # What a container writes is its own, and the file stays when the layer it was made for goes.
    script = "echo >> /context/data/stays; chmod 600 /context/data/stays; wc -c < /context/data/stays"
    assert output(engine, second, "sh", "-c", script) == "3000001\n"
    assert output(engine, first, "sh", "-c", "wc -c < /context/data/stays") == "3000000\n"
    engine.images.remove(str(first.id))
    engine.builds.prune()
    assert output(engine, second, "stat", "-c", "%h %s", "/context/data/stays") == "1 3000000\n"


def test_what_a_command_deletes_is_gone(engine: Engine) -> None:
    image = build(
        engine,
        "FROM starter\nRUN mkdir -p /d/sub && echo 1 > /d/a && echo 2 > /d/sub/b\nRUN rm -r /d/sub && echo 3 > /d/c\n",
    )
    assert output(engine, image, "ls", "/d") == "a\nc\n"


def test_scripts_run_and_stay_out_of_the_image(engine: Engine) -> None:
    image = build(
        engine,
        "FROM starter\nRUN <<one\n#!/bin/sh\necho $0 > /name\none\nRUN <<two\nset -e\necho a > /a\necho b >> /a\ntwo\n"
        "RUN cat <<three > /c\nthird\nthree\nCOPY <<four /d/\n$VALUE\nfour\n",
    )
    assert output(engine, image, "cat", "/name", "/a", "/c") == "/dev/pipes/one\na\nb\nthird\n"
    assert output(engine, image, "cat", "/d/four") == "\n"
    assert "pipes" not in output(engine, image, "ls", "/dev")


def test_stages_exchange_files(engine: Engine) -> None:
    image = build(
        engine,
        "FROM starter AS one\nRUN mkdir /out && echo one > /out/x && ln -s x /out/l\n"
        "FROM starter AS unused\nRUN false\n"
        "FROM starter\nCOPY --from=one /out /in\nRUN cat /in/l > /seen\n",
    )
    assert output(engine, image, "cat", "/seen") == "one\n"
    assert output(engine, image, "readlink", "/in/l") == "x\n"


def test_a_failing_command_tells_why_and_leaves_nothing(engine: Engine, store_root: Path) -> None:
    events: list[Event] = []
    text = "FROM starter\nRUN echo good > /good\nRUN echo before; echo wrong >&2; exit 7\n"
    with pytest.raises(StepFailed) as caught:
        build(engine, text, sink=events.append)
    assert (caught.value.status, caught.value.source.first) == (7, 3)
    assert sorted(caught.value.log_tail.splitlines()) == ["before", "wrong"]
    assert b"".join(event.data for event in events if isinstance(event, StepOutput) and event.stream == "stderr") == (
        b"wrong\n"
    )
    assert half_made(store_root) == []
    assert engine.containers.list(all=True) == []
    fixed = build(engine, text.replace("exit 7", "true"))
    assert cached(fixed)["RUN echo good > /good"] == "CACHED"


def test_a_program_that_is_not_in_the_image(engine: Engine) -> None:
    with pytest.raises(StepFailed) as caught:
        build(engine, 'FROM starter\nRUN ["/nosuch"]\n')
    assert caught.value.status == 127
    assert "nosuch" in caught.value.cause


def test_a_killed_build_leaves_garbage_at_most(engine: Engine, store_root: Path, context: Path) -> None:
    text = "FROM starter\nRUN echo first > /first\nRUN echo x > /half; sleep 60\n"
    code = (
        "import sys\nfrom pathlib import Path\nfrom jupyter_containers.engine import Engine\n"
        "from jupyter_containers.events import StepStarted\n"
        "def tell(event):\n"
        "    if isinstance(event, StepStarted): print(event.index, flush=True)\n"
        "with Engine(Path(sys.argv[1])) as engine:\n"
        "    engine.images.build(dockerfile=sys.argv[2], network='none', sink=tell)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store_root), text],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as builder:
        assert builder.stdout is not None
        for line in builder.stdout:
            if line.strip() == "3":
                break
        wait_until(lambda: bool(half_made(store_root)))
        os.kill(builder.pid, signal.SIGKILL)
    image = build(engine, text.replace("sleep 60", "true"), context)
    assert cached(image)["RUN echo first > /first"] == "CACHED"
    assert output(engine, image, "cat", "/half") == "x\n"


def test_an_image_that_cannot_be_had_is_told_with_its_line(engine: Engine) -> None:
    for text in ("FROM starter AS base\nFROM localhost:1/none\n", "FROM starter\nCOPY --from=localhost:1/none /a /b\n"):
        with pytest.raises(RegistryUnavailable, match=r"^Dockerfile:2: .*localhost:1") as caught:
            engine.images.build(dockerfile=text)
        assert ("no stage before this line is named" in str(caught.value.hint)) == ("COPY" in text)
