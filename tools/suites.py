"""``./dev test``: every suite, as each kind of user that this machine allows, and one honest summary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

from tests.support import leaks, unprivileged
from tools import second
from tools.environment import ROOT
from tools.stages import Failed, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.environment import Environment

Outcome = Literal["passed", "failed", "skipped"]
# What the runs as an ordinary user add to root's. What nobody's rights matter for is root's alone.
USER_SUITES = ("tests/contracts", "tests/unit/linux", "tests/unit/layers", "tests/notebook")
# Files of tests/runtime that say something else with subordinate ids than without: both kinds of user run them, and
# share the others out between them.
BY_IDS = frozenset(
    [
        "build_bad_input",
        "build_debian",
        "container_files",
        "engine_containers",
        "engine_crash",
        "held_files",
        "hostile",
        "interop",
        "leaks",
        "nested",
        "network_names",
        "network_rootless",
        "network_without_root",
        "oci_command",
        "other_runtimes",
        "run_option_groups",
        "run_options",
        "runtime_isolation",
        "runtime_monitor",
        "runtime_process",
        "runtime_waiting",
        "services",
        "snapshots_overlay",
        "starter_images",
        "store_faults",
        "xray",
    ]
)
# The user's own suites in two halves, side by side: a suite waits more than it computes.
HALVES = (("tests/runtime",), ("tests", "--ignore=tests/runtime"))
# The rungs of the isolation ladder that a run can stand on, as `doctor` names them.
RUNGS = ("root", "rootless", "rootless-single-id")
# Skipped in one run because another one runs it.
_ELSEWHERE = {"needs uid 0", "runs as an ordinary user only"}
# More failures than this are no accident: they are not tried again.
_MOST_AGAIN = 8


@dataclass(slots=True)
class Report:
    """What all runs together say about each test, and what went wrong besides.

    ``failed`` has the ids of the tests that failed, by run; ``unsteady`` those of them that passed afterwards, alone.
    ``stumbled`` has the runs in which a test failed, tried again or not; ``tainted`` what these left behind.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    unsteady: list[str] = field(default_factory=list)
    tainted: list[str] = field(default_factory=list)
    stumbled: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    rungs: dict[str, str] = field(default_factory=dict)

    def add(self, test: str, outcome: Outcome, reason: str = "") -> None:
        """Merge: failed in one run is failed, passed in one run is passed, else skipped."""
        order: tuple[Outcome, ...] = ("skipped", "passed", "failed")
        known = self.outcomes.get(test, "skipped")
        self.outcomes[test] = max(known, outcome, key=order.index)
        if outcome == "skipped" and self.reasons.get(test, "") in {"", *_ELSEWHERE}:
            self.reasons[test] = reason

    def count(self, outcome: Outcome) -> int:
        """How many tests ended so."""
        return sum(each == outcome for each in self.outcomes.values())

    def passed_again(self, title: str, ids: Iterable[str]) -> None:
        """Tests that had failed in a run passed when they were tried again; those that failed in no other passed."""
        for each in ids:
            self.failed[title].remove(each)
            self.unsteady.append(f"{each} ({title})")
            if not any(each in failed for failed in self.failed.values()):
                self.outcomes[each] = "passed"

    def left_behind(self, what: Iterable[str], run: str = "") -> None:
        """What a run, or all together, did not take away: a problem, unless a test failed that would have."""
        lines = [f"left behind by {run}: {line}" if run else f"left behind: {line}" for line in what]
        if self.stumbled if not run else run in self.stumbled:
            self.tainted += lines
        else:
            self.problems += lines

    def skipped(self) -> dict[str, list[str]]:
        """The tests that no run could execute, by reason."""
        grouped: dict[str, list[str]] = {}
        for test, outcome in sorted(self.outcomes.items()):
            if outcome == "skipped":
                grouped.setdefault(self.reasons.get(test) or "no reason given", []).append(test)
        return grouped


def pytest(environment: Environment, arguments: Sequence[str]) -> int:
    """Pytest with the developer's own arguments."""
    command = [environment.python, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment.variables(), check=False).returncode


def everything(environment: Environment, *, left_out: Sequence[str]) -> int:
    """All suites; 0 when nothing failed. The last lines say what could not run, and the totals."""
    report = Report()
    without: list[str] = list(left_out)
    own = Path(tempfile.mkdtemp(prefix="jcr"))  # short: socket paths are 107 bytes at most
    own.chmod(0o1777)
    before = leaks.take(own)
    users: list[_UserRun] = []
    who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    halves = [
        _OwnRun(f"{name} as {who}", environment, own / f"own{number}.xml", HALVES[number])
        for number, name in enumerate(("tests/runtime", "all other suites"))
    ]
    if os.geteuid() == 0:
        users, lacking = _users(own, environment)
        without += lacking
    else:
        without.append("what needs uid 0: run ./dev test as root as well")
    # All side by side, the second half of the own suites shown while it runs.
    with ThreadPoolExecutor(1 + len(users)) as beside:
        first = beside.submit(halves[0].run)
        others = [beside.submit(each.run) for each in users]
        halves[1].show(report)
        halves[0].read(report, first)
        for each, other in zip(users, others, strict=True):
            each.read(report, other)
    runs: list[_OwnRun | _UserRun] = [*halves, *users]
    for run in runs:
        _try_again(report, run)
    left = leaks.remaining(own, before)
    report.left_behind(left)
    if not any(line.startswith("mount ") for line in left):  # never remove what may be mounted from elsewhere
        shutil.rmtree(own, ignore_errors=True)
    return summarize(report, without)


def _try_again(report: Report, run: _OwnRun | _UserRun) -> None:
    """Run the few tests that failed once more, alone. One that passes then is told apart, as what it is: unsteady.

    The suites run side by side on however few cores there are; a test that cannot stand that must not hide whether
    the rest is sound, and must not go unnoticed either.
    """
    failed = list(report.failed.get(run.title, ()))
    if not 0 < len(failed) <= _MOST_AGAIN:
        return
    _title(f"once more, alone: what failed in {run.title}")
    second = Report()
    run.again(second, failed)
    report.problems += second.problems
    report.tainted += second.tainted
    report.passed_again(run.title, [each for each in failed if second.outcomes.get(each) == "passed"])


@dataclass(frozen=True, slots=True)
class _OwnRun:
    """Suites as the user who asked; what they make lies beside ``xml``."""

    title: str
    environment: Environment
    xml: Path
    suites: Sequence[str]

    def show(self, report: Report, tests: Sequence[str] = ()) -> None:
        """The suites, or some tests, shown while they run."""
        if not tests:
            _title(self.title)
        read(report, self.xml, self.title, self._do(None, tests))

    def run(self) -> int:
        """The suites, what they print kept until :meth:`read`; the exit status."""
        with self.xml.with_suffix(".log").open("wb") as log:
            return self._do(log, ())

    def read(self, report: Report, done: Future[int]) -> None:
        """Wait for the run, show what it printed, add its results."""
        status = done.result()
        _title(self.title)
        note(self.xml.with_suffix(".log").read_text(encoding="utf-8", errors="replace").rstrip())
        read(report, self.xml, self.title, status)

    def _do(self, output: IO[bytes] | None, tests: Sequence[str]) -> int:
        command = [self.environment.python, *_pytest(self.xml), *(tests or self.suites)]
        variables = self.environment.variables(TMPDIR=str(self.xml.parent))
        self.xml.unlink(missing_ok=True)
        return subprocess.run(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            check=False,
        ).returncode

    def again(self, report: Report, tests: Sequence[str]) -> None:
        """Some tests once more."""
        self.show(report, tests)


@dataclass(frozen=True, slots=True)
class _UserRun:
    """The suites as one kind of ordinary user. What it prints is kept until it can be read in one piece."""

    kind: unprivileged.Kind
    title: str
    command: Sequence[str]
    suites: Sequence[str]
    place: second.Place
    xml: Path

    def run(self, tests: Sequence[str] = ()) -> tuple[int, list[str]]:
        """The exit status, and the processes left behind; raises ``OSError`` when it could not be started."""
        command = [*self.command, *(tests or self.suites)]
        self.xml.unlink(missing_ok=True)
        with self.xml.with_suffix(".log").open("wb") as log:
            return unprivileged.run(self.kind, command, cwd=self.place.source, extra=self.place.variables, output=log)

    def again(self, report: Report, tests: Sequence[str]) -> None:
        """Some tests once more."""
        done: Future[tuple[int, list[str]]] = Future()
        try:
            done.set_result(self.run(tests))
        except OSError as error:
            done.set_exception(error)
        self.read(report, done, tests)

    def read(self, report: Report, done: Future[tuple[int, list[str]]], tests: Sequence[str] = ()) -> None:
        """Wait for the run, show what it printed, add its results."""
        try:
            status, left = done.result()
        except OSError as error:
            report.problems.append(f"{self.title}: {error}")
            return
        if not tests:
            _title(self.title)
        note(self.xml.with_suffix(".log").read_text(encoding="utf-8", errors="replace").rstrip())
        read(report, self.xml, self.title, status)
        report.left_behind(left, self.title)


def _users(reports: Path, environment: Environment) -> tuple[list[_UserRun], list[str]]:
    """The runs as the two kinds of ordinary user, and what cannot be done."""
    try:
        place = second.provide(environment)
    except Failed as error:
        return [], [f"the suites as an ordinary user: {error}"]
    kinds: dict[unprivileged.Kind, tuple[str, tuple[str, ...]]] = {
        "single": ("an ordinary user without subordinate ids", USER_SUITES),
        "subids": ("an ordinary user with subordinate ids", USER_SUITES[:1]),
    }
    runs = []
    for kind, (who, suites) in kinds.items():
        paths = [*(suite for suite in suites if (ROOT / suite).exists()), *share(kind, ROOT / "tests/runtime")]
        if paths:
            title = f"as {who}"
            xml = reports / f"{kind}.xml"
            command = [place.python, *_pytest(xml), "-m", "not root and not once"]
            runs.append(_UserRun(kind, title, command, paths, place, xml))
    return runs, []


def share(kind: unprivileged.Kind, directory: Path) -> list[str]:
    """The files of the runtime suite that one kind of ordinary user runs beside root."""
    files = [path.relative_to(ROOT).as_posix() for path in sorted(directory.glob("test_*.py"))]
    both = [path for path in files if Path(path).stem.removeprefix("test_") in BY_IDS]
    rest = [path for path in files if path not in both]
    return [*both, *rest[("single", "subids").index(kind) :: 2]]


def _pytest(xml: Path) -> list[str]:
    options = ["-q", "--no-header", "-p", "no:cacheprovider", f"--junit-xml={xml}", "-o", "junit_family=xunit1"]
    return ["-m", "pytest", *options, "--durations=25", "--durations-min=3"]


def _title(text: str) -> None:
    note(f"\n== {text} ==")
    sys.stdout.flush()


def read(report: Report, xml: Path, title: str, status: int) -> None:
    """Add one run's JUnit file to the report. A run that wrote none, or failed without a failed test, is a problem."""
    no_tests = 5
    try:
        document = ET.parse(xml)
    except (OSError, ET.ParseError):
        report.problems.append(f"{title}: pytest ended with status {status} and wrote no report")
        return
    properties = {each.get("name", ""): each.get("value", "") for each in document.iter("property")}
    if "rung" in properties:
        report.rungs[properties["rung"]] = properties.get("why", "")
    failed = report.failed.setdefault(title, [])
    for case in document.iter("testcase"):
        test = _id(case)
        if case.find("failure") is not None or case.find("error") is not None:
            report.add(test, "failed")
            failed += [test] if test not in failed else []
            report.stumbled.add(title)
        elif (skip := case.find("skipped")) is not None and skip.get("type") != "pytest.xfail":
            report.add(test, "skipped", skip.get("message", ""))
        else:
            report.add(test, "passed")
    if status not in {0, no_tests} and not failed:
        report.problems.append(f"{title}: pytest ended with status {status}")


def _id(case: ET.Element) -> str:
    """What pytest takes as this test's name: file, classes, function."""
    file, place = case.get("file", ""), case.get("classname", "")
    module = file.removesuffix(".py").replace("/", ".")
    if not file or not f"{place}.".startswith(f"{module}."):
        return f"{place}::{case.get('name', '')}"
    classes = place[len(module) + 1 :].split(".") if place != module else []
    return "::".join([file, *classes, case.get("name", "")])


def _missing_rungs(report: Report) -> list[str]:
    """The rungs that tests can stand on and no run did. (The lowest, no namespaces, is covered by unit tests.)"""
    if not report.rungs:
        return []
    why = "; ".join(text for rung, text in report.rungs.items() if rung not in RUNGS)
    missing = [rung for rung in RUNGS if rung not in report.rungs]
    return [f"tests on the rung {rung}{f' ({why})' if why else ''}" for rung in missing]


def summarize(report: Report, without: Sequence[str]) -> int:
    """Print what could not run and why, what failed, and the totals; the exit status."""
    skipped = report.skipped()
    note("\n== summary ==")
    without = [*without, *_missing_rungs(report)]
    if report.rungs:
        note(f"ran on the rungs: {', '.join(rung for rung in RUNGS if rung in report.rungs)}")
    if skipped or without:
        note("could not run here:")
        for line in without:
            note(f"  - {line}")
        for reason, tests in sorted(skipped.items()):
            shown = ", ".join(tests[:3]) + (f" and {len(tests) - 3} more" if len(tests) > 3 else "")  # noqa: PLR2004
            note(f"  - {len(tests)} x {reason}: {shown}")
    else:
        note("every check ran")
    for test in report.unsteady:
        note(f"unsteady: failed beside the others, passed alone: {test}")
    for test, outcome in sorted(report.outcomes.items()):
        if outcome == "failed":
            note(f"failed: {test}")
    for problem in report.problems:
        note(f"failed: {problem}")
    for line in report.tainted:
        note(f"{line} (where tests failed in the middle)")
    failed = report.count("failed") + len(report.problems)
    note(f"{report.count('passed')} passed, {failed} failed, {report.count('skipped')} skipped")
    return 1 if failed or not report.count("passed") else 0
