"""The developer's own tools: what they say and what they count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import packages, stages, suites

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]

JUNIT = """\
<testsuites><testsuite name="pytest">
<testcase classname="tests.unit.a" name="test_good"/>
<testcase classname="tests.unit.a" name="test_bad"><failure message="no">trace</failure></testcase>
<testcase classname="tests.unit.a" name="test_setup"><error message="no">trace</error></testcase>
<testcase classname="tests.unit.a" name="test_not_here"><skipped type="pytest.skip" message="no tun"/></testcase>
<testcase classname="tests.unit.a" name="test_root"><skipped type="pytest.skip" message="needs uid 0"/></testcase>
</testsuite></testsuites>
"""


def dev(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable, **variables}
    return subprocess.run([ROOT / "dev", *arguments], env=env, capture_output=True, text=True, check=False)


def test_every_file_of_the_runtime_suite_is_run_by_an_ordinary_user() -> None:
    directory = ROOT / "tests/runtime"
    alone, ranged = suites.share("single", directory), suites.share("subids", directory)
    assert {*alone, *ranged} == {f"tests/runtime/{path.name}" for path in directory.glob("test_*.py")}
    assert {path[len("tests/runtime/test_") : -len(".py")] for path in {*alone} & {*ranged}} == suites.BY_IDS


def test_help_names_every_verb() -> None:
    done = dev("help")
    assert done.returncode == 0
    for verb in ("setup", "demo", "test", "check", "lab", "bench", "reference"):
        assert f"  {verb} " in done.stdout


def test_an_unknown_verb_is_refused_with_the_help() -> None:
    done = dev("frobnicate")
    assert done.returncode == 2
    assert "no verb 'frobnicate'" in done.stderr
    assert "usage: ./dev" in done.stderr


def test_dev_works_from_another_directory(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / "dev", "help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def write(path: Path, content: str = JUNIT) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_a_report_counts_failures_errors_and_skips(tmp_path: Path) -> None:
    report = suites.Report()
    suites.read(report, write(tmp_path / "one.xml"), "one", 1)
    assert [report.count(kind) for kind in ("passed", "failed", "skipped")] == [1, 2, 2]
    assert report.problems == []


def test_a_test_that_one_run_executed_is_not_called_skipped(tmp_path: Path) -> None:
    report = suites.Report()
    suites.read(report, write(tmp_path / "one.xml"), "one", 1)
    second = '<testsuite><testcase classname="tests.unit.a" name="test_root"/></testsuite>'
    suites.read(report, write(tmp_path / "two.xml", second), "two", 0)
    assert report.outcomes["tests.unit.a::test_root"] == "passed"
    assert report.skipped() == {"no tun": ["tests.unit.a::test_not_here"]}


def test_a_reason_that_says_more_wins_over_one_that_names_the_other_run(tmp_path: Path) -> None:
    report = suites.Report()
    suites.read(report, write(tmp_path / "one.xml"), "one", 1)
    second = (
        '<testsuite><testcase classname="tests.unit.a" name="test_root">'
        '<skipped type="pytest.skip" message="no cgroup"/></testcase></testsuite>'
    )
    suites.read(report, write(tmp_path / "two.xml", second), "two", 0)
    assert report.reasons["tests.unit.a::test_root"] == "no cgroup"


def test_a_run_without_a_report_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = suites.Report()
    suites.read(report, tmp_path / "missing.xml", "the run", 134)
    assert suites.summarize(report, []) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_run_that_fails_without_a_failed_test_is_a_failure(tmp_path: Path) -> None:
    report = suites.Report()
    passed = '<testsuite><testcase classname="a" name="b"/></testsuite>'
    suites.read(report, write(tmp_path / "one.xml", passed), "the run", 3)
    assert report.problems == ["the run: pytest ended with status 3"]


def test_the_summary_names_what_could_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = suites.Report()
    suites.read(report, write(tmp_path / "one.xml"), "one", 1)
    suites.summarize(report, ["skopeo is not installed"])
    lines = capsys.readouterr().out.splitlines()
    assert "  - skopeo is not installed" in lines
    assert "  - 1 x no tun: tests.unit.a::test_not_here" in lines
    assert "failed: tests.unit.a::test_bad" in lines
    assert lines[-1] == "1 passed, 2 failed, 2 skipped"


def test_a_tool_that_fails_shows_its_output() -> None:
    with pytest.raises(stages.Failed, match="reason on the screen"):
        stages.run_quietly([sys.executable, "-c", "print('reason on the screen'); raise SystemExit(3)"], what="it")


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find", lambda _command: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    lines = packages.provide([packages.UIDMAP])
    assert lines == [
        "rootless containers with more than one user id: newuidmap is not installed (package uidmap)",
        "to install: sudo apt-get install uidmap",
    ]


@pytest.mark.root
@pytest.mark.parametrize("kind", ["single", "subids"])
def test_a_temporary_user_has_no_rights_and_its_own_home(
    kind: str, as_user: Callable[..., tuple[int, list[str]]]
) -> None:
    code = (
        "import os; assert os.getresuid()[0] == os.getresuid()[2] != 0; assert os.getgroups() == [];"
        "assert os.access(os.environ['HOME'], os.W_OK); assert not os.access('/etc', os.W_OK);"
        "assert os.stat(os.environ['XDG_RUNTIME_DIR']).st_mode & 0o777 == 0o700"
    )
    status, left = as_user(kind, ["/usr/bin/env", "python3", "-c", code], extra={"PATH": "/usr/bin:/bin"})
    assert (status, left) == (0, [])


@pytest.mark.root
def test_what_a_temporary_user_leaves_behind_is_killed_and_told(as_user: Callable[..., tuple[int, list[str]]]) -> None:
    status, left = as_user("single", ["/bin/sh", "-c", "sleep 987 & exit 7"])
    assert status == 7
    assert [line.split(" (")[0] for line in left] == ["sleep 987"]


def test_the_summary_names_the_rungs_that_ran_and_those_that_did_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = suites.Report()
    passed = (
        '<testsuite><properties><property name="rung" value="root"/><property name="why" value="is root"/></properties>'
        '<testcase classname="a" name="b"/></testsuite>'
    )
    suites.read(report, write(tmp_path / "one.xml", passed), "the run", 0)
    assert suites.summarize(report, []) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ran on the rungs: root" in lines
    assert "  - tests on the rung rootless" in lines
    assert lines[-1] == "1 passed, 0 failed, 0 skipped"


def test_a_test_that_passes_when_it_is_tried_again_is_named_as_unsteady(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = 'file="tests/unit/a.py"'
    junit = JUNIT.replace('classname="tests.unit.a"', f'classname="tests.unit.a" {file}')
    report = suites.Report()
    for run in ("one", "two"):
        suites.read(report, write(tmp_path / "one.xml", junit), run, 1)
    assert report.failed["one"] == ["tests/unit/a.py::test_bad", "tests/unit/a.py::test_setup"]
    report.passed_again("one", list(report.failed["one"]))
    assert report.count("failed") == 2  # in the other run they have not passed
    report.passed_again("two", ["tests/unit/a.py::test_bad"])
    assert suites.summarize(report, []) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "unsteady: failed beside the others, passed alone: tests/unit/a.py::test_bad (two)" in lines
    assert "failed: tests/unit/a.py::test_setup" in lines
    assert lines[-1] == "2 passed, 1 failed, 2 skipped"


def test_what_a_test_left_that_failed_in_the_middle_is_no_second_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = suites.Report()
    (tmp_path / "x.xml").write_text(JUNIT)
    suites.read(report, tmp_path / "x.xml", "one", 1)
    report.left_behind(["link a"], "one")
    report.left_behind(["link b"], "two")
    report.left_behind(["link c"])
    assert report.problems == ["left behind by two: link b"]
    suites.summarize(report, [])
    told = capsys.readouterr().out
    assert "left behind by one: link a (where tests failed in the middle)" in told
    assert "left behind: link c (where tests failed in the middle)" in told
    clean = suites.Report()
    clean.left_behind(["link d"])
    assert clean.problems == ["left behind: link d"]
