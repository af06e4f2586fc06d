"""``./dev test``: every suite, as each kind of user that this machine allows, and one honest summary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as ET

from tests.support import leaks, unprivileged
from tools import second
from tools.environment import ROOT
from tools.stages import Failed, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.environment import Environment

Outcome = Literal["passed", "failed", "skipped"]
# What an ordinary user's run adds to root's: everything but the checks of the repository itself.
USER_SUITES = ("tests/unit", "tests/contracts", "tests/runtime", "tests/notebook")
RUNTIME_SUITES = ("tests/contracts", "tests/runtime", "tests/notebook")
# The rungs of the isolation ladder that a run can stand on, as `doctor` names them.
RUNGS = ("root", "rootless", "rootless-single-id")
# Skipped in one run because another one runs it.
_ELSEWHERE = {"needs uid 0", "runs as an ordinary user only"}


@dataclass(slots=True)
class Report:
    """What all runs together say about each test, and what went wrong besides."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
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
    if os.geteuid() == 0:
        _run(report, own, environment, "all suites as root")
        without += _as_users(report, own, environment)
    else:
        _run(report, own, environment, f"all suites as uid {os.geteuid()}")
        without.append("what needs uid 0: run ./dev test as root as well")
    left = leaks.remaining(own, before)
    report.problems += [f"left behind: {line}" for line in left]
    if not any(line.startswith("mount ") for line in left):  # never remove what may be mounted from elsewhere
        shutil.rmtree(own, ignore_errors=True)
    return summarize(report, without)


def _run(report: Report, own: Path, environment: Environment, title: str) -> None:
    """One run as this user; what its tests make lies below ``own``, so that what is left can be told."""
    _title(title)
    xml = own / "own.xml"
    command = [environment.python, *_pytest(xml)]
    variables = environment.variables(TMPDIR=str(own))
    done = subprocess.run(command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, check=False)
    read(report, xml, title, done.returncode)


def _as_users(report: Report, reports: Path, environment: Environment) -> Iterable[str]:
    """The suites again as the two kinds of ordinary user; what could not be done."""
    try:
        place = second.provide(environment)
    except Failed as error:
        return [f"the suites as an ordinary user: {error}"]
    kinds: dict[unprivileged.Kind, tuple[str, tuple[str, ...]]] = {
        "single": ("as an ordinary user without subordinate ids", USER_SUITES),
        "subids": ("as an ordinary user with subordinate ids", RUNTIME_SUITES),
    }
    for kind, (who, suites) in kinds.items():
        paths = [suite for suite in suites if (ROOT / suite).exists()]
        title = f"{', '.join(Path(path).name for path in paths)} {who}"
        xml = reports / f"{kind}.xml"
        if not paths:
            continue
        _title(title)
        command = [place.python, *_pytest(xml), "-p", "no:cacheprovider", "-m", "not root", *paths]
        try:
            status, left = unprivileged.run(kind, command, cwd=place.source, extra=place.variables)
        except OSError as error:
            report.problems.append(f"{title}: {error}")
            continue
        read(report, xml, title, status)
        report.problems += [f"left behind by {who[3:]}: {line}" for line in left]
    return []


def _pytest(xml: Path) -> list[str]:
    return ["-m", "pytest", "-q", "--no-header", f"--junit-xml={xml}", "-o", "junit_family=xunit1"]


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
    failed = 0
    for case in document.iter("testcase"):
        test = f"{case.get('classname', '')}::{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            report.add(test, "failed")
            failed += 1
        elif (skip := case.find("skipped")) is not None and skip.get("type") != "pytest.xfail":
            report.add(test, "skipped", skip.get("message", ""))
        else:
            report.add(test, "passed")
    if status not in {0, no_tests} and not failed:
        report.problems.append(f"{title}: pytest ended with status {status}")


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
    for test, outcome in sorted(report.outcomes.items()):
        if outcome == "failed":
            note(f"failed: {test}")
    for problem in report.problems:
        note(f"failed: {problem}")
    failed = report.count("failed") + len(report.problems)
    note(f"{report.count('passed')} passed, {failed} failed, {report.count('skipped')} skipped")
    return 1 if failed or not report.count("passed") else 0
