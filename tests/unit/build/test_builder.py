"""Whole builds on stand-ins: what is made, what is cached and why not, what is told, what fails."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.build.builder import OPEN
from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.interfaces import RunOutcome
from jupyter_containers.errors import (
    Cancelled,
    CommandNotFound,
    DockerfileError,
    ImageNotFound,
    NotFound,
    StepFailed,
    UsageError,
)
from jupyter_containers.events import StepError, StepFinished, StepOutput, StepStarted
from jupyter_containers.layers.base import Item
from jupyter_containers.oci.names import Digest
from tests.support.builds import BASE_TIME, Workshop, reasons

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.build.interfaces import OnOutput, RunRequest

APP = """\
FROM base
ARG VERSION=1
WORKDIR /app
COPY requirements.txt .
RUN pip install $VERSION
COPY . .
ENV MODE=fast
CMD ["python", "app.py"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.close()


@pytest.fixture
def app(shop: Workshop) -> Workshop:
    shop.write("requirements.txt", "numpy")
    shop.write("app.py", "print()")
    shop.write("data/x.csv", "1,2")
    return shop


def test_first_build_makes_every_step_and_the_second_none(app: Workshop) -> None:
    first = app.build(APP)
    assert set(reasons(first).values()) == {"CACHED", "never built"}
    assert [step.text for step in first.steps] == [
        "FROM base",
        "WORKDIR /app",
        "COPY requirements.txt .",
        "RUN pip install $VERSION",
        "COPY . .",
    ]
    assert [step.index for step in first.steps] == [1, 2, 3, 4, 5]
    assert {step.total for step in first.steps} == {5}
    second = app.build(APP)
    assert set(reasons(second).values()) == {"CACHED"}
    assert second.image_id == first.image_id
    assert second.manifest == first.manifest
    assert len(app.sandbox.requests) == 1


def test_only_steps_from_the_first_change_on_are_made_again(app: Workshop) -> None:
    app.build(APP)
    app.write("app.py", "print('changed')")
    result = app.build(APP)
    assert reasons(result) == {
        "FROM base": "CACHED",
        "WORKDIR /app": "CACHED",
        "COPY requirements.txt .": "CACHED",
        "RUN pip install $VERSION": "CACHED",
        "COPY . .": "file changed: app.py (content)",
    }
    assert app.read(result, "app/app.py") == b"print('changed')"


def test_a_touched_file_is_no_change_and_an_unrelated_one_neither(app: Workshop) -> None:
    dockerfile = "FROM base\nCOPY app.py /\n"
    app.build(dockerfile)
    os.utime(app.context / "app.py", (1, 1))
    app.write("data/x.csv", "other")
    assert set(reasons(app.build(dockerfile)).values()) == {"CACHED"}


def test_a_changed_mode_is_a_change(app: Workshop) -> None:
    dockerfile = "FROM base\nCOPY app.py /\n"
    app.build(dockerfile)
    (app.context / "app.py").chmod(0o755)
    assert reasons(app.build(dockerfile))["COPY app.py /"] == "file changed: app.py (mode 644 → 755)"


def test_misses_are_explained(app: Workshop) -> None:
    app.build(APP)
    by_argument = reasons(app.build(APP, build_args={"VERSION": "2"}))
    assert by_argument["COPY requirements.txt ."] == "CACHED"
    assert by_argument["RUN pip install $VERSION"] == "argument VERSION changed"
    assert by_argument["COPY . ."] == "CACHED"  # the layer below is the same
    app.build(APP)
    app.write("requirements.txt", "pandas")
    by_file = reasons(app.build(APP))
    assert by_file["COPY requirements.txt ."] == "file changed: requirements.txt (content)"
    assert by_file["RUN pip install $VERSION"] == "parent changed: COPY requirements.txt . (line 4)"
    assert by_file["COPY . ."].startswith("file changed: requirements.txt")
    edited = reasons(app.build(APP.replace("pip install", "uv install")))
    assert edited["RUN uv install $VERSION"] == "instruction changed"
    assert reasons(app.build(APP, no_cache=True))["WORKDIR /app"] == "the cache is not used"
    (app.context / "data" / "x.csv").unlink()
    assert reasons(app.build(APP))["COPY . ."] == "file removed: data/x.csv"


def test_a_verdict_holds_the_change_as_data(app: Workshop) -> None:
    app.build(APP)
    result = app.build(APP, build_args={"VERSION": "2"})
    step = next(step for step in result.steps if step.text.startswith("RUN"))
    change = step.verdict.changes[0]
    assert (change.subject, change.name, change.before, change.after) == ("argument", "VERSION", "1", "2")
    assert step.verdict.compared_with
    assert step.verdict.compared_with != step.verdict.key


def test_a_parent_that_changed_is_traced_to_the_step_that_changed_it(app: Workshop) -> None:
    text = "FROM base\nCOPY {0} /x\nRUN one\nRUN two\n"
    app.build(text.format("app.py"))
    app.write("app.py", "other")
    traced = "parent changed: COPY app.py /x (line 2)"
    assert list(reasons(app.build(text.format("app.py"))).values())[2:] == [traced, traced]
    app.images.add("base", [Item("new")])
    assert reasons(app.build(text.format("app.py")))["RUN two"] == "parent changed: FROM base (line 1)"


def test_what_was_removed_from_the_cache_is_said_to_be_that(app: Workshop) -> None:
    step = app.build("FROM base\nRUN x\n").steps[-1]
    app.cache.remove([step.verdict.key])
    assert reasons(app.build("FROM base\nRUN x\n"))["RUN x"] == "it was removed from the cache"
    assert reasons(app.build("FROM base\nRUN x\n"))["RUN x"] == "CACHED"


def test_verdicts_and_changes_are_tables(app: Workshop) -> None:
    text = "FROM base AS tests\nRUN check\nFROM base\nCOPY app.py /x\nRUN two\n"
    app.build(text)
    app.write("app.py", "other", mode=0o755)
    result = app.build(text)
    table = result.verdicts
    assert table["status"].tolist() == ["skipped", "skipped", "hit", "miss", "miss"]
    assert table.index.tolist() == [1, 2, 3, 4, 5]
    assert table.loc[2, "reason"] == "stage 1 does not need it"
    assert table.loc[4, "reason"] == "file changed: app.py (content, mode 644 → 755)"
    assert dict(zip(table.columns, map(str, table.dtypes.to_list()), strict=True)) == {
        **dict.fromkeys(["stage", "instruction", "reason", "layer", "key"], "string"),
        **dict.fromkeys(["number", "steps", "changes"], "int64"),
        "status": "category",
        "seconds": "float64",
    }
    changed = result.changes[["subject", "name", "verb", "how"]]
    assert changed.to_numpy().tolist()[0] == ["file", "app.py", "changed", "content, mode 644 → 755"]


def test_equal_results_let_later_steps_be_found_again(app: Workshop) -> None:
    """Another way to the same files: what follows does not care how its parent was made."""
    app.build("FROM base\nCOPY app.py /x/\nRUN after\n")
    result = app.build("FROM base\nCOPY app.py /x/app.py\nRUN after\n")
    assert reasons(result)["RUN after"] == "CACHED"


def test_a_removed_layer_is_made_again(app: Workshop) -> None:
    first = app.build("FROM base\nRUN x\n")
    app.store.remove(Digest(first.layers[-1].blob.digest))
    again = app.build("FROM base\nRUN x\n")
    assert reasons(again)["RUN x"] == "its layer was removed"
    assert again.image_id == first.image_id


def test_the_same_input_gives_the_same_image_in_another_store(tmp_path: Path) -> None:
    ids = set()
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        shop = Workshop(tmp_path / str(number))
        shop.write("requirements.txt", "numpy")
        shop.write("app.py", "print()")
        os.utime(shop.context / "app.py", (number, number))
        ids.add((shop.build(APP).image_id, shop.build(APP).manifest.digest))
        shop.close()
    assert len(ids) == 1


def test_one_time_for_everything(app: Workshop) -> None:
    result = app.build("FROM base\nCOPY app.py /new/\nRUN x\n")
    entries = app.entries(result.layers[1])
    assert {entry.mtime for entry in entries.values()} == {BASE_TIME}
    assert result.config.created == "2023-11-14T22:13:20Z"
    assert {entry.created for entry in result.config.history or []} == {"2023-11-14T22:13:20Z"}
    assert app.sandbox.requests[0].timestamp == BASE_TIME
    assert f"SOURCE_DATE_EPOCH={BASE_TIME}" in app.sandbox.requests[0].env


def test_source_date_epoch_sets_the_time(app: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    dockerfile = "FROM base\nCOPY app.py /\n"
    by_argument = app.build(dockerfile, build_args={"SOURCE_DATE_EPOCH": "1000000000"})
    assert by_argument.config.created == "2001-09-09T01:46:40Z"
    assert app.entries(by_argument.layers[1])["app.py"].mtime == 10**9
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert app.build(dockerfile).image_id == by_argument.image_id
    with pytest.raises(UsageError, match="yesterday"):
        app.build(dockerfile, build_args={"SOURCE_DATE_EPOCH": "yesterday"})


def test_scratch_begins_at_the_epoch_with_nothing(app: Workshop) -> None:
    result = app.build('FROM scratch\nCOPY app.py /\nCMD ["/app.py"]\n')
    assert result.config.created == "1970-01-01T00:00:00Z"
    assert set(app.entries(result.layers[0])) == {".", "app.py"}
    assert result.config.config is not None
    assert result.config.config.working_dir == "/"
    assert [step.text for step in result.steps] == ["FROM scratch", "COPY app.py /"]


def test_history_is_worded_as_docker_words_it(app: Workshop) -> None:
    result = app.build(
        APP + 'USER ann\nEXPOSE 80 90/udp\nVOLUME /data\nLABEL a=b "c d"=e\nENTRYPOINT ["/bin/x", "y z"]\n'
        'SHELL ["/bin/bash", "-c"]\nSTOPSIGNAL SIGTERM\nHEALTHCHECK --interval=90s CMD true\nONBUILD RUN x\n'
        "COPY --chown=1:2 --chmod=700 app.py /a\n"
    )
    history = result.config.history or []
    assert [(entry.created_by, bool(entry.empty_layer)) for entry in history[1:]] == [
        ("ARG VERSION=1", True),
        ("WORKDIR /app", False),
        ("COPY requirements.txt . # buildkit", False),
        ("RUN |1 VERSION=1 /bin/sh -c pip install $VERSION # buildkit", False),
        ("COPY . . # buildkit", False),
        ("ENV MODE=fast", True),
        ('CMD ["python" "app.py"]', True),
        ("USER ann", True),
        ("EXPOSE map[80/tcp:{} 90/udp:{}]", True),
        ("VOLUME [/data]", True),
        ("LABEL a=b c d=e", True),
        ('ENTRYPOINT ["/bin/x" "y z"]', True),
        ("SHELL [/bin/bash -c]", True),
        ("STOPSIGNAL SIGTERM", True),
        (
            "HEALTHCHECK {Test:[CMD-SHELL true] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
            True,
        ),
        ("COPY --chown=1:2 --chmod=700 app.py /a # buildkit", False),
    ]


def test_events_tell_each_step_and_its_time(app: Workshop) -> None:
    def noisy(_request: RunRequest, on_output: OnOutput, _cancel: CancelToken) -> None:
        on_output("stdout", b"hello\n")

    app.sandbox.actions["noisy"] = noisy
    app.build("FROM base AS first\nRUN noisy\n")
    started = [event for event in app.events if isinstance(event, StepStarted)]
    assert [(event.index, event.total, event.stage, event.text, event.line) for event in started] == [
        (1, 2, "first", "FROM base AS first", 1),
        (2, 2, "first", "RUN noisy", 2),
    ]
    assert [event.data for event in app.events if isinstance(event, StepOutput)] == [b"hello\n"]
    finished = [event for event in app.events if isinstance(event, StepFinished)]
    assert [(event.cached, event.reason) for event in finished] == [(True, ""), (False, "never built")]
    assert all(event.seconds >= 0 for event in finished)
    assert [event.vertex for event in started] == [event.vertex for event in finished]


def test_a_failing_run_tells_where_what_and_the_last_lines(app: Workshop) -> None:
    def fail(_request: RunRequest, on_output: OnOutput, _cancel: CancelToken) -> RunOutcome:
        on_output("stderr", "".join(f"line {number}\n" for number in range(50)).encode())
        return RunOutcome(3, None)

    app.sandbox.actions["false   'x'"] = fail
    with pytest.raises(StepFailed) as caught:
        app.build("FROM base\nRUN good\n\nRUN false \\\n  'x'\nRUN never\n")
    error = caught.value
    assert error.status == 3
    assert (error.source.first, error.source.last) == (4, 5)
    assert error.text == "RUN false \\\n  'x'"
    assert error.log_tail.splitlines() == [f"line {number}" for number in range(30, 50)]
    assert app.sandbox.commands[-1].startswith("false")
    assert [event.message for event in app.events if isinstance(event, StepError)]
    del app.sandbox.actions[app.sandbox.commands[-1]]
    assert reasons(app.build("FROM base\nRUN good\n"))["RUN good"] == "CACHED"


def test_a_program_that_is_not_there_fails_the_step(app: Workshop) -> None:
    def missing(_request: RunRequest, _on_output: OnOutput, _cancel: CancelToken) -> RunOutcome:
        raise CommandNotFound("nosuch: not found", step="execve")

    app.sandbox.actions["nosuch"] = missing
    with pytest.raises(StepFailed, match="127") as caught:
        app.build('FROM base\nRUN ["nosuch"]\n')
    assert caught.value.cause == "nosuch: not found"


def test_copy_of_what_is_not_there(app: Workshop) -> None:
    with pytest.raises(DockerfileError, match=r"Dockerfile:2: COPY failed: file not found in build context: nosuch"):
        app.build("FROM base\nCOPY nosuch /\n")
    app.write(".dockerignore", "app.py\n")
    with pytest.raises(DockerfileError, match=r"not found in build context: app\.py") as caught:
        app.build("FROM base\nCOPY app.py /\n")
    assert caught.value.hint == f"app.py is left out by .dockerignore; {OPEN}"
    with pytest.raises(DockerfileError, match="ADD failed: file not found in build context: nosuch"):
        app.build("FROM base\nADD nosuch /\n")
    with pytest.raises(DockerfileError, match="file not found in base: nosuch"):
        app.build("FROM base\nCOPY --from=base nosuch /\n")
    with pytest.raises(DockerfileError, match="needs a build context"):
        app.build("FROM base\nCOPY x /\n", context=None)
    with pytest.raises(NotFound, match="is not a directory"):
        app.build("FROM base\n", context=app.root / "nosuch")


def test_an_unknown_image_and_a_bad_name(app: Workshop) -> None:
    with pytest.raises(ImageNotFound, match="nosuch"):
        app.build("FROM nosuch\n")
    with pytest.raises(DockerfileError, match=r"Dockerfile:1: .*lower case"):
        app.build("FROM Base\n")


def test_stages_are_built_side_by_side_and_only_those_needed(app: Workshop) -> None:
    barrier = threading.Barrier(2, timeout=10)

    def meet(_request: RunRequest, _on_output: OnOutput, _cancel: CancelToken) -> None:
        barrier.wait()

    app.sandbox.actions["one"] = app.sandbox.actions["two"] = meet
    dockerfile = (
        "FROM base AS a\nRUN one\nFROM base AS b\nRUN two\nFROM base AS unused\nRUN never\n"
        "FROM base\nCOPY --from=a /etc/passwd /a\nCOPY --from=1 /etc/group /b\n"
    )
    result = app.build(dockerfile)
    assert sorted(app.sandbox.commands) == ["one", "two"]
    assert app.read(result, "b").startswith(b"root:x:0:")
    assert set(reasons(app.build(dockerfile)).values()) == {"CACHED"}


def test_stages_share_what_they_have_in_common(app: Workshop) -> None:
    app.build("FROM base AS a\nRUN same\nFROM base AS b\nRUN same\nRUN more\nFROM a\nCOPY --from=b /etc /x\n")
    assert sorted(app.sandbox.commands) == ["more", "same"]


def test_a_target_stops_at_its_stage(app: Workshop) -> None:
    dockerfile = "FROM base AS dev\nRUN dev\nFROM dev AS prod\nRUN prod\n"
    app.build(dockerfile, target="dev")
    assert app.sandbox.commands == ["dev"]
    with pytest.raises(UsageError, match="staging"):
        app.build(dockerfile, target="staging")


def test_copy_from_an_image_keeps_owners_and_reads_it_once(app: Workshop) -> None:
    dockerfile = "FROM scratch\nCOPY --from=base /srv /srv\n"
    result = app.build(dockerfile)
    real = app.entries(result.layers[0])["srv/real"]
    assert real.mode == 0o750
    assert (real.uid, real.gid) == (7, 8) or os.geteuid()  # an ordinary user cannot extract owners
    walks = app.trees.walks
    assert set(reasons(app.build(dockerfile)).values()) == {"CACHED"}
    assert app.trees.walks == walks


def test_onbuild_triggers_of_the_base_run_first(app: Workshop) -> None:
    app.images.add("trigger", on_build=["COPY app.py /t/", "RUN triggered", "ENV T=1"])
    result = app.build("FROM trigger\nRUN own $T\n")
    assert [step.text for step in result.steps] == ["FROM trigger", "COPY app.py /t/", "RUN triggered", "RUN own $T"]
    assert [step.index for step in result.steps] == [1, 2, 3, 4]
    assert result.config.config is not None
    assert result.config.config.on_build is None
    assert "T=1" in app.sandbox.requests[-1].env


def test_onbuild_of_a_stage_runs_in_the_stage_on_it(app: Workshop) -> None:
    app.build("FROM base AS a\nONBUILD RUN from-a\nFROM a\nRUN b\n")
    assert app.sandbox.commands == ["from-a", "b"]


def test_heredocs_become_files_scripts_and_shell_input(app: Workshop) -> None:
    result = app.build(
        "FROM base\nARG who=me\n"
        "COPY <<one <<'two' /texts/\nhi $who\none\nhi $who\ntwo\n"
        "RUN <<EOF\necho a\necho b\nEOF\n"
        "RUN <<EOF\n#!/usr/bin/env python3\nprint()\nEOF\n"
        "RUN cat <<EOF > /x\nhi\nEOF\n",
        context=None,
    )
    assert app.read(result, "texts/one") == b"hi me\n"
    assert app.read(result, "texts/two") == b"hi $who\n"
    plain, script, shell = app.sandbox.requests
    assert plain.argv == ("/bin/sh", "-c", "echo a\necho b\n")
    assert script.argv == ("/bin/sh", "-c", "/dev/pipes/EOF")
    assert [(file.path, file.data) for file in script.scripts] == [
        ("/dev/pipes/EOF", b"#!/usr/bin/env python3\nprint()\n")
    ]
    assert shell.argv == ("/bin/sh", "-c", "cat <<EOF > /x\nhi\nEOF")


def test_a_changed_heredoc_is_a_change(app: Workshop) -> None:
    app.build("FROM base\nCOPY <<f /x\none\nf\n")
    assert reasons(app.build("FROM base\nCOPY <<f /x\ntwo\nf\n"))["COPY <<f /x"] == "file changed: <<f (content)"


def test_proxies_reach_the_command_and_neither_key_nor_history(app: Workshop) -> None:
    first = app.build("FROM base\nRUN x\n", build_args={"http_proxy": "http://one"})
    assert "HTTP_PROXY=http://one" in app.sandbox.requests[0].env
    assert "http_proxy=http://one" in app.sandbox.requests[0].env
    second = app.build("FROM base\nRUN x\n", build_args={"http_proxy": "http://two"})
    assert reasons(second)["RUN x"] == "CACHED"
    assert b"http://one" not in json.dumps(app.store.read(Digest(second.image_id)).decode()).encode()
    assert first.image_id == second.image_id


def test_interrupting_a_build_stops_what_runs_and_leaves_the_cache_whole(app: Workshop) -> None:
    token = CancelToken()
    running = threading.Event()

    def hang(_request: RunRequest, _on_output: OnOutput, cancel: CancelToken) -> RunOutcome:
        stopped = threading.Event()
        with cancel.calling(stopped.set):
            running.set()
            assert stopped.wait(10)
        cancel.check()
        raise AssertionError("it was not cancelled")

    app.sandbox.actions["hang"] = hang

    def stop() -> None:
        running.wait(10)
        token.cancel()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Cancelled):
        app.build("FROM base\nRUN good\nRUN hang\n", cancel=token)
    stopper.join()
    del app.sandbox.actions["hang"]
    result = app.build("FROM base\nRUN good\nRUN hang\n")
    assert reasons(result)["RUN good"] == "CACHED"
    assert reasons(result)["RUN hang"] == "never built"


def test_a_failing_stage_stops_the_other(app: Workshop) -> None:
    running = threading.Event()
    seen: list[str] = []

    def hang(_request: RunRequest, _on_output: OnOutput, cancel: CancelToken) -> RunOutcome:
        stopped = threading.Event()
        with cancel.calling(stopped.set):
            running.set()
            assert stopped.wait(10)
        seen.append("stopped")
        cancel.check()
        raise AssertionError("it was not cancelled")

    def fail(_request: RunRequest, _on_output: OnOutput, _cancel: CancelToken) -> RunOutcome:
        assert running.wait(10)
        return RunOutcome(1, None)

    app.sandbox.actions.update(hang=hang, fail=fail)
    with pytest.raises(StepFailed):
        app.build("FROM base AS a\nRUN hang\nFROM base\nRUN fail\nCOPY --from=a /x /x\n")
    assert seen == ["stopped"]


def test_a_cached_build_of_a_small_context_is_quick(app: Workshop) -> None:
    app.build(APP)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        app.build(APP)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05
