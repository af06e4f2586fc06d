"""The verdicts of a build as DataFrames with real types. Importing this module imports pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.build.options import StepReport

STATUSES: Final = ("hit", "miss", "skipped")
SUBJECTS: Final = ("file", "argument", "variable", "fact")
VERBS: Final = ("added", "removed", "changed")


def verdicts(reports: Iterable[StepReport]) -> pd.DataFrame:
    """A row for each step by its line: where it stands, hit, miss or skipped, why, and how long it took.

    ``stage``, ``instruction``, ``reason``, ``layer`` (the diff id of what it made) and ``key`` are strings, ``status``
    is categorical, ``number``, ``steps`` and ``changes`` (how many differences were found) are integers, ``seconds``
    is a float.
    """
    rows = sorted(reports, key=lambda report: report.source.first)
    data: dict[str, pd.Series[Any]] = {
        "stage": _texts([row.stage for row in rows]),
        "number": pd.Series([row.index for row in rows], dtype="int64"),
        "steps": pd.Series([row.total for row in rows], dtype="int64"),
        "instruction": _texts([row.text for row in rows]),
        "status": _categories([row.verdict.status for row in rows], STATUSES),
        "reason": _texts([row.verdict.reason for row in rows]),
        "changes": pd.Series([len(row.verdict.changes) for row in rows], dtype="int64"),
        "seconds": pd.Series([row.seconds for row in rows], dtype="float64"),
        "layer": _texts([None if row.made is None else str(row.made) for row in rows]),
        "key": _texts([row.verdict.key or None for row in rows]),
    }
    return _indexed(data, [row.source.first for row in rows])


def changes(reports: Iterable[StepReport]) -> pd.DataFrame:
    """A row for each difference that made a step a miss, by the line of the step: what, and how it differs."""
    rows = [(report, change) for report in reports for change in report.verdict.changes]
    data: dict[str, pd.Series[Any]] = {
        "instruction": _texts([report.text for report, _change in rows]),
        "subject": _categories([change.subject for _report, change in rows], SUBJECTS),
        "name": _texts([change.name for _report, change in rows]),
        "verb": _categories([change.verb for _report, change in rows], VERBS),
        "how": _texts([change.how for _report, change in rows]),
        "before": _texts([change.before for _report, change in rows]),
        "after": _texts([change.after for _report, change in rows]),
    }
    return _indexed(data, [report.source.first for report, _change in rows])


def _texts(values: list[str | None]) -> pd.Series[Any]:
    return pd.Series(values, dtype="string")


def _categories(values: list[str], known: tuple[str, ...]) -> pd.Series[Any]:
    return pd.Series(pd.Categorical(values, categories=list(known)))


def _indexed(data: dict[str, pd.Series[Any]], lines: list[int]) -> pd.DataFrame:
    frame = pd.DataFrame(data)
    frame.index = pd.Index(lines, name="line", dtype="int64")
    return frame
