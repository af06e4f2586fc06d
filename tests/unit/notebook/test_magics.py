from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from jupyter_containers import notebook
from jupyter_containers.engine import Container, Image, RunResult
from jupyter_containers.errors import ContainerFailed, ContainerNotFound, ImageNotFound, SystemFailure, UsageError
from jupyter_containers.events import Notice, Output, StepFinished, StepStarted
from jupyter_containers.notebook import grammar
from jupyter_containers.notebook.failures import Interrupted
from tests.support.fake_engine import CONTAINER_ID, FakeEngine, result

Shell = Any


def run(shell: Shell, source: str) -> Any:
    """The value of a cell; what it raised is raised."""
    outcome = shell.run_cell(source)
    outcome.raise_error()
    return outcome.result


def test_a_line_runs_a_container(shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    value = run(shell, "x = %container run --rm alpine echo hi\nx")
    assert isinstance(value, RunResult)
    assert fake.last("run")["command"] == ["echo", "hi"]
    assert capsys.readouterr().out.startswith("hi\n")


def test_a_cell_is_the_input_of_a_container(shell: Shell, fake: FakeEngine) -> None:
    run(shell, "%%container run --rm \\\n   alpine cat\necho $HOME {x} 'it\\'s'\n")
    asked = fake.last("run")
    assert (asked["command"], asked["stdin"]) == (["cat"], b"echo $HOME {x} 'it\\'s'\n")
    run(shell, "%%container run alpine\nls;\n")
    assert (fake.last("run")["command"], fake.last("run")["stdin"]) == (["/bin/sh", "-s"], b"ls;\n")


def test_a_cell_is_the_dockerfile(shell: Shell, fake: FakeEngine) -> None:
    value = run(shell, "%%container build -t x\nFROM alpine\nRUN echo ${A}\n")
    assert isinstance(value, Image)
    assert fake.last("build")["dockerfile"] == "FROM alpine\nRUN echo ${A}\n"
    assert (fake.last("build")["path"], fake.last("build")["tag"]) == (".", ["x"])


def test_a_verb_without_use_for_a_body_refuses_it(shell: Shell) -> None:
    with pytest.raises(UsageError, match="ps has no use for the body"):
        run(shell, "%%container ps\nbody")


def test_expressions_and_variables(shell: Shell, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "environment")
    monkeypatch.setenv("BOTH", "environment")
    shell.user_ns |= {"text": "a  'b' $HOME", "where": Path("/x y"), "BOTH": 3, "words": [1]}
    run(shell, "%container run -e OUTER -e BOTH -e GONE -w {where} alpine echo {text} $text {{.x}} '{text}' {1 + 1}")
    asked = fake.last("run")
    assert asked["command"] == ["echo", "a  'b' $HOME", "$text", "{{.x}}", "{text}", "2"]
    assert (asked["options"].env, asked["options"].workdir) == (("OUTER=environment", "BOTH=3"), "/x y")
    with pytest.raises(UsageError, match="is a list"):
        run(shell, "%container run alpine {words}")
    image = run(shell, "%container pull alpine")
    shell.user_ns["image"] = image
    run(shell, "%container run {image}")
    assert fake.last("run")["image"] == image.id


def test_a_failed_container_raises_one_clear_error(shell: Shell, fake: FakeEngine) -> None:
    fake.containers.ended = result(137, oom_killed=True, memory_limit=64 << 20)
    with pytest.raises(ContainerFailed) as caught:
        run(shell, "%container -o r run alpine x")
    assert caught.value.status == 137
    assert caught.value.lines() == [
        "the container (echo hi) ended with exit status 137: killed: out of memory (limit 64 MiB)",
        "hint: give it more memory with --memory, or use less",
    ]
    assert shell.user_ns["r"].exit_code == 137


def test_a_quiet_failure_shows_the_end_of_the_output(
    shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.containers.ended = result(1, stderr=b"".join(b"line %d\n" % number for number in range(50)))
    with pytest.raises(ContainerFailed) as caught:
        run(shell, "%container --quiet run alpine x")
    assert caught.value.log_tail.splitlines()[0] == "line 30"
    assert "hi\n" not in capsys.readouterr().out


def test_no_raise_returns_the_result(shell: Shell, fake: FakeEngine) -> None:
    fake.containers.ended = result(3)
    assert run(shell, "%container --no-raise run alpine x").exit_code == 3


def test_the_error_is_shown_without_a_traceback(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell("%container run missing").success
    shown = capsys.readouterr().out
    assert "ImageNotFound: no such image: missing" in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) <= 5


def test_an_interrupt_is_one_line_and_still_a_keyboard_interrupt(
    shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.containers.interrupt = True
    outcome = shell.run_cell("%container run alpine sleep 100")
    assert isinstance(outcome.error_in_exec, Interrupted)
    assert isinstance(outcome.error_in_exec, KeyboardInterrupt)
    shown = capsys.readouterr().out
    assert "Interrupted: the container was ended; it is kept, for there was no --rm" in shown
    assert "File " not in shown


@pytest.mark.parametrize("verb", ["logs", "wait", "stop"])
def test_an_interrupt_of_a_verb_that_starts_nothing_does_not_claim_to_have_stopped_it(verb: str) -> None:
    assert Interrupted(verb)._render_traceback_() == [f"Interrupted: {verb} was given up; containers go on as they are"]


def test_output_streams_to_the_cell_in_order(
    shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.containers.output = [
        Output("stdout", b"t\xc3"),
        Output("stderr", b"warn\n"),
        Output("stdout", b"\xa4o\n"),
        Output("stdout", b"\xff"),
    ]
    run(shell, "%container run alpine x;")
    assert capsys.readouterr() == ("täo\n\N{REPLACEMENT CHARACTER}", "warn\n")


def test_progress_in_a_terminal_is_lines(shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    fake.images.events = [
        StepStarted("a", 1, 1, "", "FROM alpine", 1),
        StepFinished("a", cached=True, seconds=0.0),
        Notice("old kernel", "warning"),
    ]
    run(shell, "%container build . ;")
    assert capsys.readouterr().err == "#1 [1/1] FROM alpine\n#1 CACHED\n\nwarning: old kernel\n"
    run(shell, "%container build -q . ;")
    assert capsys.readouterr().err == "warning: old kernel\n"


@pytest.mark.parametrize(
    ("source", "shown"),
    [("%container run -d alpine", True), ("%container run -d alpine;", False), ("%container run -d alpine ;", False)],
)
def test_a_semicolon_silences(shell: Shell, source: str, shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    value = run(shell, source)
    assert isinstance(value, Container) == shown
    assert ("Container(" in capsys.readouterr().out) == shown


def test_results_are_kept_under_a_name(shell: Shell) -> None:
    assert run(shell, "%container -o df ps -a") is None
    frame = shell.user_ns["df"]
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["name"]) == ["web", "old"]
    run(shell, "%container --result=ids ps -aq")
    assert shell.user_ns["ids"][0] == CONTAINER_ID
    with pytest.raises(UsageError, match="not a name"):
        run(shell, "%container -o a-b ps")


def test_other_verbs_have_values(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shell, "%container rm -f web") == ["web"]
    assert run(shell, "%container tag alpine x:1") is None
    assert run(shell, "%container inspect web")["Name"] == "web"
    assert [each["Id"] for each in run(shell, "%container inspect web web")] == [CONTAINER_ID] * 2
    assert run(shell, "%container info").images == 2
    assert run(shell, "%container doctor").rung == "rootful"
    capsys.readouterr()
    assert run(shell, "%container logs web") is None
    assert capsys.readouterr() == ("one\n", "two\n")
    run(shell, "%container -o log logs web")
    assert shell.user_ns["log"] == "one\ntwo\n"
    with pytest.raises(ContainerNotFound, match="gone"):
        run(shell, "%container rm web gone")
    with pytest.raises(ImageNotFound):
        run(shell, "%container history nothing")


def test_help_is_printed(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("%container", "%container --help", "%container help"):
        assert run(shell, source) is None
        assert capsys.readouterr().out.startswith("Usage: %container [NOTEBOOK OPTIONS] COMMAND")
    for source in (
        "%container run --help",
        "%container run?",
        "%container container run?",
        "%container help run",
        "%%container run?",
        "%container run ??",
        "%container --quiet run?",
    ):
        run(shell, source)
        assert capsys.readouterr().out.startswith("Usage: %container run [OPTIONS] IMAGE")


def test_the_magic_documents_itself(shell: Shell) -> None:
    information = shell.object_inspect("%container")
    assert "%container --help" in information["docstring"]


def test_mistakes_are_answered(shell: Shell) -> None:
    with pytest.raises(UsageError) as caught:
        run(shell, "%container rnu alpine")
    assert "'run'" in (caught.value.hint or "")
    with pytest.raises(UsageError) as caught:
        run(shell, "%container ps -o df")
    assert caught.value.hint == "notebook options stand before the verb: %container -o NAME ps …"
    with pytest.raises(UsageError) as caught:
        run(shell, "%container run --bg alpine")
    assert caught.value.hint == "notebook options stand before the verb: %container --bg run …"
    with pytest.raises(UsageError) as caught:
        run(shell, "%container -o 3x ps")
    assert "as in -o result" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="-w logs shows no timestamps"):
        run(shell, "%container -w logs --timestamps web")
    with pytest.raises(UsageError) as caught:
        run(shell, "%container --loud ps")
    assert caught.value.hint == "see '%container --help'"


def test_help_of_the_magic_lists_the_options_of_the_notebook(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, "%container --help")
    shown = capsys.readouterr().out
    assert [option.long for option in grammar.OPTIONS if f"--{option.long}" not in shown] == []


def test_settings_hold_for_the_notebook_and_a_line_is_stronger(
    shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.containers.ended = result(3)
    run(shell, "%config ContainerMagics.no_raise = True")
    assert run(shell, "%container run alpine x").exit_code == 3
    with pytest.raises(ContainerFailed):
        run(shell, "%container --no-raise=false run alpine x")
    run(shell, "%config ContainerMagics.quiet = True")
    capsys.readouterr()
    run(shell, "%container run alpine x;")
    assert capsys.readouterr().out == ""
    run(shell, "%container --quiet=false run alpine x;")
    assert capsys.readouterr().out == "hi\n"


def test_what_the_system_refuses_is_no_traceback(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match=r"build: the system refused: .*No such file or directory"):
        run(shell, f"%container build --iidfile {tmp_path}/no/where .")


def test_a_line_goes_on_after_a_backslash(shell: Shell, fake: FakeEngine) -> None:
    run(shell, "x = %container run \\\n  --rm \\\n  alpine ls")
    assert (fake.last("run")["image"], fake.last("run")["command"]) == ("alpine", ["ls"])


def test_unloading_takes_everything_back(shell: Shell, fake: FakeEngine) -> None:
    run(shell, "%container ps")
    matchers = len(shell.Completer.custom_matchers)
    notebook.unload(shell)
    assert fake.closed
    assert shell.find_line_magic("container") is None
    assert shell.find_cell_magic("container") is None
    assert len(shell.Completer.custom_matchers) == matchers - 1
    assert not [each for each in shell.configurables if type(each).__name__ == "ContainerMagics"]
    assert notebook.question_mark_to_help not in shell.input_transformers_cleanup
    html = shell.display_formatter.formatters["text/html"]
    assert not [key for key in html.deferred_printers if key[0].startswith("jupyter_containers")]
    assert not [kind for kind in html.type_printers if kind.__module__.startswith("jupyter_containers")]
    notebook.unload(shell)
    notebook.load(shell)
    notebook.load(shell)
    assert shell.input_transformers_cleanup.count(notebook.question_mark_to_help) == 1


def test_nothing_heavy_is_imported_by_loading(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from traitlets.config import Config\n"
        "config = Config(); config.HistoryManager.enabled = False\n"
        "shell = InteractiveShell(config=config)\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'jupyter_containers')\n"
        "new = set(sys.modules) - before\n"
        "print({'pandas', 'msgspec', 'urllib3', 'pyroute2', 'ipywidgets', 'jupyter_containers.engine'} & new)\n"
        "shell.run_cell('%container version')\n"
        "print('pandas' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "IPYTHONDIR": str(tmp_path)},
    )
    first, *_, last = ended.stdout.splitlines()
    assert first == "set()"
    assert last == "False"


def test_a_verb_is_explained(shell: Shell, fake: FakeEngine) -> None:
    page = run(shell, "%container --explain ps")
    assert page.words[0] == "Docker: docker ps"
    assert list(page) == ["steps", "calls"]
    assert isinstance(page.result, pd.DataFrame)
    assert "docker ps" in page._repr_html_()
    run(shell, "%container --explain -o kept run --rm alpine echo hi")
    assert shell.user_ns["kept"].value.docker == "docker run --rm alpine echo hi"
    assert isinstance(shell.user_ns["kept"].result, RunResult)
    assert fake.last("run")["command"] == ["echo", "hi"]


def test_a_verb_that_fails_is_explained_first(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageNotFound):
        run(shell, "%container --explain history nothere")
    assert "Docker: docker history nothere" in capsys.readouterr().out
